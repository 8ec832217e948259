"""Subnets over HTTP: what the real service takes and refuses, pools, IPv6 modes, the metadata port that follows."""

from typing import Any

import pytest

from tests.api.network.net import ZERO, Net


def test_a_new_subnet_has_the_keys_and_defaults_of_the_real_service(alice: Net) -> None:
    network, subnet = alice.wired("10.0.0.0/24")
    assert set(subnet) == {
        "id", "name", "project_id", "tenant_id", "description", "tags", "revision_number", "created_at", "updated_at",
        "network_id", "ip_version", "subnetpool_id", "cidr", "gateway_ip", "allocation_pools", "dns_nameservers",
        "host_routes", "enable_dhcp", "ipv6_ra_mode", "ipv6_address_mode", "service_types", "router:external",
    }  # fmt: skip
    assert (subnet["gateway_ip"], subnet["enable_dhcp"]) == ("10.0.0.1", True)
    assert subnet["allocation_pools"] == [{"start": "10.0.0.2", "end": "10.0.0.254"}]
    assert alice.show("subnet", subnet) == subnet
    assert alice.show("network", network)["subnets"] == [subnet["id"]]


def test_what_is_asked_for_is_answered(alice: Net) -> None:
    wanted = {
        "gateway_ip": "10.1.0.254", "dns_nameservers": ["8.8.8.8", "1.1.1.1"], "enable_dhcp": False, "name": "s",
        "host_routes": [{"destination": "1.0.0.0/8", "nexthop": "10.1.0.9"}],
        "allocation_pools": [{"start": "10.1.0.10", "end": "10.1.0.20"}, {"start": "10.1.0.30", "end": "10.1.0.40"}],
    }  # fmt: skip
    subnet = alice.subnet(alice.network(), "10.1.0.5/24", **wanted)
    assert wanted.items() <= subnet.items()
    assert subnet["cidr"] == "10.1.0.0/24"
    changed = alice.change("subnet", subnet, dns_nameservers=None, host_routes=[], gateway_ip=None, name="t")
    assert (changed["dns_nameservers"], changed["gateway_ip"], changed["name"]) == ([], None, "t")


