"""Nodes: enrol, list, show, change, remove. What a Node does (power, deploy) is in node_verb.py.

Who sees a Node: system readers, and members of its owner's and lessee's projects; to others it does not exist.
"""

from collections.abc import MutableMapping, Sequence
from typing import Any

from hagane.api.http import Request, Response
from hagane.api.service import Route
from hagane.api.types import is_uuid
from hagane.baremetal import node_reach, patch, rack, service_port
from hagane.baremetal.base import (
    CONDUCTOR,
    V1,
    at,
    boolean,
    forbidden,
    is_name,
    links,
    need,
    node_target,
    require,
)
from hagane.baremetal.chassis import Chassis
from hagane.baremetal.driver import FACTORY, complete
from hagane.baremetal.node_filter import FILTERS, where
from hagane.baremetal.node_row import ATTRS, HISTORY, INDEXES, INTERFACES, INVENTORY, PATCHABLE
from hagane.baremetal.node_rule import check_changeable, check_changes, check_delete, implied, reservation
from hagane.baremetal.node_secret import masked, opened, sealed
from hagane.baremetal.resource import BareResource
from hagane.errors import Conflict, Invalid, NotFound
from hagane.state import work
from hagane.state.database import Reader, Row, Tx
from hagane.state.secret import Secrets
from hagane.state.table import Sql

RESERVED = ("maintenance", "management", "states", "vendor_passthru", "detail", "validate")
_RULES = (
    ("instance_info", "update_instance_info"), ("extra", "update_extra"), ("driver_info", "update:driver_info"),
    ("properties", "update:properties"), ("chassis_uuid", "update:chassis_uuid"),
    ("instance_uuid", "update:instance_uuid"), ("instance_name", "update_instance_info"), ("lessee", "update:lessee"),
    ("owner", "update:owner"), ("driver", "update:driver_interfaces"), ("network_data", "update:network_data"),
    ("conductor_group", "update:conductor_group"), ("name", "update:name"), ("retired", "update:retired"),
    ("shard", "update:shard"), ("parent_node", "update:parent_node"),
    ("disable_power_off", "update:disable_power_off"),
)  # fmt: skip
"""How an attribute's name begins -> the policy rule that changing it asks."""


