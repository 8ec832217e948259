"""Routers and floating IPs: one Logical_Router each, a port an interface, static routes, NAT. Pure functions.

The gateway port is scheduled on several chassis by priority; OVN itself moves it when one dies (BFD between them).
"""

import zlib
from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from hagane.ovn.desired import Desired
from hagane.ovn.northbound import Table
from hagane.state.database import Row

GATEWAY = "network:router_gateway"
CHASSIS = 5  # at most so many chassis stand by for one gateway


def owner(router_id: str) -> str:
    return f"router:{router_id}"


def router(
    row: Row, ports: Sequence[Row], networks: Mapping[str, Row], subnets: Mapping[str, Row], chassis: Sequence[str]
) -> list[Desired]:
    """All rows that a router owns. `ports`: its interfaces and its gateway; `chassis`: those that reach the outside."""
    me = owner(row["id"])
    options = {"always_learn_from_arp_request": "false", "dynamic_neigh_routers": "true"}
    rows = [
        Desired(
            Table.ROUTER,
            me,
            {"name": row["id"], "enabled": row["admin_state_up"], "options": options},
            exclusive=("static_routes",),
        )
    ]
    for port in ports:
        rows += _port(me, port, networks[port["network_id"]], subnets, chassis)
    gateways = [port for port in ports if port["device_owner"] == GATEWAY]
    rows += _routes(row, gateways, subnets)
    if gateways and row.get("enable_snat", True):
        rows += _snat(me, gateways[0], ports, subnets)
    return rows


def _port(me: str, port: Row, network: Row, subnets: Mapping[str, Row], chassis: Sequence[str]) -> list[Desired]:
    gateway = port["device_owner"] == GATEWAY
    key = f"{me}/port:{port['id']}"
    name = f"lrp-{port['id']}"
    columns: dict[str, Any] = {
        "name": name,
        "mac": port["mac_address"],
        "networks": _networks(port, subnets),
        "enabled": port["admin_state_up"],
        "ipv6_ra_configs": {} if gateway else _advertisement(port, network, subnets),
        "options": {"gateway_mtu": str(network["mtu"])} if gateway else {},
    }
    rows = [Desired(Table.ROUTER_PORT, key, columns, parent=(Table.ROUTER, me, "ports"))]
    for rank, chosen in enumerate(_ranked(port["id"], chassis) if gateway else ()):
        rows.append(
            Desired(
                Table.GATEWAY_CHASSIS,
                f"{me}/gateway:{chosen}",
                {"name": f"{name}_{chosen}", "chassis_name": chosen, "priority": CHASSIS - rank},
                parent=(Table.ROUTER_PORT, key, "gateway_chassis"),
            )
        )
    return rows


def _ranked(port_id: str, chassis: Sequence[str]) -> list[str]:
    """Chassis in an order of this gateway's own, always the same: gateways spread, and few move when one is added."""
    return sorted(chassis, key=lambda name: zlib.crc32(f"{port_id} {name}".encode()))[:CHASSIS]


def _networks(port: Row, subnets: Mapping[str, Row]) -> list[str]:
    found = []
    for fixed in port["fixed_ips"] or ():
        subnet = subnets.get(fixed["subnet_id"])
        if subnet is not None:
            found.append(f"{fixed['ip_address']}/{subnet['cidr'].partition('/')[2]}")
    return found


def _advertisement(port: Row, network: Row, subnets: Mapping[str, Row]) -> dict[str, str]:
    """IPv6 router advertisements (ovn-nb(5), "ipv6_ra_configs"), where a subnet's mode asks for them."""
    modes = [
        subnet.get("ipv6_ra_mode")
        for fixed in port["fixed_ips"] or ()
        if (subnet := subnets.get(fixed["subnet_id"])) is not None and subnet["ip_version"] == 6
    ]
    mode = next((m for m in modes if m), None)
    if mode is None:
        return {}
    words = {"slaac": "slaac", "dhcpv6-stateful": "dhcpv6_stateful", "dhcpv6-stateless": "dhcpv6_stateless"}
    return {"address_mode": words[mode], "send_periodic": "true", "mtu": str(network["mtu"])}


def _routes(row: Row, gateways: Sequence[Row], subnets: Mapping[str, Row]) -> list[Desired]:
    """Default routes to the gateways of the external subnets, and the extra routes that the owner wrote."""
    wanted: dict[tuple[str, str], None] = {}
    for port in gateways:
        for fixed in port["fixed_ips"] or ():
            subnet = subnets.get(fixed["subnet_id"])
            if subnet is not None and subnet["gateway_ip"]:
                prefix = "::/0" if subnet["ip_version"] == 6 else "0.0.0.0/0"
                wanted[prefix, subnet["gateway_ip"]] = None
    for route in row.get("routes") or ():
        wanted[route["destination"], route["nexthop"]] = None
    me = owner(row["id"])
    return [
        Desired(
            Table.STATIC_ROUTE,
            f"{me}/route:{prefix}:{hop}",
            {"ip_prefix": prefix, "nexthop": hop},
            parent=(Table.ROUTER, me, "static_routes"),
        )
        for prefix, hop in wanted
    ]


def _snat(me: str, gateway: Row, ports: Sequence[Row], subnets: Mapping[str, Row]) -> list[Desired]:
    """Whatever has no floating IP goes out under the router's own external address."""
    external = next((f["ip_address"] for f in gateway["fixed_ips"] or () if ":" not in f["ip_address"]), None)
    if external is None:
        return []
    inside = {
        subnets[fixed["subnet_id"]]["cidr"]
        for port in ports
        if port["device_owner"] != GATEWAY
        for fixed in port["fixed_ips"] or ()
        if fixed["subnet_id"] in subnets and subnets[fixed["subnet_id"]]["ip_version"] == 4
    }
    return [
        Desired(
            Table.NAT,
            f"{me}/snat:{cidr}",
            {"type": "snat", "external_ip": external, "logical_ip": cidr},
            parent=(Table.ROUTER, me, "nat"),
        )
        for cidr in sorted(inside)
    ]


def floating_owner(floating_id: str) -> str:
    return f"floatingip:{floating_id}"


def floating(row: Row) -> list[Desired]:
    """A floating IP's NAT; one that points nowhere, or has no router, has none.

    It is not distributed: the gateway chassis answers for it, so Hosts need no external network of their own.
    """
    if not (row.get("router_id") and row.get("fixed_ip_address") and row.get("port_id")):
        return []
    return [
        Desired(
            Table.NAT,
            floating_owner(row["id"]),
            {
                "type": "dnat_and_snat",
                "external_ip": row["floating_ip_address"],
                "logical_ip": row["fixed_ip_address"],
            },
            parent=(Table.ROUTER, owner(row["router_id"]), "nat"),
        )
    ]


def inside(address: str, cidr: str) -> bool:
    return ip_address(address) in ip_network(cidr)
