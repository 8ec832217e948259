"""Backups: a volume's bytes into a file of their own, back into a volume, and the end of the file.

    creating: save ─▶ available      restoring: bytes over the volume ─▶ available      deleting: remove ─▶ (gone)
    creating, from a record: look at the file ─▶ available

The volume says backing-up or restoring-backup as long, and then is again what it was. A file goes with the last backup
that has it; an import that failed has none, so that its end takes nobody's bytes.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from hagane.cloud import Cloud
from hagane.drivers.volume import base as driver
from hagane.drivers.volume import qemu
from hagane.drivers.volume.base import FromBackup
from hagane.errors import DeviceFailed, Invalid, NotFound
from hagane.reconcile.engine import Answer, Done, Failed, Outcome, Wait
from hagane.reconcile.volume import FINAL, backup_path
from hagane.reconcile.volume_backends import Backends
from hagane.state import clock
from hagane.state.database import Row, Tx
from hagane.state.work import Claim
from hagane.volume import base, message, quota
from hagane.volume.backup_row import BACKUP
from hagane.volume.row import IMAGE, USER, VOLUME, store_items

_ACTIONS = {"creating": "backup", "restoring": "restore", "deleting": "delete_backup"}


class BackupReconciler:
    """Moves backups."""

    kind, batch, parallel = base.BACKUP, 8, 2

    def __init__(self, cloud: Cloud, backends: Backends) -> None:
        self._cloud, self._db, self._backends = cloud, cloud.db, backends

    async def reconcile(self, keys: Sequence[Claim]) -> Mapping[str, Answer]:
        rows = {row["id"]: row for row in await BACKUP.select(self._db, {"id": [claim.key for claim in keys]})}
        return {claim.key: self._do(rows[claim.key], claim) for claim in keys if claim.key in rows}

    async def _do(self, row: Row, claim: Claim) -> Outcome:
        try:
            match row["status"]:
                case "creating" if _imported(row):
                    await self._look(row)
                case "creating":
                    await self._save(row)
                case "restoring":
                    return await self._restore(row)
                case "deleting":
                    await self._remove(row)
        except FINAL as error:
            why = error.message
            await self._db.write(lambda tx: _failed(tx, row, why, claim))
            return Failed(why)
        return Done()

    async def _volume(self, volume_id: str) -> Row:
        row = await VOLUME.get(self._db, id=volume_id)
        if row is None:
            raise NotFound(f"The volume {volume_id} is gone.")
        return row

    async def _save(self, row: Row) -> None:
        volume, path = await self._volume(row["volume_id"]), backup_path(self._cloud, row["file"])
        await asyncio.to_thread(path.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
        backend = self._backends.of(volume["host"])
        below = await self._below(row)
        parent = backup_path(self._cloud, below) if below else None
        if row["snapshot_id"]:
            await backend.save_snapshot(row["snapshot_id"], volume["id"], path, "qcow2", parent=parent)
        else:
            await backend.save(volume["id"], path, "qcow2", parent=parent)
        await self._db.write(lambda tx: _saved(tx, row))

    async def _below(self, row: Row) -> str:
        """The file that a backup's own is laid over; "": none. Raises NotFound."""
        if not row["parent_id"]:
            return ""
        parent = await BACKUP.get(self._db, id=row["parent_id"])
        if parent is None or not parent["file"]:
            raise NotFound(f"The backup {row['parent_id']}, on which this one builds, is gone.")
        return str(parent["file"])

    async def _look(self, row: Row) -> None:
        """Whether the file of a record is there, and is what the record says. Raises NotFound, Invalid."""
        path = backup_path(self._cloud, row["file"])
        head = await asyncio.to_thread(_head, path)
        if head is not None and head.backing != await self._below(row):
            raise Invalid("The backup's file builds on another one than its record says.")
        if head is not None and head.virtual_size > row["size"] * driver.GIB:
            raise Invalid("The backup's file holds more than its record says.")
        changes = {"status": "available", "updated_at": clock.now(), "task": row["task"] | {"import": False}}
        await self._db.write(lambda tx: BACKUP.update(tx, {"id": row["id"], "status": "creating"}, changes))

    async def _remove(self, row: Row) -> None:
        """No record of a file that is being deleted is taken, so nobody comes to have it in between."""
        others = await BACKUP.select(self._db, {"file": row["file"]}) if row["file"] else []
        staying = [other for other in others if other["status"] != "deleting" or other["id"] > row["id"]]
        if row["file"] and not staying:
            await asyncio.to_thread(backup_path(self._cloud, row["file"]).unlink, True)
        await self._db.write(lambda tx: _forget(tx, row))

    async def _restore(self, row: Row) -> Outcome:
        volume = await self._volume(row["task"]["volume_id"])
        if volume["backup_id"] == row["id"]:  # a new one, which is made from the backup
            if volume["status"] == "creating":
                return Wait(5.0, "the volume is being made")
            await self._db.write(lambda tx: _restored(tx, row, volume))
            return Done()
        path = backup_path(self._cloud, row["file"] or row["id"])
        if not await asyncio.to_thread(path.exists):
            raise NotFound("The backup's file is gone.")
        wanted = driver.Volume(volume["id"], volume["size"], FromBackup(path), over=True)
        await self._backends.of(volume["host"]).apply(wanted)
        await self._db.write(lambda tx: _restored(tx, row, volume))
        return Done()