class Nodes(BareResource):
    name, plural, noun, title = "node", "nodes", "node", "Node"
    path = V1 + "/nodes"
    attrs, indexes, patchable = ATTRS, INDEXES, PATCHABLE
    brief = ("instance_uuid", "maintenance", "power_state", "provision_state", "uuid", "name")
    filters, named, scoped, ident = FILTERS, True, True, "node"

    def __init__(self, cloud: Any) -> None:
        super().__init__(cloud)
        self.secrets: Secrets = cloud.use(Secrets)

    # -- who may -----------------------------------------------------------------------------------------------

    def target(self, row: Row) -> dict[str, Any]:
        return node_target(row)

    def mine(self, project: str) -> Sql:
        return Sql("node.owner = :mine OR node.lessee = :mine", {"mine": project})

    async def need(self, request: Request, reader: Reader, rule: str, key: str = "") -> Row:
        """The Node of the path, if the caller may do `rule` to it. Raises NotFound for a Node one may not even see."""
        row = await self.find(request, reader, key or request.params["id"])
        need(request, f"baremetal:node:{rule}", node_target(row))
        return row

    # -- answers -----------------------------------------------------------------------------------------------

    def extras(self, request: Request) -> frozenset[str]:
        known = {"links", "reservation", "ports"} | ({"conductor"} if at(request, 49) else set())
        if "conductor" in request.args.get("fields", "") and not at(request, 49):
            require(request, 49)
        return frozenset(known)

    def finish(
        self, request: Request, row: Row, view: dict[str, Any], chosen: tuple[str, ...] | None
    ) -> dict[str, Any]:
        if chosen is None or "reservation" in chosen:
            view["reservation"] = reservation(row)
        if at(request, 49) and (chosen is None or "conductor" in chosen):
            view["conductor"] = CONDUCTOR
        if "driver_internal_info" in view:
            view["driver_internal_info"] = masked(view["driver_internal_info"])
        if not request.allowed("baremetal:node:get:filter_threshold", {}):
            _guard(request, row, view)
        older_state(request, view)
        if chosen is None:
            for name, since in (("ports", 1), ("states", 14), ("portgroups", 24), ("volume", 32)):
                if at(request, since):
                    view[name] = links(request, f"nodes/{row['id']}/{name}")
        return view

    # -- filters -----------------------------------------------------------------------------------------------

    def where(self, request: Request, args: dict[str, str]) -> tuple[dict[str, Any], list[Sql]]:
        return where(request, args)

    # -- enrolling ---------------------------------------------------------------------------------------------

    def _owner(self, request: Request, row: Row) -> None:
        """A project's admin enrols Nodes of that project only."""
        if request.allowed("baremetal:node:create", {}):
            return
        need(request, "baremetal:node:create:self_owned_node")
        own = request.caller.project_id
        if row.get("owner") and row["owner"] != own:
            raise Invalid("Cannot create a node as a project scoped admin with an owner other than your own project.")
        row["owner"] = own

    async def create_row(self, request: Request, tx: Tx, body: dict[str, Any]) -> Row:
        if not (request.allowed("baremetal:node:create", {})
                or request.allowed("baremetal:node:create:self_owned_node", {})):  # fmt: skip
            raise forbidden("baremetal:node:create")
        row = self.parse_create(request, body)
        self._owner(request, row)
        row["conductor_group"] = (row["conductor_group"] or "").lower()
        if row["name"] is not None:
            check_name(row["name"], f"Cannot create node with invalid name '{row['name']}'")
        await self._unique(tx, row, row)
        await self._related(tx, row)
        await node_reach.check(tx, request.caller, {}, row)
        node_reach.check_urls(request.caller, {}, row)
        row |= complete(row)
        row["provision_state"] = "enroll" if at(request, 11) else "available"
        row["seen"] = FACTORY if row["driver"] == "fake-hardware" else {}
        sealed(self.secrets, row, row)
        await self.table.insert(tx, row)
        await work.wake(tx, "node", row["id"], request_id=request.id)
        return row

    async def _unique(self, tx: Tx, row: Row, changes: Row) -> None:
        key = row["id"]
        if changes is row:
            await self.unique(tx, "id", key, f"A node with UUID {key} already exists.")
        name, instance = changes.get("name"), changes.get("instance_id")
        await self.unique(tx, "name", name, f"A node with name {name} already exists.", but=key)
        await self.unique(tx, "instance_id", instance, f"Instance {instance} is already associated with a node, it "
                          f"cannot be associated with this other node {key}", but=key)  # fmt: skip

    async def _related(self, tx: Tx, changes: Row) -> None:
        """Chassis and parent must exist; a parent's name becomes its UUID."""
        chassis, parent = changes.get("chassis_id"), changes.get("parent_node")
        if chassis is not None and await Chassis.table.get(tx, id=chassis) is None:
            raise Invalid(f"Chassis {chassis} could not be found.")
        if parent is not None:
            try:
                changes["parent_node"] = (await self.load(tx, parent))["id"]
            except NotFound as error:
                raise Invalid(error.message) from None

    # -- changing ----------------------------------------------------------------------------------------------

    def document(self, row: Row) -> dict[str, Any]:
        return super().document(row) | _parts(opened(self.secrets, row))

    async def update(self, request: Request) -> Response:
        if "reset_interfaces" in request.args:
            require(request, 45)
        return await super().update(request)

    async def patch_row(self, request: Request, tx: Tx, old: Row, operations: Sequence[patch.Operation]) -> Row:
        _may(request, old, operations)
        reset = bool(boolean("reset_interfaces", request.args.get("reset_interfaces")))
        if reset and not patch.values(operations, "driver"):
            raise Invalid("The reset_interfaces parameter can only be used when changing the node's driver.")
        ident = request.params["id"]
        removes = [(entry["op"], entry["path"]) for entry in operations] == [("remove", "/instance_uuid")]
        check_changeable(old, ident, only_instance_removed=removes, knows_inspect_wait=at(request, 39))
        for name in patch.values(operations, "name"):
            check_name(name, f"Node {ident}: Cannot change name to invalid name '{name}'")
        before = self.document(old)
        changes = self.patch_changes(request, before, patch.apply(before, operations))
        await self._check_changes(request, tx, old, changes, reset=reset)
        await node_reach.check(tx, request.caller, before, changes)
        node_reach.check_urls(request.caller, before, changes)
        stored = await self.store(tx, old, sealed(self.secrets, old, changes))
        await work.wake(tx, "node", old["id"], request_id=request.id)
        return stored

    async def _check_changes(self, request: Request, tx: Tx, old: Row, changes: Row, *, reset: bool) -> None:
        check_changes(old, changes)
        if "owner" in changes:
            await self._check_owner(request, tx, old)
        implied(old, changes)
        if changes.get("instance_id", "") is None and old["allocation_id"] is not None:
            # A Node that is taken from its instance has no allocation any more.
            await tx.execute("DELETE FROM node_allocation WHERE id = :id", {"id": old["allocation_id"]})
            changes["allocation_id"] = None
        if changes.keys() & {"driver", *(f"{name}_interface" for name in INTERFACES)}:
            given = {**old, **changes} if not reset else {"driver": changes["driver"]} | changes
            changes |= complete(given)
        await self._unique(tx, old, changes)
        await self._related(tx, changes)

    async def _check_owner(self, request: Request, tx: Tx, old: Row) -> None:
        if old["provision_state"] == "active" and not request.allowed(
            "baremetal:node:update_owner_provisioned", node_target(old)
        ):
            raise Conflict(f'Cannot update owner of node "{old["id"]}" while it is in state "active".')
        found = await tx.fetch_tuples("SELECT owner FROM node_allocation WHERE node_id = :id", {"id": old["id"]})
        if any(owner for (owner,) in found):
            raise Conflict(f'Cannot update owner of node "{old["id"]}" while it is allocated to an allocation with an '
                           " owner.")  # fmt: skip

    # -- removing ----------------------------------------------------------------------------------------------

    def enforce(self, request: Request, verb: str, row: Row, given: Sequence[str] = ()) -> None:
        if verb == "delete" and request.allowed("baremetal:node:delete:self_owned_node", node_target(row)):
            return
        super().enforce(request, verb, row, given)

    async def deleting(self, request: Request, tx: Tx, row: Row) -> None:
        check_delete(row)
        await rack.leave_node(tx, row["id"], request_id=request.id)
        await service_port.drop(tx, row["id"], request_id=request.id)
        for table in ("nic", "nic_group", "volume_connector", "volume_target", "node_history", "node_inventory",
                      "node_allocation"):  # fmt: skip
            await tx.execute(f"DELETE FROM {table} WHERE node_id = :id", {"id": row["id"]})
        await work.wake(tx, "node", row["id"], request_id=request.id)

    def routes(self) -> Sequence[Route]:
        return [
            Route("GET", self.path + "/detail", self.detail, "node:detail", rule="baremetal:node:list",
                  query=self.query_names()),
            *super().routes(),
        ]  # fmt: skip


