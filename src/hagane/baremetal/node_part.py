"""The smaller things below a Node's path: maintenance, traits, validation, boot device, VIFs, what was seen.

What a BMC shows (boot device, indicators, BIOS settings, firmware) is answered from the row's `seen`, which the
reconciler of Nodes fills: a request never waits for a machine.
"""

import re
from collections.abc import Sequence
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import Bool, ListOf, Obj, Str, Type
from hagane.baremetal import node_reach, san_target
from hagane.baremetal.base import V1, arguments, at, boolean, link, links, list_scope, moment, query, require, string
from hagane.baremetal.driver import validate
from hagane.baremetal.nic import Nics
from hagane.baremetal.nic_group import NicGroups
from hagane.baremetal.node import Nodes
from hagane.baremetal.node_history import History
from hagane.baremetal.node_row import INVENTORY
from hagane.baremetal.node_verb import NodeVerbs, unsupported
from hagane.baremetal.vif import attach, detach
from hagane.errors import HaganeError, Invalid, NotFound
from hagane.state import work
from hagane.state.database import Row, Tx

DEVICES = ("pxe", "disk", "cdrom", "bios", "safe", "wanboot", "floppy", "iscsiboot", "ramdisk", "uefihttp")
MOST_TRAITS = 50
BODIES: dict[tuple[str, str], Type] = {
    ("PUT", "/maintenance"): Obj(fields={"reason": Str(nullable=True)}),
    ("PUT", "/traits"): Obj(fields={"traits": ListOf(item=Str())}, required=("traits",)),
    ("PUT", "/management/boot_device"): Obj(
        fields={"boot_device": Str(), "persistent": Bool(nullable=True)}, required=("boot_device",)
    ),
    ("PUT", "/management/indicators/{name}"): Obj(fields={"state": Str()}, required=("state",)),
    ("POST", "/vifs"): Obj(fields={"id": Str(min=1)}, required=("id",), open=True),
}
"""Bodies of the requests below a Node, for the documents."""
_CUSTOM = re.compile(r"CUSTOM_[A-Z0-9_]+\Z")
_STANDARD = re.compile(r"(COMPUTE|HW|MISC|STORAGE|OWNER)_[A-Z0-9_]+\Z")


