"""Ports: each is one Logical_Switch_Port, whatever is plugged into it. Pure functions.

A port with port security is in the Port_Groups of its security groups and in the group that drops whatever none of them
allows; what it sends is checked against its own addresses and allowed pairs. A port without is in none.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hagane.baremetal.binding import DIRECT, kind_of
from hagane.network.port_row import MIGRATING
from hagane.ovn.desired import Desired, Ref
from hagane.ovn.northbound import Table
from hagane.reconcile.ovn import dhcp_option, group, qos, switch
from hagane.reconcile.ovn import dns as domain_names
from hagane.state.database import Row

ROUTER_OWNERS = frozenset(
    {
        "network:router_interface",
        "network:router_gateway",
        "network:router_interface_distributed",
        "network:ha_router_replicated_interface",
    }
)
FLOATING = "network:floatingip"
METADATA = "network:distributed"


def owner(port_id: str) -> str:
    return f"port:{port_id}"


def compiled(port: Row) -> bool:
    """Whether OVN gets to see the port: a floating IP's port holds an address and is nothing else."""
    return bool(port["device_owner"] != FLOATING)


def port(
    row: Row,
    network: Row,
    subnets: Mapping[str, Row],
    *,
    dns: list[str],
    metadata: dict[str, str],
    gateways: Sequence[str] = (),
    rules: Sequence[Row] = (),
    parent: tuple[str, int] | None = None,
) -> list[Desired]:
    """All rows that a port owns. `subnets` by id; `metadata`: subnet id -> the metadata port's address; `gateways`: of
    the rack of a Nic that carries the port directly; `rules`: of its QoS policy; `parent`: of a subport, the port that
    carries it and its tag."""
    me = owner(row["id"])
    limits = qos.port(me, row, network, rules)
    if row["device_owner"] in ROUTER_OWNERS:
        return [_router_side(row, network), *limits]
    own_dhcp = _own_dhcp(row, network, subnets, dns, metadata)
    outside = _outside(row, gateways) if kind_of(row) == DIRECT else []
    columns: dict[str, Any] = {
        "name": row["id"],
        "enabled": row["admin_state_up"],
        "port_security": _port_security(row),
        "dhcpv4_options": _dhcp(row, network, subnets, own_dhcp, 4),
        "dhcpv6_options": _dhcp(row, network, subnets, own_dhcp, 6),
        "parent_name": parent[0] if parent else None,
        "tag": parent[1] if parent else None,
    }
    columns |= _external(row, outside[0]) if outside else _internal(row, qos.options(network, rules))
    lsp = Desired(
        Table.PORT,
        me,
        columns,
        parent=(Table.SWITCH, switch.owner(row["network_id"]), "ports"),
        member_of={(Table.PORT_GROUP, "ports"): _groups(row)},
    )
    return [lsp, *own_dhcp.values(), *outside, *limits, *domain_names.names(me, row, network)]


def _internal(row: Row, limits: dict[str, str]) -> dict[str, Any]:
    """The columns of a port whose frames come out of a chassis' own interface."""
    return {"type": "", "addresses": _addresses(row), "options": _options(row) | limits, "ha_chassis_group": None}


def _external(row: Row, gateways: Desired) -> dict[str, Any]:
    """The same columns of one whose frames come by a VLAN: OVN only answers it, from one of these gateways."""
    return {
        "type": "external",
        "addresses": _known(row),
        "options": {},
        "ha_chassis_group": Ref(Table.HA_GROUP, gateways.key),
    }


def _groups(row: Row) -> list[str]:
    if not row["port_security_enabled"] or row["device_owner"] == METADATA:
        return []
    return [*(group.owner(one) for one in row["security_groups"] or ()), group.DROP]


def _outside(row: Row, gateways: Sequence[str]) -> list[Desired]:
    """Of a port whose frames come by a VLAN, OVN answers DHCP on one chassis: the best of the rack's gateways."""
    key = f"{owner(row['id'])}/gateways"
    chosen = sorted(gateways, key=lambda name: name != row["binding_host_id"])
    members = [
        Desired(
            Table.HA_CHASSIS,
            f"{key}:{name}",
            {"chassis_name": name, "priority": len(chosen) - place},
            parent=(Table.HA_GROUP, key, "ha_chassis"),
        )
        for place, name in enumerate(chosen)
    ]
    return [Desired(Table.HA_GROUP, key, {"name": f"hagane_{row['id']}"}), *members] if members else []


