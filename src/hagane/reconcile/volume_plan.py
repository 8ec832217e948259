"""What a volume or a snapshot needs next: pure functions of rows. A status that ends in -ing is work; others are rest.

creating ─▶ place (choose a pool) ─▶ make          deleting ─▶ (its snapshots first) ─▶ remove
extending ─▶ grow    uploading ─▶ upload    downloading ─▶ reimage    reverting ─▶ revert    retyping ─▶ retype
"""

from dataclasses import dataclass
from typing import Any

from hagane.state.database import Row


@dataclass(frozen=True, slots=True)
class Step:
    """`verb` names the next thing to do, `failed` the status that its failure leaves, `action` the message's words."""

    verb: str
    failed: str = ""
    action: str = ""


REST = Step("")
_STEPS = {
    "extending": Step("grow", "error_extending", "extend"),
    "uploading": Step("upload", "", "upload"),
    "downloading": Step("reimage", "error", "reimage"),
    "reverting": Step("revert", "error", "create"),
    "retyping": Step("retype"),
}


def volume_step(row: Row, *, snapshots: int) -> Step:
    """The next step of a volume that has so many snapshots."""
    match row["status"]:
        case "creating" if not row["host"]:
            return Step("place", "error", "allocate")
        case "creating":
            return Step("make", "error", "create")
        case "deleting" if snapshots:
            return Step("wait")
        case "deleting":
            return Step("remove", "error_deleting")
        case "extending" if row["previous_status"] == "in-use":
            return Step("grow", "", "extend")  # refused, it is as it was: its machine must be able to let it go
        case status:
            return _STEPS.get(status, REST)


def made(row: Row, *, image: bool) -> Row:
    """The changes of a volume that has been made."""
    changes: Row = {"status": "available", "percent": 100, "fault": None, "task": {}}
    return changes | ({"bootable": True} if image else {})


def returned(row: Row) -> Row:
    """The changes of a volume whose task is over: it is again what it was before."""
    return {"status": row["previous_status"] or "available", "previous_status": None, "task": {}, "fault": None}


def grown(row: Row) -> Row:
    """The changes of a volume that has its new size."""
    task: dict[str, Any] = row["task"] or {}
    return returned(row) | {"size": task.get("size", row["size"])}


def snapshot_step(row: Row) -> Step:
    match row["status"]:
        case "creating" if row["group_snapshot_id"]:
            return REST  # it is taken with the others of its group
        case "creating":
            return Step("freeze", "error", "create_snapshot")
        case "deleting":
            return Step("thaw", "error_deleting", "delete_snapshot")
    return REST
