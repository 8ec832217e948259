"""What older clients of the compute API find there of networks and volumes: the same things as in the APIs that have them."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.compute_shop import Shop, shop
from tests.api.people import person
from tests.support import Running

V2 = "/network/v2.0"
SOME_ID = "c6bed28a-e7da-43d2-b295-4db92bc6da54"  # of nothing here


@pytest.fixture(scope="module")
def s(cloud: Running, http: httpx.Client) -> Iterator[Shop]:
    made = shop(cloud, http)
    outside = {"name": "outside", "router:external": True, "provider:network_type": "flat",
               "provider:physical_network": "ext", "is_default": True}  # fmt: skip
    network = http.post(f"{V2}/networks", json={"network": outside}).json()["network"]["id"]
    subnet = {"network_id": network, "ip_version": 4, "cidr": "203.0.113.0/24", "enable_dhcp": False}
    http.post(f"{V2}/subnets", json={"subnet": subnet}).raise_for_status()
    inside = made.alice.http.get(f"{V2}/networks/{made.network}").json()["network"]["subnets"][0]
    router = {"router": {"name": "edge", "external_gateway_info": {"network_id": network}}}
    edge = made.alice.http.post(f"{V2}/routers", json=router).json()["router"]["id"]
    made.alice.http.put(f"{V2}/routers/{edge}/add_router_interface", json={"subnet_id": inside}).raise_for_status()
    yield made
    made.alice.http.close()


def call(s: Shop, method: str, path: str, status: int = 200, body: Any = None, version: str = "2.1") -> Any:
    answer = s.call(method, path, version, json=body)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def test_a_group_and_its_rules(s: Shop) -> None:
    about = {"security_group": {"name": " web ", "description": "d"}}
    group = call(s, "POST", "/os-security-groups", body=about)["security_group"]
    assert group == {
        "id": group["id"],
        "name": " web ",
        "description": "d",
        "tenant_id": s.alice.project_id,
        "rules": [],
    }
    wanted = {
        "parent_group_id": group["id"],
        "ip_protocol": "TCP",
        "from_port": "22",
        "to_port": 23,
        "cidr": "10.2.3.4/24",
    }
    rule = call(s, "POST", "/os-security-group-rules", body={"security_group_rule": wanted})["security_group_rule"]
    assert (rule["ip_protocol"], rule["from_port"], rule["to_port"]) == ("tcp", 22, 23)
    assert (rule["ip_range"], rule["group"]) == ({"cidr": "10.2.3.4/24"}, {})
    again = call(s, "POST", "/os-security-group-rules", 400, {"security_group_rule": wanted})
    assert "already exists" in again["badRequest"]["message"]
    whole = {
        "parent_group_id": group["id"],
        "ip_protocol": "icmp",
        "from_port": -1,
        "to_port": -1,
        "group_id": group["id"],
    }
    other = call(s, "POST", "/os-security-group-rules", body={"security_group_rule": whole})["security_group_rule"]
    assert (other["from_port"], other["to_port"], other["ip_range"]) == (-1, -1, {})
    assert other["group"] == {"name": " web ", "tenant_id": s.alice.project_id}
    shown = call(s, "GET", f"/os-security-groups/{group['id']}")["security_group"]
    assert {one["id"] for one in shown["rules"]} == {rule["id"], other["id"]}
    theirs = s.alice.http.get(f"{V2}/security-group-rules/{rule['id']}").json()["security_group_rule"]
    assert (theirs["remote_ip_prefix"], theirs["direction"], theirs["port_range_max"]) == ("10.2.3.4/24", "ingress", 23)
    call(s, "DELETE", f"/os-security-group-rules/{rule['id']}", 202)
    call(s, "DELETE", f"/os-security-groups/{group['id']}", 202)
    call(s, "GET", f"/os-security-groups/{group['id']}", 404)


@pytest.mark.parametrize("change", [{"parent_group_id": "x"}, {"ip_protocol": "x"}, {"from_port": 70000}, {"cidr": "x"},
                                    {"from_port": 30}, {"from_port": "x"}])  # fmt: skip
def test_a_rule_that_is_none(s: Shop, change: dict[str, Any]) -> None:
    group = call(s, "GET", "/os-security-groups")["security_groups"][0]
    rule = {"parent_group_id": group["id"], "ip_protocol": "tcp", "from_port": 22, "to_port": 22} | change
    call(s, "POST", "/os-security-group-rules", 400, {"security_group_rule": rule})


def test_older_clients_only(s: Shop) -> None:
    for path in ("os-security-groups", "os-floating-ips", "os-floating-ip-pools", "os-networks", "os-tenant-networks",
                 "os-volumes", "os-snapshots"):  # fmt: skip
        call(s, "GET", f"/{path}", 200, version="2.35")
        call(s, "GET", f"/{path}", 404, version="2.36")


def test_networks(s: Shop) -> None:
    found = {network["id"]: network for network in call(s, "GET", "/os-networks")["networks"]}
    assert found[s.network]["label"] == "net" and found[s.network]["cidr"] is None
    assert "project_id" not in found[s.network]  # for administrators
    assert call(s, "GET", f"/os-tenant-networks/{s.network}")["network"] == {
        "id": s.network, "label": "net", "cidr": "None"}  # fmt: skip
    call(s, "GET", f"/os-networks/{uuid4()}", 404)


def test_a_floating_ip_leads_to_a_server(s: Shop) -> None:
    assert call(s, "GET", "/os-floating-ip-pools") == {"floating_ip_pools": [{"name": "outside"}]}
    call(s, "POST", "/os-floating-ips", 404, {"pool": "elsewhere"})
    floating = call(s, "POST", "/os-floating-ips", body={"pool": "outside"})["floating_ip"]
    assert (floating["pool"], floating["instance_id"], floating["fixed_ip"]) == ("outside", None, None)
    server = s.make(networks=[{"uuid": s.network}])
    address = {"address": floating["ip"]}
    call(s, "POST", f"/servers/{server}/action", 202, {"addFloatingIp": address})
    shown = call(s, "GET", f"/os-floating-ips/{floating['id']}")["floating_ip"]
    assert shown["instance_id"] == server and shown["fixed_ip"].startswith("10.7.0.")
    assert shown in call(s, "GET", "/os-floating-ips")["floating_ips"]
    second = call(s, "POST", "/os-floating-ips")["floating_ip"]
    call(s, "POST", f"/servers/{server}/action", 400, {"addFloatingIp": {"address": second["ip"]}})
    call(s, "POST", f"/servers/{server}/action", 409, {"removeFloatingIp": {"address": second["ip"]}})
    call(s, "POST", f"/servers/{server}/action", 404, {"removeFloatingIp": {"address": "192.0.2.9"}})
    call(s, "POST", f"/servers/{server}/action", 202, {"removeFloatingIp": address})
    assert call(s, "GET", f"/os-floating-ips/{floating['id']}")["floating_ip"]["instance_id"] is None
    for one in (floating, second):
        call(s, "DELETE", f"/os-floating-ips/{one['id']}", 202)
    groups = call(s, "GET", f"/servers/{server}/os-security-groups", version="2.96")["security_groups"]
    assert [group["name"] for group in groups] == ["default"]
    s.delete(server)


def test_a_volume_and_its_snapshot(s: Shop) -> None:
    for size in (None, 0, "x", -1):
        call(s, "POST", "/os-volumes", 400, {"volume": {"size": size}})
    order = {"size": "1", "display_name": "data", "metadata": {"a": "b"}}
    volume = call(s, "POST", "/os-volumes", body={"volume": order})["volume"]
    s.cloud.settle()
    shown = call(s, "GET", f"/os-volumes/{volume['id']}")["volume"]
    assert (shown["displayName"], shown["size"], shown["status"], shown["metadata"], shown["attachments"]) == (
        "data", 1, "available", {"a": "b"}, [{}])  # fmt: skip
    assert [one["id"] for one in call(s, "GET", "/os-volumes/detail")["volumes"]] == [volume["id"]]
    snapshot = call(s, "POST", "/os-snapshots", body={"snapshot": {"volume_id": volume["id"], "display_name": "s"}})
    s.cloud.settle()
    shown = call(s, "GET", f"/os-snapshots/{snapshot['snapshot']['id']}")["snapshot"]
    assert (shown["displayName"], shown["volumeId"], shown["status"]) == ("s", volume["id"], "available")
    call(s, "DELETE", f"/os-snapshots/{shown['id']}", 202)
    s.cloud.settle()
    call(s, "DELETE", f"/os-volumes/{volume['id']}", 202)
    s.cloud.settle()
    assert call(s, "GET", "/os-volumes")["volumes"] == []


@pytest.mark.parametrize("key", ["x", "summary", f"{SOME_ID}%2Fmetadata", f"{SOME_ID}%3Ffields=id"])
def test_what_is_no_id_leads_nowhere(s: Shop, key: str) -> None:
    for path in ("os-floating-ips", "os-volumes", "os-snapshots", "os-networks", "os-tenant-networks"):
        assert call(s, "GET", f"/{path}/{key}", 404)["itemNotFound"]["message"]
    for path in ("os-floating-ips", "os-volumes", "os-snapshots"):
        call(s, "DELETE", f"/{path}/{key}", 404)


def test_properties_of_an_image(s: Shop) -> None:
    made = s.alice.http.post("/image/v2/images", json={"name": "i", "disk_format": "raw", "container_format": "bare"})
    path = f"/images/{made.json()['id']}/metadata"
    assert call(s, "PUT", path, body={"metadata": {"a": "1", "x:y": "2"}}) == {"metadata": {"a": "1", "x:y": "2"}}
    assert call(s, "POST", path, body={"metadata": {"b": "3"}}) == {"metadata": {"a": "1", "x:y": "2", "b": "3"}}
    assert call(s, "PUT", f"{path}/a", body={"meta": {"a": "9"}}) == {"meta": {"a": "9"}}
    call(s, "PUT", f"{path}/a", 400, {"meta": {"b": "9"}})
    call(s, "DELETE", f"{path}/b", 204)
    call(s, "GET", f"{path}/b", 404)
    assert call(s, "GET", path) == {"metadata": {"a": "9", "x:y": "2"}}
    found = call(s, "GET", "/images?property-a=9")["images"]
    assert [one["id"] for one in found] == [made.json()["id"]]
    assert call(s, "GET", "/images?type=snapshot")["images"] == []
    assert call(s, "GET", "/images?minRam=7")["images"] == []


def test_hosts(s: Shop) -> None:
    server = s.make()
    name = s.admin.get(f"/compute/v2.1/servers/{server}").json()["server"]["OS-EXT-SRV-ATTR:host"]
    resources = [one["resource"] for one in s.admin.get(f"/compute/v2.1/os-hosts/{name}").json()["host"]]
    assert [one["project"] for one in resources] == ["(total)", "(used_now)", "(used_max)", s.alice.project_id]
    assert [one["memory_mb"] for one in resources[1:]] == [64, 64, 64]
    assert s.admin.put(f"/compute/v2.1/os-hosts/{name}", json={"status": "disable"}).json()["status"] == "disabled"
    disabled = {one["host"]: one["status"] for one in s.admin.get("/compute/v2.1/os-services").json()["services"]}
    assert disabled[name] == "disabled"
    assert s.admin.put(f"/compute/v2.1/os-hosts/{name}", json={"status": "enable"}).json()["status"] == "enabled"
    assert s.admin.put(f"/compute/v2.1/os-hosts/{name}", json={"status": "x"}).status_code == 400
    assert s.admin.get(f"/compute/v2.1/os-hosts/{name}/reboot").status_code == 501
    s.delete(server)


@pytest.mark.parametrize("alias", ["os-instance_usage_audit_log", "NMN"])
def test_extensions_have_the_names_that_clients_look_for(s: Shop, alias: str) -> None:
    assert call(s, "GET", f"/extensions/{alias}")["extension"]["alias"] == alias


def test_what_administrators_are_told_of_a_server(s: Shop) -> None:
    server = s.make(networks=[{"uuid": s.network}])
    headers = {"OpenStack-API-Version": "compute 2.96"}
    told = s.admin.get(f"/compute/v2.1/servers/{server}/diagnostics", headers=headers).json()
    assert (told["state"], told["num_nics"], told["memory_details"]["maximum"]) == ("running", 1, 64)
    call(s, "GET", f"/servers/{server}/diagnostics", 403)
    events = [
        {"server_uuid": server, "name": "network-changed"},
        {"server_uuid": str(uuid4()), "name": "network-changed"},
    ]
    answer = s.admin.post("/compute/v2.1/os-server-external-events", json={"events": events})
    assert (answer.status_code, [event["code"] for event in answer.json()["events"]]) == (207, [200, 404])
    call(s, "POST", "/os-server-external-events", 403, {"events": events})
    assert s.admin.post("/compute/v2.1/os-server-external-events", json={"events": events[1:]}).status_code == 404
    log = s.admin.get("/compute/v2.1/os-instance_usage_audit_log/2026-11-20%2010:00:00").json()[
        "instance_usage_audit_log"
    ]
    assert (log["period_beginning"], log["period_ending"]) == ("2026-10-01 00:00:00", "2026-11-01 00:00:00")
    assert s.admin.get("/compute/v2.1/os-instance_usage_audit_log/x").status_code == 400
    call(s, "POST", f"/servers/{server}/action", 409, {"restore": None})
    s.delete(server)


def test_a_network_comes_by_itself(s: Shop) -> None:
    pool = {
        "name": "default",
        "prefixes": ["10.99.0.0/16"],
        "default_prefixlen": 26,
        "shared": True,
        "is_default": True,
    }
    with person(s.cloud).http as bob:
        order = {"name": "web", "imageRef": s.image, "flavorRef": s.flavor, "networks": "auto"}
        refused = s.call("POST", "/servers", who=bob, json={"server": order})
        assert (refused.status_code, "automatically allocate" in refused.text) == (400, True)
        s.admin.post(f"{V2}/subnetpools", json={"subnetpool": pool}).raise_for_status()
        made = s.call("POST", "/servers", who=bob, json={"server": order}).json()["server"]["id"]
        addresses = s.wait(made, who=bob)["addresses"]["auto_allocated_network"]
        assert addresses[0]["addr"].startswith("10.99.")


def test_one_address_more_on_a_port(s: Shop) -> None:
    server = s.make(networks=[{"uuid": s.network}])
    call(s, "POST", f"/servers/{server}/action", 400, {"addFixedIp": {"networkId": str(uuid4())}})
    call(s, "POST", f"/servers/{server}/action", 202, {"addFixedIp": {"networkId": s.network}})
    first, second = [one["addr"] for one in s.show(server)["addresses"]["net"]]
    assert first != second
    call(s, "POST", f"/servers/{server}/action", 202, {"removeFixedIp": {"address": first}})
    assert [one["addr"] for one in s.show(server)["addresses"]["net"]] == [second]
    call(s, "POST", f"/servers/{server}/action", 400, {"removeFixedIp": {"address": first}})
    s.delete(server)
