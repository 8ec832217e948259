"""Messages: what went wrong with a thing after its request had been answered, in words for its owner; kept 30 days."""

from uuid import uuid4

from hagane.state import clock
from hagane.state.database import Row, Tx
from hagane.state.table import Column, Table

MESSAGE = Table(
    "volume_message",
    (
        Column("id", key=True),
        Column("project_id"),
        Column("request_id"),
        Column("resource_type"),
        Column("resource_uuid"),
        Column("event_id"),
        Column("user_message"),
        Column("created_at"),
        Column("expires_at"),
    ),
    ("project_id, created_at", "resource_uuid"),
)
ACTIONS = {
    "allocate": ("001", "schedule allocate volume"), "upload": ("003", "copy volume to image"),
    "extend": ("007", "extend volume"), "create": ("008", "create volume from backend storage"),
    "create_snapshot": ("009", "create snapshot"), "delete_snapshot": ("010", "delete snapshot"),
    "backup": ("013", "create backup"), "delete_backup": ("014", "delete backup"),
    "restore": ("015", "restore backup"), "reimage": ("016", "reimage volume"),
}  # fmt: skip
_UNKNOWN = "001"
VOLUME, SNAPSHOT, BACKUP = "VOLUME", "VOLUME_SNAPSHOT", "VOLUME_BACKUP"  # kinds of resource
DAYS = 30


async def tell(tx: Tx, resource: str, row: Row, action: str, why: str, request_id: str | None) -> None:
    """Tell the owner of `row` (a `resource`) that `action` failed, and why."""
    number, words = ACTIONS[action]
    expires = clock.after(DAYS * 86400)
    await MESSAGE.insert(
        tx,
        {
            "id": str(uuid4()), "project_id": row["project_id"], "request_id": request_id, "resource_uuid": row["id"],
            "resource_type": resource,
            "event_id": f"VOLUME_{resource}_{number}_{_UNKNOWN}", "user_message": f"{words}:{why}",
            "created_at": clock.now(), "expires_at": expires,
        },
    )  # fmt: skip