class NodeParts:
    def __init__(self, nodes: Nodes, verbs: NodeVerbs) -> None:
        self.nodes, self.verbs, self.db, self.history = nodes, verbs, nodes.db, History(nodes)

    async def _change(self, request: Request, rule: str, work_: Any) -> None:
        async def change(tx: Tx) -> None:
            row = await self.nodes.need(request, tx, rule)
            await work_(tx, row)

        await self.db.write(change)

    # -- maintenance -------------------------------------------------------------------------------------------

    async def maintain(self, request: Request) -> Response:
        reason = string("reason", arguments(await request.json(), ("reason",)).get("reason"))

        async def change(tx: Tx, row: Row) -> None:
            await self.nodes.store(tx, row, {"maintenance": True, "maintenance_reason": reason})

        await self._change(request, "set_maintenance", change)
        return empty(202)

    async def serve_again(self, request: Request) -> Response:
        async def change(tx: Tx, row: Row) -> None:
            await self.nodes.store(tx, row, {"maintenance": False, "maintenance_reason": None, "fault": None})
            await work.wake(tx, "node", row["id"], request_id=request.id)

        await self._change(request, "clear_maintenance", change)
        return empty(202)

    # -- traits ------------------------------------------------------------------------------------------------

    async def traits(self, request: Request) -> Response:
        require(request, 37)
        row = await self.nodes.need(request, self.db, "traits:list")
        return json_response(200, {"traits": row["traits"] or []})

    async def set_traits(self, request: Request) -> Response:
        _since_37(request)
        await self.nodes.need(request, self.db, "traits:set")
        body = await request.json()
        if not isinstance(body, dict) or "traits" not in body:
            raise Invalid("A single node trait may be added via PUT /v1/nodes/<node identifier>/traits/<trait> with no "
                          "body, or all node traits may be replaced via PUT /v1/nodes/<node identifier>/traits with "
                "the "
                          "list of traits specified in the request body.")  # fmt: skip
        names = arguments(body, ("traits",))["traits"]
        if not isinstance(names, list):
            raise Invalid(f"Schema error for body: {names!r} is not of type 'array'")
        for name in names:
            check_trait("body", name)
        await self._store_traits(request, "traits:set", lambda old: set(names))
        return empty(204)

    async def add_trait(self, request: Request) -> Response:
        _since_37(request)
        name = request.params["trait"]
        await self.nodes.need(request, self.db, "traits:set")
        check_trait("trait", name)
        if await request.json():  # clients send empty ones
            raise Invalid("No body should be provided when adding a trait")
        await self._store_traits(request, "traits:set", lambda old: old | {name})
        return empty(204, {"location": f"{request.url}/v1/nodes/{request.params['id']}/traits/{name}"})

    async def drop_trait(self, request: Request) -> Response:
        _since_37(request)
        name = request.params["trait"]

        def without(old: set[str], row: Row) -> set[str]:
            if name not in old:
                raise NotFound(f"Node {row['id']} doesn't have a trait '{name}'")
            return old - {name}

        async def change(tx: Tx, row: Row) -> None:
            await self.nodes.store(tx, row, {"traits": sorted(without(set(row["traits"] or []), row))})

        await self._change(request, "traits:delete", change)
        return empty(204)

    async def drop_traits(self, request: Request) -> Response:
        _since_37(request)
        await self._store_traits(request, "traits:delete", lambda old: set())
        return empty(204)

    async def _store_traits(self, request: Request, rule: str, after: Any) -> None:
        async def change(tx: Tx, row: Row) -> None:
            names = sorted(after(set(row["traits"] or [])))
            if len(names) > MOST_TRAITS:
                raise Invalid(f"Error setting traits for node {row['id']}: the number of traits exceeds the limit of "
                              f"{MOST_TRAITS}")  # fmt: skip
            await self.nodes.store(tx, row, {"traits": names})

        await self._change(request, rule, change)

    # -- what the driver says ----------------------------------------------------------------------------------

    async def validate(self, request: Request) -> Response:
        """`/nodes/{id}/validate`, and `/nodes/validate?node=` of older clients."""
        key = request.params.get("id") or request.args.get("node") or request.args.get("node_uuid")
        if not key:
            raise Invalid("Missing mandatory parameter: node")
        row = await self.nodes.need(request, self.db, "validate", key)
        return json_response(200, validate(row, await san_target.targets(self.db, row["id"])))

    async def boot_device(self, request: Request) -> Response:
        row = await self.nodes.need(request, self.db, "get_boot_device")
        return json_response(200, row["seen"].get("boot_device") or {"boot_device": None, "persistent": None})

    async def boot_devices(self, request: Request) -> Response:
        row = await self.nodes.need(request, self.db, "get_boot_device")
        return json_response(200, {"supported_boot_devices": row["seen"].get("boot_devices") or []})

    async def set_boot_device(self, request: Request) -> Response:
        given = arguments(await request.json(), ("boot_device", "persistent"), ("boot_device",))
        device = given["boot_device"]
        persistent = bool(boolean("persistent", given.get("persistent")))

        async def change(tx: Tx, row: Row) -> None:
            known = row["seen"].get("boot_devices") or DEVICES
            if device not in known:
                raise Invalid(f"Invalid boot device {device} specified.")
            wanted = {"boot_device": device, "persistent": persistent}
            await self.verbs.want(request, tx, row, {}, boot_device=wanted)

        await self._change(request, "set_boot_device", change)
        return empty(204)

    async def inject_nmi(self, request: Request) -> Response:
        if not at(request, 29):
            raise NotFound("Resource could not be found.")

        async def change(tx: Tx, row: Row) -> None:
            if row["driver"] == "fake-hardware":
                raise unsupported(row, "inject_nmi")
            await self.verbs.want(request, tx, row, {}, nmi=True)

        await self._change(request, "inject_nmi", change)
        return empty(204)

    async def indicators(self, request: Request) -> Response:
        _since_63(request)
        row = await self.nodes.need(request, self.db, "get_indicator_state")
        below = f"nodes/{request.params['id']}/management/indicators"
        found = [
            {"name": name, "component": name.rpartition("@")[2], "readonly": entry["readonly"],
             "states": sorted(entry["states"]), "links": links(request, f"{below}/{name}")}
            for name, entry in sorted((row["seen"].get("indicators") or {}).items())
        ]  # fmt: skip
        return json_response(200, {"indicators": found})

    async def indicator(self, request: Request) -> Response:
        _since_63(request)
        row = await self.nodes.need(request, self.db, "get_indicator_state")
        return json_response(200, {"state": _indicator(row, request.params["name"])["state"]})

    async def set_indicator(self, request: Request) -> Response:
        _since_63(request)
        state = string("state", arguments(await request.json(), ("state",), ("state",))["state"])
        name = request.params["name"]

        async def change(tx: Tx, row: Row) -> None:
            entry = _indicator(row, name)
            if entry["readonly"] or state not in entry["states"]:
                raise Invalid(f"Indicator {name} can not be set to {state}.")
            wanted = (row["wanted"].get("indicators") or {}) | {name: state}
            await self.verbs.want(request, tx, row, {}, indicators=wanted)

        await self._change(request, "set_indicator_state", change)
        return empty(204)

    async def bios(self, request: Request) -> Response:
        require(request, 40)
        args = query(request, ("detail", "fields"))
        row = await self.nodes.need(request, self.db, "bios:get")
        full = bool(boolean("detail", args.get("detail")))
        shown = [_setting(request, row, entry, full=full) for entry in row["seen"].get("bios") or []]
        return json_response(200, {"bios": shown})

    async def bios_setting(self, request: Request) -> Response:
        require(request, 40)
        row, name = await self.nodes.need(request, self.db, "bios:get"), request.params["name"]
        for entry in row["seen"].get("bios") or []:
            if entry["name"] == name:
                return json_response(200, {name: _setting(request, row, entry, full=at(request, 74))})
        raise NotFound(f"Node {row['id']} doesn't have a BIOS setting '{name}'")

    async def firmware(self, request: Request) -> Response:
        row = await self.nodes.need(request, self.db, "firmware:get")
        return json_response(200, {"firmware": row["seen"].get("firmware") or []})

    async def inventory(self, request: Request) -> Response:
        row = await self.nodes.need(request, self.db, "inventory:get")
        found = await INVENTORY.get(self.db, node_id=row["id"])
        if found is None:
            raise NotFound(f"Node inventory record for node {row['id']} could not be found.")
        return json_response(200, {"inventory": found["inventory"], "plugin_data": found["plugin_data"]})

    # -- VIFs --------------------------------------------------------------------------------------------------

    async def vifs(self, request: Request) -> Response:
        row = await self.nodes.need(request, self.db, "vif:list")
        found = [
            *await Nics.table.select(self.db, {"node_id": row["id"]}, order="created_at, id"),
            *await NicGroups.table.select(self.db, {"node_id": row["id"]}, order="created_at, id"),
        ]
        return json_response(200, {"vifs": [{"id": nic["vif"]} for nic in found if nic["vif"] is not None]})

    async def attach_vif(self, request: Request) -> Response:
        body = await request.json()
        if not isinstance(body, dict) or "id" not in body:
            raise Invalid("Schema error for vif: 'id' is a required property")
        vif = body["id"]
        if not isinstance(vif, str) or not vif:
            raise Invalid(f"Schema error for vif: {vif!r} is not of type 'string'")

        async def change(tx: Tx, row: Row) -> None:
            await node_reach.check_port(tx, request.caller, vif)
            await attach(tx, row, vif, nic=body.get("port_uuid"), group=body.get("portgroup_uuid"))
            await work.wake(tx, "node", row["id"], request_id=request.id)

        await self._change(request, "vif:attach", change)
        return empty(204)

    async def detach_vif(self, request: Request) -> Response:
        vif = request.params["vif"]

        async def change(tx: Tx, row: Row) -> None:
            if not await detach(tx, row["id"], vif):
                raise Invalid(f"Unable to detach VIF {vif} from node {row['id']} because it is not attached to it.")
            await work.wake(tx, "node", row["id"], request_id=request.id)

        await self._change(request, "vif:detach", change)
        return empty(204)

    async def detach_none(self, request: Request) -> Response:
        await self.nodes.need(request, self.db, "vif:detach")
        raise Invalid("Missing mandatory parameter: vif_id")

    # -- calls of a vendor's own, of which no driver has any -----------------------------------------------------

    async def vendor_methods(self, request: Request) -> Response:
        await self.nodes.need(request, self.db, "vendor_passthru")
        return json_response(200, {})

    async def vendor_call(self, request: Request) -> Response:
        await self.nodes.need(request, self.db, "vendor_passthru")
        method = request.params.get("method") or request.args.get("method")
        raise Invalid(f"No handler for method {method}" if method else "Missing mandatory parameter: method")

    # -- Nodes that are a part of another ------------------------------------------------------------------------

    async def children(self, request: Request) -> Response:
        row = await self.nodes.need(request, self.db, "get")
        project = list_scope(request, "node")
        conditions = [self.nodes.mine(project)] if project else []
        found = await self.nodes.table.select(
            self.db, {"parent_node": row["id"]}, conditions=conditions, columns=("id",)
        )
        href = link(request, "nodes", "children")["href"] + f"?parent_node={row['id']}"
        return json_response(200, {"children": [child["id"] for child in found],
                                   "links": {"href": href, "rel": "children"}})  # fmt: skip

    def routes(self) -> Sequence[Route]:
        node, noun = V1 + "/nodes/{id}", "baremetal:node:"
        table = (
            ("PUT", "/maintenance", self.maintain, "set_maintenance", 202, 1),
            ("DELETE", "/maintenance", self.serve_again, "clear_maintenance", 202, 1),
            ("GET", "/traits", self.traits, "traits:list", 200, 1),
            ("PUT", "/traits", self.set_traits, "traits:set", 204, 1),
            ("DELETE", "/traits", self.drop_traits, "traits:delete", 204, 1),
            ("PUT", "/traits/{trait}", self.add_trait, "traits:set", 204, 1),
            ("DELETE", "/traits/{trait}", self.drop_trait, "traits:delete", 204, 1),
            ("GET", "/validate", self.validate, "validate", 200, 1),
            ("GET", "/management/boot_device", self.boot_device, "get_boot_device", 200, 1),
            ("PUT", "/management/boot_device", self.set_boot_device, "set_boot_device", 204, 1),
            ("GET", "/management/boot_device/supported", self.boot_devices, "get_boot_device", 200, 1),
            ("PUT", "/management/inject_nmi", self.inject_nmi, "inject_nmi", 204, 1),
            ("GET", "/management/indicators", self.indicators, "get_indicator_state", 200, 1),
            ("GET", "/management/indicators/{name}", self.indicator, "get_indicator_state", 200, 1),
            ("PUT", "/management/indicators/{name}", self.set_indicator, "set_indicator_state", 204, 1),
            ("GET", "/bios", self.bios, "bios:get", 200, 40),
            ("GET", "/bios/{name}", self.bios_setting, "bios:get", 200, 40),
            ("GET", "/firmware", self.firmware, "firmware:get", 200, 86),
            ("GET", "/inventory", self.inventory, "inventory:get", 200, 81),
            ("GET", "/history", self.history.list, "history:get", 200, 78),
            ("GET", "/history/{event}", self.history.show, "history:get", 200, 78),
            ("GET", "/vifs", self.vifs, "vif:list", 200, 28),
            ("POST", "/vifs", self.attach_vif, "vif:attach", 204, 28),
            ("DELETE", "/vifs", self.detach_none, "vif:detach", 204, 28),
            ("DELETE", "/vifs/{vif}", self.detach_vif, "vif:detach", 204, 28),
            ("GET", "/vendor_passthru/methods", self.vendor_methods, "vendor_passthru", 200, 1),
            *(
                (method, "/vendor_passthru" + more, self.vendor_call, "vendor_passthru", 200, 1)
                for method in ("DELETE", "GET", "PATCH", "POST", "PUT")
                for more in ("", "/{method}")
            ),
            ("GET", "/children", self.children, "get", 200, 83),
        )
        made = [
            Route(method, node + path, handler, f"node:{rule}:{method.lower()}", rule=noun + rule, status=status,
                  since=f"1.{since}", body=BODIES.get((method, path)))
            for method, path, handler, rule, status, since in table
        ]  # fmt: skip
        return [*made, Route("GET", V1 + "/nodes/validate", self.validate, "node:validate_by", rule=noun + "validate",
                             query=("node", "node_uuid"))]  # fmt: skip


