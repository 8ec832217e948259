"""Default security group rules: what new groups begin with."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.network.net import ZERO, Net
from tests.api.people import person
from tests.support import Running

PATH = "/default-security-group-rules"
KIND = "default_security_group_rule"


@pytest.fixture
def extra(root: Net) -> Iterator[list[str]]:
    """Ids of rules that are removed again afterwards."""
    made: list[str] = []
    yield made
    for key in made:
        root.ask("DELETE", f"{PATH}/{key}", status=204)


def make(root: Net, **values: Any) -> dict[str, Any]:
    body = {"direction": "ingress", "used_in_default_sg": True, "used_in_non_default_sg": False}
    return dict(root.ask("POST", PATH, {KIND: body | values}, 201)[KIND])


def said(group: dict[str, Any]) -> list[tuple[Any, ...]]:
    rules = group["security_group_rules"]
    return sorted((r["direction"], r["ethertype"], r["protocol"] or "", r["remote_group_id"] or "") for r in rules)


def test_the_clouds_own_are_those_of_the_real_service(alice: Net) -> None:
    rules = alice.get(PATH)["default_security_group_rules"]
    assert set(rules[0]) == {
        "id", "ethertype", "direction", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix",
        "remote_address_group_id", "remote_group_id", "description", "used_in_default_sg", "used_in_non_default_sg",
    }  # fmt: skip
    assert sorted((r["direction"], r["ethertype"], r["remote_group_id"], r["used_in_non_default_sg"]) for r in rules) == [
        ("egress", "IPv4", None, True), ("egress", "IPv6", None, True),
        ("ingress", "IPv4", "PARENT", False), ("ingress", "IPv6", "PARENT", False),
    ]  # fmt: skip
    assert [r["id"] for r in alice.get(PATH, direction="egress", ethertype="IPv4")[KIND + "s"]] == [
        r["id"] for r in rules if (r["direction"], r["ethertype"]) == ("egress", "IPv4")
    ]


def test_new_groups_begin_with_them(cloud: Running, root: Net, alice: Net, extra: list[str]) -> None:
    ping = make(root, protocol="icmp", used_in_non_default_sg=True, description="ping")
    extra.append(ping["id"])
    made = alice.make("security_group", name="g")
    assert said(made) == [("egress", "IPv4", "", ""), ("egress", "IPv6", "", ""), ("ingress", "IPv4", "icmp", "")]
    newcomer = person(cloud)
    [default] = newcomer.http.get("/network/v2.0/security-groups").json()["security_groups"]
    assert ("ingress", "IPv4", "icmp", "") in said(default)
    assert ("ingress", "IPv6", "", default["id"]) in said(default)
    newcomer.http.close()


def test_only_administrators_change_them(root: Net, alice: Net, extra: list[str]) -> None:
    body = {"direction": "ingress", "used_in_default_sg": True, "used_in_non_default_sg": False}
    alice.refused("POST", PATH, {KIND: body}, 403, "PolicyNotAuthorized")
    made = make(root, protocol="tcp", port_range_min=22, port_range_max=22)
    extra.append(made["id"])
    alice.refused("DELETE", f"{PATH}/{made['id']}", None, 403, "PolicyNotAuthorized")
    root.refused("POST", PATH, {KIND: body | {"protocol": "6", "port_range_min": 22, "port_range_max": 22}}, 409,
                 "DefaultSecurityGroupRuleExists", f"already exists. Rule id is {made['id']}.")  # fmt: skip
    root.refused("POST", PATH, {KIND: body | {"port_range_min": 1, "port_range_max": 2}}, 400,
                 "SecurityGroupProtocolRequiredWithPorts")  # fmt: skip
    root.refused("POST", PATH, {KIND: body | {"remote_group_id": ZERO}}, 404, "SecurityGroupNotFound")
    root.refused("POST", PATH, {KIND: {"direction": "ingress"}}, 400, "HTTPBadRequest", "used_in_default_sg")
    root.refused("GET", f"{PATH}/{ZERO}", None, 404, "DefaultSecurityGroupRuleNotFound")


def test_a_removed_one_of_the_clouds_own_is_gone(root: Net, alice: Net, extra: list[str]) -> None:
    [rule] = root.get(PATH, direction="egress", ethertype="IPv6")[KIND + "s"]
    root.ask("DELETE", f"{PATH}/{rule['id']}", status=204)
    root.refused("GET", f"{PATH}/{rule['id']}", None, 404, "DefaultSecurityGroupRuleNotFound")
    assert said(alice.make("security_group", name="g")) == [("egress", "IPv4", "", "")]
    again = make(root, direction="egress", ethertype="IPv6", used_in_non_default_sg=True)
    assert again["id"] != rule["id"]
    assert ("egress", "IPv6", "", "") in said(alice.make("security_group", name="g"))


def test_what_they_name_goes_with_them(root: Net, alice: Net) -> None:
    group, addresses = root.make("security_group", name="named"), root.make("address_group", addresses=[])
    made = make(root, remote_group_id=group["id"])
    other = make(root, remote_address_group_id=addresses["id"])
    root.refused("DELETE", f"/address-groups/{addresses['id']}", None, 409, "AddressGroupInUse")
    root.delete("security_group", group)
    root.refused("GET", f"{PATH}/{made['id']}", None, 404, "DefaultSecurityGroupRuleNotFound")
    root.ask("DELETE", f"{PATH}/{other['id']}", status=204)
    root.delete("address_group", addresses)
