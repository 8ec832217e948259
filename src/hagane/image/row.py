"""Tags, free properties and members of an image as rows of their own, to filter by.

Tags and properties are in the image's row as well, from where they are shown: the same, the other way round.
"""

from collections.abc import Iterable
from typing import Any

from hagane.api.http import Caller
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Table

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


async def member_of(reader: Reader, caller: Caller, row: Row) -> bool:
    """Whether the image is shared with the caller's project, accepted or not."""
    if row["visibility"] != "shared" or caller.project_id is None:
        return False
    return await MEMBER.get(reader, image_id=row["id"], member_id=caller.project_id) is not None


async def visible_to(reader: Reader, caller: Caller, row: Row) -> bool:
    """Whether the caller may know of the image: its owner, everybody, or a member it is shared with."""
    if caller.is_admin or row["visibility"] in ("public", "community"):
        return True
    if caller.project_id is not None and row["owner"] == caller.project_id:
        return True
    return await member_of(reader, caller, row)
