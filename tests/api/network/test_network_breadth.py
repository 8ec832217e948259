"""Port forwardings, QoS, trunks, default rules, segments and topologies: on both stores, and by the unmodified SDK."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openstack
import pytest

from hagane.api.asgi import Application
from hagane.api.http import Caller, Request
from hagane.cloud import Cloud
from hagane.config import Config
from hagane.network import attach, default_rule_row, quota
from hagane.network.service import TABLES, service
from hagane.state.database import open_database
from hagane.state.migrate import migrate
from tests.api.network.net import ROOT

ADMIN = Caller(user_id="u", project_id="a" * 32, roles=frozenset({"admin", "manager", "member", "reader"}))


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cloud]:
    url = f"sqlite:{tmp_path}/h.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    db = await open_database(url)
    await migrate(db)
    await db.write(default_rule_row.seed)
    await db.write(default_rule_row.seed)
    yield Cloud(Config(state=tmp_path), db)
    await db.close()


class Client:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def ask(self, method: str, path: str, status: int = 200, **body: Any) -> Any:
        answer = await self._http.request(method, ROOT + path, json=body or None)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def make(self, path: str, kind: str, **values: Any) -> Any:
        return (await self.ask("POST", path, 201, **{kind: values}))[kind]


@pytest.fixture
async def client(store: Cloud) -> AsyncIterator[Client]:
    async def authenticate(request: Request) -> Caller:
        return ADMIN

    transport = httpx.ASGITransport(app=Application(store, [service(store)], authenticate))
    async with httpx.AsyncClient(transport=transport, base_url="http://cloud") as made:
        yield Client(made)


async def left(cloud: Cloud) -> dict[str, int]:
    """How many rows each table has that is no plain list of what was free once, or comes with the cloud."""
    kept = {"network_range", "network_freed", "default_security_group_rule"}
    return {
        table.name: count for table in TABLES if table.name not in kept and (count := await table.count(cloud.db, {}))
    }


async def test_what_hangs_on_a_machines_port_goes_with_it(store: Cloud, client: Client) -> None:
    """A machine's end asks nobody: trunks, subports and forwardings of its ports are no reason to stay."""
    outside = await client.make("/networks", "network", **{
        "router:external": True, "provider:network_type": "flat", "provider:physical_network": "ext"})  # fmt: skip
    await client.make("/subnets", "subnet", network_id=outside["id"], cidr="203.0.113.0/24", ip_version=4)
    net = await client.make("/networks", "network", name="n")
    subnet = await client.make("/subnets", "subnet", network_id=net["id"], cidr="10.0.0.0/24", ip_version=4)
    router = await client.make("/routers", "router", external_gateway_info={"network_id": outside["id"]})
    await client.ask("PUT", f"/routers/{router['id']}/add_router_interface", subnet_id=subnet["id"])
    parent, one, two = [await client.make("/ports", "port", network_id=net["id"]) for _ in range(3)]
    subports = [
        {"port_id": p["id"], "segmentation_type": "vlan", "segmentation_id": n} for n, p in ((1, one), (2, two))
    ]
    trunk = await client.make("/trunks", "trunk", port_id=parent["id"], sub_ports=subports)
    floating = await client.make("/floatingips", "floatingip", floating_network_id=outside["id"])
    await client.make(f"/floatingips/{floating['id']}/port_forwardings", "port_forwarding", protocol="tcp",
                      internal_port=80, external_port=80, internal_port_id=parent["id"])  # fmt: skip
    await store.db.write(lambda tx: attach.remove(tx, one["id"]))
    seen = (await client.ask("GET", f"/trunks/{trunk['id']}"))["trunk"]
    assert [entry["port_id"] for entry in seen["sub_ports"]] == [two["id"]]
    await store.db.write(lambda tx: attach.remove(tx, parent["id"]))
    await client.ask("GET", f"/trunks/{trunk['id']}", 404)
    assert (await client.ask("GET", f"/ports/{two['id']}"))["port"]["device_owner"] == ""
    seen = (await client.ask("GET", f"/floatingips/{floating['id']}"))["floatingip"]
    assert (seen["port_forwardings"], seen["router_id"]) == ([], None)
    assert (await quota.rows(store.db, ADMIN.project_id or ""))["trunk"] == (-1, 0)


