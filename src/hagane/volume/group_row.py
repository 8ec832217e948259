"""Generic volume groups as rows: volumes on one backend that are snapshotted, copied and deleted together.

    group           (creating ─▶) available ─▶ deleting ─▶ (gone)        error (its cause is in `fault`)
    group snapshot   creating  ─▶ available ─▶ deleting ─▶ (gone)        error

A group of its own is there at once, with a place for its volumes; one made from another is `creating` while its volumes
are. A group takes volumes of some types alone. What a group type asks for are its specs; one has a meaning here:
`consistent_group_snapshot_enabled` is refused where it cannot be kept (group_snapshot.py).
"""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

from hagane.api.http import Request
from hagane.api.types import is_uuid
from hagane.errors import Invalid, NotFound
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Table
from hagane.volume import quota
from hagane.volume.base import is_admin, missing, need, sees, target
from hagane.volume.row import zero

GROUP = Table(
    "volume_group",
    (
        Column("id", key=True),
        Column("project_id"),
        Column("user_id"),
        Column("name"),
        Column("description"),
        Column("status"),
        Column("type_id"),
        Column("availability_zone"),
        Column("host"),  # the pool of all its volumes
        Column("group_snapshot_id"),
        Column("source_group_id"),
        Column("fault"),
        Column("created_at"),
        Column("updated_at"),
    ),
    ("project_id, created_at", "type_id", "source_group_id", "group_snapshot_id"),
)
VOLUME_TYPE = Table(
    "volume_group_volume_type",  # the types of volumes that a group takes
    (Column("group_id", key=True), Column("type_id", key=True)),
    ("type_id",),
)
GROUP_SNAPSHOT = Table(
    "volume_group_snapshot",
    (
        Column("id", key=True),
        Column("project_id"),
        Column("user_id"),
        Column("group_id"),
        Column("type_id"),
        Column("name"),
        Column("description"),
        Column("status"),
        Column("marks", "json"),  # how its volumes were when the taking began; see reconcile/volume_group.py
        Column("fault"),
        Column("created_at"),
        Column("updated_at"),
    ),
    ("project_id, created_at", "group_id", "type_id"),
)
GROUP_TYPE = Table(
    "volume_group_type",
    (
        Column("id", key=True),
        Column("name"),
        Column("description"),
        Column("is_public", "bool"),
        Column("specs", "json"),
        Column("created_at"),
        Column("updated_at"),
    ),
    ("unique name",),
)
_CONSISTENT = "consistent_group_snapshot_enabled"


def bad_group(reason: str) -> Invalid:
    return Invalid(f"Invalid Group: {reason}", code="InvalidGroup")


async def find(request: Request, reader: Reader, key: str) -> Row:
    """A group that the caller may know of. Raises NotFound, Forbidden."""
    row = await GROUP.get(reader, id=key)
    if row is None or not sees(request, row):
        raise missing("Group", key)
    need(request, "group:get", target(row))
    return row


async def find_snapshot(request: Request, reader: Reader, key: str) -> Row:
    """A group snapshot that the caller may know of. Raises NotFound, Forbidden."""
    row = await GROUP_SNAPSHOT.get(reader, id=key)
    if row is None or not sees(request, row):
        raise missing("GroupSnapshot", key)
    need(request, "group:get_group_snapshot", target(row))
    return row


async def find_type(request: Request, reader: Reader, key: str, *, by_name: bool = False) -> Row:
    """A group type by its id, or by its name as well; private ones are the administrators'. Raises NotFound."""
    row = await GROUP_TYPE.get(reader, id=key)
    if row is None and by_name:
        row = await GROUP_TYPE.get(reader, name=key)
    if row is None or not (row["is_public"] or is_admin(request)):
        words = f"Group type {key}" if is_uuid(key) or not by_name else f"Group type with name {key}"
        raise NotFound(f"{words} could not be found.", code="GroupTypeNotFound")
    return row


async def make(request: Request, tx: Tx, body: Mapping[str, Any], types: Iterable[str], **columns: Any) -> Row:
    """A group that takes volumes of these types. Raises TooLarge (quota)."""
    row = zero(
        GROUP, id=str(uuid4()), project_id=request.caller.project_id, user_id=request.caller.user_id,
        name=body.get("name"), description=body.get("description"), created_at=clock.now(), **columns,
    )  # fmt: skip
    await quota.take(tx, row["project_id"], {"groups": 1}, "groups")
    await GROUP.insert(tx, row)
    for type_id in types:
        await VOLUME_TYPE.insert(tx, {"group_id": row["id"], "type_id": type_id})
    return row


async def insists(reader: Reader, type_id: str) -> bool:
    """Whether a group type asks for snapshots of exactly one moment."""
    kind = await GROUP_TYPE.get(reader, id=type_id)
    return kind is not None and (kind["specs"] or {}).get(_CONSISTENT) == "<is> True"


async def types_of(reader: Reader, groups: Iterable[str]) -> dict[str, list[str]]:
    """group id -> ids of the volume types that it takes."""
    found: dict[str, list[str]] = {key: [] for key in groups}
    for row in await VOLUME_TYPE.select(reader, {"group_id": sorted(found)}, order="type_id") if found else []:
        found[row["group_id"]].append(row["type_id"])
    return found