def check_trait(what: str, name: Any) -> None:
    """A trait of one's own (CUSTOM_...) or a standard one. Raises Invalid."""
    if not isinstance(name, str) or len(name) > 255 or not (_CUSTOM.match(name) or _STANDARD.match(name)):
        raise Invalid(f"Schema error for {what}: {name!r} is not valid under any of the given schemas. "
                "Possible root cause: "
                      f"{name!r} does not match '^CUSTOM_[A-Z0-9_]+$'")  # fmt: skip


def _since_37(request: Request) -> None:
    """Before traits there was no such path to write to."""
    if at(request, 37):
        return
    if request.method == "PUT":
        raise HaganeError("", code="MethodNotAllowed", status=405)
    raise NotFound("Resource could not be found.")


def _since_63(request: Request) -> None:
    if not at(request, 63):
        raise NotFound("Resource could not be found.")


def _indicator(row: Row, name: str) -> dict[str, Any]:
    if "@" not in name:
        raise Invalid(f'Malformed indicator name "{name}"')
    found: dict[str, Any] | None = (row["seen"].get("indicators") or {}).get(name)
    if found is None:
        raise NotFound(f"Indicator {name} of node {row['id']} could not be found.")
    return found


def _setting(request: Request, row: Row, entry: dict[str, Any], *, full: bool) -> dict[str, Any]:
    view = {"name": entry["name"], "value": entry["value"], "created_at": moment(entry.get("created_at")),
            "updated_at": moment(entry.get("updated_at")),
            "links": links(request, f"nodes/{row['id']}/bios/{entry['name']}")}  # fmt: skip
    if full and at(request, 74):
        keys = ("attribute_type", "allowable_values", "lower_bound", "upper_bound", "min_length", "max_length",
                "read_only",                 "reset_required", "unique")  # fmt: skip
        view |= {key: entry.get(key) for key in keys}
    return view
