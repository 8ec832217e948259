"""Input that means harm: numbers that are none, endless questions, others' things as markers, headers in names."""

from typing import Any

import pytest

from tests.api.people import Person
from tests.api.test_metadata import network, server
from tests.support import Running

LISTS = ("/network/v2.0/networks", "/compute/v2.1/servers", "/image/v2/images", "/compute/v2.1/flavors")


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("number", ["²", "--5", "1" * 5000, "٣", "nan"])
def test_a_limit_that_is_no_number(stranger: Person, path: str, number: str) -> None:
    assert stranger.http.get(path, params={"limit": number}).status_code in (200, 400)


@pytest.mark.parametrize("path", LISTS)
def test_a_sort_key_named_often_orders_once(stranger: Person, path: str) -> None:
    key = "uuid" if "servers" in path else "id" if "network" in path else "name" if "image" in path else "flavorid"
    often = [("sort_key", key), ("sort_dir", "asc")] * 400
    answer = stranger.http.get(path, params=[*often, ("limit", "2")])
    assert answer.status_code == 200, answer.text
    assert stranger.http.get(path, params=[*often, ("limit", "2")] * 2).status_code == 400


@pytest.mark.parametrize("path", ["/compute/v2.1/servers", "/network/v2.0/networks"])
def test_an_endless_question_is_refused_or_answered(stranger: Person, path: str) -> None:
    tags = ",".join(f"t{number}" for number in range(5000))
    headers = {"openstack-api-version": "compute 2.90"}
    answer = stranger.http.get(path, params={"tags": tags}, headers=headers)
    assert answer.status_code in (200, 400), answer.text


def test_anothers_thing_is_no_marker(cloud: Running, victim: Person, stranger: Person) -> None:
    net = network(victim)
    machine = server(cloud, victim, net)["id"]
    for path, key, status in (("/network/v2.0/networks", net, 404), ("/compute/v2.1/servers", machine, 400)):
        query: dict[str, Any] = {"marker": key, "limit": 1}
        assert victim.http.get(path, params=query).status_code == 200
        assert stranger.http.get(path, params=query).status_code == status


def test_a_tag_begins_no_header(cloud: Running, victim: Person) -> None:
    machine = server(cloud, victim, network(victim))["id"]
    headers = {"openstack-api-version": "compute 2.90"}
    answer = victim.http.put(f"/compute/v2.1/servers/{machine}/tags/a%0d%0ax-evil:%20yes", headers=headers)
    assert answer.status_code == 201
    assert "x-evil" not in answer.headers
    assert answer.headers["location"].endswith("/tags/a%0D%0Ax-evil: yes")


def test_a_revision_that_is_no_number(victim: Person) -> None:
    net = network(victim)
    for number, status in (("²", 400), ("9" * 5000, 412), ("-1", 412)):
        headers = {b"if-match": f"revision_number={number}".encode()}
        body = {"network": {"name": "x"}}
        assert victim.http.put(f"/network/v2.0/networks/{net}", json=body, headers=headers).status_code == status


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("security-group-rule", {"direction": "ingress", "ethertype": "IPv6", "remote_ip_prefix": "fe80::%0 || ip/64"}),
        ("port", {"allowed_address_pairs": [{"ip_address": "fe80::1%x y"}]}),
        ("port", {"fixed_ips": [{"ip_address": "fe80::1%0"}]}),
        ("subnet", {"ip_version": 6, "cidr": "fe80::%0 || ip/64"}),
        ("subnet", {"ip_version": 4, "cidr": "10.9.0.0/24", "dns_nameservers": ["fe80::1%0}; drop"]}),
        ("subnet", {"ip_version": 6, "cidr": "fd00::/64", "gateway_ip": "fd00::1%0"}),
        ("subnet", {"ip_version": 4, "cidr": "10.9.0.0/24",
                    "host_routes": [{"destination": "fe80::%0 x/64", "nexthop": "10.9.0.1"}]}),
    ],
)  # fmt: skip
def test_an_address_with_a_scope_is_none(victim: Person, kind: str, body: dict[str, Any]) -> None:
    if kind == "security-group-rule":
        groups = victim.http.get("/network/v2.0/security-groups").json()["security_groups"]
        body = body | {"security_group_id": groups[0]["id"]}
    else:
        body = body | {"network_id": network(victim)}
    answer = victim.http.post(f"/network/v2.0/{kind}s", json={kind.replace("-", "_"): body})
    assert answer.status_code == 400, answer.text


def test_endless_lists_are_refused_at_once(victim: Person) -> None:
    tags = ["a"] * 200_000
    assert victim.http.put(f"/network/v2.0/networks/{network(victim)}/tags", json={"tags": tags}).status_code == 400
    group = {"address_group": {"addresses": [f"10.{n >> 8}.{n & 255}.0/24" for n in range(20_000)]}}
    assert victim.http.post("/network/v2.0/address-groups", json=group).status_code == 400
    many = {"networks": [{}] * 50_000}
    assert victim.http.post("/network/v2.0/networks", json=many).status_code == 400
