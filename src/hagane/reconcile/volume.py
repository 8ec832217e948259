"""Volumes: read rows, plan the step, let the driver do it, write how it ended.

A step may be done again: drivers take repetition, and the row changes only while its status is still the one that the
step was planned for. So a kill between any two calls leaves work, never a leak; `sweep` finds what a lost store left.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from hagane.cloud import Cloud
from hagane.drivers.volume import base as driver
from hagane.drivers.volume.base import Absent, FromBackup, FromImage, FromSnapshot, FromVolume, Reverted, Source
from hagane.errors import DeviceFailed, HaganeError, Invalid, NotFound, TooLarge, Unavailable
from hagane.image import store
from hagane.reconcile.engine import Answer, Done, Failed, Outcome, Wait
from hagane.reconcile.volume_action import tell_grown
from hagane.reconcile.volume_backends import Backends
from hagane.reconcile.volume_plan import Step, grown, made, returned, volume_step
from hagane.state import clock
from hagane.state.database import Row, Tx
from hagane.state.work import Claim, wake
from hagane.volume import base, end, message, pool, retype
from hagane.volume.backup_row import BACKUP
from hagane.volume.row import SNAPSHOT, VOLUME
from hagane.volume.task import give_back
from hagane.volume.type_row import TYPE

log = logging.getLogger(__name__)
FINAL = (DeviceFailed, Invalid, NotFound, TooLarge)
PATIENCE = 600.0  # seconds that a backend may be unavailable before a new volume is an error
NO_ANSWER = "The storage backend has not answered for ten minutes."  # why not, the pool says to operators


class VolumeReconciler:
    """Moves volumes."""

    kind, batch, parallel = base.VOLUME, 32, 4

    def __init__(self, cloud: Cloud, backends: Backends) -> None:
        self._cloud, self._db, self._backends = cloud, cloud.db, backends
        self._verbs: dict[str, Callable[[Row, Claim], Awaitable[Row | None]]] = {
            "make": self._make, "grow": self._grow, "upload": self._upload, "reimage": self._reimage,
            "revert": self._revert, "retype": self._retype,
        }  # fmt: skip

    async def reconcile(self, keys: Sequence[Claim]) -> Mapping[str, Answer]:
        ids = [claim.key for claim in keys]
        rows = {row["id"]: row for row in await VOLUME.select(self._db, {"id": ids})}
        shots = await SNAPSHOT.select(self._db, {"volume_id": ids}, columns=("volume_id",))
        counts = Counter(row["volume_id"] for row in shots)
        answers: dict[str, Answer] = {}
        for claim in keys:
            row = rows.get(claim.key)
            if row is None:
                answers[claim.key] = Done()
                continue
            step = volume_step(row, snapshots=counts[row["id"]])
            answers[claim.key] = self._do(row, step, claim) if step.verb else Done()
        return answers

    async def _do(self, row: Row, step: Step, claim: Claim) -> Outcome:
        if step.verb == "wait":
            return Wait(1.0, "its snapshots are being deleted")
        if step.verb == "place":
            why = await self._place(row, claim)
            if why:
                return Failed(why)
            step = volume_step(row, snapshots=0)
        try:
            if step.verb == "remove":
                return await self._remove(row)
            changes = await self._verbs[step.verb](row, claim)
        except FINAL as error:
            return await self._failed(row, step, error, claim)
        except Unavailable as error:
            if step.verb == "make" and clock.wall() - claim.since > PATIENCE:
                given_up = Unavailable(NO_ANSWER, detail=f"{error.message} {error.detail}")
                return await self._failed(row, step, given_up, claim)
            raise
        if changes is not None:
            await self._write(row, changes, claim)
        return Done()

    async def _write(self, row: Row, changes: Row, claim: Claim) -> None:
        """Unless somebody has changed the status meanwhile."""
        changes = changes | {"updated_at": clock.now()}

        async def work(tx: Tx) -> None:
            await VOLUME.update(tx, {"id": row["id"], "status": row["status"]}, changes)
            await _tell_backup(tx, row)
            await tell_grown(tx, row, claim.request_id)

        await self._db.write(work)

    async def _failed(self, row: Row, step: Step, error: HaganeError, claim: Claim) -> Outcome:
        """Write the cause where the owner reads it; give back what a failed growth had counted."""
        log.warning("volume %s: cannot %s: %s %s", row["id"], step.verb, error.message, error.detail)
        changes: Row = {"fault": error.message, "task": {}}
        changes |= {"status": step.failed} if step.failed else {"status": returned(row)["status"]}

        async def work(tx: Tx) -> None:
            if not await VOLUME.update(tx, {"id": row["id"], "status": row["status"]}, changes):
                return
            if step.action:
                await message.tell(tx, message.VOLUME, row, step.action, error.message, claim.request_id)
            await give_back(tx, row)
            await _tell_backup(tx, row)
            await tell_grown(tx, row, claim.request_id, error=error.message)

        await self._db.write(work)
        return Failed(error.message)

    # -- steps -------------------------------------------------------------------------------------------------------

    async def _place(self, row: Row, claim: Claim) -> str:
        """Choose a pool, in one transaction with the claim of it; returns why there is none."""

        async def work(tx: Tx) -> tuple[str | None, str]:
            kind = await TYPE.get(tx, id=row["type_id"])
            name, why = await pool.choose(tx, kind or {"extra_specs": {}, "name": ""})
            where = {"id": row["id"], "status": "creating", "host": None}
            if name is not None:
                await VOLUME.update(tx, where, {"host": name})
                return name, ""
            if await VOLUME.update(tx, where, {"status": "error", "fault": f"No place for this volume: {why}."}):
                await message.tell(tx, message.VOLUME, row, "allocate", why, claim.request_id)
                await _tell_backup(tx, row)
            return None, why

        row["host"], why = await self._db.write(work)
        return why

    async def _make(self, row: Row, claim: Claim) -> Row:
        source = await self._source(row)
        wanted = driver.Volume(row["id"], row["size"], source)
        await self._backends.of(row["host"]).apply(wanted, self._progress(row))
        return made(row, image=isinstance(source, FromImage))

    async def _source(self, row: Row) -> Source | None:
        if row["snapshot_id"]:
            snapshot = await SNAPSHOT.get(self._db, id=row["snapshot_id"])
            if snapshot is None:
                raise NotFound(f"The snapshot {row['snapshot_id']} is gone.")
            return FromSnapshot(snapshot["id"], snapshot["volume_id"])
        if row["source_volid"]:
            return FromVolume(row["source_volid"])
        if row["image_id"]:
            return await self._image(row["image_id"])
        if row["backup_id"]:
            backup = await BACKUP.get(self._db, id=row["backup_id"])
            if backup is None or not backup["file"]:
                raise NotFound(f"The backup {row['backup_id']} is gone.")
            return FromBackup(backup_path(self._cloud, backup["file"]))
        return None

    async def _image(self, image_id: str) -> FromImage:
        image = await store.base_image(self._db, self._cloud, image_id)
        if image.problem:
            raise Invalid(f"The image cannot be used: {image.problem}")
        return FromImage(f"{image.id}.{image.path.suffix[1:]}", image.path, image.format, image.virtual_size)

    def _progress(self, row: Row) -> driver.Moved:
        """Write every tenth percent into the row, beside the work."""
        loop, told = asyncio.get_running_loop(), row["percent"] or 0

        def moved(percent: int) -> None:
            nonlocal told
            if percent < 100 and percent >= told + 10:
                told = percent
                note = self._db.write(lambda tx: VOLUME.update(tx, {"id": row["id"]}, {"percent": told}))
                asyncio.run_coroutine_threadsafe(note, loop)

        return moved

    async def _remove(self, row: Row) -> Outcome:
        if row["host"]:
            await self._backends.of(row["host"]).apply(Absent("volume", row["id"]))

        async def work(tx: Tx) -> None:
            current = await VOLUME.get(tx, id=row["id"])
            if current is not None and current["status"] == "deleting":
                await end.forget(tx, current)

        await self._db.write(work)
        return Done()

    async def _grow(self, row: Row, claim: Claim) -> Row:
        changes = grown(row)
        await self._backends.of(row["host"]).apply(driver.Volume(row["id"], changes["size"]))
        return changes

    async def _upload(self, row: Row, claim: Claim) -> Row:
        """Save into a file beside the images, and stream it into the image."""
        task, path = row["task"], driver.temporary(scratch(self._cloud) / row["id"])
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        try:
            await self._backends.of(row["host"]).save(row["id"], path, task["disk_format"])
            await store.fill(self._cloud, task["image_id"], driver.chunks(path))
        except FINAL:
            await store.discard(self._cloud, task["image_id"])
            raise
        finally:
            await asyncio.to_thread(path.unlink, True)
        return returned(row)

    async def _reimage(self, row: Row, claim: Claim) -> Row:
        source = await self._image(row["task"]["image_id"])
        wanted = driver.Volume(row["id"], row["size"], source, over=True)
        await self._backends.of(row["host"]).apply(wanted, self._progress(row))
        return returned(row) | {"bootable": True, "percent": 100}

    async def _revert(self, row: Row, claim: Claim) -> Row | None:
        snapshot_id = row["task"]["snapshot_id"]
        await self._backends.of(row["host"]).apply(Reverted(row["id"], snapshot_id, row["size"]))

        async def work(tx: Tx) -> None:
            where = {"id": row["id"], "status": row["status"]}
            if await VOLUME.update(tx, where, returned(row) | {"updated_at": clock.now()}):
                await SNAPSHOT.update(tx, {"id": snapshot_id, "status": "restoring"}, {"status": "available"})

        await self._db.write(work)
        return None

    async def _retype(self, row: Row, claim: Claim) -> Row | None:
        await self._db.write(lambda tx: retype.finish(tx, row))
        return None


async def _tell_backup(tx: Tx, row: Row) -> None:
    """A backup may wait for the volume that it is restored into, a Server or a group for one that is made for it."""
    if waiting := (row["task"] or {}).get("server"):
        await wake(tx, "server", waiting)
    if row["status"] == "creating" and row["group_id"]:
        await wake(tx, base.GROUP, row["group_id"])
    if row["status"] == "creating" and row["backup_id"]:
        await wake(tx, base.BACKUP, row["backup_id"])


def backup_path(cloud: Cloud, file: str) -> Path:
    """Where the store has a backup's file."""
    return cloud.config.state / "backups" / file


def scratch(cloud: Cloud) -> Path:
    """A folder for what nobody needs after a restart."""
    return cloud.config.state / "backups" / "scratch"
