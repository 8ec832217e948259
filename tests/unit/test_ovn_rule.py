"""Whatever the network API takes as a security group rule becomes an expression that OVN understands."""

import pytest

from hagane.network.rule_value import NUMBERS
from hagane.reconcile.ovn.group import match
from hagane.state.database import Row

GROUP = "pg_g"


def rule(**values: object) -> Row:
    return {"direction": "ingress", "ethertype": "IPv4", "protocol": None} | values


@pytest.mark.parametrize("protocol", [*NUMBERS, "0", "255", "017"])
@pytest.mark.parametrize("ethertype", ["IPv4", "IPv6"])
def test_every_protocol_is_compiled(protocol: str, ethertype: str) -> None:
    text = match(rule(protocol=protocol, ethertype=ethertype), GROUP, {})
    assert text.startswith(f"outport == @{GROUP} && ip{ethertype[-1]}")
    everything = NUMBERS.get(protocol, protocol) in (0, "0")
    assert (text.count("&&") == 1) is everything


def test_prefixes_have_no_bits_behind_them() -> None:
    assert match(rule(remote_ip_prefix="10.1.2.3/8"), GROUP, {}).endswith("&& ip4.src == 10.0.0.0/8")
    prefixes = {"a": ["10.1.2.3/8", "fd00::1/64"]}
    assert match(rule(remote_address_group_id="a"), GROUP, prefixes).endswith("&& ip4.src == {10.0.0.0/8}")
    six = rule(remote_address_group_id="a", ethertype="IPv6", direction="egress")
    assert match(six, GROUP, prefixes) == f"inport == @{GROUP} && ip6 && ip6.dst == {{fd00::/64}}"
    assert match(rule(remote_address_group_id="unknown"), GROUP, {}).endswith("&& 0"), "nobody is let in"