BAD: list[tuple[dict[str, Any], int, str, str]] = [
    ({}, 400, "BadRequest", "a subnetpool must be specified in the absence of a cidr"),
    ({"cidr": "bogus"}, 400, "InvalidInput", "bogus is not in a CIDR format"),
    ({"cidr": "10.9.0.0/33"}, 400, "InvalidInput", "10.9.0.0/33 is not in a CIDR format"),
    ({"cidr": "0.0.0.0/0", "enable_dhcp": False}, 400, "InvalidInput", "0 is not allowed as CIDR prefix length"),
    ({"cidr": "10.9.0.0/31"}, 400, "InvalidInput", "prefix length that is incompatible with DHCP service enabled"),
    ({"cidr": "224.0.0.0/24"}, 400, "InvalidInput", "Multicast IP subnet is not supported if enable_dhcp is True"),
    ({"cidr": "127.0.0.0/24"}, 400, "InvalidInput", "Loopback IP subnet is not supported if enable_dhcp is True"),
    ({"cidr": "fd00::/64"}, 400, "InvalidInput", "cidr 'fd00::/64' does not match the ip_version '4'"),
    ({"cidr": "10.9.0.0/24", "ip_version": 5}, 400, "HTTPBadRequest", "5 is not in valid_values"),
    ({"cidr": "10.9.0.0/24", "gateway_ip": "10.9.0.255"}, 400, "InvalidInput", "Gateway is not valid on subnet"),
    ({"cidr": "10.9.0.0/24", "gateway_ip": "fe80::1"}, 400, "InvalidInput", "does not match the ip_version '4'"),
    ({"cidr": "10.9.0.0/24", "gateway_ip": "x"}, 400, "HTTPBadRequest", "'x' is not a valid IP address"),
    ({"cidr": "10.9.0.0/24", "allocation_pools": [{"start": "10.9.0.1", "end": "10.9.0.20"}]}, 409,
     "GatewayConflictWithAllocationPools", "Gateway ip 10.9.0.1 conflicts with allocation pool 10.9.0.1-10.9.0.20."),
    ({"cidr": "10.9.0.0/24", "allocation_pools": [{"start": "10.8.0.9", "end": "10.8.0.20"}]}, 400,
     "OutOfBoundsAllocationPool", "spans beyond the subnet cidr 10.9.0.0/24"),
    ({"cidr": "10.9.0.0/24", "allocation_pools": [{"start": "10.9.0.9", "end": "10.9.0.2"}]}, 400,
     "InvalidAllocationPool", "is not valid."),
    ({"cidr": "10.9.0.0/24", "allocation_pools": [{"start": "10.9.0.5", "end": "10.9.0.20"},
                                                  {"start": "10.9.0.15", "end": "10.9.0.30"}]}, 409,
     "OverlappingAllocationPools", "10.9.0.5-10.9.0.20 10.9.0.15-10.9.0.30 for subnet 10.9.0.0/24"),
    ({"cidr": "10.9.0.0/24", "dns_nameservers": ["1.1.1.1", "1.1.1.1"]}, 400, "HTTPBadRequest",
     "Duplicate nameserver '1.1.1.1'"),
    ({"cidr": "10.9.0.0/24", "dns_nameservers": [f"1.1.1.{i}" for i in range(6)]}, 400, "DNSNameServersExhausted",
     "Unable to complete operation for new subnet. The number of DNS nameservers exceeds the limit 5."),
    ({"cidr": "10.9.0.0/24", "host_routes": [{"destination": "x", "nexthop": "10.9.0.1"}]}, 400, "HTTPBadRequest",
     "'x' is not a valid CIDR"),
    ({"cidr": "10.9.0.0/24", "ipv6_ra_mode": "slaac"}, 400, "InvalidInput",
     "ipv6_ra_mode is not valid when ip_version is 4"),
    ({"cidr": "fd00:1::/64", "ip_version": 6, "ipv6_ra_mode": "slaac", "ipv6_address_mode": "dhcpv6-stateful"}, 400,
     "InvalidInput", "If both attributes are set, they must be the same value"),
    ({"cidr": "fd00:1::/64", "ip_version": 6, "ipv6_ra_mode": "slaac", "enable_dhcp": False}, 400, "InvalidInput",
     "ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False"),
    ({"cidr": "fd00:1::/80", "ip_version": 6, "ipv6_address_mode": "slaac"}, 400, "InvalidInput",
     "which requires the prefix to be /64"),
    ({"cidr": "::/64", "ip_version": 6}, 400, "InvalidInput", "IPv6 subnet '::' is not supported"),
]  # fmt: skip


@pytest.fixture(scope="module")
def empty(alice: Net) -> dict[str, Any]:
    """A network on which nothing is ever made."""
    return alice.network(name="empty")


@pytest.mark.parametrize(("body", "status", "error", "text"), BAD)
def test_what_cannot_be_is_refused(
    alice: Net, empty: dict[str, Any], body: dict[str, Any], status: int, error: str, text: str
) -> None:
    subnet = {"network_id": empty["id"], "ip_version": 4} | body
    alice.refused("POST", "/subnets", {"subnet": subnet}, status, error, text)


def test_subnets_of_a_network_do_not_overlap(alice: Net) -> None:
    network, _ = alice.wired("10.2.0.0/24")
    body = {"subnet": {"network_id": network["id"], "ip_version": 4, "cidr": "10.2.0.128/25"}}
    text = f"cidr: 10.2.0.128/25 for network: {network['id']} overlaps with another subnet"
    alice.refused("POST", "/subnets", body, 400, "InvalidInput", text)
    alice.subnet(alice.network(), "10.2.0.128/25")


