"""Groups: waiting for their volumes; and group snapshots: all of them taken in one go.

    group           creating ─▶ (its volumes are there) available      deleting ─▶ (its volumes are gone) gone
    group snapshot  creating ─▶ freeze all at once ─▶ available        deleting ─▶ (its snapshots are gone) gone

Before the first freeze it is noted how each volume is (`marks`). Where a run was cut off in the middle, by a kill or a
backend that did not answer, the rest is taken later: that is still the same moment for volumes that nobody had open and
nobody touched meanwhile. For others it is not, and the group snapshot is an error that says so.
"""

import asyncio
from collections.abc import Mapping, Sequence

from hagane.cloud import Cloud
from hagane.drivers.volume import base as driver
from hagane.errors import DeviceFailed, HaganeError
from hagane.reconcile.engine import Answer, Done, Failed, Outcome, Wait
from hagane.reconcile.volume import FINAL
from hagane.reconcile.volume_backends import Backends
from hagane.state import clock
from hagane.state.database import Row, Tx
from hagane.state.work import Claim
from hagane.volume import base, message, quota
from hagane.volume.group_row import GROUP, GROUP_SNAPSHOT, VOLUME_TYPE, insists
from hagane.volume.row import SNAPSHOT, VOLUME

LOOK = 1.0  # seconds; whatever is waited for wakes the key as well
CUT_OFF = "The taking was interrupted while volumes were in use: its snapshots are not of one moment."
TOUCHED = "A volume came into use while its group was being snapshotted: the snapshots are not of one moment."


class GroupReconciler:
    """Moves groups."""

    kind, batch, parallel = base.GROUP, 16, 2

    def __init__(self, cloud: Cloud) -> None:
        self._db = cloud.db

    async def reconcile(self, keys: Sequence[Claim]) -> Mapping[str, Answer]:
        ids = [claim.key for claim in keys]
        rows = await GROUP.select(self._db, {"id": ids})
        members = await VOLUME.select(self._db, {"group_id": ids}, columns=("id", "group_id", "status"))
        return {row["id"]: self._do(row, [one for one in members if one["group_id"] == row["id"]]) for row in rows}

    async def _do(self, row: Row, members: list[Row]) -> Outcome:
        match row["status"]:
            case "creating":
                return await self._made(row, members)
            case "deleting":
                return await self._ended(row, members)
        return Done()

    async def _made(self, row: Row, members: list[Row]) -> Outcome:
        if any(one["status"] == "creating" for one in members):
            return Wait(LOOK, "its volumes are being made")
        failed = [one["id"] for one in members if one["status"] == "error"]
        why = f"The volume {failed[0]} could not be made." if failed else ""
        changes = {"status": "error" if failed else "available", "fault": why or None, "updated_at": clock.now()}
        await self._db.write(lambda tx: GROUP.update(tx, {"id": row["id"], "status": "creating"}, changes))
        return Failed(why) if failed else Done()

    async def _ended(self, row: Row, members: list[Row]) -> Outcome:
        if any(one["status"] == "deleting" for one in members):
            return Wait(LOOK, "its volumes are being deleted")
        if members:
            why = f"The volume {members[0]['id']} could not be deleted."
            changes = {"status": "error", "fault": why, "updated_at": clock.now()}
            await self._db.write(lambda tx: GROUP.update(tx, {"id": row["id"], "status": "deleting"}, changes))
            return Failed(why)
        await self._db.write(lambda tx: _forget(tx, row))
        return Done()


async def _forget(tx: Tx, row: Row) -> None:
    if await GROUP.delete(tx, {"id": row["id"], "status": "deleting"}):
        await VOLUME_TYPE.delete(tx, {"group_id": row["id"]})
        await quota.add(tx, row["project_id"], {"groups": -1})


