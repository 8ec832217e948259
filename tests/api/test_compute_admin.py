"""What administrators do with the compute API: flavors, Hosts, quotas, aggregates; and that nobody else does."""

import re
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.api.compute_shop import Shop, message, shop
from tests.api.people import person
from tests.support import Running

# A line of uptime(1), as clients take it apart.
UPTIME = r" \d\d:\d\d:\d\d up (\d+ days?, )?( ?\d+:\d\d|\d+ min), +\d+ users?,  load average: \d+\.\d\d, \d+\.\d\d, \d+\.\d\d"


@pytest.fixture(scope="module")
def s(cloud: Running, http: httpx.Client) -> Iterator[Shop]:
    made = shop(cloud, http)
    yield made
    made.alice.http.close()


def test_version_documents(s: Shop) -> None:
    found = httpx.get(f"{s.cloud.url}/compute/").json()["versions"]
    assert [one["id"] for one in found] == ["v2.0", "v2.1"]
    assert (found[1]["min_version"], found[1]["version"]) == ("2.1", "2.104")
    assert set(found[1]) == {"id", "links", "status", "updated", "version", "min_version"}
    assert httpx.get(found[1]["links"][0]["href"]).json()["version"]["id"] == "v2.1"
    answer = s.call("GET", "/flavors", "2.999")
    assert answer.status_code == 406
    assert message(answer) == "Version 2.999 is not supported by the API. Minimum is 2.1 and maximum is 2.104."
    assert httpx.get(f"{s.cloud.url}/compute/v2.1/flavors").status_code == 401


def test_flavors(s: Shop) -> None:
    def admin(method: str, path: str, version: str = "2.96", **more: object) -> httpx.Response:
        return s.call(method, path, version, who=s.admin, **more)

    flavor = {"name": "big", "ram": 1024, "vcpus": 2, "disk": 4, "swap": 512, "OS-FLV-EXT-DATA:ephemeral": 1,
              "rxtx_factor": 2, "description": "large"}  # fmt: skip
    made = admin("POST", "/flavors", json={"flavor": flavor}).json()["flavor"]
    assert set(made) == {
        "id", "name", "ram", "vcpus", "disk", "swap", "OS-FLV-EXT-DATA:ephemeral", "OS-FLV-DISABLED:disabled",
        "os-flavor-access:is_public", "rxtx_factor", "links", "description", "extra_specs",
    }  # fmt: skip
    assert (made["swap"], made["rxtx_factor"], made["extra_specs"]) == (512, 2.0, {})
    older = s.call("GET", "/flavors/small", "2.1").json()["flavor"]
    assert older["swap"] == "" and not {"description", "extra_specs"} & set(older)
    assert s.call("GET", "/flavors", "2.1").json()["flavors"][0].keys() == {"id", "name", "links"}
    assert admin("POST", "/flavors", json={"flavor": flavor}).status_code == 409
    assert admin("PUT", f"/flavors/{made['id']}", json={"flavor": {"description": "x"}}).status_code == 200
    assert admin("PUT", f"/flavors/{made['id']}", json={"flavor": {"ram": 1}}).status_code == 400
    specs = {"extra_specs": {"hw:cpu_policy": "shared"}}
    assert admin("POST", f"/flavors/{made['id']}/os-extra_specs", json=specs).json() == specs
    assert s.call("GET", f"/flavors/{made['id']}").json()["flavor"]["extra_specs"] == specs["extra_specs"]
    assert [f["name"] for f in s.call("GET", "/flavors?minRam=1000").json()["flavors"]] == ["big"]
    assert s.call("GET", "/flavors?minRam=x").status_code == 400
    assert admin("DELETE", f"/flavors/{made['id']}").status_code == 202
    assert s.call("GET", f"/flavors/{made['id']}").status_code == 404
    for body in (
        {"name": "x"},
        {**flavor, "ram": 0},
        {**flavor, "vcpus": "a"},
        {**flavor, "disk": -1},
        {**flavor, "color": 1},
    ):
        assert admin("POST", "/flavors", json={"flavor": body}).status_code == 400, body