def _imported(row: Row) -> bool:
    return bool((row["task"] or {}).get("import"))


def _head(path: Path) -> qemu.Head | None:
    """What a file says of itself, where it is one of an image format. Raises NotFound."""
    if path.is_symlink() or not path.is_file():
        raise NotFound("The store of backups has no such file.")
    try:
        return qemu.head(path)
    except DeviceFailed:
        return None  # of a simulated backend


async def _saved(tx: Tx, row: Row) -> None:
    changes = {"status": "available", "updated_at": clock.now(), "fail_reason": None}
    await BACKUP.update(tx, {"id": row["id"], "status": "creating"}, changes)
    await _let_go(tx, row["volume_id"], "backing-up")


async def _let_go(tx: Tx, volume_id: str, status: str, *, failed: str = "") -> None:
    """A volume that served its backup is again what it was."""
    volume = await VOLUME.get(tx, id=volume_id)
    if volume is not None and volume["status"] == status:
        changes = {"status": failed or volume["previous_status"] or "available", "previous_status": None}
        await VOLUME.update(tx, {"id": volume_id}, changes | {"updated_at": clock.now()})


async def _restored(tx: Tx, row: Row, volume: Row) -> None:
    changes: Row = {"status": "available", "updated_at": clock.now(), "fail_reason": None}
    await BACKUP.update(tx, {"id": row["id"], "status": "restoring"}, changes)
    await _let_go(tx, volume["id"], "restoring-backup")
    await _remember(tx, volume["id"], row["task"])


async def _remember(tx: Tx, volume_id: str, task: Row) -> None:
    """What was said of the volume when it was saved is said of it again."""
    volume = await VOLUME.get(tx, id=volume_id)
    if volume is None:
        return
    words = (volume["metadata"] or {}) | (task.get("metadata") or {})
    facts = (volume["image_metadata"] or {}) | (task.get("image_metadata") or {})
    await store_items(tx, volume_id, USER, volume["metadata"] or {}, words)
    await store_items(tx, volume_id, IMAGE, volume["image_metadata"] or {}, facts)
    bootable = bool(volume["bootable"] or task.get("bootable"))
    await VOLUME.update(
        tx, {"id": volume_id}, {"metadata": words, "image_metadata": facts or None, "bootable": bootable}
    )


async def _forget(tx: Tx, row: Row) -> None:
    if await BACKUP.delete(tx, {"id": row["id"]}):
        await quota.add(tx, row["project_id"], {"backups": -1, "backup_gigabytes": -row["size"]})


async def _failed(tx: Tx, row: Row, why: str, claim: Claim) -> None:
    back: Row = {"status": "available" if row["status"] == "restoring" else "error", "fail_reason": why}
    if imported := row["status"] == "creating" and _imported(row):
        back |= {"file": None, "parent_id": None}
    if await BACKUP.update(tx, {"id": row["id"], "status": row["status"]}, back | {"updated_at": clock.now()}):
        await message.tell(tx, message.BACKUP, row, _ACTIONS[row["status"]], why, claim.request_id)
    if row["status"] == "creating" and not imported:
        await _let_go(tx, row["volume_id"], "backing-up")
    elif row["status"] == "restoring":
        await _let_go(tx, row["task"]["volume_id"], "restoring-backup", failed="error_restoring")
