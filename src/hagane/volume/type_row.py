"""Volume types and QoS specs as rows, and how others find them.

A type says how a volume is to be (its extra specs choose a backend by its capabilities); a QoS spec may belong to
several types. There is always the type `__DEFAULT__`; a project may have a default of its own.
"""

from collections.abc import Iterable
from typing import Any

from hagane.api.http import Request
from hagane.api.types import is_uuid
from hagane.errors import HaganeError, NotFound
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Table
from hagane.volume.base import is_admin

DEFAULT = "__DEFAULT__"
DEFAULT_ID = "00000000-0000-4000-8000-64656661756c"
MULTIATTACH = "<is> True"

TYPE = Table(
    "volume_type",
    (
        Column("id", key=True),
        Column("name"),
        Column("description"),
        Column("is_public", "bool"),
        Column("qos_specs_id"),
        Column("extra_specs", "json"),
        Column("encryption", "json"),
        Column("created_at"),
        Column("updated_at"),
    ),
    ("unique name", "qos_specs_id"),
)
ACCESS = Table("volume_type_access", (Column("type_id", key=True), Column("project_id", key=True)), ("project_id",))
PROJECT_DEFAULT = Table("volume_type_default", (Column("project_id", key=True), Column("type_id")))
QOS = Table(
    "volume_qos",
    (Column("id", key=True), Column("name"), Column("consumer"), Column("specs", "json"), Column("created_at")),
    ("unique name",),
)


async def seed(tx: Tx) -> None:
    """Make the default type where it is missing."""
    if await TYPE.get(tx, name=DEFAULT) is None:
        row = {"id": DEFAULT_ID, "name": DEFAULT, "description": "Default Volume Type", "is_public": True}
        await TYPE.insert(tx, row | {"extra_specs": {}, "created_at": clock.now()})


async def visible(request: Request, reader: Reader, row: Row) -> bool:
    """Whether a caller may know of a type: it is public, or shared with the caller's project."""
    if row["is_public"] or is_admin(request):
        return True
    return await ACCESS.get(reader, type_id=row["id"], project_id=request.caller.project_id) is not None


async def find(request: Request, reader: Reader, key: str) -> Row:
    """A type by id or name. Raises NotFound."""
    row = await TYPE.get(reader, id=key) or await TYPE.get(reader, name=key)
    if row is None or not await visible(request, reader, row):
        text = f"Volume type {key} could not be found."
        if not is_uuid(key):
            text = f"Volume type with name {key} could not be found."
        raise NotFound(text, code="VolumeTypeNotFound")
    return row


async def by_id(request: Request, reader: Reader, key: str) -> Row:
    """A type by its id alone. Raises NotFound."""
    row = await TYPE.get(reader, id=key)
    if row is None or not await visible(request, reader, row):
        raise NotFound(f"Volume type {key} could not be found.", code="VolumeTypeNotFound")
    return row


async def default_of(request: Request, reader: Reader) -> Row:
    """The type of a volume that names none: the project's own, or the cloud's. Raises HaganeError (500)."""
    own = await PROJECT_DEFAULT.get(reader, project_id=request.caller.project_id)
    row = await TYPE.get(reader, id=own["type_id"]) if own else await TYPE.get(reader, name=DEFAULT)
    if row is None:
        text = ("The request cannot be fulfilled as the default volume type "
                f"{DEFAULT} cannot be found.")  # fmt: skip
        raise HaganeError(text, code="VolumeTypeDefaultMisconfigured")
    return row


async def names_of(reader: Reader, ids: Iterable[str | None]) -> dict[str, str]:
    """id -> name of types."""
    wanted = sorted({key for key in ids if key})
    rows = await TYPE.select(reader, {"id": wanted}, columns=("id", "name")) if wanted else []
    return {row["id"]: row["name"] for row in rows}


def is_multiattach(row: Row) -> bool:
    specs: dict[str, Any] = row["extra_specs"] or {}
    return specs.get("multiattach") == MULTIATTACH
