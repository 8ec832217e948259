"""Both stores under many clients at once, and what the compute API does with ports inside its own transactions."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hagane.api.asgi import Application
from hagane.api.http import Caller, Request
from hagane.cloud import Cloud
from hagane.config import Config
from hagane.errors import Conflict, HaganeError
from hagane.network import attach, default_rule_row, network
from hagane.network.service import service
from hagane.state.allocation import held
from hagane.state.database import Tx, open_database
from hagane.state.migrate import migrate
from tests.api.network.net import ROOT

ALICE = Caller(user_id="u", project_id="alice", roles=frozenset({"member", "reader"}))


@pytest.fixture(params=["sqlite", "postgresql"])
async def cloud(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cloud]:
    url = f"sqlite:{tmp_path}/h.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    db = await open_database(url)
    await migrate(db)
    await db.write(default_rule_row.seed)
    yield Cloud(Config(state=tmp_path), db)
    await db.close()


@pytest.fixture
async def client(cloud: Cloud) -> AsyncIterator[httpx.AsyncClient]:
    async def authenticate(request: Request) -> Caller:
        return ALICE

    transport = httpx.ASGITransport(app=Application(cloud, [service(cloud)], authenticate))
    async with httpx.AsyncClient(transport=transport, base_url="http://cloud") as made:
        yield made


async def make(client: httpx.AsyncClient, kind: str, status: int = 201, **values: Any) -> dict[str, Any]:
    answer = await client.post(f"{ROOT}/{kind}s", json={kind: values})
    assert answer.status_code == status, answer.text
    body = answer.json()
    return dict(body[kind] if status == 201 else body["NeutronError"])


async def wired(client: httpx.AsyncClient, cidr: str) -> tuple[dict[str, Any], dict[str, Any]]:
    net = await make(client, "network", name="n")
    return net, await make(client, "subnet", network_id=net["id"], cidr=cidr, ip_version=4, enable_dhcp=False)


async def test_sixteen_clients_empty_a_subnet_without_conflict(cloud: Cloud, client: httpx.AsyncClient) -> None:
    net, subnet = await wired(client, "10.0.0.0/26")

    async def some(_: int) -> list[dict[str, Any]]:
        return [await make(client, "port", network_id=net["id"]) for _ in range(3)]

    ports = [port for made in await asyncio.gather(*map(some, range(16))) for port in made]
    taken = {port["fixed_ips"][0]["ip_address"]: port["id"] for port in ports}
    assert len(taken) == 48
    assert await held(cloud.db, "ip", subnet["id"]) == taken
    rest = [await make(client, "port", network_id=net["id"]) for _ in range(61 - 48)]
    assert len({port["fixed_ips"][0]["ip_address"] for port in rest} - taken.keys()) == 13
    refusal = await make(client, "port", 409, network_id=net["id"])
    assert refusal["type"] == "IpAddressGenerationFailure"
    await asyncio.gather(*(client.delete(f"{ROOT}/ports/{port['id']}") for port in ports))
    assert len(await held(cloud.db, "ip", subnet["id"])) == 13
    again = [await make(client, "port", network_id=net["id"]) for _ in range(48)]
    assert len({port["fixed_ips"][0]["ip_address"] for port in again}) == 48


async def test_one_address_is_given_to_one_of_many(client: httpx.AsyncClient) -> None:
    net, _ = await wired(client, "10.1.0.0/24")
    body = {"port": {"network_id": net["id"], "fixed_ips": [{"ip_address": "10.1.0.77"}]}}
    answers = await asyncio.gather(*(client.post(f"{ROOT}/ports", json=body) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9


async def test_everything_deleted_leaves_nothing_held(cloud: Cloud, client: httpx.AsyncClient) -> None:
    net, subnet = await wired(client, "10.2.0.0/24")
    await client.put(f"{ROOT}/subnets/{subnet['id']}", json={"subnet": {"enable_dhcp": True}})
    router = await make(client, "router")
    answer = await client.put(f"{ROOT}/routers/{router['id']}/add_router_interface", json={"subnet_id": subnet["id"]})
    assert answer.status_code == 200
    port = await make(client, "port", network_id=net["id"], tags=["a"])
    await client.put(f"{ROOT}/routers/{router['id']}/remove_router_interface", json={"subnet_id": subnet["id"]})
    for path in (f"ports/{port['id']}", f"routers/{router['id']}", f"networks/{net['id']}"):
        assert (await client.delete(f"{ROOT}/{path}")).status_code == 204
    for table in ("allocation", "port", "subnet", "router", "network", "network_tag",
                  "port_security_group"):  # fmt: skip
        assert await cloud.db.fetch(f"SELECT * FROM {table}") == [], table
    for table in ("network_range", "network_freed"):
        assert await cloud.db.fetch(f"SELECT pool FROM {table}") == [{"pool": "geneve"}], (
            "subnets take their pools along"
        )
    used = await cloud.db.fetch("SELECT resource FROM network_quota WHERE used != 0 ORDER BY resource")
    assert [row["resource"] for row in used] == ["security_group", "security_group_rule"]


async def test_a_machine_gets_ports_and_gives_them_back(cloud: Cloud, client: httpx.AsyncClient) -> None:
    net, _ = await wired(client, "10.3.0.0/24")
    own = await make(client, "port", network_id=net["id"])
    [group] = (await client.get(f"{ROOT}/security-groups")).json()["security_groups"]

    async def start(tx: Tx) -> str:
        [row] = await attach.networks(tx, "alice")
        assert await attach.may_attach(tx, row, "alice") and not await attach.may_attach(tx, row, "bob")
        names = await attach.groups_named(tx, "alice", ["default", group["id"], "nope"])
        assert names == {"default": [group["id"]], group["id"]: [group["id"]], "nope": []}
        new = await attach.make(tx, row, project="alice", device="vm", owner="compute:nova", fixed_ip="10.3.0.50")
        port = await attach.port_for(tx, "alice", own["id"])
        assert port is not None and await attach.port_for(tx, "bob", own["id"]) is None
        await attach.take(tx, port, device="vm", owner="compute:nova", dns_name="web")
        await attach.bind(tx, "vm", "host1")
        return str(new["id"])

    known = [await cloud.db.write(start), own["id"]]
    ports = (await attach.ports_of(cloud.db, ["vm", "none"], known))["vm"]
    assert (await attach.ports_of(cloud.db, ["vm"], known[:1]))["vm"] == [p for p in ports if p["id"] == known[0]]
    assert [port["binding_host_id"] for port in ports] == ["host1", "host1"]
    assert {port["binding_vif_type"] for port in ports} == {"ovs"}
    found = await attach.addresses_of(cloud.db, ["vm", "none"], known)
    assert found["none"] == []
    assert {(a.network, a.ip, a.version, a.kind) for a in found["vm"]} == {
        ("n", "10.3.0.50", 4, "fixed"), ("n", own["fixed_ips"][0]["ip_address"], 4, "fixed"),
    }  # fmt: skip
    assert await attach.groups_of(cloud.db, ["vm"], known) == {"vm": ["default"]}
    assert len((await attach.networks_of(cloud.db, ports))[net["id"]]["subnet_rows"]) == 1
    with pytest.raises(Conflict, match="already has an attached device vm"):
        await cloud.db.write(lambda tx: attach.take(tx, ports[0], device="other", owner="compute:nova"))
    made = next(port["id"] for port in ports if port["id"] != own["id"])

    async def end(tx: Tx) -> None:
        await attach.remove(tx, made)
        await attach.free(tx, own["id"])

    await cloud.db.write(end)
    [left] = (await client.get(f"{ROOT}/ports")).json()["ports"]
    assert (left["id"], left["device_id"], left["device_owner"]) == (own["id"], "", "")
    row = await network.get(cloud.db, net["id"])
    assert row is not None
    with pytest.raises(HaganeError, match=r"10\.9\.0\.1 is not a valid IP"):
        await cloud.db.write(
            lambda tx: attach.make(tx, row, project="alice", device="x", owner="compute:nova", fixed_ip="10.9.0.1")
        )
    assert await attach.ports_of(cloud.db, ["x"], known) == {"x": []}


async def test_an_operators_rule_is_asked_about_every_row(tmp_path: Path) -> None:
    rule = '"get_network": "role:reader and project_id:%(project_id)s and not \'secret\':%(name)s"\n'
    hide = '"get_port:mac_address": "project_id:%(network:project_id)s"\n'
    (tmp_path / "network.yaml").write_text(rule + hide)
    db = await open_database("sqlite::memory:")
    await migrate(db)
    cloud = Cloud(Config(state=tmp_path, policy=str(tmp_path)), db)
    callers = {"alice": ALICE, "bob": Caller(user_id="v", project_id="bob", roles=frozenset({"member", "reader"}))}

    async def authenticate(request: Request) -> Caller:
        return callers[request.headers.get("x-auth-token", "alice")]

    transport = httpx.ASGITransport(app=Application(cloud, [service(cloud)], authenticate))
    async with httpx.AsyncClient(transport=transport, base_url="http://cloud") as client:
        for name in ("open", "secret"):
            await make(client, "network", name=name)
        listed = (await client.get(f"{ROOT}/networks")).json()["networks"]
        assert [each["name"] for each in listed] == ["open"]
        share = {"object_type": "network", "object_id": listed[0]["id"], "action": "access_as_shared",
                 "target_tenant": "b" * 32}  # fmt: skip
        callers["bob"] = Caller(user_id="v", project_id="b" * 32, roles=frozenset({"member", "reader"}))
        answer = await client.post(f"{ROOT}/rbac-policies", json={"rbac_policy": share})
        assert answer.status_code == 201
        bobs = {"X-Auth-Token": "bob"}
        body = {"port": {"network_id": listed[0]["id"]}}
        assert (await client.post(f"{ROOT}/ports", json=body, headers=bobs)).status_code == 201
        await make(client, "port", network_id=listed[0]["id"])
        [own] = (await client.get(f"{ROOT}/ports", headers=bobs)).json()["ports"]
        assert "mac_address" not in own
        ports = (await client.get(f"{ROOT}/ports")).json()["ports"]
        assert ["mac_address" in port for port in ports] == [True, True]
    await db.close()
