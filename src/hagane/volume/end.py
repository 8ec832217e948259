"""The end of volumes and snapshots: what may be deleted, the intent, and what goes with a row when it is gone."""

from hagane.errors import Invalid
from hagane.state import clock
from hagane.state.database import Row, Tx
from hagane.state.work import wake
from hagane.volume import base, export, quota
from hagane.volume.base import bad_volume
from hagane.volume.row import ATTACHMENT, ITEM, SNAPSHOT, VOLUME
from hagane.volume.task import give_back
from hagane.volume.transfer import TRANSFER
from hagane.volume.type_row import names_of

DELETABLE = ("available", "error", "error_restoring", "error_extending", "error_managing")
DELETABLE_SNAPSHOT = ("available", "error")


async def delete(
    tx: Tx, row: Row, *, cascade: bool = False, force: bool = False, admin: bool = False, request_id: str | None = None
) -> None:
    """Ask for the end of a volume, with its snapshots where `cascade`. Raises Invalid."""
    snapshots = await SNAPSHOT.select(tx, {"volume_id": row["id"]})
    if not _may_end(row, snapshots, cascade=cascade, force=force, admin=admin):
        words = "" if force else f"status must be {' or '.join(DELETABLE)} and"
        raise bad_volume(f"Volume {words} must not be migrating, attached, belong to a group, have snapshots, awaiting"
                         " a transfer, or be disassociated from snapshots after volume transfer.")  # fmt: skip
    for snapshot in snapshots:
        await begin_snapshot(tx, snapshot, request_id=request_id)
    await begin(tx, row, request_id=request_id)


async def begin(tx: Tx, row: Row, *, request_id: str | None = None) -> None:
    """A volume that may go goes; at once, if no backend ever took it: its type may be deleted right after it."""
    await give_back(tx, row)
    if row["status"] == "error" and not row["host"]:
        await forget(tx, row)
        return
    changes: Row = {"status": "deleting", "updated_at": clock.now(), "generation": row["generation"] + 1}
    await VOLUME.update(tx, {"id": row["id"]}, changes)
    await wake(tx, base.VOLUME, row["id"], request_id=request_id)


async def begin_snapshot(tx: Tx, row: Row, *, request_id: str | None = None) -> None:
    """A snapshot that may go goes."""
    changes: Row = {"status": "deleting", "updated_at": clock.now(), "generation": row["generation"] + 1}
    await SNAPSHOT.update(tx, {"id": row["id"]}, changes)
    await wake(tx, base.SNAPSHOT, row["id"], request_id=request_id)


def _may_end(row: Row, snapshots: list[Row], *, cascade: bool, force: bool, admin: bool) -> bool:
    if row["attach_status"] == "attached" or row["migration_status"] not in (None, "deleting", "error", "success"):
        return False
    if row["group_id"] or any(snapshot["group_snapshot_id"] for snapshot in snapshots):
        return False
    if not force and row["status"] not in DELETABLE:
        return False
    if not cascade:
        return not snapshots
    if force:
        return True
    foreign = any(snapshot["project_id"] != row["project_id"] for snapshot in snapshots)
    allowed = (*DELETABLE_SNAPSHOT, "deleting")
    return all(snapshot["status"] in allowed for snapshot in snapshots) and (admin or not foreign)


async def delete_snapshot(tx: Tx, row: Row, *, force: bool = False, request_id: str | None = None) -> None:
    """Ask for the end of a snapshot. Raises Invalid."""
    if row["group_snapshot_id"] or (not force and row["status"] not in DELETABLE_SNAPSHOT):
        words = f"status must be {' or '.join(DELETABLE_SNAPSHOT)} and must not be part of a group."
        raise Invalid(f"Invalid snapshot: Snapshot {words}", code="InvalidSnapshot")
    await begin_snapshot(tx, row, request_id=request_id)


async def forget(tx: Tx, row: Row) -> None:
    """A volume is gone: its row, and what hangs on it. Nothing happens the second time."""
    if not await VOLUME.delete(tx, {"id": row["id"]}):
        return
    if row["group_id"]:
        await wake(tx, base.GROUP, row["group_id"])
    await ITEM.delete(tx, {"owner_id": row["id"]})
    await export.give_back(tx, {"volume_id": row["id"]})
    for table in (ATTACHMENT, TRANSFER):
        await table.delete(tx, {"volume_id": row["id"]})
    name = (await names_of(tx, [row["type_id"]])).get(row["type_id"], "")
    changes = quota.with_type({"volumes": -1, "gigabytes": -row["size"]}, name)
    await quota.add(tx, row["project_id"], changes)


async def forget_snapshot(tx: Tx, row: Row) -> None:
    """A snapshot is gone. Nothing happens the second time."""
    if not await SNAPSHOT.delete(tx, {"id": row["id"]}):
        return
    if row["group_snapshot_id"]:
        await wake(tx, base.GROUP_SNAPSHOT, row["group_snapshot_id"])
    await ITEM.delete(tx, {"owner_id": row["id"]})
    name = (await names_of(tx, [row["type_id"]])).get(row["type_id"], "")
    changes = quota.with_type({"snapshots": -1, "gigabytes": -row["size"]}, name)
    await quota.add(tx, row["project_id"], changes)
