"""Segments over the API: administrators see each network's one, and give it a name.

A further segment of a network is refused. OVN would join it to the first one on every chassis that has both, and leave
chassis that have one of them without the other half: it could not be what it says.
"""

from hagane.api.http import Request
from hagane.network import segment_row
from hagane.network.attr import Given
from hagane.network.base import NetResource
from hagane.network.errors import error, invalid
from hagane.network.network import Network
from hagane.state.database import Row, Tx
from hagane.state.table import Sql


class Segment(NetResource):
    name, plural, missing = "segment", "segments", "SegmentNotFound"
    attrs, indexes = segment_row.ATTRS, segment_row.INDEXES
    bulk = False

    def tag_rule(self, verb: str) -> str:
        return f"{verb}_segments_tags"

    def visible(self, request: Request) -> list[Sql]:
        """Whoever may see one, sees all: by default the administrator."""
        return [] if request.allowed(self.rule("get")) else [Sql("1 = 0")]

    async def making(self, request: Request, tx: Tx, row: Row, given: Given) -> None:
        network = await Network(self.cloud).find(request, tx, row["network_id"])
        raise invalid(f"Network {network['id']} has a segment, and can have no other one")

    async def unmaking(self, request: Request, tx: Tx, row: Row) -> None:
        found = await tx.fetch_tuples("SELECT id FROM subnet WHERE segment_id = :id", {"id": row["id"]})
        reason = f"It is the only one of network {row['network_id']}"
        if found:
            reason = f"The segment is still associated with subnet(s) {', '.join(sorted(key for (key,) in found))}"
        raise error("SegmentInUse", id=row["id"], reason=reason)