class GroupSnapshotReconciler:
    """Moves group snapshots."""

    kind, batch, parallel = base.GROUP_SNAPSHOT, 8, 2

    def __init__(self, cloud: Cloud, backends: Backends) -> None:
        self._db, self._backends = cloud.db, backends

    async def reconcile(self, keys: Sequence[Claim]) -> Mapping[str, Answer]:
        rows = {row["id"]: row for row in await GROUP_SNAPSHOT.select(self._db, {"id": [c.key for c in keys]})}
        return {claim.key: self._do(rows[claim.key], claim) for claim in keys if claim.key in rows}

    async def _do(self, row: Row, claim: Claim) -> Outcome:
        parts = await SNAPSHOT.select(self._db, {"group_snapshot_id": row["id"]}, order="created_at, id")
        match row["status"]:
            case "creating":
                return await self._take(row, parts, claim)
            case "deleting":
                return await self._ended(row, parts)
        return Done()

    async def _take(self, row: Row, parts: list[Row], claim: Claim) -> Outcome:
        volumes = await self._volumes(parts)
        todo = [part for part in parts if part["status"] == "creating"]
        strict = await insists(self._db, row["type_id"])
        if strict and any(one["status"] != "available" for one in volumes.values()):
            return await self._failed(row, todo, TOUCHED, claim)
        if row["marks"] is not None and not await self._same_moment(row, parts, todo, volumes):
            return await self._failed(row, todo, CUT_OFF, claim)
        if row["marks"] is None:
            marks = _marks(volumes)
            await self._db.write(lambda tx: GROUP_SNAPSHOT.update(tx, {"id": row["id"]}, {"marks": marks}))
            row = row | {"marks": marks}
        found = await asyncio.gather(*(self._freeze(part, volumes) for part in todo), return_exceptions=True)
        failed = _failures(todo, found)
        taken = [part["id"] for part in todo if part["id"] not in failed]
        await self._db.write(lambda tx: _taken(tx, taken))
        if again := [error for error in failed.values() if not isinstance(error, FINAL)]:
            raise again[0]
        if failed:
            lost, whys = [part for part in todo if part["id"] in failed], {k: e.message for k, e in failed.items()}
            return await self._failed(row, lost, next(iter(whys.values())), claim, whys)
        if strict and _marks(await self._volumes(parts)) != row["marks"]:
            return await self._failed(row, [], TOUCHED, claim)
        changes = {"status": "available", "updated_at": clock.now(), "fault": None}
        await self._db.write(lambda tx: GROUP_SNAPSHOT.update(tx, {"id": row["id"], "status": "creating"}, changes))
        return Done()

    async def _volumes(self, parts: list[Row]) -> dict[str, Row]:
        rows = await VOLUME.select(self._db, {"id": [part["volume_id"] for part in parts]}) if parts else []
        return {row["id"]: row for row in rows}

    async def _freeze(self, part: Row, volumes: Mapping[str, Row]) -> None:
        if part["volume_id"] not in volumes:
            raise DeviceFailed(f"The volume {part['volume_id']} is gone.")
        backend = self._backends.of(volumes[part["volume_id"]]["host"])
        await backend.apply(driver.Snapshot(part["id"], part["volume_id"]))

    async def _same_moment(self, row: Row, parts: list[Row], todo: list[Row], volumes: Mapping[str, Row]) -> bool:
        """Whether what is taken now belongs to what an earlier run has taken."""
        if _marks(volumes) == row["marks"] and all(one["status"] == "available" for one in volumes.values()):
            return True
        there = {part["id"] for part in parts} - {part["id"] for part in todo}
        for host in {volume["host"] for volume in volumes.values()}:
            there |= (await self._backends.of(host).read()).snapshots
        return len({part["id"] in there for part in parts}) < 2

    async def _failed(
        self, row: Row, lost: list[Row], why: str, claim: Claim, whys: Mapping[str, str] | None = None
    ) -> Outcome:
        """Those that could not be taken are errors, and so is the whole; the others stay what they are."""
        now = clock.now()

        async def work(tx: Tx) -> None:
            for part in lost:
                cause = (whys or {}).get(part["id"], why)
                changes = {"status": "error", "fault": cause, "updated_at": now}
                if await SNAPSHOT.update(tx, {"id": part["id"], "status": "creating"}, changes):
                    await message.tell(tx, message.SNAPSHOT, part, "create_snapshot", cause, claim.request_id)
            where = {"id": row["id"], "status": "creating"}
            await GROUP_SNAPSHOT.update(tx, where, {"status": "error", "fault": why, "updated_at": now})

        await self._db.write(work)
        return Failed(why)

    async def _ended(self, row: Row, parts: list[Row]) -> Outcome:
        if any(part["status"] == "deleting" for part in parts):
            return Wait(LOOK, "its snapshots are being deleted")
        where = {"id": row["id"], "status": "deleting"}
        if parts:
            why = f"The snapshot {parts[0]['id']} could not be deleted."
            changes = {"status": "error", "fault": why, "updated_at": clock.now()}
            await self._db.write(lambda tx: GROUP_SNAPSHOT.update(tx, where, changes))
            return Failed(why)
        await self._db.write(lambda tx: GROUP_SNAPSHOT.delete(tx, where))
        return Done()


def _failures(todo: list[Row], found: Sequence[BaseException | None]) -> dict[str, HaganeError]:
    """id -> what a backend said of a snapshot that it did not take. Raises whatever no backend says."""
    failed = {}
    for part, error in zip(todo, found, strict=True):
        if isinstance(error, HaganeError):
            failed[part["id"]] = error
        elif error is not None:
            raise error
    return failed


def _marks(volumes: Mapping[str, Row]) -> dict[str, str]:
    """How each volume is; attaching it, or anything else that is done to it, changes its mark."""
    return {key: f"{row['status']} {row['updated_at']}" for key, row in sorted(volumes.items())}


async def _taken(tx: Tx, ids: list[str]) -> None:
    if ids:
        changes = {"status": "available", "progress": "100%", "updated_at": clock.now()}
        await SNAPSHOT.update(tx, {"id": ids, "status": "creating"}, changes)
