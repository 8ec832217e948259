"""Nics: the network interfaces of a Node. The wire calls them ports; a Port is a network API port, always.

`local_link_connection` says on which SwitchPort a Nic hangs: filled in by hand, or by LLDP in an inspection.
"""

import re
from typing import Any

from hagane.api.http import Request
from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import BadValue, Bool, Custom, Mac, Obj, Str, Time, Uuid
from hagane.baremetal import rack
from hagane.baremetal.base import V1, require
from hagane.baremetal.belonging import Wired, with_vif
from hagane.baremetal.nic_group import NicGroups
from hagane.errors import Conflict, Invalid
from hagane.network import plugged
from hagane.state.database import Row, Tx
from hagane.state.table import Sql

BOOL = Bool(nullable=True, loose=True)
FREE = Obj(open=True, nullable=True)
LINK_KEYS = ("switch_id", "port_id", "switch_info", "network_type", "hostname")


def _link(field: str, value: Any) -> Any:
    """A Link: switch_id (a MAC or an OpenFlow datapath id) and port_id, or nothing."""
    if not isinstance(value, dict):
        raise BadValue(field, value, f"{value!r} is not of type 'object'")
    if unknown := [key for key in value if key not in LINK_KEYS]:
        raise Invalid(
            f"Schema error for local_link_connection: {value!r} is not valid under any of the given schemas. "
            f"Possible root cause: Additional properties are not allowed ({', '.join(map(repr, unknown))} "
            f"{'was' if len(unknown) == 1 else 'were'} unexpected)"
        )
    if not value or value.get("network_type") == "unmanaged" or "hostname" in value:
        return value
    if lacking := [key for key in ("switch_id", "port_id") if key not in value]:
        raise Invalid(f"Schema error for local_link_connection: {value!r} is not valid under any of the given schemas. "
                      f"Possible root cause: '{lacking[0]}' is a required property")  # fmt: skip
    return value | {"switch_id": _switch(value["switch_id"])}


def _switch(text: Any) -> str:
    if isinstance(text, str) and re.fullmatch(r"([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}", text):
        return text.lower().replace("-", ":")
    if isinstance(text, str) and re.fullmatch(r"(0x)?[0-9a-fA-F]{16}", text):
        return text.lower()
    raise Invalid(f"Expected a MAC address or OpenFlow datapath ID but received {text}.")


