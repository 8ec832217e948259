"""Chassis: a box that holds several Nodes. A label and nothing more."""

from hagane.api.http import Request
from hagane.api.resource import Attr
from hagane.api.service import Route
from hagane.api.types import Obj, Str, Time, Uuid
from hagane.baremetal.base import V1, links
from hagane.baremetal.resource import BareResource
from hagane.errors import Invalid
from hagane.state.database import Row, Tx


class Chassis(BareResource):
    name, plural, noun, title = "chassis", "chassis", "chassis", "Chassis"
    path, ident = V1 + "/chassis", "chassis_uuid"
    attrs = (
        Attr("id", Uuid(nullable=True), "c", wire="uuid", key=True),
        Attr("created_at", Time(nullable=True)),
        Attr("updated_at", Time(nullable=True)),
        Attr("description", Str(255, nullable=True), "cu"),
        Attr("extra", Obj(open=True, nullable=True), "cu", dict),
    )
    brief, patchable = ("uuid", "description"), ("extra", "description")

    def extras(self, request: Request) -> frozenset[str]:
        return frozenset({"links", "nodes"})

    def finish(self, request: Request, row: Row, view: Row, chosen: tuple[str, ...] | None) -> Row:
        if chosen is None or "nodes" in chosen:
            # The real service wraps this list twice; clients pass it through.
            view["nodes"] = [links(request, f"chassis/{row['id']}/nodes")]
        return view

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        await self.unique(tx, "id", row["id"], f"A chassis with UUID {row['id']} already exists.")

    async def deleting(self, request: Request, tx: Tx, row: Row) -> None:
        if await tx.fetch_tuples("SELECT 1 FROM node WHERE chassis_id = :id LIMIT 1", {"id": row["id"]}):
            raise Invalid(
                f"Cannot complete the requested action because chassis {row['id']} contains nodes.",
                code="ChassisNotEmpty",
            )

    def routes(self) -> list[Route]:
        detail = Route("GET", self.path + "/detail", self.detail, "chassis:detail", rule=self.rule("get"),
                       query=self.query_names())  # fmt: skip
        return [detail, *super().routes()]
