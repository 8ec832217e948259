"""Networks and subnets: one Logical_Switch a network, one DHCP_Options row a subnet. Pure functions.

A network with a physical network gets a localnet port, through which a chassis that has a bridge for it sends frames
with the segment's VLAN tag (ovn-nb(5), "localnet"); all others live in tunnels alone.
"""

from collections.abc import Sequence
from ipaddress import ip_network

from hagane.ovn.desired import Desired, Ref
from hagane.ovn.northbound import Table
from hagane.state.database import Row

LEASE_SECONDS = 43200
METADATA = "169.254.169.254"


def owner(network_id: str) -> str:
    return f"network:{network_id}"


def switch(network: Row, subnets: Sequence[Row], metadata_ips: dict[str, str], *, dns: Sequence[str]) -> list[Desired]:
    """All rows that a network owns. `metadata_ips`: subnet id -> address of the network's metadata port there; `dns`:
    resolvers for subnets that name none."""
    me = owner(network["id"])
    transparent = "true" if network.get("vlan_transparent") else "false"
    rows = [
        Desired(
            Table.SWITCH,
            me,
            {
                "name": network["id"],
                "other_config": {"mcast_snoop": "false", "vlan-passthru": transparent},
            },
        )
    ]
    if network.get("physical_network"):
        rows.append(_localnet(network))
    for subnet in subnets:
        if subnet["enable_dhcp"]:
            rows.append(dhcp(network, subnet, metadata_ips.get(subnet["id"]), dns))
    return rows


def _localnet(network: Row) -> Desired:
    me = owner(network["id"])
    tag = network.get("segmentation_id") if network["network_type"] == "vlan" else None
    return Desired(
        Table.PORT,
        f"{me}/localnet",
        {
            "name": f"provnet-{network['id']}",
            "type": "localnet",
            "addresses": ["unknown"],
            "tag": tag,
            "options": {"network_name": network["physical_network"]},
        },
        parent=(Table.SWITCH, me, "ports"),
    )


def dhcp_key(network_id: str, subnet_id: str) -> str:
    return f"{owner(network_id)}/dhcp:{subnet_id}"


def dhcp(network: Row, subnet: Row, metadata_ip: str | None, dns: Sequence[str]) -> Desired:
    """The DHCP_Options row that all ports of a subnet share."""
    options = dhcp_options(network, subnet, metadata_ip, dns)
    return Desired(Table.DHCP, dhcp_key(network["id"], subnet["id"]), {"cidr": subnet["cidr"], "options": options})


def dhcp_options(network: Row, subnet: Row, metadata_ip: str | None, dns: Sequence[str]) -> dict[str, str]:
    """Options as OVN writes them (ovn-nb(5), "DHCP Options"): text in quotes, lists in braces."""
    servers = subnet.get("dns_nameservers") or [
        server for server in dns if (":" in server) == (subnet["ip_version"] == 6)
    ]
    mac = server_mac(subnet["id"])
    if subnet["ip_version"] == 6:
        options = {"server_id": mac}
        if subnet.get("ipv6_address_mode") != "dhcpv6-stateful":
            options["dhcpv6_stateless"] = "true"
        if servers:
            options["dns_server"] = _braces(servers)
        return options
    options = {
        "lease_time": str(LEASE_SECONDS),
        "mtu": str(network["mtu"]),
        "server_id": subnet["gateway_ip"] or str(ip_network(subnet["cidr"])[1]),
        "server_mac": mac,
    }
    if subnet["gateway_ip"]:
        options["router"] = subnet["gateway_ip"]
    if servers:
        options["dns_server"] = _braces(servers)
    if network.get("dns_domain"):
        options["domain_name"] = f'"{network["dns_domain"].rstrip(".")}"'
    if routes := _classless_routes(subnet, metadata_ip):
        options["classless_static_route"] = routes
    return options


def _classless_routes(subnet: Row, metadata_ip: str | None) -> str:
    """Option 121. A client that gets it ignores option 3, so the default route has to be in it as well (RFC 3442)."""
    routes = [(route["destination"], route["nexthop"]) for route in subnet.get("host_routes") or []]
    if metadata_ip:
        routes.insert(0, (f"{METADATA}/32", metadata_ip))
    if routes and subnet["gateway_ip"]:
        routes.append(("0.0.0.0/0", subnet["gateway_ip"]))
    return "{" + ", ".join(f"{prefix},{hop}" for prefix, hop in routes) + "}" if routes else ""


def _braces(values: Sequence[str]) -> str:
    return "{" + ", ".join(values) + "}"


def server_mac(subnet_id: str) -> str:
    """The Ethernet address from which a subnet's DHCP answers: made from its id, so that it never changes."""
    digits = subnet_id.replace("-", "")[:6]
    return f"fa:16:3f:{digits[0:2]}:{digits[2:4]}:{digits[4:6]}"


def dhcp_ref(network_id: str, subnet_id: str) -> Ref:
    return Ref(Table.DHCP, dhcp_key(network_id, subnet_id))
