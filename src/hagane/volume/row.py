"""The rows of block storage: volumes, snapshots, attachments, and words to find them by.

    volume    creating ─▶ available ⇄ attaching ─▶ in-use ⇄ detaching
                 │            │ ⇄ extending, uploading, backing-up, retyping, reverting, downloading,
                 ▼            ▼    restoring-backup, awaiting-transfer, reserved
               error       deleting ─▶ (gone)      error_deleting, error_extending, error_restoring
    snapshot  creating ─▶ available ─▶ deleting ─▶ (gone)         error, error_deleting, restoring

A status that ends in -ing is intent: it is the reconciler's (reconcile/volume.py) to end it. `task` holds what it needs
for that (the new size, the image to fill), `fault` why it could not.
"""

from collections.abc import Mapping
from typing import Any

from hagane.state.database import Row, Tx
from hagane.state.table import Column, Table

VOLUME = Table(
    "volume",
    (
        Column("id", key=True),
        Column("project_id"),
        Column("user_id"),
        Column("name"),
        Column("description"),
        Column("size", "int"),  # GiB
        Column("status"),
        Column("previous_status"),
        Column("attach_status"),
        Column("migration_status"),
        Column("type_id"),
        Column("availability_zone"),
        Column("host"),  # host@backend#pool
        Column("bootable", "bool"),
        Column("multiattach", "bool"),
        Column("snapshot_id"),
        Column("source_volid"),
        Column("image_id"),
        Column("backup_id"),
        Column("group_id"),
        Column("metadata", "json"),
        Column("admin_metadata", "json"),
        Column("image_metadata", "json"),
        Column("task", "json"),
        Column("percent", "int"),
        Column("fault"),
        Column("generation", "int"),
        Column("created_at"),
        Column("updated_at"),
    ),
    ("project_id, created_at", "status", "snapshot_id", "source_volid", "type_id", "created_at, id", "group_id"),
)
SNAPSHOT = Table(
    "volume_snapshot",
    (
        Column("id", key=True),
        Column("project_id"),
        Column("user_id"),
        Column("volume_id"),
        Column("group_snapshot_id"),
        Column("name"),
        Column("description"),
        Column("size", "int"),
        Column("status"),
        Column("progress"),
        Column("type_id"),
        Column("metadata", "json"),
        Column("image_metadata", "json"),
        Column("fault"),
        Column("generation", "int"),
        Column("created_at"),
        Column("updated_at"),
    ),
    ("volume_id, created_at", "project_id, created_at", "status", "group_snapshot_id"),
)
ATTACHMENT = Table(
    "volume_attachment",
    (
        Column("id", key=True),
        Column("volume_id"),
        Column("project_id"),
        Column("instance_uuid"),
        Column("attached_host"),
        Column("mountpoint"),
        Column("attach_mode"),
        Column("attach_status"),  # reserved, attaching, attached
        Column("attach_time"),
        Column("detach_time"),
        Column("connector", "json"),
        Column("connection", "json"),  # without its secret, which is in `secret`, sealed
        Column("secret"),
        Column("created_at"),
    ),
    ("volume_id", "instance_uuid", "attached_host", "project_id, created_at"),
)
ITEM = Table(
    "volume_item",  # metadata as rows, to filter by; it is shown from the thing's own row
    (Column("owner_id", key=True), Column("kind", key=True), Column("name", key=True), Column("value")),
    ("kind, name, value",),
)
USER, IMAGE = "user", "image"  # kinds of items


async def store_items(tx: Tx, owner: str, kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Bring the items of one thing from `old` to `new`."""
    changed = sorted(name for name in old if name not in new or new[name] != old[name])
    if changed:
        await ITEM.delete(tx, {"owner_id": owner, "kind": kind, "name": changed})
    for name, value in new.items():
        if name not in old or old[name] != value:
            await ITEM.insert(tx, {"owner_id": owner, "kind": kind, "name": name, "value": str(value)})


def zero(table: Table, **values: Any) -> Row:
    """A new row with every column."""
    return dict.fromkeys(table.names) | values
