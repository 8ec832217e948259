"""POST /groups/action (create-from-src): a group whose volumes are copies of another's, or of its snapshots'.

The new volumes are rows of one transaction and are made like any others; the group is there when they are.
"""

from typing import Any

from hagane.api.http import Request
from hagane.api.types import BadValue, Custom, Obj, Type
from hagane.cloud import Cloud
from hagane.state.database import Row, Tx
from hagane.state.work import wake
from hagane.volume import base
from hagane.volume.group_row import bad_group, find, find_snapshot, make, types_of
from hagane.volume.kinds import BARE, ID
from hagane.volume.row import SNAPSHOT, VOLUME
from hagane.volume.volume_create import Order, create

_FIELDS: dict[str, Type] = {"name": BARE, "description": BARE, "source_group_id": ID, "group_snapshot_id": ID}
_SOURCES = ("source_group_id", "group_snapshot_id")


def _source(field: str, value: Any) -> dict[str, Any]:
    """One source. The real service refuses a null; openstacksdk 4.22 sends one for the source that is not meant."""
    if isinstance(value, dict):
        value = {name: entry for name, entry in value.items() if entry is not None}
    body: dict[str, Any] = Obj(fields=_FIELDS).check(field, value)
    given = [name for name in _SOURCES if name in body]
    if len(given) != 1:
        each = ", ".join(str({"required": [name]}) for name in given)
        words = f"is valid under each of {each}" if given else "is not valid under any of the given schemas"
        raise BadValue(field, value, f"{value!r} {words}")
    return body


SOURCE = Custom(rule=_source, json_schema={"type": "object"})


async def from_source(request: Request, cloud: Cloud, tx: Tx, body: dict[str, Any]) -> Row:
    """Make the group that a request asks for. Raises Invalid, NotFound, TooLarge."""
    source, orders = await _orders(request, tx, body)
    row = await make(
        request, tx, body, (await types_of(tx, [source["id"]]))[source["id"]], status="creating",
        type_id=source["type_id"], availability_zone=source["availability_zone"], host=source["host"],
        group_snapshot_id=body.get("group_snapshot_id"), source_group_id=body.get("source_group_id"),
    )  # fmt: skip
    for order in orders:
        order.group = row
        await create(request, cloud, tx, order)
    await wake(tx, base.GROUP, row["id"], request_id=request.id)
    return row


async def _orders(request: Request, tx: Tx, body: dict[str, Any]) -> tuple[Row, list[Order]]:
    """The group that is copied, and a volume for each of its own, or of its snapshots. Raises Invalid, NotFound."""
    if key := body.get("group_snapshot_id"):
        shot = await find_snapshot(request, tx, key)
        if shot["status"] != "available":
            raise bad_group(f"Group snapshot {key} must be available, but current status is: {shot['status']}.")
        source = await find(request, tx, shot["group_id"])
        parts = await SNAPSHOT.select(tx, {"group_snapshot_id": key}, order="created_at, id")
        orders = [Order(size=part["size"], snapshot_id=part["id"]) for part in parts]
        noun = "Group snapshot"
    else:
        source = await find(request, tx, body["source_group_id"])
        if source["status"] != "available":
            raise bad_group(f"Source Group {source['id']} must be available, but current status is:"
                            f" {source['status']}.")  # fmt: skip
        parts = await VOLUME.select(tx, {"group_id": source["id"]}, order="created_at, id")
        orders = [Order(size=part["size"], source_volid=part["id"]) for part in parts]
        noun = "Source Group"
    if not orders:
        raise bad_group(f"{noun} is empty. No group will be created.")
    return source, orders