class Nics(Wired):
    name, plural, noun, title, table_name = "port", "ports", "port", "Port", "nic"
    path = V1 + "/ports"
    shard_since = 82
    attrs = (
        Attr("id", Uuid(nullable=True), "c", wire="uuid", key=True),
        Attr("created_at", Time(nullable=True)),
        Attr("updated_at", Time(nullable=True)),
        Attr("address", Mac(), "cu", REQUIRED),
        Attr("extra", FREE, "cu", dict),
        Attr("internal_info", FREE, default=dict, since="1.18"),
        Attr("is_smartnic", BOOL, "cu", bool, since="1.53"),
        Attr("link", Custom(nullable=True, rule=_link), "cu", dict, wire="local_link_connection", since="1.19"),
        Attr("node_id", Str(), "cu", REQUIRED, wire="node_uuid"),
        Attr("physical_network", Str(64, nullable=True), "cu", since="1.34"),
        Attr("group_id", Uuid(nullable=True), "cu", wire="portgroup_uuid", since="1.24"),
        Attr("pxe_enabled", BOOL, "cu", lambda: True, since="1.19"),
        Attr("name", Str(nullable=True), "cu", since="1.88"),
        Attr("description", Str(255, nullable=True), "cu", since="1.97"),
        Attr("vendor", Str(32, nullable=True), "cu", since="1.100"),
        Attr("category", Str(80, nullable=True), "cu", since="1.101"),
        Attr("available_for_dynamic_portgroup", Bool(loose=True), "cu", lambda: True, since="1.111"),
        Attr("vif", Str(nullable=True), shown=False),
        Attr("plugged", Str(nullable=True), shown=False),  # the Port that it carries
    )
    indexes = ("unique address", "unique name", "node_id", "group_id", "vif", "plugged", "created_at, id")
    brief = ("uuid", "address")
    patchable = (
        "address", "extra", "is_smartnic", "local_link_connection", "node_ident", "node_uuid", "physical_network",
        "portgroup_uuid", "pxe_enabled", "name", "description", "vendor", "category",
        "available_for_dynamic_portgroup",
    )  # fmt: skip
    filters = ("node", "node_uuid", "address", "portgroup", "shard", "conductor_group", "project")
    named, ident = True, "port_ident"

    def where(self, request: Request, args: dict[str, str]) -> tuple[dict[str, Any], list[Sql]]:
        found, conditions = super().where(request, args)
        if "portgroup" in args:
            require(request, 24)
            sql = "nic.group_id IN (SELECT id FROM nic_group WHERE id = :pg OR name = :pg)"
            conditions.append(Sql(sql, {"pg": args["portgroup"]}))
        return found, conditions

    def finish(self, request: Request, row: Row, view: Row, chosen: tuple[str, ...] | None) -> Row:
        return with_vif(row, view)

    def parse_create(self, request: Request, body: dict[str, Any]) -> Row:
        if "node_ident" in body:
            require(request, 94)
            if "node_uuid" in body:
                raise Invalid(f"Schema error for port: {body!r} is valid under each of {{'required': ['node_uuid']}}, "
                              "{'required': ['node_ident']}")  # fmt: skip
            body = {("node_uuid" if key == "node_ident" else key): value for key, value in body.items()}
        elif "node_uuid" not in body and "address" in body:
            raise Invalid(f"Schema error for port: {body!r} is not valid under any of the given schemas. "
                "Possible root cause: "
                          "'node_ident' is a required property")  # fmt: skip
        return super().parse_create(request, body)

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        await self.unique(tx, "id", row["id"], f"A port with UUID {row['id']} already exists.")
        await self._check(tx, row, row)

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        await self.moved(request, tx, changes)
        _free(old["_node"], old, changes)
        await self._check(tx, old | changes, changes)

    async def store(self, tx: Tx, old: Row, changes: Row) -> Row:
        """A Nic that hangs elsewhere carries its Port there, and the SwitchPort that it left nothing."""
        stored = await super().store(tx, old, changes)
        if "link" in changes and changes["link"] != old["link"]:
            if old["plugged"]:
                await plugged.rewired(tx, self.cloud, old["plugged"])
            else:
                await rack.leave(tx, [old["id"]])
        return stored

    async def _check(self, tx: Tx, row: Row, changes: Row) -> None:
        address, name = changes.get("address"), changes.get("name")
        text = f"A port with MAC address {address} already exists."
        await self.unique(tx, "address", address, text, but=row["id"])
        await self.unique(tx, "name", name, f"A port with name {name} already exists.", but=row["id"])
        if changes.get("physical_network") == "":
            raise Invalid("A non-empty value is required when setting physical_network")
        if row.get("is_smartnic") and not {"port_id", "hostname"} <= (row.get("link") or {}).keys():
            raise Invalid("Smart NIC port must have port_id and hostname in local_link_connection")
        if row.get("group_id") is not None:
            await self._check_group(tx, row)
            if changes.keys() & {"group_id", "physical_network"}:
                await self._check_wires(tx, row)

    async def _check_group(self, tx: Tx, row: Row) -> None:
        group = await NicGroups.table.get(tx, id=row["group_id"])
        if group is None:
            raise Invalid(f"Portgroup {row['group_id']} could not be found.")
        if group["node_id"] != row["node_id"]:
            raise Invalid("Port can not be added to a portgroup belonging to a different node.")
        if row.get("pxe_enabled") and not group["standalone_ports_supported"]:
            raise Conflict(f"Port group {group['id']} doesn't support standalone ports. This port cannot be "
                "created as a "
                           "member of that portgroup as the port's 'pxe_enabled' field was set to True.")  # fmt: skip

    async def _check_wires(self, tx: Tx, row: Row) -> None:
        """All Nics of a group hang on one physical network; the first one says which. Raises Conflict."""
        members = await self.table.select(tx, {"group_id": row["group_id"]}, columns=("id", "physical_network"))
        others = {nic["physical_network"] for nic in members if nic["id"] != row["id"]}
        group = await NicGroups.table.get(tx, id=row["group_id"]) if not others else None
        if group is not None and group["physical_network"] is None:
            network = {"physical_network": row.get("physical_network")}
            await NicGroups.table.update(tx, {"id": row["group_id"]}, network)
            return
        there = group["physical_network"] if group is not None else next(iter(others))
        if row.get("physical_network") != there:
            raise Conflict(
                f"Port with physical network {row.get('physical_network')} cannot become a member of port group "
                f"{row['group_id']} which has ports in physical network {there}."
            )

    async def deleting(self, request: Request, tx: Tx, row: Row) -> None:
        if row["vif"] is not None and not row["_node"]["maintenance"]:
            raise Conflict(f"Cannot delete the port {row['id']} as VIF {row['vif']} is attached to it.")
        await rack.leave(tx, [row["id"]], request_id=request.id)
        await super().deleting(request, tx, row)


def _free(node: Row, old: Row, changes: Row) -> None:
    """What carries a tenant's traffic is not changed under it."""
    watched = {"node_id", "group_id", "link", "pxe_enabled", "physical_network"} & changes.keys()
    states = ("enroll", "inspecting", "inspect wait", "manageable")
    if watched and not node["maintenance"] and node["provision_state"] not in states:
        shown = {"link": "local_link_connection", "node_id": "node_id", "group_id": "portgroup_id"}
        listed = ", ".join(sorted(shown.get(name, name) for name in watched))
        raise Conflict(
            f"Port {old['id']} can not have any connectivity attributes ({listed}) updated "
            f"unless node {node['id']} is in a "
            f"{', '.join(states)} state or in maintenance mode. Current state is '{node['provision_state']}'."
        )
    if "address" in changes and old["vif"] is not None and not node["maintenance"]:
        raise Conflict(f"Cannot update the address of port {old['id']}: VIF {old['vif']} is attached to it.")