def test_a_private_flavor_is_its_projects(s: Shop) -> None:
    flavor = {"name": "secret", "ram": 64, "vcpus": 1, "disk": 1, "id": "secret", "os-flavor-access:is_public": False}
    s.call("POST", "/flavors", who=s.admin, json={"flavor": flavor})
    assert s.call("GET", "/flavors/secret").status_code == 404
    assert message(s.order(flavorRef="secret")) == "Flavor secret could not be found."
    grant = {"addTenantAccess": {"tenant": s.alice.project_id}}
    answer = s.call("POST", "/flavors/secret/action", who=s.admin, json=grant)
    assert answer.json() == {"flavor_access": [{"flavor_id": "secret", "tenant_id": s.alice.project_id}]}
    assert s.call("POST", "/flavors/secret/action", who=s.admin, json=grant).status_code == 409
    assert "secret" in [f["id"] for f in s.call("GET", "/flavors").json()["flavors"]]
    s.delete(s.make(flavorRef="secret"))
    revoke = {"removeTenantAccess": {"tenant": s.alice.project_id}}
    assert s.call("POST", "/flavors/secret/action", who=s.admin, json=revoke).status_code == 200
    assert s.call("POST", "/flavors/secret/action", who=s.admin, json=revoke).status_code == 404
    assert "secret" not in [f["id"] for f in s.call("GET", "/flavors").json()["flavors"]]