async def test_what_is_made_can_be_removed_without_a_trace(store: Cloud, client: Client) -> None:
    outside = await client.make("/networks", "network", **{
        "router:external": True, "is_default": True, "provider:network_type": "flat",
        "provider:physical_network": "ext"})  # fmt: skip
    await client.make("/subnets", "subnet", network_id=outside["id"], cidr="203.0.113.0/24", ip_version=4)
    pool = await client.make("/subnetpools", "subnetpool", name="p", prefixes=["10.0.0.0/16"], is_default=True)
    policy = await client.make("/qos/policies", "policy", name="q", is_default=True, shared=True)
    rules = f"/qos/policies/{policy['id']}"
    limit = await client.make(f"{rules}/bandwidth_limit_rules", "bandwidth_limit_rule", max_kbps=100)
    await client.make(f"{rules}/dscp_marking_rules", "dscp_marking_rule", dscp_mark=8)
    path = f"/auto-allocated-topology/{ADMIN.project_id}"
    refused = (await client.ask("GET", path, 409))["NeutronError"]  # a whole /8 does not fit
    assert refused["message"] == "Deployment error: Unable to provide project private network."
    await client.ask("PUT", f"/subnetpools/{pool['id']}", subnetpool={"default_prefixlen": 26})
    net = (await client.ask("GET", path))["auto_allocated_topology"]["id"]
    assert (await client.ask("GET", f"/networks/{net}"))["network"]["qos_policy_id"] == policy["id"]
    ports = [await client.make("/ports", "port", network_id=net, qos_policy_id=policy["id"]) for _ in range(3)]
    floating = await client.make("/floatingips", "floatingip", floating_network_id=outside["id"],
                                 qos_policy_id=policy["id"])  # fmt: skip
    forwards = f"/floatingips/{floating['id']}/port_forwardings"
    for number in (80, 81):
        await client.make(forwards, "port_forwarding", protocol="tcp", internal_port=number, external_port=number,
                          internal_port_id=ports[0]["id"])  # fmt: skip
    assert (
        len((await client.ask("GET", f"{forwards}?sort_key=external_port&sort_dir=desc&limit=1"))["port_forwardings"])
        == 1
    )
    trunk = await client.make("/trunks", "trunk", port_id=ports[1]["id"])
    subport = {"port_id": ports[2]["id"], "segmentation_type": "vlan", "segmentation_id": 9}
    await client.ask("PUT", f"/trunks/{trunk['id']}/add_subports", sub_ports=[subport])
    assert [t["id"] for t in (await client.ask("GET", "/trunks?status=DOWN&limit=5"))["trunks"]] == [trunk["id"]]
    await client.ask("PUT", f"{rules}/bandwidth_limit_rules/{limit['id']}", bandwidth_limit_rule={"max_kbps": 5})
    [segment] = (await client.ask("GET", f"/segments?network_id={net}"))["segments"]
    await client.ask("PUT", f"/segments/{segment['id']}/tags", tags=["x"])
    own = (await client.ask("GET", "/default-security-group-rules"))["default_security_group_rules"]
    assert len(own) == 4
    await client.ask("DELETE", f"/default-security-group-rules/{own[0]['id']}", 204)
    await store.db.write(default_rule_row.seed)
    assert len((await client.ask("GET", "/default-security-group-rules"))["default_security_group_rules"]) == 3
    await client.ask("DELETE", f"/trunks/{trunk['id']}", 204)
    for port in ports:
        await client.ask("DELETE", f"/ports/{port['id']}", 204)
    assert (await client.ask("GET", f"/floatingips/{floating['id']}"))["floatingip"]["router_id"] is None
    await client.ask("DELETE", f"/floatingips/{floating['id']}", 204)
    await client.ask("DELETE", path, 204)
    for gone in (f"/qos/policies/{policy['id']}", f"/subnetpools/{pool['id']}", f"/networks/{outside['id']}"):
        await client.ask("DELETE", gone, 204)
    [group] = (await client.ask("GET", "/security-groups"))["security_groups"]
    await client.ask("DELETE", f"/security-groups/{group['id']}", 204)
    assert await left(store) == {}


