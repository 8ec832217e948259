"""Network rows to OVN rows: pure functions, checked by their results."""

from typing import Any

import pytest

from hagane.ovn.desired import Desired, Ref
from hagane.reconcile.ovn import dhcp_option, group, port, router, switch

NETWORK = {
    "id": "n1",
    "network_type": "geneve",
    "physical_network": None,
    "segmentation_id": 7,
    "mtu": 1442,
    "dns_domain": "",
}
SUBNET = {
    "id": "aabbcc00-0000-0000-0000-000000000001", "ip_version": 4, "cidr": "10.0.0.0/24", "gateway_ip": "10.0.0.1",
    "enable_dhcp": True, "dns_nameservers": [], "host_routes": [],
}  # fmt: skip
SUBNET6 = SUBNET | {
    "id": "aabbcc00-0000-0000-0000-000000000006", "ip_version": 6, "cidr": "2001:db8::/64", "gateway_ip": "2001:db8::1",
    "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac",
}  # fmt: skip
PORT = {
    "id": "p1", "network_id": "n1", "mac_address": "fa:16:3e:00:00:01", "admin_state_up": True, "device_owner": "compute:nova",
    "device_id": "s1", "port_security_enabled": True, "security_groups": ["g-1"], "allowed_address_pairs": [],
    "fixed_ips": [{"subnet_id": SUBNET["id"], "ip_address": "10.0.0.5"}], "binding_host_id": "host1", "extra_dhcp_opts": [],
}  # fmt: skip


def compiled(row: dict[str, Any], **changes: Any) -> Desired:
    subnets = {s["id"]: s for s in (SUBNET, SUBNET6)}
    return port.port(row | changes, NETWORK, subnets, dns=[], metadata={})[0]


def test_a_tenant_network_is_a_switch_and_a_dhcp_row() -> None:
    rows = switch.switch(NETWORK, [SUBNET], {SUBNET["id"]: "10.0.0.2"}, dns=["9.9.9.9", "2620:fe::fe"])
    assert [row.table for row in rows] == ["Logical_Switch", "DHCP_Options"]
    assert rows[1].columns["options"] == {
        "lease_time": "43200", "mtu": "1442", "server_id": "10.0.0.1", "server_mac": "fa:16:3f:aa:bb:cc",
        "router": "10.0.0.1", "dns_server": "{9.9.9.9}",
        "classless_static_route": "{169.254.169.254/32,10.0.0.2, 0.0.0.0/0,10.0.0.1}",
    }  # fmt: skip


def test_a_provider_network_has_a_localnet_port_with_its_tag() -> None:
    vlan = NETWORK | {"network_type": "vlan", "physical_network": "ext", "segmentation_id": 100}
    localnet = switch.switch(vlan, [], {}, dns=[])[1]
    assert localnet.columns["type"] == "localnet"
    assert (localnet.columns["tag"], localnet.columns["options"]) == (100, {"network_name": "ext"})
    flat = switch.switch(vlan | {"network_type": "flat", "segmentation_id": None}, [], {}, dns=[])[1]
    assert flat.columns["tag"] is None


def test_a_port_may_use_its_own_addresses_and_its_pairs_only() -> None:
    pairs = [
        {"ip_address": "10.0.0.0/28", "mac_address": None},
        {"ip_address": "1.1.1.1", "mac_address": "02:00:00:00:00:09"},
    ]
    row = compiled(PORT, allowed_address_pairs=pairs)
    assert row.columns["addresses"] == ["fa:16:3e:00:00:01 10.0.0.5"]
    assert row.columns["port_security"] == ["fa:16:3e:00:00:01 10.0.0.0/28 10.0.0.5", "02:00:00:00:00:09 1.1.1.1"]
    assert row.member_of == {("Port_Group", "ports"): ["security_group:g-1", "group:drop"]}
    assert row.columns["options"] == {"requested-chassis": "host1"}
    row = compiled(PORT, binding_profile={"migrating_to": "host2"})
    assert row.columns["options"] == {"requested-chassis": "host1,host2", "activation-strategy": "rarp"}
    assert row.columns["dhcpv4_options"] == Ref("DHCP_Options", f"network:n1/dhcp:{SUBNET['id']}")


def test_a_port_without_port_security_is_in_no_group_and_may_send_all() -> None:
    row = compiled(PORT, port_security_enabled=False, security_groups=[])
    assert row.columns["port_security"] == []
    assert row.columns["addresses"] == ["fa:16:3e:00:00:01 10.0.0.5", "unknown"]
    assert row.member_of == {("Port_Group", "ports"): []}


