"""Things that belong to a Node (its Nics, volumes): seen and changed by who may do that to the Node."""

from collections.abc import Sequence
from typing import Any, ClassVar

from hagane.api.http import Request, Response
from hagane.api.service import Route
from hagane.api.types import Mac
from hagane.baremetal.base import V1, forbidden, need, node_target, require
from hagane.baremetal.node import Nodes
from hagane.baremetal.resource import BareResource
from hagane.errors import Invalid, NotFound
from hagane.state import work
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Sql, listed


class Belonging(BareResource):
    """A resource with a `node_id`, on the wire `node_uuid`."""

    scoped = True
    parent: ClassVar[str] = "node"

    def __init__(self, cloud: Any, nodes: Nodes) -> None:
        super().__init__(cloud)
        self.nodes = nodes

    def mine(self, project: str) -> Sql:
        sql = f"{self.table.name}.node_id IN (SELECT id FROM node WHERE owner = :mine OR lessee = :mine)"
        return Sql(sql, {"mine": project})

    async def find(self, request: Request, reader: Reader, key: str) -> Row:
        row = await self.asked_for(request, reader, key)
        node = await self.nodes.table.get(reader, id=row["node_id"])
        if not request.allowed(self.rule("get"), node_target(node or {})):
            raise self.not_found(key)
        row["_node"] = node
        return row

    def target(self, row: Row) -> dict[str, Any]:
        return node_target(row.get("_node") or {})

    async def node_of(self, request: Request, tx: Tx, key: str, verb: str) -> Row:
        """The Node that a body names. The policy is asked first, so that nobody learns which Nodes there are."""
        try:
            node = await self.nodes.load(tx, key)
        except (NotFound, Invalid):
            need(request, self.rule(verb))
            raise Invalid(f"Node {key} could not be found.") from None
        if not request.allowed(self.rule(verb), node_target(node)):
            raise forbidden(self.rule(verb))
        return node

    async def moved(self, request: Request, tx: Tx, changes: Row) -> None:
        """A Node that changes name becomes its id."""
        if "node_id" in changes:
            changes["node_id"] = (await self.node_of(request, tx, str(changes["node_id"]), "update"))["id"]

    async def create_row(self, request: Request, tx: Tx, body: dict[str, Any]) -> Row:
        row = self.parse_create(request, body)
        node = await self.node_of(request, tx, str(row["node_id"]), "create")
        row |= {"node_id": node["id"], "_node": node}
        await self.creating(request, tx, row)
        del row["_node"]
        await self.table.insert(tx, row)
        await work.wake(tx, "node", node["id"], request_id=request.id)
        return row

    async def store(self, tx: Tx, old: Row, changes: Row) -> Row:
        await work.wake(tx, "node", old["node_id"])
        return await super().store(tx, old, changes)

    async def deleting(self, request: Request, tx: Tx, row: Row) -> None:
        await work.wake(tx, "node", row["node_id"], request_id=request.id)

    async def by_node(self, request: Request, args: dict[str, str]) -> dict[str, Any]:
        """The filters `node` (UUID or name) and `node_uuid` as a condition."""
        key = args.get("node") or args.get("node_uuid")
        if key is None:
            return {}
        return {"node_id": (await self.nodes.find(request, self.db, key))["id"]}

    async def listed(self, request: Request, fixed: Row, chosen: tuple[str, ...] | None) -> Response:
        return await super().listed(request, fixed | await self.by_node(request, request.args), chosen)

    async def of_node(self, request: Request) -> Response:
        """The list below a Node's path."""
        node = await self.nodes.find(request, self.db, request.params["id"])
        return await self.listed(request, {"node_id": node["id"]}, self.chosen(request, detail=False))

    async def of_node_detail(self, request: Request) -> Response:
        node = await self.nodes.find(request, self.db, request.params["id"])
        return await self.listed(request, {"node_id": node["id"]}, None)


class Wired(Belonging):
    """What Nics and groups of Nics have in common: filters by address and by what their Node is, lists below a Node."""

    shard_since: ClassVar[int]
    lists_since: ClassVar[tuple[str, str]] = ("", "")  # of `/detail`, and of the lists below a Node

    def where(self, request: Request, args: dict[str, str]) -> tuple[dict[str, Any], list[Sql]]:
        found: dict[str, Any] = {}
        conditions = []
        of_node = f"{self.table.name}.node_id IN (SELECT id FROM node WHERE"
        if "address" in args:
            found["address"] = Mac().check("address", args["address"])
        if "shard" in args:
            require(request, self.shard_since)
            among = listed("shard", args["shard"].split(","))
            conditions.append(Sql(f"{of_node} shard IN {among.text})", among.params))
        if "conductor_group" in args:
            require(request, 99)
            conditions.append(Sql(f"{of_node} conductor_group = :cg)", {"cg": args["conductor_group"].lower()}))
        return found, conditions

    def routes(self) -> Sequence[Route]:
        get, names, below = self.rule("get"), self.query_names(), f"{V1}/nodes/{{id}}/{self.plural}"
        since, since_below = self.lists_since
        return [
            Route("GET", self.path + "/detail", self.detail, f"{self.name}:detail", rule=get, since=since, query=names),
            Route("GET", below, self.of_node, f"{self.name}:of_node", rule=get, since=since_below, query=names),
            Route("GET", below + "/detail", self.of_node_detail, f"{self.name}:of_node_detail", rule=get,
                  since=since_below, query=names),
            *super().routes(),
        ]  # fmt: skip


def with_vif(row: Row, view: Row) -> Row:
    """What clients look for in `internal_info`: the tenant's Port that a Nic or a group carries."""
    if row["vif"] is not None and "internal_info" in view:
        view["internal_info"] = (view["internal_info"] or {}) | {"tenant_vif_port_id": row["vif"]}
    return view
