"""What a task has counted before it is done: given back when it fails, or when somebody ends it by force."""

from typing import Any

from hagane.state.database import Row, Tx
from hagane.volume import quota
from hagane.volume.row import SNAPSHOT
from hagane.volume.type_row import TYPE


async def type_counts(tx: Tx, row: Row, type_name: str) -> dict[str, int]:
    """What a volume and its snapshots count for in their type's own quotas."""
    sizes = [snapshot["size"] for snapshot in await SNAPSHOT.select(tx, {"volume_id": row["id"]}, columns=("size",))]
    found = {"volumes": 1, "gigabytes": row["size"] + sum(sizes), "snapshots": len(sizes)}
    return {f"{name}_{type_name}": number for name, number in found.items()}


async def give_back(tx: Tx, row: Row) -> None:
    """Uncount what the task of a volume that is extending or retyping had counted."""
    task: dict[str, Any] = row["task"] or {}
    counts: dict[str, int] = {}
    if row["status"] == "extending" and "size" in task:
        kind = await TYPE.get(tx, id=row["type_id"])
        counts = quota.with_type({"gigabytes": task["size"] - row["size"]}, kind["name"] if kind else "")
    elif row["status"] == "retyping" and (kind := await TYPE.get(tx, id=task.get("type_id"))):
        counts = await type_counts(tx, row, kind["name"])
    if counts:
        await quota.add(tx, row["project_id"], {name: -number for name, number in counts.items()})