def test_a_port_with_dhcp_options_of_its_own_has_its_own_row() -> None:
    extra = [{"opt_name": "bootfile-name", "opt_value": "http://10.0.0.9/boot.ipxe", "ip_version": 4}]
    lsp, dhcp = port.port(PORT | {"extra_dhcp_opts": extra}, NETWORK, {SUBNET["id"]: SUBNET}, dns=[], metadata={})
    assert dhcp.columns["options"]["bootfile_name"] == '"http://10.0.0.9/boot.ipxe"'
    assert lsp.columns["dhcpv4_options"] == Ref("DHCP_Options", dhcp.key)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("mtu", "1400", {"mtu": "1400"}),
        ("dns-server", "10.0.0.2, 10.0.0.3", {"dns_server": "{10.0.0.2, 10.0.0.3}"}),
        ("121", "10.1.0.0/16,10.0.0.7,0.0.0.0/0,10.0.0.1",
         {"classless_static_route": "{10.1.0.0/16,10.0.0.7, 0.0.0.0/0,10.0.0.1}"}),
        ("bootfile-name", "boot me.efi", {"bootfile_name": '"boot me.efi"'}),
        ("domain-name", '"test.domain"', {"domain_name": '"test.domain"'}),
        ("router", "", {"router": None}),
        ("mtu", "1400); outport = \"x\"; output; next(", {}),
        ("dns-server", "10.0.0.2}, router = 1.1.1.1", {}),
        ("domain-name", 'a"); drop; (', {}),
        ("router = 1.1.1.1); drop; (", "1", {}),
        ("server-id", "10.0.0.9", {}),
        ("no-such-option", "1", {}),
    ],
)  # fmt: skip
def test_an_option_is_of_its_kind_or_none(name: str, value: str, expected: dict[str, str | None]) -> None:
    base = {"router": "10.0.0.1"}
    options: dict[str, str | None] = dict(dhcp_option.own(base, [{"opt_name": name, "opt_value": value}], 4))
    if expected == {"router": None}:
        assert options == {}
    else:
        assert options == base | expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, "outport == @pg && ip4"),
        ({"protocol": "tcp", "port_range_min": 22, "port_range_max": 22}, "outport == @pg && ip4 && tcp && tcp.dst == 22"),
        (
            {"protocol": "udp", "port_range_min": 5, "port_range_max": 9, "remote_ip_prefix": "10.0.0.0/8"},
            "outport == @pg && ip4 && ip4.src == 10.0.0.0/8 && udp && udp.dst >= 5 && udp.dst <= 9",
        ),
        ({"remote_ip_prefix": "0.0.0.0/0"}, "outport == @pg && ip4"),
        ({"protocol": "icmp", "port_range_min": 8, "port_range_max": 0}, "outport == @pg && ip4 && icmp4 && icmp4.type == 8 && icmp4.code == 0"),
        ({"ethertype": "IPv6", "protocol": "ipv6-icmp"}, "outport == @pg && ip6 && icmp6"),
        ({"direction": "egress", "remote_group_id": "a-b"}, "inport == @pg && ip4 && ip4.dst == $pg_a_b_ip4"),
        ({"protocol": "112"}, "outport == @pg && ip4 && ip.proto == 112"),
        ({"protocol": "vrrp"}, "outport == @pg && ip4 && ip.proto == 112"),
    ],
)  # fmt: skip
def test_rules_in_ovns_language(rule: dict[str, Any], expected: str) -> None:
    assert group.match({"direction": "ingress", "ethertype": "IPv4"} | rule, "pg", {}) == expected


def test_a_router_with_a_gateway() -> None:
    inside = PORT | {"id": "pi", "device_owner": "network:router_interface",
                     "fixed_ips": [{"subnet_id": SUBNET["id"], "ip_address": "10.0.0.1"},
                                   {"subnet_id": SUBNET6["id"], "ip_address": "2001:db8::1"}]}  # fmt: skip
    external = SUBNET | {"id": "e", "cidr": "203.0.113.0/24", "gateway_ip": "203.0.113.1"}
    gateway = PORT | {"id": "pg", "network_id": "ext", "device_owner": router.GATEWAY,
                      "fixed_ips": [{"subnet_id": "e", "ip_address": "203.0.113.10"}]}  # fmt: skip
    networks = {"n1": NETWORK, "ext": NETWORK | {"id": "ext", "mtu": 1500}}
    subnets = {s["id"]: s for s in (SUBNET, SUBNET6, external)}
    row = {"id": "r1", "admin_state_up": True, "enable_snat": True,
           "routes": [{"destination": "10.9.0.0/16", "nexthop": "10.0.0.77"}]}  # fmt: skip
    rows = router.router(row, [inside, gateway], networks, subnets, ["host1", "host2"])
    by_key = {desired.key: desired for desired in rows}
    lrp = by_key["router:r1/port:pi"].columns
    assert lrp["networks"] == ["10.0.0.1/24", "2001:db8::1/64"]
    assert lrp["ipv6_ra_configs"] == {"address_mode": "slaac", "send_periodic": "true", "mtu": "1442"}
    assert by_key["router:r1/port:pg"].columns["options"] == {"gateway_mtu": "1500"}
    assert {key for key in by_key if "/gateway:" in key} == {"router:r1/gateway:host1", "router:r1/gateway:host2"}
    routes = {(d.columns["ip_prefix"], d.columns["nexthop"]) for d in rows if d.table == "Logical_Router_Static_Route"}
    assert routes == {("0.0.0.0/0", "203.0.113.1"), ("10.9.0.0/16", "10.0.0.77")}
    assert by_key["router:r1/snat:10.0.0.0/24"].columns == {
        "type": "snat", "external_ip": "203.0.113.10", "logical_ip": "10.0.0.0/24",
    }  # fmt: skip
    without = router.router(row | {"enable_snat": False}, [inside, gateway], networks, subnets, [])
    assert not [d for d in without if d.table == "NAT"]


def test_a_floating_ip_that_points_nowhere_is_nothing_in_ovn() -> None:
    row = {
        "id": "f",
        "floating_ip_address": "203.0.113.50",
        "fixed_ip_address": "10.0.0.5",
        "port_id": "p",
        "router_id": "r",
    }
    nat = router.floating(row)[0]
    assert nat.parent == ("Logical_Router", "router:r", "nat")
    assert nat.columns == {"type": "dnat_and_snat", "external_ip": "203.0.113.50", "logical_ip": "10.0.0.5"}
    assert router.floating(row | {"port_id": None, "fixed_ip_address": None, "router_id": None}) == []
