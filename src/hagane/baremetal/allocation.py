"""Allocations: "give me a Node of this resource class with these traits".

    POST ─▶ allocating ─settle─▶ active (a Node is yours: its instance_uuid is the allocation's) or error (and why)

As in the real service, an allocation that is just made has no Node yet: clients wait until it is `active`. One for a
Node that is in use already is so at once. Two never get one Node: the claim is a row, transactions are serializable.
"""

from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.resource import Attr
from hagane.api.service import Route
from hagane.api.types import ListOf, Obj, Str, Time, Uuid, is_uuid
from hagane.baremetal import claim
from hagane.baremetal.base import V1, at, forbidden, is_name, require
from hagane.baremetal.node import NODE, Nodes
from hagane.baremetal.node_part import check_trait
from hagane.baremetal.resource import BareResource
from hagane.errors import Conflict, Invalid, NotFound
from hagane.state import clock, work
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Sql

ENDED = ("enroll", "inspecting", "inspect wait", "manageable", "available", "cleaning", "clean wait", "clean failed",
         "deleting", "error", "deploy failed", "inspect failed")  # fmt: skip
"""States of a Node in which nobody's machine runs on it."""
ALLOCATING = "allocating"


class Allocations(BareResource):
    name, plural, noun, title = "allocation", "allocations", "allocation", "Allocation"
    path, table_name = V1 + "/allocations", "node_allocation"
    since, named, scoped, ident = 52, True, True, "allocation_ident"
    before = "The API version does not allow allocations"
    attrs = (
        Attr("id", Uuid(nullable=True), "c", wire="uuid", key=True),
        Attr("created_at", Time(nullable=True)),
        Attr("updated_at", Time(nullable=True)),
        Attr("candidate_nodes", ListOf(Str(), nullable=True), "c", list),
        Attr("extra", Obj(open=True, nullable=True), "cu", dict),
        Attr("last_error", Str(None, nullable=True)),
        Attr("name", Str(nullable=True), "cu"),
        Attr("node_id", Str(nullable=True), wire="node_uuid"),
        Attr("owner", Str(nullable=True), "c", since="1.60"),
        Attr("resource_class", Str(80, nullable=True), "c"),
        Attr("state", Str(nullable=True)),
        Attr("traits", ListOf(Str(), nullable=True), "c", list),
    )
    indexes = ("unique name", "node_id", "owner", "created_at, id")
    patchable = ("name", "extra")
    filters = ("node", "resource_class", "state", "owner")

    def __init__(self, cloud: Any, nodes: Nodes) -> None:
        super().__init__(cloud)
        self.nodes = nodes

    def target(self, row: Row) -> dict[str, Any]:
        return {"allocation.owner": row["owner"]} if row.get("owner") else {}

    def mine(self, project: str) -> Sql:
        return Sql("node_allocation.owner = :mine", {"mine": project})

    def where(self, request: Request, args: dict[str, str]) -> tuple[dict[str, Any], list[Sql]]:
        found: dict[str, Any] = {name: args[name] for name in ("resource_class", "state") if name in args}
        if "owner" in args:
            require(request, 60)
            found["owner"] = args["owner"]
        node = args.get("node")
        sql = "node_allocation.node_id IN (SELECT id FROM node WHERE id = :key OR name = :key)"
        return found, [Sql(sql, {"key": node})] if node is not None else []

    # -- claiming ----------------------------------------------------------------------------------------------

    async def create_row(self, request: Request, tx: Tx, body: dict[str, Any]) -> Row:
        body = dict(body)
        named = body.pop("node", None)
        row = self.parse_create(request, body)
        self._owner(request, row)
        if row["name"] is not None and (not is_name(row["name"]) or is_uuid(row["name"])):
            raise Invalid(f"Cannot create allocation with invalid name '{row['name']}'")
        for trait in row["traits"]:
            check_trait("allocation", trait)
        await self.unique(tx, "id", row["id"], f"An allocation with UUID {row['id']} already exists.")
        await self.unique(tx, "name", row["name"], f"An allocation with name {row['name']} already exists.")
        if named is not None:
            await self._backfill(request, tx, row, str(named))
        else:
            await self._ask(request, tx, row)
        await self.table.insert(tx, row)
        return row

    def _owner(self, request: Request, row: Row) -> None:
        """Without the right to allocate for all, one allocates for one's own project."""
        if not request.allowed("baremetal:allocation:create", {}):
            if not request.allowed("baremetal:allocation:create_restricted", {}):
                raise forbidden("baremetal:allocation:create")
            row["owner"] = request.caller.project_id
        own = request.caller.project_id
        if own and not request.caller.system:
            if row["owner"] not in (None, own) and not request.allowed("baremetal:allocation:create_restricted", {}):
                raise forbidden("baremetal:allocation:create_restricted")
            row["owner"] = row["owner"] or own

    async def _ask(self, request: Request, tx: Tx, row: Row) -> None:
        if not row["resource_class"]:
            raise Invalid("The resource_class field is mandatory when not backfilling")
        allowed: set[str] = set()
        for key in row["candidate_nodes"]:
            try:
                allowed.add((await self.nodes.find(request, tx, key))["id"])
            except NotFound as error:
                raise Invalid(error.message) from None
        row["candidate_nodes"] = sorted(allowed)
        row["state"] = ALLOCATING
        await work.wake(tx, "allocation", row["id"], request_id=request.id)

    async def _backfill(self, request: Request, tx: Tx, row: Row, key: str) -> None:
        """An allocation for a Node that is in use already."""
        if not at(request, 58):
            raise Invalid("Cannot set node when creating an allocation in this API version")
        try:
            node = await self.nodes.find(request, tx, key)
        except NotFound as error:
            raise Invalid(error.message) from None
        why = _unfit(row, node)
        if why:
            raise Conflict(f"Failed to process allocation {row['id']}: Cannot backfill an allocation "
                f"for node {node['id']}: "
                           f"{why}")  # fmt: skip
        row |= {"state": "active", "node_id": node["id"], "candidate_nodes": [node["id"]]}
        row["resource_class"] = row["resource_class"] or node["resource_class"]
        instance = node["instance_id"] or row["id"]
        await self.nodes.store(tx, node, {"instance_id": instance, "allocation_id": row["id"]})

    # -- releasing ---------------------------------------------------------------------------------------------

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        require(request, 57)
        name = changes.get("name")
        if name is not None and not is_name(name):
            raise Invalid(f"Cannot update allocation with invalid name '{name}'")
        await self.unique(tx, "name", name, f"An allocation with name {name} already exists.", but=old["id"])

    async def deleting(self, request: Request, tx: Tx, row: Row) -> None:
        node = await NODE.get(tx, id=row["node_id"]) if row["node_id"] else None
        if node is None:
            return
        if node["provision_state"] not in ENDED and not node["maintenance"]:
            raise Conflict(
                f"Cannot remove allocation {row['id']} for node {node['id']}, because the node is in state "
                f"{node['provision_state']} where allocations are not allowed to be removed. Undeploy "
                "the node first or set "
                "it into maintenance mode"
            )
        await self.nodes.store(tx, node, {"instance_id": None, "allocation_id": None})
        await work.wake(tx, "node", node["id"], request_id=request.id)

    async def _of_node(self, request: Request, reader: Reader) -> Row:
        key = request.params["id"]
        try:
            node = await self.nodes.find(request, reader, key)
        except NotFound as error:
            if request.method == "GET":  # there the Node is a filter to the real service, and its lack bad input
                raise Invalid(error.message) from None
            raise
        found = await self.table.get(reader, node_id=node["id"])
        if found is None or not request.allowed(self.rule("get"), self.target(found)):
            raise NotFound(f"Allocation for node {key} was not found")
        return found

    async def show_of_node(self, request: Request) -> Response:
        row = await self._of_node(request, self.db)
        return json_response(200, (await self.present(request, [row]))[0])

    async def delete_of_node(self, request: Request) -> Response:
        async def change(tx: Tx) -> None:
            row = await self._of_node(request, tx)
            self.enforce(request, "delete", row)
            await self.delete_row(request, tx, row)

        await self.db.write(change)
        return empty(204)

    def routes(self) -> list[Route]:
        path = V1 + "/nodes/{id}/allocation"
        return [
            Route("GET", path, self.show_of_node, "allocation:of_node", rule=self.rule("get"), since="1.52"),
            Route("DELETE", path, self.delete_of_node, "allocation:delete_of_node", rule=self.rule("delete"),
                  status=204,                   since="1.52"),
            *super().routes(),
        ]  # fmt: skip