def test_only_the_networks_owner_makes_subnets(alice: Net, bob: Net, root: Net) -> None:
    network = alice.network()
    body = {"network_id": network["id"], "ip_version": 4, "cidr": "10.3.0.0/24"}
    bob.refused("POST", "/subnets", {"subnet": body}, 403, "PolicyNotAuthorized", "rule:create_subnet is disallowed")
    unknown = {"subnet": body | {"network_id": ZERO}}
    alice.refused("POST", "/subnets", unknown, 404, "NetworkNotFound", f"Network {ZERO} could not be found.")
    root.subnet(network, "10.3.0.0/24")


def test_a_subnet_serves_only_ports_of_its_service_types(alice: Net) -> None:
    network = alice.network()
    for number, kind in ((1, "test:one"), (2, "compute:")):
        alice.subnet(network, f"10.4.{number}.0/24", service_types=[kind, "network:distributed"])
    [fixed] = alice.port(network, device_owner="test:one")["fixed_ips"]
    assert fixed["ip_address"].startswith("10.4.1.")
    bad = {"network_id": network["id"], "ip_version": 4, "cidr": "10.4.3.0/24", "service_types": ["who:knows"]}
    alice.refused("POST", "/subnets", {"subnet": bad}, 400, "InvalidSubnetServiceType", "who:knows")