NODE, TABLES = Nodes.table, (Nodes.table, HISTORY, INVENTORY)


def older_state(request: Request, view: MutableMapping[str, Any]) -> None:
    """Names of states as versions before them knew them."""
    state = view.get("provision_state")
    if state == "available" and not at(request, 2):
        view["provision_state"] = None
    if state == "inspect wait" and not at(request, 39):
        view["provision_state"] = "inspecting"


def check_name(name: Any, text: str) -> None:
    """Raises Invalid."""
    if not isinstance(name, str) or not is_name(name) or is_uuid(name):
        raise Invalid(text)
    if name in RESERVED:
        raise Invalid(f'The word "{name}" is reserved and can not be used as a node name. '
                      f"Reserved words are: {', '.join(RESERVED)}.")  # fmt: skip


def _parts(whole: dict[str, Any]) -> dict[str, Any]:
    return {"driver_info": whole["driver_info"], "instance_info": whole["instance_info"]}


def _may(request: Request, row: Row, operations: Sequence[patch.Operation]) -> None:
    """Each change asks its own rule; what has none asks the general one. Raises Forbidden."""
    rules = {_rule(entry) for entry in operations} or {"update"}
    for rule in sorted(rules):
        need(request, f"baremetal:node:{rule}", node_target(row))


def _rule(entry: patch.Operation) -> str:
    label = entry["path"].lstrip("/")
    for beginning, rule in _RULES:
        if label.startswith(beginning):
            return rule
    if label.removesuffix("_interface") in INTERFACES and label.endswith("_interface"):
        return "update:driver_interfaces"
    if label == "automated_clean" and boolean("automated_clean", entry.get("value")) is False:
        return "disable_cleaning"
    return "update"


def _guard(request: Request, row: Row, view: dict[str, Any]) -> None:
    """Hide from owners and lessees what tells about the cloud's inside, unless the policy shows it."""
    target = node_target(row)

    def hidden(name: str) -> bool:
        return name in view and not request.allowed(f"baremetal:node:get:{name}", target)

    if hidden("last_error"):
        view["last_error"] = "** Value Redacted - Requires baremetal:node:get:last_error permission. **"
    if hidden("reservation"):
        view["reservation"] = "** Redacted - requires baremetal:node:get:reservation permission. **"
    if hidden("driver_internal_info"):
        text = "** Redacted - Requires baremetal:node:get:driver_internal_info permission. **"
        view["driver_internal_info"] = {"content": text}
    if hidden("driver_info"):
        view["driver_info"] = {"content": "** Redacted - requires baremetal:node:get:driver_info permission. **"}
