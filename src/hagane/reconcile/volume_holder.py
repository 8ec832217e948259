"""Whoever has a volume open, found by its attachment: a machine on a Host that has libvirt, or an export.

A backend may not change a file that somebody writes to; it asks here that they do it themselves.
"""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from hagane.drivers.volume.export import Exports
from hagane.errors import DeviceFailed, Unavailable
from hagane.reconcile.devices import Devices
from hagane.reconcile.volume_backends import backend_name
from hagane.state.database import Database, Row
from hagane.volume.attach import OURS
from hagane.volume.row import ATTACHMENT, VOLUME


@runtime_checkable
class Machines(Protocol):
    """A Host whose machines have volumes open."""

    async def new_layer(self, machine_id: str, source: str, file: str) -> None: ...

    async def resize(self, machine_id: str, source: str, size: int) -> None: ...


class AttachedHolder:
    """See drivers/volume/base.Holder."""

    def __init__(self, db: Database, devices: Devices) -> None:
        self._db, self._devices = db, devices
        self._exports: Exports | None = devices.exports

    async def new_layer(self, volume_id: str, file: str) -> None:
        row = await self._attachment(volume_id)
        if row is None:
            raise Unavailable("Somebody whom nobody knows has the volume open.")
        if row["connection"]["driver_volume_type"] == "iscsi" and self._exports is not None:
            await self._exports.new_layer(volume_id, await self._beside(volume_id, file))
        else:
            await self._host(row).new_layer(row["instance_uuid"], row["connection"]["data"]["device_path"], file)

    async def resize(self, volume_id: str, size: int) -> bool:
        rows = await self._attachments(volume_id)
        for row in rows:
            if row["connection"]["driver_volume_type"] == "iscsi":
                # It came to be exported after the order was taken; see volume/volume_action.py.
                words = "The volume is in use on another machine: it can be extended when it is detached there."
                raise DeviceFailed(words)
            data = row["connection"]["data"]
            source = data.get("device_path") or f"{row['connection']['driver_volume_type']}:{data.get('name')}"
            await self._host(row).resize(row["instance_uuid"], source, size)
        return bool(rows)

    async def _beside(self, volume_id: str, file: str) -> Path:
        """Where a file of the volume's backend is for this process. The backend is not asked: it waits for us."""
        volume = await VOLUME.get(self._db, id=volume_id)
        home = self._exports.home(backend_name(volume["host"])) if self._exports and volume else None
        if home is None:
            raise Unavailable(f"The volume {volume_id} is not exported.")
        return home.file(file)

    async def _attachment(self, volume_id: str) -> Row | None:
        """Of one of our own machines."""
        return next(iter(await self._attachments(volume_id)), None)

    async def _attachments(self, volume_id: str) -> list[Row]:
        """Of all of them, the newest first."""
        rows = await ATTACHMENT.select(self._db, {"volume_id": volume_id}, order="attach_time DESC, id")
        return [row for row in rows if row["connection"] and OURS in (row["connector"] or {})]

    def _host(self, row: Row) -> Machines:
        """Raises Unavailable."""
        found: Any = self._devices.hosts.get(row["connector"].get("host") or "")
        if not isinstance(found, Machines):
            raise Unavailable(f"The Host {row['connector'].get('host')}, which has the volume open, is not known here.")
        return found