def test_ipv6_addresses_are_chosen_or_made_from_the_mac_address(alice: Net) -> None:
    network, stateful = alice.wired("fd00:1::/64")
    assert stateful["gateway_ip"] == "fd00:1::"
    port = alice.port(network, mac_address="fa:16:3e:01:02:03")
    assert port["fixed_ips"] == [{"subnet_id": stateful["id"], "ip_address": "fd00:1::1"}]
    slaac = alice.subnet(network, "fd00:2::/64", ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
    automatic = {"subnet_id": slaac["id"], "ip_address": "fd00:2::f816:3eff:fe01:203"}
    assert automatic in alice.show("port", port)["fixed_ips"], "ports that are there get the new address too"
    chosen = [{"subnet_id": slaac["id"], "ip_address": "fd00:2::77"}]
    body = {"port": {"network_id": network["id"], "fixed_ips": chosen}}
    alice.refused("POST", "/ports", body, 400, "AllocationOnAutoAddressSubnet", "configured for automatic addresses")
    alice.delete("subnet", slaac)
    assert automatic not in alice.show("port", port)["fixed_ips"]
    alice.refused("DELETE", f"/subnets/{stateful['id']}", None, 409, "SubnetInUse",
                  "One or more ports have an IP allocation from this subnet")  # fmt: skip


def test_the_gateway_stays_while_a_router_has_it(alice: Net) -> None:
    _, subnet = alice.wired("10.4.0.0/24")
    router = alice.make("router")
    alice.ask("PUT", f"/routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]})
    alice.refused("PUT", f"/subnets/{subnet['id']}", {"subnet": {"gateway_ip": "10.4.0.254"}}, 409, "GatewayIpInUse",
                  "Current gateway ip 10.4.0.1 already in use by port")  # fmt: skip
    alice.refused("DELETE", f"/subnets/{subnet['id']}", None, 409, "SubnetInUse")


def test_new_pools_are_used_at_once(alice: Net) -> None:
    network, subnet = alice.wired("10.5.0.0/24", enable_dhcp=False)
    assert alice.port(network)["fixed_ips"][0]["ip_address"] == "10.5.0.2"
    alice.change("subnet", subnet, allocation_pools=[{"start": "10.5.0.50", "end": "10.5.0.51"}])
    addresses = [alice.port(network)["fixed_ips"][0]["ip_address"] for _ in range(2)]
    assert addresses == ["10.5.0.50", "10.5.0.51"]
    alice.refused("POST", "/ports", {"port": {"network_id": network["id"]}}, 409, "IpAddressGenerationFailure",
                  f"No more IP addresses available on network {network['id']}.")  # fmt: skip


def test_addresses_that_were_freed_are_used_again(alice: Net) -> None:
    network, _ = alice.wired("10.6.0.0/29", enable_dhcp=False)
    ports = [alice.port(network) for _ in range(5)]
    freed = ports[2]["fixed_ips"]
    alice.delete("port", ports[2])
    assert alice.port(network)["fixed_ips"] == freed
    alice.refused("POST", "/ports", {"port": {"network_id": network["id"]}}, 409, "IpAddressGenerationFailure")


def metadata(net: Net, network: dict[str, Any]) -> list[dict[str, Any]]:
    ports = net.get("/ports", network_id=network["id"], device_owner="network:distributed")["ports"]
    return list(ports)


def test_the_metadata_port_follows_the_subnets_with_dhcp(alice: Net) -> None:
    network = alice.network()
    assert metadata(alice, network) == []
    first = alice.subnet(network, "10.7.0.0/24")
    [port] = metadata(alice, network)
    assert port["device_id"] == f"ovnmeta-{network['id']}"
    assert (port["security_groups"], port["port_security_enabled"]) == ([], False)
    assert [fixed["subnet_id"] for fixed in port["fixed_ips"]] == [first["id"]]
    second = alice.subnet(network, "10.8.0.0/24")
    assert len(metadata(alice, network)[0]["fixed_ips"]) == 2
    alice.change("subnet", first, enable_dhcp=False)
    assert [fixed["subnet_id"] for fixed in metadata(alice, network)[0]["fixed_ips"]] == [second["id"]]
    alice.delete("subnet", second)
    assert metadata(alice, network) == []
    alice.delete("subnet", first)


def test_machines_with_ipv6_alone_have_a_metadata_port(alice: Net) -> None:
    network = alice.network()

    def subnets() -> list[set[str]]:
        return [{fixed["subnet_id"] for fixed in port["fixed_ips"]} for port in metadata(alice, network)]

    six = alice.subnet(network, "fd00:7::/64", ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
    assert subnets() == [{six["id"]}]
    four = alice.subnet(network, "10.7.0.0/24")
    assert subnets() == [{six["id"], four["id"]}]
    alice.delete("subnet", four)
    assert subnets() == [{six["id"]}]
    alice.delete("subnet", six)
    assert subnets() == []


def test_subnets_are_cut_out_of_pools(alice: Net, bob: Net, root: Net) -> None:
    pool = alice.make("subnetpool", name="p", prefixes=["20.0.0.0/16", "20.1.0.0/16"], default_prefixlen=24)
    assert pool["prefixes"] == ["20.0.0.0/15"]
    network = alice.network()

    def cut(status: int = 201, **values: Any) -> Any:
        body = {"network_id": network["id"], "ip_version": 4, "subnetpool_id": pool["id"]} | values
        return alice.ask("POST", "/subnets", {"subnet": body}, status)

    assert [cut()["subnet"]["cidr"] for _ in range(2)] == ["20.0.0.0/24", "20.0.1.0/24"]
    assert cut(cidr="20.0.9.0/24")["subnet"]["gateway_ip"] == "20.0.9.1"
    assert cut(409, cidr="20.0.9.0/25")["NeutronError"]["type"] == "SubnetAllocationError"
    assert cut(400, prefixlen=33)["NeutronError"]["type"] == "MaxPrefixSubnetAllocationError"
    alice.refused("DELETE", f"/subnetpools/{pool['id']}", None, 400, "SubnetPoolDeleteError")
    mixed = {"subnet": {"network_id": network["id"], "ip_version": 4, "cidr": "30.0.0.0/24"}}
    alice.refused("POST", "/subnets", mixed, 400, "NetworkSubnetPoolAffinityError")
    bob.refused("GET", f"/subnetpools/{pool['id']}", None, 404, "SubnetPoolNotFound")
    changed = alice.change("subnetpool", pool, name="q")
    assert changed["name"] == "q"
    alice.ask("PUT", f"/subnetpools/{pool['id']}/add_prefixes", {"prefixes": ["20.8.0.0/16"]})
    alice.refused("PUT", f"/subnetpools/{pool['id']}/remove_prefixes", {"prefixes": ["20.0.0.0/16"]}, 400,
                  "IllegalSubnetPoolPrefixUpdate")  # fmt: skip
    assert alice.ask("PUT", f"/subnetpools/{pool['id']}/remove_prefixes", {"prefixes": ["20.8.0.0/16"]}) == {
        "prefixes": ["20.0.0.0/15"]
    }


def test_a_default_pool_serves_who_names_none(root: Net, bob: Net) -> None:
    root.make("subnetpool", name="d", prefixes=["21.0.0.0/16"], min_prefixlen=24, shared=True, is_default=True)
    body = {"subnetpool": {"name": "e", "prefixes": ["22.0.0.0/16"], "is_default": True}}
    root.refused("POST", "/subnetpools", body, 400, "InvalidInput", "A default subnetpool for this IP family")
    network = bob.network()
    subnet = bob.make("subnet", network_id=network["id"], ip_version=4, use_default_subnetpool=True)
    assert subnet["cidr"] == "21.0.0.0/24"


def test_pools_of_an_address_scope_hold_no_address_twice(alice: Net) -> None:
    scope = alice.make("address_scope", name="s", ip_version=4)
    pool = alice.make("subnetpool", name="a", prefixes=["40.0.0.0/16"], address_scope_id=scope["id"])
    double = {"name": "b", "prefixes": ["40.0.5.0/24"], "address_scope_id": scope["id"]}
    alice.refused("POST", "/subnetpools", {"subnetpool": double}, 409, "AddressScopePrefixConflict")
    six = double | {"prefixes": ["fd00::/48"]}
    error = "IllegalSubnetPoolIpVersionAssociationToAddressScope"
    alice.refused("POST", "/subnetpools", {"subnetpool": six}, 400, error)
    network = alice.network()
    subnet = alice.make("subnet", network_id=network["id"], ip_version=4, subnetpool_id=pool["id"], prefixlen=24)
    assert alice.show("network", network)["ipv4_address_scope"] == scope["id"]
    alice.delete("subnet", subnet)
    assert alice.show("network", network)["ipv4_address_scope"] is None
    alice.refused("DELETE", f"/address-scopes/{scope['id']}", None, 409, "AddressScopeInUse")


def test_a_pool_takes_the_subnets_of_a_network_in(root: Net, alice: Net, bob: Net) -> None:
    scope = alice.make("address_scope", name="s", ip_version=4)
    pool = alice.make("subnetpool", name="p", prefixes=["10.246.0.0/24"], address_scope_id=scope["id"])
    network, subnet = alice.wired("10.247.1.0/24")
    alice.subnet(network, "fd00:247::/64")
    path = f"/subnetpools/{pool['id']}/onboard_network_subnets"
    body = {"network_id": network["id"]}
    assert alice.ask("PUT", path, body) == [{"id": subnet["id"], "cidr": "10.247.1.0/24"}]
    assert alice.show("subnetpool", pool)["prefixes"] == ["10.246.0.0/24", "10.247.1.0/24"]
    assert alice.show("subnet", subnet)["subnetpool_id"] == pool["id"]
    assert alice.show("network", network)["ipv4_address_scope"] == scope["id"]
    text = f"Onboarding subnet {subnet['id']}: 10.247.1.0/24 conflicts with allocated prefixes in subnet pool"
    alice.refused("PUT", path, body, 400, "IllegalSubnetPoolUpdate", text)
    alice.refused("PUT", path, {}, 400, "InvalidInput", "network_id must be specified")
    alice.refused("PUT", path, {"network_id": ZERO}, 404, "NetworkNotFound")
    alice.refused("PUT", path, {"network_id": bob.network()["id"]}, 403, "NotAuthorized")
    bob.refused("PUT", path, body, 404, "SubnetPoolNotFound")
    alice.change("subnetpool", pool, address_scope_id=None)
    assert alice.show("network", network)["ipv4_address_scope"] is None
