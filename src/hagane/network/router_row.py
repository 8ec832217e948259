"""Rows of routers and floating IPs."""

from collections.abc import Sequence
from typing import Any

from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import BadValue
from hagane.network.address import INTERFACE
from hagane.network.attr import UNSET, standard
from hagane.network.dns_value import dns_domain, relative_name
from hagane.network.port_row import PORT
from hagane.network.value import Checked, Flag, Id, Text, fixed_ips, ip_or_none, routes, truth, words
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Table

GATEWAY = "network:router_gateway"


def gateway_info(field: str, value: Any) -> dict[str, Any] | None:
    """The body's external_gateway_info: None and {} mean no gateway. Raises BadValue."""
    if value is None or value == {}:
        return None
    if not isinstance(value, dict):
        raise BadValue(field, value, f"'{value}' is not a dictionary")
    expected = ["network_id", "external_fixed_ips", "enable_snat", "qos_policy_id"]
    unknown = set(value) - set(expected)
    if unknown or "network_id" not in value:
        raise BadValue(field, value, "Validation of dictionary's keys failed. Expected keys: "
                       f"{['network_id'] if not unknown else expected} Provided keys: {list(value)}")  # fmt: skip
    info: dict[str, Any] = {"network_id": Id().check(field, value["network_id"])}
    if "external_fixed_ips" in value and value["external_fixed_ips"] is not None:
        info["external_fixed_ips"] = fixed_ips(field, value["external_fixed_ips"])
    if "enable_snat" in value:
        info["enable_snat"] = truth(value["enable_snat"])
    if "qos_policy_id" in value:
        info["qos_policy_id"] = Id(nullable=True).check(field, value["qos_policy_id"])
    return info


ATTRS = (
    *standard(),
    Attr("admin_state_up", Flag(), write="cu", default=True),
    Attr("status", Text()),
    Attr("external_gateway_info", Checked(rule=gateway_info), write="cu", default=None, rule=True, filter=False),
    Attr("gateway_port_id", Id(), shown=False, filter=False, sort=False),
    Attr("enable_snat", Flag()),
    Attr("routes", Checked(rule=routes), write="u", filter=False),
    Attr("flavor_id", Id(nullable=True), write="c", default=None),
    Attr("ha", Flag(nullable=True), write="cu", default=UNSET, rule=True),
    Attr("availability_zone_hints", Checked(rule=words), write="c", default=list, filter=False),
    Attr("availability_zones", Checked(), stored=False, filter=False, sort=False),
)
INDEXES = ("project_id", "gateway_port_id", "flavor_id")
ROUTER = Table("router", tuple(Column(a.name, a.type.column, a.key) for a in ATTRS if a.stored), INDEXES)

FLOATING_ATTRS = (
    *standard(name=False),
    Attr("floating_ip_address", Checked(rule=ip_or_none, kind="text"), write="c", default=None, rule=True),
    Attr("floating_network_id", Id(), write="c", default=REQUIRED),
    Attr("subnet_id", Id(nullable=True), write="c", default=None, stored=False, shown=False),
    Attr("floating_port_id", Id(), shown=False, filter=False, sort=False),
    Attr("router_id", Id(nullable=True), write="cu", default=UNSET, rule=True),
    Attr("port_id", Id(nullable=True), write="cu", default=None),
    Attr("fixed_ip_address", Checked(rule=ip_or_none, kind="text"), write="cu", default=None),
    Attr("status", Text()),
    Attr("qos_policy_id", Id(nullable=True), write="cu", default=None),
    Attr("port_details", Checked(), stored=False, filter=False, sort=False),
    Attr("port_forwardings", Checked(), stored=False, filter=False, sort=False),
    Attr("dns_name", Checked(rule=relative_name, kind="text"), write="c", default=""),
    Attr("dns_domain", Checked(rule=dns_domain, kind="text"), write="c", default=""),
)
FLOATING_INDEXES = ("project_id", "port_id", "router_id", "floating_network_id", "qos_policy_id")
FLOATING = Table(
    "floatingip", tuple(Column(a.name, a.type.column, a.key) for a in FLOATING_ATTRS if a.stored), FLOATING_INDEXES
)


async def interfaces(reader: Reader, router_id: str) -> list[Row]:
    """The router's ports on its inner networks."""
    return await PORT.select(reader, {"device_id": router_id, "device_owner": INTERFACE}, order="created_at, id")


async def routers_of(reader: Reader, network_id: str) -> list[tuple[str, list[dict[str, str]]]]:
    """(router id, fixed IPs) of each router port on a network."""
    ports = await PORT.select(reader, {"network_id": network_id, "device_owner": INTERFACE}, order="created_at, id")
    return [(port["device_id"], port["fixed_ips"]) for port in ports]


async def bump(tx: Tx, row: Row, **changes: Any) -> Row:
    """Write a change of intent into a router's row."""
    changes |= {"generation": row["generation"] + 1, "updated_at": clock.now()}
    await ROUTER.update(tx, {"id": row["id"]}, changes)
    return row | changes


def subnets_of(ports: Sequence[Row]) -> list[str]:
    return [fixed["subnet_id"] for port in ports for fixed in port["fixed_ips"]]
