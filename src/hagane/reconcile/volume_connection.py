"""The ways to volumes: asked of the backend that has the volume."""

from typing import Any

from hagane.errors import Conflict
from hagane.reconcile.volume_backends import Backends
from hagane.state.database import Row
from hagane.volume.attach import Connections


class BackendConnections(Connections):
    """See volume/attach.py."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends

    async def connect(self, volume: Row, connector: dict[str, Any]) -> dict[str, Any]:
        if not volume["host"]:
            raise Conflict(f"The volume {volume['id']} is nowhere yet.", code="NoHost")
        info = await self._backends.of(volume["host"]).connection(volume["id"])
        return {"driver_volume_type": info["driver_volume_type"], "data": info["data"] | {
            "access_mode": "rw", "encrypted": False, "qos_specs": None, "cacheable": False,
        }}  # fmt: skip

    async def disconnect(self, volume: Row, connector: dict[str, Any]) -> None:
        """A file on the same machine needs no farewell."""