def test_the_sdk_does_all_of_it(admin: openstack.connection.Connection) -> None:
    api = admin.network
    outside = api.create_network(name="sdk-breadth", is_router_external=True)
    api.create_subnet(network_id=outside.id, ip_version=4, cidr="198.51.103.0/24")
    inside = api.create_network(name="sdk-breadth")
    subnet = api.create_subnet(network_id=inside.id, ip_version=4, cidr="10.0.0.0/24")
    router = api.create_router(name="sdk-breadth", external_gateway_info={"network_id": outside.id})
    api.add_interface_to_router(router, subnet=subnet)
    port, child = (api.create_port(network_id=inside.id) for _ in range(2))

    floating = api.create_ip(floating_network_id=outside.id)
    forward = api.create_port_forwarding(floatingip_id=floating.id, protocol="udp", internal_port_id=port.id,
                                         internal_ip_address=port.fixed_ips[0]["ip_address"], internal_port=53,
                                         external_port=5353)  # fmt: skip
    assert api.get_port_forwarding(forward, floating).external_port == 5353
    assert api.update_port_forwarding(forward, floating, external_port=5354).external_port == 5354
    assert [f.id for f in api.port_forwardings(floating)] == [forward.id]
    assert api.find_port_forwarding(forward.id, floating).protocol == "udp"
    api.delete_port_forwarding(forward, floating, ignore_missing=False)

    policy = api.create_qos_policy(name="sdk-breadth")
    limit = api.create_qos_bandwidth_limit_rule(policy, max_kbps=1000, direction="ingress")
    mark = api.create_qos_dscp_marking_rule(policy, dscp_mark=26)
    least = api.create_qos_minimum_bandwidth_rule(policy, min_kbps=1)
    assert api.update_qos_bandwidth_limit_rule(limit, policy, max_kbps=2000).max_kbps == 2000
    assert {rule["id"] for rule in api.get_qos_policy(policy.id).rules} == {limit.id, mark.id, least.id}
    assert {kind.type for kind in api.qos_rule_types()} == {"bandwidth_limit", "dscp_marking", "minimum_bandwidth"}
    assert api.get_qos_rule_type("dscp_marking").drivers
    assert api.update_port(port, qos_policy_id=policy.id).qos_policy_id == policy.id
    assert api.find_qos_policy("sdk-breadth").id == policy.id
    api.update_port(port, qos_policy_id=None)
    api.delete_qos_policy(policy, ignore_missing=False)

    trunk = api.create_trunk(port_id=port.id, name="sdk-breadth")
    subport = {"port_id": child.id, "segmentation_type": "vlan", "segmentation_id": 100}
    assert api.add_trunk_subports(trunk, [subport]).sub_ports == [subport]
    assert api.get_trunk_subports(trunk)["sub_ports"] == [subport]
    assert api.delete_trunk_subports(trunk, [{"port_id": child.id}]).sub_ports == []
    assert api.find_trunk("sdk-breadth").port_id == port.id
    api.delete_trunk(trunk, ignore_missing=False)

    rule = api.create_default_security_group_rule(direction="ingress", protocol="tcp", port_range_min=22,
                                                  port_range_max=22, used_in_default_sg=True,
                                                  used_in_non_default_sg=False)  # fmt: skip
    assert api.get_default_security_group_rule(rule.id).port_range_min == 22
    api.delete_default_security_group_rule(rule, ignore_missing=False)

    [segment] = api.segments(network_id=inside.id)
    assert api.update_segment(segment, name="sdk").name == "sdk"
    assert api.get_network_ip_availability(inside.id).subnet_ip_availability[0]["subnet_id"] == subnet.id

    for gone in (child, port):
        api.delete_port(gone, ignore_missing=False)
    api.delete_ip(floating, ignore_missing=False)
    api.remove_interface_from_router(router, subnet=subnet)
    api.delete_router(router, ignore_missing=False)
    api.delete_network(inside, ignore_missing=False)
    api.delete_network(outside, ignore_missing=False)
