"""What there is not enough of: quotas under 50 clients at once, addresses, places and bytes. On both stores."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.scenarios.server_world import PROJECT, V21, World, world

CLIENTS = 50
NET = "/network/v2.0"


@pytest.fixture(params=["sqlite", "postgresql"])
async def some(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""
    async with world(tmp_path, url=url) as made:
        yield made


async def at_once(some: World, path: str, body: dict[str, Any]) -> list[httpx.Response]:
    return await asyncio.gather(*(some.member.post(path, json=body) for _ in range(CLIENTS)))


def statuses(answers: list[httpx.Response]) -> dict[int, int]:
    return dict(Counter(answer.status_code for answer in answers))


async def test_no_more_servers_than_the_quota(some: World) -> None:
    quota = {"quota_set": {"instances": 7}}
    assert (await some.admin.put(f"{V21}/os-quota-sets/{PROJECT}", json=quota)).status_code == 200
    server = {"name": "x", "imageRef": some.image_id, "flavorRef": some.flavor_id, "networks": "none"}
    answers = await at_once(some, f"{V21}/servers", {"server": server})
    assert statuses(answers) == {202: 7, 403: 43}
    refused = next(answer for answer in answers if answer.status_code == 403).json()["forbidden"]["message"]
    assert "Quota exceeded for instances" in refused
    limits = (await some.member.get(f"{V21}/limits")).json()["limits"]["absolute"]
    assert limits["totalInstancesUsed"] == 7
    made = [answer.json()["server"]["id"] for answer in answers if answer.status_code == 202]
    await asyncio.gather(*(some.member.delete(f"{V21}/servers/{key}") for key in made))
    for key in made:
        assert await some.settled(key) is None
    assert await some.leaks() == {}


@pytest.mark.parametrize("kind", ["network", "port", "router", "security_group", "floatingip"])
async def test_no_more_of_a_network_thing_than_the_quota(some: World, kind: str) -> None:
    plural, body = kind + "s", {"name": "x"}
    if kind == "port":
        body = {"network_id": some.network_id}
    if kind == "floatingip":
        net = {"network": {"name": "out", "router:external": True}}
        body = {"floating_network_id": (await some.admin.post(f"{NET}/networks", json=net)).json()["network"]["id"]}
        subnet = {"network_id": body["floating_network_id"], "cidr": "172.16.0.0/24", "ip_version": 4}
        assert (await some.admin.post(f"{NET}/subnets", json={"subnet": subnet})).status_code == 201
    path = f"{NET}/{plural.replace('_', '-')}"
    await some.member.get(path)  # a project's default security group comes with its first look
    used = f"{NET}/quotas/{PROJECT}/details"
    before = (await some.admin.get(used)).json()["quota"][kind]["used"]
    quota = {"quota": {kind: before + 7}}
    assert (await some.admin.put(f"{NET}/quotas/{PROJECT}", json=quota)).status_code == 200
    answers = await at_once(some, path, {kind: body})
    assert statuses(answers) == {201: 7, 409: 43}
    refused = next(answer for answer in answers if answer.status_code == 409).json()["NeutronError"]
    assert refused["type"] == "OverQuota" and kind in refused["message"]
    assert (await some.admin.get(used)).json()["quota"][kind]["used"] == before + 7
    for answer in answers:
        if answer.status_code == 201:
            assert (await some.member.delete(f"{path}/{answer.json()[kind]['id']}")).status_code == 204
    assert (await some.admin.get(used)).json()["quota"][kind]["used"] == before


async def test_a_subnet_that_is_used_up(some: World) -> None:
    net = (await some.member.post(f"{NET}/networks", json={"network": {}})).json()["network"]["id"]
    subnet = {"network_id": net, "cidr": "10.7.0.0/28", "ip_version": 4, "enable_dhcp": False}
    assert (await some.member.post(f"{NET}/subnets", json={"subnet": subnet})).status_code == 201
    answers = await at_once(some, f"{NET}/ports", {"port": {"network_id": net}})
    assert statuses(answers) == {201: 13, 409: 37}
    refused = next(answer for answer in answers if answer.status_code == 409).json()["NeutronError"]
    assert refused["type"] == "IpAddressGenerationFailure"
    taken = [a.json()["port"]["fixed_ips"][0]["ip_address"] for a in answers if a.status_code == 201]
    assert len(set(taken)) == 13
    answer = await some.member.post(
        f"{V21}/servers",
        json={"server": {"name": "x", "imageRef": some.image_id, "flavorRef": some.flavor_id,
                         "networks": [{"uuid": net}]}},
    )  # fmt: skip
    assert answer.status_code == 409, answer.text
    assert "No fixed IP addresses available" in answer.json()["conflictingRequest"]["message"]
    assert await some.leaks() == {}


async def test_no_host_has_room(some: World) -> None:
    huge = {"name": "huge", "ram": 1 << 30, "vcpus": 1, "disk": 1, "id": "huge"}
    assert (await some.admin.post(f"{V21}/flavors", json={"flavor": huge})).status_code == 200
    quota = {"quota_set": {"ram": -1}}
    assert (await some.admin.put(f"{V21}/os-quota-sets/{PROJECT}", json=quota)).status_code == 200
    made = await some.create(flavorRef="huge")
    shown = await some.settled(made["id"])
    assert shown and shown["status"] == "ERROR"
    assert "No valid host was found" in shown["fault"]["message"]
    for host in some.hosts:
        assert host in str(shown["fault"])
    assert (await some.member.delete(f"{V21}/servers/{made['id']}")).status_code == 204
    assert await some.settled(made["id"]) is None
    assert await some.leaks() == {}
