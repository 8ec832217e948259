"""What a Server is told about itself, and which patterns a filter takes."""

import base64
import json
import time
from typing import Any

import pytest

from hagane.compute.device import entry
from hagane.compute.metadata import documents, on_drive
from hagane.compute.pattern import check
from hagane.compute.server_create import hostname, password
from hagane.errors import Invalid

SERVER: dict[str, Any] = {
    "id": "5f0b2c9e-0000-4000-8000-000000000000", "name": "Web 1", "hostname": "web-1", "launch_index": 0, "zone": None,
    "project_id": "p", "metadata": {"a": "b"}, "files": [{"path": "/etc/x", "contents": "aGk="}], "image_id": "image-id",
    "keypair": {"name": "k", "type": "ssh", "public_key": "ssh-ed25519 AAAA"}, "reservation_id": "r-1",
    "user_data": base64.b64encode(b"#!/bin/sh").decode(), "flavor": {"name": "small"}, "security_groups": ["default"],
    "nics": [{"port_id": "p2", "tag": "front"}, {"port_id": "p1", "tag": None}, {"port_id": "p3", "gone": True}],
    "devices": [
        entry(destination="volume", volume_id="v1", boot_index=0, device="/dev/vda"),
        entry(destination="volume", volume_id="v2", device="/dev/vdc", tag="data"),
        entry(destination="local", source="blank", format="swap", device="/dev/vdb"),
        entry(destination="volume", volume_id="v3", device="/dev/vdd", tag="leaving") | {"gone": True},
    ],
}  # fmt: skip
PORTS: list[dict[str, Any]] = [
    {"id": name, "network_id": "n", "mac_address": f"fa:16:3e:00:00:0{name[1]}", "fixed_ips": ips}
    for name, ips in (
        ("p1", [{"subnet_id": "s4", "ip_address": "10.0.0.5"}, {"subnet_id": "s6", "ip_address": "fd00::5"}]),
        ("p2", [{"subnet_id": "static", "ip_address": "192.0.2.9"}]),
        ("p3", []),
    )
]


def subnet(name: str, version: int, cidr: str, *, dhcp: bool, mode: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": name, "ip_version": version, "cidr": cidr, "enable_dhcp": dhcp, "ipv6_address_mode": mode,
        "gateway_ip": None, "dns_nameservers": [], "host_routes": [],
    } | more  # fmt: skip


NETWORKS = {"n": {"id": "n", "mtu": 1442, "subnet_rows": [
    subnet("s4", 4, "10.0.0.0/24", dhcp=True, dns_nameservers=["9.9.9.9"]),
    subnet("s6", 6, "fd00::/64", dhcp=True, mode="slaac"),
    subnet("static", 4, "192.0.2.0/24", dhcp=False, gateway_ip="192.0.2.1",
           host_routes=[{"destination": "10.9.0.0/16", "nexthop": "192.0.2.2"}]),
]}}  # fmt: skip


def test_documents() -> None:
    files = documents(SERVER, PORTS, NETWORKS, password="pw", seed=b"x" * 8)
    about = json.loads(files["openstack/latest/meta_data.json"])
    assert (about["uuid"], about["hostname"], about["availability_zone"]) == (SERVER["id"], "web-1", "nova")
    assert about["public_keys"] == {"k": "ssh-ed25519 AAAA"}
    assert about["files"] == [{"path": "/etc/x", "content_path": "/content/0000"}]
    assert files["openstack/content/0000"] == b"hi"
    assert about["devices"] == [
        {"type": "nic", "bus": "none", "address": "none", "mac": "fa:16:3e:00:00:02", "tags": ["front"]},
        {"type": "disk", "bus": "none", "address": "none", "tags": ["data"], "serial": "v2", "path": "/dev/vdc"},
    ]
    assert json.loads(files["ec2/latest/meta-data.json"])["block-device-mapping"] == {
        "ami": "vda", "root": "/dev/vda", "ebs0": "/dev/vda", "ebs1": "/dev/vdc", "swap": "/dev/vdb"
    }  # fmt: skip
    assert (about["admin_pass"], about["random_seed"]) == ("pw", base64.b64encode(b"x" * 8).decode())
    assert files["openstack/latest/user_data"] == b"#!/bin/sh"
    assert files["latest/meta-data/local-ipv4"] == b"192.0.2.9"
    assert files["latest/meta-data/public-keys/0/openssh-key"] == b"ssh-ed25519 AAAA"
    drive = on_drive(files)
    assert "ec2/latest/meta-data.json" in drive and not [path for path in drive if path.startswith("latest")]


def test_network_data() -> None:
    """In the order of the NICs; addresses in full where no DHCP gives them."""
    told = json.loads(documents(SERVER, PORTS, NETWORKS)["openstack/latest/network_data.json"])
    assert [link["vif_id"] for link in told["links"]] == ["p2", "p1"]
    assert told["links"][0] == {
        "id": "tapp2", "vif_id": "p2", "type": "ovs", "mtu": 1442, "ethernet_mac_address": "fa:16:3e:00:00:02"
    }  # fmt: skip
    static, dhcp, slaac = told["networks"]
    assert (static["type"], static["ip_address"], static["netmask"]) == ("ipv4", "192.0.2.9", "255.255.255.0")
    assert static["routes"] == [
        {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"},
        {"network": "10.9.0.0", "netmask": "255.255.0.0", "gateway": "192.0.2.2"},
    ]
    assert dhcp == {"id": "network1", "type": "ipv4_dhcp", "link": "tapp1", "network_id": "n"}
    assert (slaac["type"], slaac["ip_address"]) == ("ipv6_slaac", "fd00::5")
    assert told["services"] == [{"type": "dns", "address": "9.9.9.9"}]


@pytest.mark.parametrize("text", ["web", "^web-[0-9]+$", "(web|db).*", r"a\+b", "[*+?]{2}x"])
def test_patterns(text: str) -> None:
    check(text)


@pytest.mark.parametrize("text", ["(a+)+$", "(a|a)*b", "a*a*a*a*b", "(", "[", r"(a)\1", "(?=x)", "a{9999999999}"])
def test_patterns_that_could_take_for_ever(text: str) -> None:
    began = time.perf_counter()
    with pytest.raises(Invalid):
        check(text)
    assert time.perf_counter() - began < 0.1


@pytest.mark.parametrize(
    ("name", "host"),
    [("Web Server_1", "web-server-1"), ("a.b", "a-b"), ("été", "t"), ("-x-", "x"), ("日本", ""), ("x" * 99, "x" * 63)],
)
def test_hostnames(name: str, host: str) -> None:
    assert hostname(name) == host


def test_passwords() -> None:
    made = {password() for _ in range(100)}
    assert len(made) == 100
    assert all(len(one) == 12 and any(c.isdigit() for c in one) and any(c.isupper() for c in one) for one in made)


def test_network_data_of_a_node() -> None:
    """The links of bare metal are its own Nics."""
    files = documents(SERVER | {"node_id": "n1"}, PORTS, NETWORKS)
    links = json.loads(files["openstack/latest/network_data.json"])["links"]
    assert [(link["type"], link["ethernet_mac_address"]) for link in links] == [
        ("phy", "fa:16:3e:00:00:02"), ("phy", "fa:16:3e:00:00:01"),
    ]  # fmt: skip