FORBIDDEN = [
    ("POST", "/flavors", {"flavor": {}}), ("DELETE", "/flavors/small", None), ("GET", "/os-hypervisors", None),
    ("GET", "/os-hypervisors/detail", None), ("GET", "/os-services", None), ("GET", "/os-aggregates", None),
    ("GET", "/os-availability-zone/detail", None), ("PUT", "/os-quota-sets/{me}", {"quota_set": {"cores": 999}}),
    ("GET", "/os-migrations", None), ("GET", "/os-quota-class-sets/default", None),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body"), FORBIDDEN)
def test_members_may_not(s: Shop, method: str, path: str, body: object) -> None:
    answer = s.call(method, path.format(me=s.alice.project_id), json=body)
    assert answer.status_code == 403, answer.text
    assert "Policy doesn't allow os_compute_api:" in message(answer)


def test_readers_only_read(s: Shop) -> None:
    reader = person(s.cloud, "reader", s.alice.project_id)
    server_id = s.make()
    assert s.call("GET", f"/servers/{server_id}", who=reader.http).status_code == 200
    for method, path, body in (
        ("POST", "/servers", {"server": {"name": "x", "imageRef": s.image, "flavorRef": "small", "networks": "none"}}),
        ("DELETE", f"/servers/{server_id}", None), ("POST", f"/servers/{server_id}/action", {"os-stop": None}),
        ("PUT", f"/servers/{server_id}/metadata", {"metadata": {}}), ("PUT", f"/servers/{server_id}/tags", {"tags": []}),
        ("POST", f"/servers/{server_id}/action", {"os-getConsoleOutput": {}}),
        ("POST", f"/servers/{server_id}/os-interface", {}),
    ):  # fmt: skip
        assert s.call(method, path, who=reader.http, json=body).status_code == 403, path
    reader.http.close()
    s.delete(server_id)


def test_hypervisors_and_services(s: Shop) -> None:
    hosts = s.call("GET", "/os-hypervisors/detail", "2.1", who=s.admin).json()["hypervisors"]
    assert [host["hypervisor_hostname"] for host in hosts] == ["sim1", "sim2", "sim3"]
    assert (hosts[0]["id"], hosts[0]["vcpus"], hosts[0]["running_vms"]) == (1, 64, 0)
    newer = s.call("GET", "/os-hypervisors/detail?with_servers=true", who=s.admin).json()["hypervisors"][0]
    assert set(newer) == {"id", "hypervisor_hostname", "state", "status", "hypervisor_type", "hypervisor_version",
                          "host_ip", "service", "uptime", "servers"}  # fmt: skip
    assert re.fullmatch(UPTIME, newer["uptime"])
    assert s.call("GET", f"/os-hypervisors/{newer['id']}/uptime", who=s.admin).status_code == 404
    shown = s.call("GET", "/os-hypervisors/1/uptime", "2.1", who=s.admin).json()["hypervisor"]
    assert set(shown) == {"id", "hypervisor_hostname", "state", "status", "uptime"}
    assert shown["id"] == 1 and re.fullmatch(UPTIME, shown["uptime"])
    assert s.call("GET", "/os-hypervisors/statistics", who=s.admin).status_code == 404
    assert (
        s.call("GET", "/os-hypervisors/statistics", "2.87", who=s.admin).json()["hypervisor_statistics"]["count"] == 3
    )
    service = s.call("GET", "/os-services?host=sim2", who=s.admin).json()["services"][0]
    assert (service["binary"], service["state"], service["status"]) == ("nova-compute", "up", "enabled")
    older = s.call("PUT", "/os-services/disable-log-reason", "2.1", who=s.admin,
                   json={"host": "sim2", "binary": "nova-compute", "disabled_reason": "fan"})  # fmt: skip
    assert older.json()["service"] == {
        "host": "sim2", "binary": "nova-compute", "status": "disabled", "disabled_reason": "fan"}  # fmt: skip
    enabled = s.call("PUT", f"/os-services/{service['id']}", who=s.admin, json={"status": "enabled"})
    assert enabled.json()["service"]["disabled_reason"] is None
    assert s.call("DELETE", f"/os-services/{service['id']}", who=s.admin).status_code == 409


def test_forced_down(s: Shop) -> None:
    service = s.call("GET", "/os-services?host=sim3", who=s.admin).json()["services"][0]["id"]
    s.call("PUT", f"/os-services/{service}", who=s.admin, json={"forced_down": True})
    states = {one["host"]: one["state"] for one in s.call("GET", "/os-services", who=s.admin).json()["services"]}
    assert states == {"sim1": "up", "sim2": "up", "sim3": "down"}
    zones = s.call("GET", "/os-availability-zone/detail", who=s.admin).json()["availabilityZoneInfo"]
    assert zones[0]["hosts"]["sim3"]["nova-compute"]["available"] is False
    host = s.call("GET", "/os-hypervisors/detail", who=s.admin).json()["hypervisors"][2]
    assert (host["state"], host["uptime"]) == ("down", None)
    answer = s.call("GET", f"/os-hypervisors/{host['id']}/uptime", "2.87", who=s.admin)
    assert (answer.status_code, message(answer)) == (400, "Compute service of sim3 is unavailable at this time.")
    s.call("PUT", f"/os-services/{service}", who=s.admin, json={"forced_down": False})


def test_quotas(s: Shop) -> None:
    me = s.alice.project_id
    quota = s.call("GET", f"/os-quota-sets/{me}", "2.1").json()["quota_set"]
    assert {"fixed_ips", "floating_ips", "security_groups", "injected_files", "server_groups"} < set(quota)
    assert (quota["id"], quota["instances"], quota["cores"]) == (me, 10, 20)
    assert "fixed_ips" not in s.call("GET", f"/os-quota-sets/{me}").json()["quota_set"]
    changed = s.call("PUT", f"/os-quota-sets/{me}", who=s.admin, json={"quota_set": {"cores": 3, "ram": -1}})
    assert (changed.json()["quota_set"]["cores"], changed.json()["quota_set"]["ram"]) == (3, -1)
    detail = s.call("GET", f"/os-quota-sets/{me}/detail").json()["quota_set"]["cores"]
    assert detail == {"limit": 3, "in_use": 0, "reserved": 0}
    assert s.call("GET", f"/os-quota-sets/{me}/defaults").json()["quota_set"]["cores"] == 20
    server_id = s.make()
    low = s.call("PUT", f"/os-quota-sets/{me}", who=s.admin, json={"quota_set": {"cores": 0}})
    assert low.status_code == 400 and "greater than or equal to already used and reserved 1" in message(low)
    forced = {"quota_set": {"cores": 0, "force": True}}
    assert s.call("PUT", f"/os-quota-sets/{me}", who=s.admin, json=forced).status_code == 200
    assert s.order().status_code == 403
    assert s.call("DELETE", f"/os-quota-sets/{me}", who=s.admin).status_code == 202
    assert s.call("GET", f"/os-quota-sets/{me}").json()["quota_set"]["cores"] == 20
    other = person(s.cloud)
    assert s.call("GET", f"/os-quota-sets/{me}", who=other.http).status_code == 403
    other.http.close()
    s.delete(server_id)


def test_aggregates_make_zones(s: Shop) -> None:
    body = {"aggregate": {"name": "rack", "availability_zone": "cellar"}}
    made = s.call("POST", "/os-aggregates", who=s.admin, json=body).json()["aggregate"]
    path = f"/os-aggregates/{made['id']}"
    added = s.call("POST", f"{path}/action", who=s.admin, json={"add_host": {"host": "sim3"}})
    assert added.json()["aggregate"]["hosts"] == ["sim3"]
    assert {z["zoneName"] for z in s.call("GET", "/os-availability-zone").json()["availabilityZoneInfo"]} == {
        "nova",
        "cellar",
    }
    server_id = s.make(availability_zone="cellar")
    shown = s.call("GET", f"/servers/{server_id}", who=s.admin).json()["server"]
    assert (shown["OS-EXT-SRV-ATTR:host"], shown["OS-EXT-AZ:availability_zone"]) == ("sim3", "cellar")
    busy = s.call("POST", f"{path}/action", who=s.admin, json={"remove_host": {"host": "sim3"}})
    assert busy.status_code == 409
    s.delete(server_id)
    assert s.call("DELETE", path, who=s.admin).status_code == 400
    assert s.call("POST", f"{path}/action", who=s.admin, json={"remove_host": {"host": "sim3"}}).status_code == 200
    assert s.call("DELETE", path, who=s.admin).status_code == 200
    assert s.call("GET", path, who=s.admin).status_code == 404


def test_server_groups_place(s: Shop) -> None:
    """Three apart, each on a Host of its own; a fourth finds none. Two together share one."""
    apart = s.call("POST", "/os-server-groups", json={"server_group": {"name": "a", "policy": "anti-affinity"}})
    group = apart.json()["server_group"]["id"]
    hints = {"os:scheduler_hints": {"group": group}}
    made = [s.make(**hints) for _ in range(3)]
    hosts = [s.call("GET", f"/servers/{one}", who=s.admin).json()["server"]["OS-EXT-SRV-ATTR:host"] for one in made]
    assert sorted(hosts) == ["sim1", "sim2", "sim3"]
    fourth = s.order(**hints).json()["server"]["id"]
    assert s.wait(fourth, "ERROR")["fault"]["message"].startswith("No valid host was found.")
    assert set(s.call("GET", f"/os-server-groups/{group}").json()["server_group"]["members"]) == {*made, fourth}
    near = s.make(**{"os:scheduler_hints": {"same_host": made[0]}})
    assert s.show(near)["hostId"] == s.show(made[0])["hostId"]
    far = s.make(**{"os:scheduler_hints": {"different_host": [made[0], made[1]]}})
    assert s.show(far)["hostId"] == s.show(made[2])["hostId"]
    for one in [*made, fourth, near, far]:
        s.delete(one)
    assert s.call("DELETE", f"/os-server-groups/{group}").status_code == 204
    answer = s.order(**hints)
    assert (answer.status_code, message(answer)) == (400, f"Instance group {group} could not be found.")


def test_reset_state(s: Shop) -> None:
    server_id = s.make()
    path = f"/servers/{server_id}/action"
    assert s.call("POST", path, json={"os-resetState": {"state": "error"}}).status_code == 403
    assert s.call("POST", path, who=s.admin, json={"os-resetState": {"state": "error"}}).status_code == 202
    assert s.wait(server_id, "ERROR")["OS-EXT-STS:vm_state"] == "error"
    assert s.call("POST", path, who=s.admin, json={"os-resetState": {"state": "active"}}).status_code == 202
    s.wait(server_id)
    s.delete(server_id)


def test_placement(s: Shop) -> None:
    def get(path: str, version: str = "1.39") -> httpx.Response:
        return s.admin.get(f"/placement{path}", headers={"OpenStack-API-Version": f"placement {version}"})

    assert httpx.get(f"{s.cloud.url}/placement/").json()["versions"][0]["max_version"] == "1.39"
    assert s.alice.http.get("/placement/resource_providers").status_code == 403
    server_id = s.make()
    host = s.call("GET", f"/servers/{server_id}", who=s.admin).json()["server"]["OS-EXT-SRV-ATTR:host"]
    provider = get(f"/resource_providers?name={host}").json()["resource_providers"][0]
    assert provider["root_provider_uuid"] == provider["uuid"]
    assert "root_provider_uuid" not in get("/resource_providers", "1.0").json()["resource_providers"][0]
    inventory = get(f"/resource_providers/{provider['uuid']}/inventories").json()["inventories"]
    assert (inventory["VCPU"]["total"], inventory["VCPU"]["allocation_ratio"]) == (64, 4.0)
    used = get(f"/resource_providers/{provider['uuid']}/usages").json()["usages"]
    assert used == {"VCPU": 1, "MEMORY_MB": 64, "DISK_GB": 1}
    allocation = get(f"/allocations/{server_id}").json()
    assert allocation["allocations"][provider["uuid"]]["resources"] == used
    assert (allocation["project_id"], allocation["consumer_type"]) == (s.alice.project_id, "INSTANCE")
    sums = get(f"/usages?project_id={s.alice.project_id}").json()["usages"]
    assert sums == {"INSTANCE": used | {"consumer_count": 1}}
    candidates = get("/allocation_candidates?resources=VCPU:2,MEMORY_MB:64").json()
    assert len(candidates["allocation_requests"]) == 3
    assert get("/allocation_candidates?resources=VCPU:100000").json()["allocation_requests"] == []
    assert get("/allocation_candidates?resources=CUSTOM_X:1").status_code == 400
    assert "COMPUTE_NODE" in get("/traits").json()["traits"]
    assert get("/resource_providers/nothing").status_code == 404
    assert get("/traits", "1.5").status_code == 404
    s.delete(server_id)
    assert get(f"/allocations/{server_id}").json() == {"allocations": {}}


def test_openstacksdk(s: Shop) -> None:
    """The unmodified client library sees what it expects."""
    connection = s.cloud.connect(**s.alice.auth)
    server = connection.compute.create_server(name="sdk", image_id=s.image, flavor_id="small", networks="none")
    server = connection.compute.wait_for_server(server, interval=0.1)
    assert (server.status, server.power_state) == ("ACTIVE", 1)
    assert [one.id for one in connection.compute.servers(name="sdk")] == [server.id]
    connection.compute.stop_server(server)
    connection.compute.wait_for_server(server, status="SHUTOFF", interval=0.1)
    image = connection.compute.create_server_image(server, "from sdk", wait=True)
    assert image.status == "active"
    assert [action.action for action in connection.compute.server_actions(server)] == ["createImage", "stop", "create"]
    connection.compute.delete_server(server)
    connection.compute.wait_for_delete(server, interval=0.1)
    assert connection.compute.find_flavor("small").ram == 64
    assert connection.compute.get_limits().absolute.instances_used == 0
    connection.close()


def test_no_unneeded_wait(s: Shop) -> None:
    """A Server on a simulated Host is up in a fraction of a second."""
    began = time.monotonic()
    s.delete(s.make())
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "path, minor, known",
    [
        ("/flavors", 75, "minRam=1&limit=5"),
        ("/os-hypervisors", 53, "with_servers=true"),
        ("/os-keypairs", 75, "limit=1"),
        ("/os-migrations", 59, "status=done"),
        ("/os-server-groups", 75, "all_projects=1"),
        ("/os-services", 75, "binary=nova-compute"),
        ("/os-availability-zone", 102, ""),
    ],
)
def test_a_query_that_nobody_knows(s: Shop, path: str, minor: int, known: str) -> None:
    def ask(query: str, minor: int) -> httpx.Response:
        return s.call("GET", f"{path}?{query}", f"2.{minor}", who=s.admin)

    assert ask("colour=green", minor - 1).status_code == 200
    told = ask("colour=green&taste=sweet", minor)
    assert told.status_code == 400
    assert message(told) == "Additional properties are not allowed ('colour', 'taste' were unexpected)"
    assert ask(known, 104).status_code == 200


def test_flavors_by_name(s: Shop) -> None:
    def ask(minor: int) -> httpx.Response:
        return s.call("GET", "/flavors/detail?name=^smal", f"2.{minor}")

    assert ask(101).status_code == 400
    found = ask(102).json()["flavors"]
    assert [one["name"] for one in found] == ["small"]
    assert not {"rxtx_factor", "OS-FLV-DISABLED:disabled"} & set(found[0])
    flavor = {"name": "late", "ram": 1, "vcpus": 1, "disk": 0, "rxtx_factor": 2.0}
    made = [s.call("POST", "/flavors", f"2.{minor}", who=s.admin, json={"flavor": flavor}) for minor in (102, 101)]
    assert [one.status_code for one in made] == [400, 200]
    assert s.call("DELETE", f"/flavors/{made[1].json()['flavor']['id']}", who=s.admin).status_code == 202
