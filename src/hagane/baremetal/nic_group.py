"""Groups of Nics that act as one (LACP bonds). The wire calls them portgroups."""

from hagane.api.http import Request
from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import Bool, Mac, Obj, Str, Time, Uuid, is_uuid
from hagane.baremetal import rack
from hagane.baremetal.base import V1, is_name, links
from hagane.baremetal.belonging import Wired, with_vif
from hagane.errors import Invalid
from hagane.state.database import Row, Tx

BOOL = Bool(nullable=True, loose=True)
FREE = Obj(open=True, nullable=True)


class NicGroups(Wired):
    name, plural, noun, title, table_name = "portgroup", "portgroups", "portgroup", "Portgroup", "nic_group"
    path = V1 + "/portgroups"
    since, shard_since, lists_since = 23, 106, ("1.23", "1.24")
    attrs = (
        Attr("id", Uuid(nullable=True), "c", wire="uuid", key=True),
        Attr("created_at", Time(nullable=True)),
        Attr("updated_at", Time(nullable=True)),
        Attr("address", Mac(nullable=True), "cu"),
        Attr("extra", FREE, "cu", dict),
        Attr("internal_info", FREE, default=dict),
        Attr("mode", Str(nullable=True), "cu", lambda: "active-backup", since="1.26"),
        Attr("name", Str(nullable=True), "cu"),
        Attr("properties", FREE, "cu", dict, since="1.26"),
        Attr("standalone_ports_supported", BOOL, "cu", lambda: True),
        Attr("node_id", Str(), "cu", REQUIRED, wire="node_uuid"),
        Attr("physical_network", Str(64, nullable=True), "cu", since="1.102"),
        Attr("category", Str(80, nullable=True), "cu", since="1.103"),
        Attr("dynamic_portgroup", Bool(), default=bool, since="1.111"),
        Attr("vif", Str(nullable=True), shown=False),
        Attr("plugged", Str(nullable=True), shown=False),  # the Port that it carries
    )
    indexes = ("unique address", "unique name", "node_id", "vif", "plugged", "created_at, id")
    brief = ("uuid", "address", "name")
    patchable = ("address", "extra", "mode", "name", "node_uuid", "properties", "standalone_ports_supported",
                 "physical_network", "category")  # fmt: skip
    filters = ("node", "address", "conductor_group", "shard", "project")
    named, ident = True, "portgroup"

    def extras(self, request: Request) -> frozenset[str]:
        return frozenset({"links", "ports"})

    def finish(self, request: Request, row: Row, view: Row, chosen: tuple[str, ...] | None) -> Row:
        if chosen is None and request.version >= (1, 24):
            view["ports"] = links(request, f"portgroups/{row['id']}/ports")
        return with_vif(row, view)

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        await self.unique(tx, "id", row["id"], f"A portgroup with UUID {row['id']} already exists.")
        await self._check(tx, row, row, "Cannot create portgroup with invalid name")

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        await self.moved(request, tx, changes)
        text = f"Portgroup {request.params['id']}: Cannot change name to invalid name"
        await self._check(tx, old | changes, changes, text)

    async def _check(self, tx: Tx, row: Row, changes: Row, text: str) -> None:
        name, address = changes.get("name"), changes.get("address")
        if name is not None and (is_uuid(name) or not is_name(name)):
            raise Invalid(f"{text} '{name}'")
        await self.unique(tx, "name", name, f"A portgroup with name {name} already exists.", but=row["id"])
        said = f"A portgroup with MAC address {address} already exists."
        await self.unique(tx, "address", address, said, but=row["id"])

    async def deleting(self, request: Request, tx: Tx, row: Row) -> None:
        if await tx.fetch_tuples("SELECT 1 FROM nic WHERE group_id = :id LIMIT 1", {"id": row["id"]}):
            raise Invalid(f"Cannot complete the requested action because portgroup {row['id']} contains ports.")
        await rack.release(tx, row["id"])
        await super().deleting(request, tx, row)
