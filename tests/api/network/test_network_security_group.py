"""Security groups, their rules and address groups over HTTP."""

from typing import Any

import pytest

from tests.api.network.net import ZERO, Net


@pytest.fixture(scope="module")
def group(alice: Net) -> dict[str, Any]:
    return alice.make("security_group", name="web", description="d")


def rule(group: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {"security_group_rule": {"security_group_id": group["id"], "direction": "ingress"} | values}


def add(net: Net, group: dict[str, Any], **values: Any) -> dict[str, Any]:
    answer = net.ask("POST", "/security-group-rules", rule(group, **values), 201)
    return dict(answer["security_group_rule"])


def test_every_project_has_a_default_group(bob: Net) -> None:
    [group] = bob.get("/security-groups", name="default")["security_groups"]
    assert (group["project_id"], group["stateful"], group["shared"]) == (bob.project_id, True, False)
    rules = {(r["direction"], r["ethertype"], r["remote_group_id"]) for r in group["security_group_rules"]}
    assert rules == {
        ("egress", "IPv4", None), ("egress", "IPv6", None),
        ("ingress", "IPv4", group["id"]), ("ingress", "IPv6", group["id"]),
    }  # fmt: skip
    path = f"/security-groups/{group['id']}"
    bob.refused("PUT", path, {"security_group": {"name": "x"}}, 409, "SecurityGroupCannotUpdateDefault")
    bob.refused("DELETE", path, None, 409, "SecurityGroupCannotRemoveDefault",
                "Insufficient rights for removing default security group.")  # fmt: skip
    for name in ("default", "Default"):
        bob.refused("POST", "/security-groups", {"security_group": {"name": name}}, 409,
                    "SecurityGroupDefaultAlreadyExists", "Default security group already exists.")  # fmt: skip


def test_administrators_remove_a_default_group_and_it_comes_back(bob: Net, root: Net) -> None:
    query = {"project_id": bob.project_id, "name": "default"}
    bob.get("/security-groups")
    [group] = root.get("/security-groups", **query)["security_groups"]
    root.delete("security_group", group)
    root.ask("GET", f"/security-groups/{group['id']}", status=404)
    [again] = root.get("/security-groups", **query)["security_groups"]  # whoever looks for it, finds it
    assert again["id"] != group["id"]
    assert root.get("/security-groups", project_id=ZERO, name="default")["security_groups"] == []
    assert [each["name"] for each in bob.get("/security-groups")["security_groups"]] == ["default"]


def test_a_new_group_lets_everything_out(alice: Net, group: dict[str, Any]) -> None:
    assert set(group) == {
        "id", "name", "project_id", "tenant_id", "description", "tags", "revision_number", "created_at", "updated_at",
        "stateful", "security_group_rules", "shared",
    }  # fmt: skip
    assert {(r["direction"], r["ethertype"]) for r in group["security_group_rules"]} == {
        ("egress", "IPv4"), ("egress", "IPv6"),
    }  # fmt: skip
    changed = alice.change("security_group", group, name="web2", description="e")
    assert (changed["name"], changed["description"]) == ("web2", "e")
    twin = alice.make("security_group", name="web2", stateful=False)
    assert twin["stateful"] is False
    alice.delete("security_group", twin)
    alice.refused("GET", f"/security-groups/{twin['id']}", None, 404, "SecurityGroupNotFound",
                  f"Security group {twin['id']} does not exist")  # fmt: skip


GOOD: list[dict[str, Any]] = [
    {"protocol": "tcp", "port_range_min": 80, "port_range_max": 80},
    {"protocol": "6", "port_range_min": 81, "port_range_max": 81},
    {"protocol": 17},
    {"protocol": "UDP", "port_range_min": 1, "port_range_max": "65535"},
    {"protocol": "icmp", "port_range_min": 8, "port_range_max": 0},
    {"protocol": "icmp", "port_range_min": 11},
    {"protocol": "ipv6-icmp", "ethertype": "IPv6"},
    {"protocol": "vrrp"},
    {"protocol": "any", "ethertype": "ipv6"},
    {"remote_ip_prefix": "10.0.0.5", "protocol": "ah"},
    {"direction": "egress", "remote_ip_prefix": "10.1.2.3/8"},
]


@pytest.mark.parametrize("values", GOOD)
def test_rules_are_answered_as_they_were_asked_for(alice: Net, group: dict[str, Any], values: dict[str, Any]) -> None:
    made = add(alice, group, **values)
    assert alice.show("security_group_rule", made) == made
    protocol = values.get("protocol")
    assert made["protocol"] == (None if protocol in (None, "any") else str(protocol).lower())
    assert made["ethertype"] == ("IPv6" if str(values.get("ethertype", "")).lower() == "ipv6" else "IPv4")
    if values.get("remote_ip_prefix") == "10.1.2.3/8":
        assert made["normalized_cidr"] == "10.0.0.0/8"
    alice.delete("security_group_rule", made)


BAD: list[tuple[dict[str, Any], int, str, str]] = [
    ({"protocol": "udp", "port_range_min": 10, "port_range_max": 5}, 400, "SecurityGroupInvalidPortRange",
     "For TCP/UDP protocols, port_range_min must be <= port_range_max"),
    ({"protocol": "udp", "port_range_min": 10}, 400, "SecurityGroupInvalidPortRange", ""),
    ({"protocol": "tcp", "port_range_min": -16, "port_range_max": 80}, 400, "SecurityGroupInvalidPortValue",
     "Invalid value for port -16"),
    ({"protocol": "tcp", "port_range_min": 80, "port_range_max": 65536}, 400, "SecurityGroupInvalidPortValue",
     "Invalid value for port 65536"),
    ({"protocol": "tcp", "port_range_min": "x", "port_range_max": 5}, 400, "SecurityGroupInvalidPortValue",
     "Invalid value for port x"),
    ({"port_range_min": 1, "port_range_max": 5}, 400, "SecurityGroupProtocolRequiredWithPorts",
     "Must also specify protocol if port range is given."),
    ({"protocol": "icmp", "port_range_min": 1, "port_range_max": 256}, 400, "SecurityGroupInvalidIcmpValue",
     "Invalid value for ICMP code (port_range_max) 256. It must be 0 to 255."),
    ({"protocol": "icmp", "port_range_min": 300, "port_range_max": 1}, 400, "SecurityGroupInvalidIcmpValue",
     "Invalid value for ICMP type (port_range_min) 300. It must be 0 to 255."),
    ({"protocol": "icmp", "port_range_max": 6}, 400, "SecurityGroupMissingIcmpType",
     "ICMP code (port-range-max) 6 is provided but ICMP type (port-range-min) is missing."),
    ({"protocol": "vrrp", "port_range_min": 1, "port_range_max": 2}, 400, "SecurityGroupInvalidProtocolForPort",
     "Ports cannot be specified for protocol 112."),
    ({"protocol": "udplite", "port_range_min": 1, "port_range_max": 2}, 400, "SecurityGroupInvalidProtocolForPort",
     "Ports are only supported for SCTP, TCP, UDP."),
    ({"protocol": "bogus"}, 400, "SecurityGroupRuleInvalidProtocol",
     "Security group rule protocol bogus not supported. Only protocol values (None, 'any', 'ah',"),
    ({"protocol": 300}, 400, "SecurityGroupRuleInvalidProtocol", "protocol 300 not supported"),
    ({"protocol": "ipv6-icmp"}, 400, "SecurityGroupEthertypeConflictWithProtocol",
     "Invalid ethertype IPv4 for protocol ipv6-icmp."),
    ({"ethertype": "bogus"}, 400, "SecurityGroupRuleInvalidEtherType",
     "Security group rule for ethertype 'bogus' not supported. Allowed values are ['IPv4', 'IPv6']."),
    ({"direction": "bogus"}, 400, "HTTPBadRequest", "bogus is not in valid_values"),
    ({"remote_ip_prefix": "bogus"}, 400, "InvalidCIDR", "Invalid CIDR bogus given as IP prefix."),
    ({"remote_ip_prefix": "fd00::/64"}, 400, "SecurityGroupRuleParameterConflict",
     "Conflicting value ethertype IPv4 for CIDR fd00::/64"),
    ({"remote_group_id": ZERO}, 404, "SecurityGroupNotFound", f"Security group {ZERO} does not exist"),
    ({"remote_group_id": "bad_group_id"}, 404, "SecurityGroupNotFound", "bad_group_id does not exist"),
    ({"remote_group_id": ZERO, "remote_ip_prefix": "10.0.0.0/8"}, 400, "SecurityGroupMultipleRemoteEntites",
     "Only one of remote_ip_prefix or remote_group_id or remote_address_group_id may be provided."),
    ({"security_group_id": ZERO}, 404, "SecurityGroupNotFound", f"Security group {ZERO} does not exist"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "status", "error", "text"), BAD)
def test_rules_that_cannot_be_are_refused_to_the_word(
    alice: Net, group: dict[str, Any], values: dict[str, Any], status: int, error: str, text: str
) -> None:
    alice.refused("POST", "/security-group-rules", rule(group, **values), status, error, text)


@pytest.mark.parametrize(("first", "second"), [
    ({"protocol": "tcp"}, {"protocol": "6"}),
    ({"protocol": "icmpv6", "ethertype": "IPv6"}, {"protocol": "icmp", "ethertype": "IPv6"}),
    ({"remote_ip_prefix": "9.0.0.0/8"}, {"remote_ip_prefix": "9.0.0.0/8"}),
])  # fmt: skip
def test_a_rule_exists_once(alice: Net, group: dict[str, Any], first: Any, second: Any) -> None:
    made = add(alice, group, **first)
    text = f"Security group rule already exists. Rule id is {made['id']}."
    alice.refused("POST", "/security-group-rules", rule(group, **second), 409, "SecurityGroupRuleExists", text)
    alice.delete("security_group_rule", made)
    both = {"security_group_rules": [rule(group, **values)["security_group_rule"] for values in (first, second)]}
    alice.refused("POST", "/security-group-rules", both, 409, "DuplicateSecurityGroupRuleInPost")


def test_rules_belong_to_their_groups_owner(alice: Net, bob: Net, reader: Net, group: dict[str, Any]) -> None:
    made = add(alice, group, protocol="gre")
    path = f"/security-group-rules/{made['id']}"
    assert bob.ask("GET", path, status=404)["NeutronError"]["type"] == "SecurityGroupRuleNotFound"
    bob.ask("DELETE", path, status=404)
    bob.refused("POST", "/security-group-rules", rule(group), 403, "PolicyNotAuthorized")
    reader.refused("POST", "/security-group-rules", rule(group), 403, "PolicyNotAuthorized")
    reader.refused("DELETE", path, None, 403, "PolicyNotAuthorized")
    alice.delete("security_group_rule", made)
    alice.refused("DELETE", path, None, 404, "SecurityGroupRuleNotFound",
                  f"Security group rule {made['id']} does not exist")  # fmt: skip


def test_rules_go_with_the_group_that_they_name(alice: Net, group: dict[str, Any]) -> None:
    other = alice.make("security_group", name="other")
    made = add(alice, group, remote_group_id=other["id"])
    assert alice.get("/security-group-rules", remote_group_id=other["id"])["security_group_rules"] == [made]
    alice.delete("security_group", other)
    assert alice.get("/security-group-rules", remote_group_id=other["id"])["security_group_rules"] == []


def test_rules_name_address_groups(alice: Net, group: dict[str, Any]) -> None:
    addresses = alice.make("address_group", name="a", addresses=["1.1.1.1/32", "10.0.0.0/8"])
    assert addresses["addresses"] == ["1.1.1.1/32", "10.0.0.0/8"]
    made = add(alice, group, remote_address_group_id=addresses["id"])
    path = f"/address-groups/{addresses['id']}"
    alice.refused("DELETE", path, None, 409, "AddressGroupInUse", "is in use on one or more security group rules.")
    wider = alice.ask("PUT", path + "/add_addresses", {"addresses": ["2.3.4.5/8"]})["address_group"]  # no host bits
    assert wider["addresses"] == ["1.1.1.1/32", "10.0.0.0/8", "2.0.0.0/8"]
    alice.refused("PUT", path + "/add_addresses", {"addresses": ["2.0.0.0/8"]}, 400, "AddressesAlreadyExist")
    alice.refused("PUT", path + "/remove_addresses", {"addresses": ["3.0.0.0/8"]}, 404, "AddressesNotFound")
    alice.refused("PUT", path + "/remove_addresses", {"addresses": ["3.0.0.1"]}, 404, "AddressesNotFound")
    alice.ask("PUT", path + "/remove_addresses", {"addresses": ["2.0.0.0/8"]})
    alice.refused("POST", "/address-groups", {"address_group": {"addresses": ["x"]}}, 400, "HTTPBadRequest")
    alice.delete("security_group_rule", made)
    alice.delete("address_group", addresses)


def test_a_port_has_stateful_groups_or_stateless_ones(alice: Net) -> None:
    network, _ = alice.wired()
    stateful, stateless = (alice.make("security_group", name="g", stateful=value)["id"] for value in (True, False))
    text = "Cannot apply both stateful and stateless security groups on the same port at the same time"
    both = {"security_groups": [stateful, stateless]}
    body = {"port": {"network_id": network["id"]} | both}
    alice.refused("POST", "/ports", body, 409, "SecurityGroupConflict", text)
    port = alice.port(network, security_groups=[stateless])
    alice.refused("PUT", f"/ports/{port['id']}", {"port": both}, 409, "SecurityGroupConflict", text)


def test_a_group_needs_room_for_the_rules_it_begins_with(root: Net, bob: Net) -> None:
    root.ask("PUT", f"/quotas/{bob.project_id}", {"quota": {"security_group_rule": 1, "force": True}})
    bob.refused("POST", "/security-groups", {"security_group": {"name": "full"}}, 409, "OverQuota")
    root.ask("DELETE", f"/quotas/{bob.project_id}", status=204)
    bob.make("security_group", name="full")


def test_rules_of_an_administrator_count_for_its_project(root: Net, bob: Net) -> None:
    def used(net: Net) -> int:
        return int(root.get(f"/quotas/{net.project_id}/details")["quota"]["security_group_rule"]["used"])

    before = used(bob)
    group = bob.make("security_group", name="g")
    mine = root.make("security_group_rule", security_group_id=group["id"], direction="ingress", protocol="tcp")
    assert mine["project_id"] != bob.project_id
    assert used(bob) == before + 2
    bob.delete("security_group", group)
    assert used(bob) == before
