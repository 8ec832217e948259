"""Extra routes of routers: each next hop must lie on a subnet that the router is attached to."""

from ipaddress import ip_address, ip_network
from typing import Any

from hagane.network import router_row, subnet_row, subnet_rule
from hagane.network.errors import bad_request, error
from hagane.network.port_row import PORT
from hagane.network.value import routes
from hagane.state.database import Row, Tx

MAX_ROUTES = 30


def of_body(body: Any) -> list[dict[str, str]]:
    """The routes of an add_extraroutes or remove_extraroutes body. Raises HTTPBadRequest, BadValue."""
    if not isinstance(body, dict) or not isinstance(body.get("router"), dict):
        raise bad_request("Body contains invalid data")
    return routes("routes", body["router"].get("routes"))


async def check(tx: Tx, router: Row, wanted: list[dict[str, str]]) -> None:
    """Raises RoutesExhausted, InvalidRoutes."""
    if len(wanted) > MAX_ROUTES:
        raise error("RoutesExhausted", router_id=router["id"], quota=MAX_ROUTES)
    if not wanted:
        return
    ports = await PORT.select(tx, {"device_id": router["id"]})
    subnets = await subnet_row.SUBNET.select(tx, {"id": router_row.subnets_of(ports)})
    prefixes = [subnet_rule.network_of(subnet["cidr"]) for subnet in subnets]
    own = {fixed["ip_address"] for port in ports for fixed in port["fixed_ips"]}
    for route in wanted:
        hop = ip_address(route["nexthop"])
        if hop.version != ip_network(route["destination"]).version:
            raise error("InvalidRoutes", routes=wanted, reason="the nexthop is of another IP version")
        if not any(hop in prefix for prefix in prefixes):
            raise error("InvalidRoutes", routes=wanted, reason="the nexthop is not connected with router")
        if str(hop) in own:
            raise error("InvalidRoutes", routes=wanted, reason="the nexthop is used by router")