ALLOCATION = Allocations.table


async def settle(tx: Tx, key: str, *, request_id: str | None = None) -> None:
    """Give an allocation its Node, or write down why there is none for it."""
    row = await ALLOCATION.get(tx, id=key)
    if row is None or row["state"] != ALLOCATING:
        return
    nodes, why = await candidates(tx, row, set(row["candidate_nodes"]))
    changes: Row = {"state": "error", "last_error": f"Failed to process allocation {key}: {why}."}
    if nodes:
        # Like the real service since 1.79, a Node that is named as the allocation comes first.
        node = next((node for node in nodes if row["name"] and node["name"] == row["name"]), nodes[0])
        changes = {"state": "active", "node_id": node["id"], "last_error": None}
        info = (node["instance_info"] or {}) | {"traits": row["traits"]}
        await claim.take(tx, node, {"instance_id": key, "allocation_id": key, "instance_info": info})
        await work.wake(tx, "node", node["id"], request_id=request_id)
    await ALLOCATION.update(tx, {"id": key}, changes | {"updated_at": clock.now()})


async def candidates(tx: Tx, row: Row, allowed: set[str]) -> tuple[list[Row], str]:
    """Free Nodes that fit an allocation, the longest available first; without any, which condition left none."""
    where: dict[str, Any] = {"resource_class": row["resource_class"]}
    if allowed:
        where["id"] = sorted(allowed)
    conditions = []
    if row["owner"]:
        conditions.append(Sql("node.owner = :mine OR node.lessee = :mine", {"mine": row["owner"]}))
    found = await claim.free(tx, conditions=conditions, **where)
    if not found:
        return [], f"no available nodes match the resource class {row['resource_class']}"
    fit = claim.fitting(found, row["traits"])
    return fit, "" if fit else "no suitable nodes have the requested traits " + ", ".join(sorted(row["traits"]))


def _unfit(row: Row, node: Row) -> str:
    """Why an allocation cannot be made for a Node that is in use."""
    if node["provision_state"] != "active":
        return f'Node must be in the "active" state, but the current state is "{node["provision_state"]}".'
    if node["allocation_id"]:
        return "Node is associated with another allocation."
    if row["resource_class"] and row["resource_class"] != node["resource_class"]:
        return f"Resource class {node['resource_class']} does not match the expected value {row['resource_class']}."
    if lacking := set(row["traits"]) - set(node["traits"] or []):
        return f"Required traits are missing: {', '.join(sorted(lacking))}."
    return ""