def _router_side(row: Row, network: Row) -> Desired:
    """The switch's end of a router port; the router's end is the router's."""
    options = {"router-port": f"lrp-{row['id']}"}
    if row["device_owner"] == "network:router_gateway":
        # Announce the router's and the floating addresses where the gateway sits.
        options |= {"nat-addresses": "router", "exclude-lb-vips-from-garp": "true"}
    return Desired(
        Table.PORT,
        owner(row["id"]),
        {
            "name": row["id"],
            "type": "router",
            "enabled": row["admin_state_up"],
            "addresses": ["router"],
            "port_security": [],
            "options": options,
            "dhcpv4_options": None,
            "dhcpv6_options": None,
        },
        parent=(Table.SWITCH, switch.owner(network["id"]), "ports"),
        member_of={(Table.PORT_GROUP, "ports"): []},
    )


def _addresses(row: Row) -> list[str]:
    addresses = _known(row)
    known = row["port_security_enabled"] or row["device_owner"] == METADATA
    return addresses if known else [*addresses, "unknown"]


def _known(row: Row) -> list[str]:
    return [" ".join([row["mac_address"], *_ips(row)])]


def _ips(row: Row) -> list[str]:
    return [fixed["ip_address"] for fixed in row["fixed_ips"] or ()]


def _port_security(row: Row) -> list[str]:
    """Which source addresses the port may use (ovn-nb(5), "port_security"): its own, and its allowed pairs."""
    if not row["port_security_enabled"] or row["device_owner"] == METADATA:
        return []
    by_mac: dict[str, list[str]] = {row["mac_address"]: _ips(row)}
    for pair in row.get("allowed_address_pairs") or ():
        by_mac.setdefault(pair.get("mac_address") or row["mac_address"], []).append(pair["ip_address"])
    return [" ".join([mac, *sorted(set(ips))]) for mac, ips in by_mac.items()]


def _options(row: Row) -> dict[str, str]:
    """A bound port may be claimed by its own chassis only, so that a stray tap elsewhere cannot take its traffic. While
    its machine goes to another Host both may, and that of the other is silent until the machine announces itself there
    (RARP, by QEMU)."""
    host, other = row.get("binding_host_id") or "", (row.get("binding_profile") or {}).get(MIGRATING)
    if host and isinstance(other, str) and other:
        return {"requested-chassis": f"{host},{other}", "activation-strategy": "rarp"}
    return {"requested-chassis": host} if host else {}


def _own_dhcp(
    row: Row, network: Row, subnets: Mapping[str, Row], dns: list[str], metadata: dict[str, str]
) -> dict[str, Desired]:
    """DHCP rows of a port with options of its own, by subnet id."""
    extra = row.get("extra_dhcp_opts") or []
    found: dict[str, Desired] = {}
    for subnet in _dhcp_subnets(row, subnets) if extra else ():
        base = switch.dhcp_options(network, subnet, metadata.get(subnet["id"]), dns)
        options = dhcp_option.own(base, extra, subnet["ip_version"])
        if options != base:
            key = f"{owner(row['id'])}/dhcp:{subnet['id']}"
            found[subnet["id"]] = Desired(Table.DHCP, key, {"cidr": subnet["cidr"], "options": options})
    return found


def _dhcp_subnets(row: Row, subnets: Mapping[str, Row]) -> list[Row]:
    known = (subnets.get(fixed["subnet_id"]) for fixed in row["fixed_ips"] or ())
    return [subnet for subnet in known if subnet is not None and subnet["enable_dhcp"]]


def _dhcp(row: Row, network: Row, subnets: Mapping[str, Row], own: Mapping[str, Desired], version: int) -> Ref | None:
    """The DHCP row for a version: the port's own, or its subnet's. OVN takes one each."""
    if row["device_owner"] == METADATA or str(row["device_owner"]).startswith("network:"):
        return None
    for subnet in _dhcp_subnets(row, subnets):
        if subnet["ip_version"] == version:
            mine = own.get(subnet["id"])
            return Ref(Table.DHCP, mine.key) if mine else switch.dhcp_ref(network["id"], subnet["id"])
    return None
