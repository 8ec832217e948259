"""The rows of images: tags, free properties and members are rows of their own, so that lists can be filtered by them.

queued ──upload──▶ saving ──▶ active ◀──▶ deactivated
   ▲                  │
   └── failed, refused, process killed (swept)
"""

from collections.abc import Iterable
from typing import Any

from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Table

IMAGE = Table(
    "image",
    (
        Column("id", key=True),
        Column("name"),
        Column("status"),
        Column("visibility"),
        Column("owner"),
        Column("disk_format"),
        Column("container_format"),
        Column("size", "int"),
        Column("virtual_size", "int"),
        Column("checksum"),
        Column("os_hash_algo"),
        Column("os_hash_value"),
        Column("min_disk", "int"),
        Column("min_ram", "int"),
        Column("protected", "bool"),
        Column("os_hidden", "bool"),
        Column("content_format"),  # what the bytes are, whatever the label says
        Column("problem"),  # why no server can start from it
        Column("upload"),  # the attempt that may store bytes now
        Column("created_at"),
        Column("updated_at"),
    ),
    ("owner, created_at", "visibility, created_at", "created_at, id"),
)
TAG = Table("image_tag", (Column("image_id", key=True), Column("tag", key=True)), ("tag",))
PROPERTY = Table(
    "image_property",
    (Column("image_id", key=True), Column("name", key=True), Column("value")),
    ("name, image_id",),
)
MEMBER = Table(
    "image_member",
    (
        Column("image_id", key=True),
        Column("member_id", key=True),
        Column("status"),
        Column("created_at"),
        Column("updated_at"),
    ),
    ("member_id, status",),
)
TABLES = (IMAGE, TAG, PROPERTY, MEMBER)


async def complete(reader: Reader, rows: list[Row]) -> list[Row]:
    """Give each image row its `tags` (sorted) and `properties`: two queries, however many rows."""
    ids = [row["id"] for row in rows]
    tags: dict[str, list[str]] = {key: [] for key in ids}
    properties: dict[str, dict[str, Any]] = {key: {} for key in ids}
    if ids:
        for found in await TAG.select(reader, {"image_id": ids}, order="tag"):
            tags[found["image_id"]].append(found["tag"])
        for found in await PROPERTY.select(reader, {"image_id": ids}, order="name"):
            properties[found["image_id"]][found["name"]] = found["value"]
    for row in rows:
        row["tags"], row["properties"] = tags[row["id"]], properties[row["id"]]
    return rows


async def store_tags(tx: Tx, image_id: str, old: Iterable[str], new: Iterable[str]) -> None:
    before, after = set(old), set(new)
    if gone := before - after:
        await TAG.delete(tx, {"image_id": image_id, "tag": sorted(gone)})
    for tag in sorted(after - before):
        await TAG.insert(tx, {"image_id": image_id, "tag": tag})


async def store_properties(tx: Tx, image_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    changed = {name for name in old if name not in new or new[name] != old[name]}
    if changed:
        await PROPERTY.delete(tx, {"image_id": image_id, "name": sorted(changed)})
    for name, value in new.items():
        if name not in old or name in changed:
            await PROPERTY.insert(tx, {"image_id": image_id, "name": name, "value": value})


async def forget(tx: Tx, image_id: str) -> None:
    """Delete an image's rows; its file is the caller's."""
    for table in (TAG, PROPERTY, MEMBER):
        await table.delete(tx, {"image_id": image_id})
    await IMAGE.delete(tx, {"id": image_id})
