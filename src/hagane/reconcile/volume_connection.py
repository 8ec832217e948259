"""The ways to volumes: asked of the backend that has the volume, and an export for whoever is not on its own Host."""

from typing import Any

from hagane.drivers.volume.export import Exports, connection
from hagane.errors import Conflict
from hagane.reconcile.volume_backends import Backends, Keyed, backend_name
from hagane.reconcile.volume_export import ExportReconciler, export_of
from hagane.state.database import Database, Row
from hagane.volume import export, qos_limits
from hagane.volume.attach import Connections


class BackendConnections(Connections):
    """See volume/attach.py."""

    def __init__(self, db: Database, backends: Backends, exports: Exports | None, reconciler: ExportReconciler) -> None:
        self._db, self._backends, self._exports, self._reconciler = db, backends, exports, reconciler

    async def connect(self, volume: Row, connector: dict[str, Any]) -> dict[str, Any]:
        if not volume["host"]:
            raise Conflict(f"The volume {volume['id']} is nowhere yet.", code="NoHost")
        backend = self._backends.of(volume["host"])
        if volume["multiattach"] and isinstance(backend, Keyed):
            await backend.share(volume["id"])
        info = await backend.connection(volume["id"])
        home = self._exports.home(backend_name(volume["host"])) if self._exports else None
        if self._exports and home and connector.get("host") not in home.hosts:
            row = await self._reconciler.begin(volume["id"], connector)
            info = connection(export_of(row, info, home, self._exports, self._reconciler.secrets))
        limits = await qos_limits.of(self._db, volume)
        return {"driver_volume_type": info["driver_volume_type"], "data": info["data"] | {
            "access_mode": "rw", "encrypted": False, "qos_specs": limits, "cacheable": False,
        } | ({"multiattach": True} if volume["multiattach"] else {})}  # fmt: skip

    async def with_key(self, connection: dict[str, Any]) -> dict[str, Any]:
        secret = connection["data"].get("secret_uuid")
        if not secret:
            return connection
        return connection | {"data": connection["data"] | {"auth_password": await self._backends.key(secret)}}

    async def disconnect(self, volume: Row, connector: dict[str, Any]) -> None:
        """A machine on the backend's own Host needs no farewell; what it had when it was elsewhere ends, too."""
        home = self._exports.home(backend_name(volume["host"])) if self._exports and volume["host"] else None
        where = {"volume_id": volume["id"], "machine": export.machine_of(connector)}
        await self._reconciler.end(where, at_home=home is None or connector.get("host") in home.hosts)
