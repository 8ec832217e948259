"""The unmodified clients: openstacksdk and the `openstack` command."""

import json
import os
import subprocess
import sys
from typing import Any

import openstack

from tests.support import Running


def test_openstacksdk_makes_and_removes_a_whole_network(admin: openstack.connection.Connection) -> None:
    network = admin.create_network("sdk-net")
    subnet = admin.create_subnet(network.id, cidr="10.0.0.0/24", dns_nameservers=["1.1.1.1"])
    six = admin.network.create_subnet(network_id=network.id, ip_version=6, cidr="fd00::/64", ipv6_ra_mode="slaac",
                                      ipv6_address_mode="slaac")  # fmt: skip
    outside = admin.network.create_network(name="sdk-ext", is_router_external=True)
    outer = admin.network.create_subnet(network_id=outside.id, ip_version=4, cidr="203.0.113.0/24")
    router = admin.create_router("sdk-router", ext_gateway_net_id=outside.id)
    admin.add_router_interface(router, subnet_id=subnet.id)
    group = admin.create_security_group("sdk-group", "d")
    rule = admin.create_security_group_rule(group.id, 22, 22, "tcp", "0.0.0.0/0")
    port = admin.create_port(network.id, security_groups=[group.id], name="sdk-port")
    floating = admin.network.create_ip(floating_network_id=outside.id, port_id=port.id)
    assert floating.fixed_ip_address == port.fixed_ips[0]["ip_address"]
    assert {fixed["subnet_id"] for fixed in port.fixed_ips} == {subnet.id, six.id}
    assert [each.id for each in admin.network.ports(name="sdk-port")] == [port.id]
    assert admin.network.find_network("sdk-net").id == network.id
    admin.network.set_tags(port, ["a"])
    assert admin.network.get_port(port.id).tags == ["a"]
    assert admin.network.get_quota("admin-or-any", details=True) is not None
    assert admin.network.find_extension("router").alias == "router"
    for remove, thing in (
        (admin.network.delete_ip, floating), (admin.network.delete_port, port),
        (admin.network.delete_security_group_rule, rule), (admin.network.delete_security_group, group),
    ):  # fmt: skip
        remove(thing, ignore_missing=False)
    admin.remove_router_interface(router, subnet_id=subnet.id)
    assert admin.delete_router(router.id)
    assert admin.delete_subnet(outer.id) and admin.delete_network(outside.id) and admin.delete_network(network.id)
    assert admin.network.find_subnet(six.id) is None


ONE_PROCESS = """
import contextlib, io, json, sys
from openstackclient import shell
for words in json.load(sys.stdin):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = shell.main(words)
    print(json.dumps([code, out.getvalue()]), flush=True)
    if code:
        break
"""
"""The client is slow to start, so one process of it runs all commands."""


def run(cloud: Running, *commands: str) -> list[Any]:
    """What each `openstack` command printed."""
    words = [["--quiet", *command.split(), *(FORM if SHOWN & set(command.split()) else ())] for command in commands]
    answer = subprocess.run(
        [sys.executable, "-c", ONE_PROCESS], input=json.dumps(words), env=os.environ | cloud.environment(),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    results = [json.loads(line) for line in answer.stdout.splitlines()]
    assert len(results) == len(commands), answer.stderr
    for command, (code, _) in zip(commands, results, strict=True):
        assert code == 0, f"{command}: {answer.stderr}"
    return [json.loads(text) if text.startswith(("{", "[")) else text for _, text in results]


FORM = ("-f", "json")
SHOWN = {"create", "show", "list"}


def test_the_command_line_shows_what_it_made(cloud: Running) -> None:
    results = run(
        cloud,
        "network create cli-net --mtu 1400 --tag blue",
        "subnet create cli-sub --network cli-net --subnet-range 10.0.0.0/24 --dns-nameserver 9.9.9.9",
        "router create cli-router",
        "router add subnet cli-router cli-sub",
        "security group create cli-group",
        "security group rule create --proto tcp --dst-port 22 cli-group",
        "port create cli-port --network cli-net --fixed-ip ip-address=10.0.0.9 --security-group cli-group",
        "port list --router cli-router",
        "network show cli-net",
        "router remove subnet cli-router cli-sub",
        "port delete cli-port",
        "router delete cli-router",
        "security group delete cli-group",
        "network delete cli-net",
        "network list --name cli-net",
    )
    port, listed, shown = results[6:9]
    assert port["fixed_ips"][0]["ip_address"] == "10.0.0.9"
    assert listed[0]["Fixed IP Addresses"][0]["ip_address"] == "10.0.0.1"
    assert (shown["mtu"], shown["tags"]) == (1400, ["blue"])
    assert results[-1] == []
