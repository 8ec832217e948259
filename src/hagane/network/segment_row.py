"""Rows of segments, as the API shows them: each network has one, which comes and goes with it.

The network's row says the same of type, physical network and id, and the compiler reads that one.
"""

from uuid import uuid4

from hagane.api.resource import REQUIRED, Attr
from hagane.network import tag
from hagane.network.attr import UNSET
from hagane.network.errors import error
from hagane.network.value import Checked, Id, Text, Whole
from hagane.state import clock
from hagane.state.database import Row, Tx
from hagane.state.table import Column, Table

ATTRS = (
    Attr("id", Id(), key=True),
    Attr("project_id", Text(255), write="c", default=UNSET, shown=False, filter=False, sort=False),
    Attr("tenant_id", Text(255), write="c", default=UNSET, stored=False, shown=False, filter=False, sort=False),
    Attr("network_id", Id(), write="c", default=REQUIRED),
    Attr("name", Text(255, nullable=True), write="cu", default=None),
    Attr("description", Text(255, nullable=True), write="cu", default=None),
    Attr("network_type", Text(32), write="c", default=REQUIRED),
    Attr("physical_network", Text(64), write="c", default=None),
    Attr("segmentation_id", Whole(), write="c", default=None),
    Attr("tags", Checked(), default=list, filter=False, sort=False),
    Attr("generation", Whole(), wire="revision_number"),
    Attr("created_at", Text(), filter=False),
    Attr("updated_at", Text(), filter=False),
)
INDEXES = ("network_id",)
SEGMENT = Table("segment", tuple(Column(a.name, a.type.column, a.key) for a in ATTRS if a.stored), INDEXES)
_SAME = ("network_type", "physical_network", "segmentation_id")


async def follow_new(tx: Tx, network: Row) -> None:
    """A network is there, and so is its segment."""
    moment = clock.now()
    row = {"id": str(uuid4()), "project_id": network["project_id"], "network_id": network["id"], "name": None,
           "description": None, "tags": [], "generation": 1, "created_at": moment, "updated_at": moment}  # fmt: skip
    await SEGMENT.insert(tx, row | {name: network[name] for name in _SAME})


async def follow_change(tx: Tx, network: Row, changes: Row) -> None:
    """A network's VLAN id is another one."""
    if "segmentation_id" in changes:
        same = {"segmentation_id": changes["segmentation_id"], "updated_at": clock.now()}
        await SEGMENT.update(tx, {"network_id": network["id"]}, same)


async def follow_gone(tx: Tx, network_id: str) -> None:
    for row in await SEGMENT.select(tx, {"network_id": network_id}):
        await tag.forget(tx, row["id"])
        await SEGMENT.delete(tx, {"id": row["id"]})


async def check_subnet(tx: Tx, subnet: Row, others: list[Row]) -> None:
    """A subnet may name its network's segment, if all of the network's subnets do. Raises SegmentNotFound,
    NetworkIdsDontMatch, SubnetsNotAllAssociatedWithSegments."""
    wanted = subnet.get("segment_id")
    if any(bool(other["segment_id"]) != bool(wanted) for other in others):
        raise error("SubnetsNotAllAssociatedWithSegments", network_id=subnet["network_id"])
    if not wanted:
        return
    row = await SEGMENT.get(tx, id=wanted)
    if row is None:
        raise error("SegmentNotFound", id=wanted)
    if row["network_id"] != subnet["network_id"]:
        raise error("NetworkIdsDontMatch", network_id=subnet["network_id"], id=wanted)
