"""What the real service also understands, and what it tells those who ask in an older version, or for what cannot be."""

from uuid import uuid4

import httpx
import pytest

from tests.api.baremetal.test_node import enrol, fault
from tests.support import Running


def at(minor: int) -> dict[str, str]:
    return {"X-OpenStack-Ironic-API-Version": f"1.{minor}"}


def test_a_path_without_the_version_or_with_a_slash_at_its_end(metal: httpx.Client, cloud: Running) -> None:
    node = enrol(metal)["uuid"]
    for path in (f"/nodes/{node}", f"/nodes/{node}/", f"/v1/nodes/{node}/"):
        assert metal.get(f"{cloud.url}/baremetal{path}").json()["uuid"] == node, path
    assert metal.get(f"{cloud.url}/baremetal/nodes/detail").json()["nodes"]


def test_the_node_may_come_last(metal: httpx.Client) -> None:
    node = enrol(metal)["uuid"]
    assert metal.get(f"/nodes/states/{node}").json()["provision_state"] == "enroll"
    assert metal.get(f"/nodes/management/boot_device/{node}").json()["boot_device"] == "disk"
    assert metal.put(f"/nodes/maintenance/{node}", json={"reason": "x"}).status_code == 202
    assert metal.get(f"/nodes/{node}").json()["maintenance"] is True


def test_json_ends_a_path_until_1_91(metal: httpx.Client) -> None:
    node = enrol(metal, name="blade.json")["uuid"]
    assert metal.get(f"/nodes/{node}.json", headers=at(90)).json()["uuid"] == node
    assert metal.get("/nodes.json", headers=at(90)).status_code == 200
    for name in ("blade.json", "blade.json.json"):
        assert metal.get(f"/nodes/{name}", headers=at(90)).json()["uuid"] == node, name
    assert "could not be found" in fault(metal.get(f"/nodes/{node}.json", headers=at(91)), 404)
    assert metal.get("/nodes/blade.json", headers=at(91)).json()["uuid"] == node


@pytest.mark.parametrize(("path", "minor"), [("allocations", 51), ("deploy_templates", 54), ("runbooks", 91)])
def test_what_is_newer_cannot_be_read_nor_written(metal: httpx.Client, path: str, minor: int) -> None:
    text = f"The API version does not allow {path.replace('_', ' ')}"
    assert fault(metal.get(f"/{path}", headers=at(minor)), 404) == text
    assert fault(metal.post(f"/{path}", json={}, headers=at(minor)), 405) == text
    assert fault(metal.delete(f"/{path}/x", headers=at(minor)), 405) == text


def test_below_a_node_what_is_newer_is_not_there(metal: httpx.Client) -> None:
    node = enrol(metal)["uuid"]
    traits, media = f"/nodes/{node}/traits", f"/nodes/{node}/vmedia"
    asked = [("GET", traits, 406), ("PUT", traits, 405), ("PUT", traits + "/CUSTOM_A", 405), ("DELETE", traits, 404)]
    for method, path, status in asked:
        assert metal.request(method, path, headers=at(36)).status_code == status, (method, path)
    assert metal.put(media, json={}, headers=at(88)).status_code == 404
    assert metal.put(media, json={}).status_code == 405
    assert metal.put(f"/nodes/{node}/states/target_raid_config", json={}).status_code == 405
    assert metal.put("/v1/nodes/x/y", json={}).status_code == 404
    assert metal.put(traits + "/CUSTOM_A", json={}).status_code == 204  # clients send empty bodies


def test_what_can_be_no_name_is_bad_input(metal: httpx.Client) -> None:
    told = {"ports": "UUID or name for port_ident", "portgroups": "UUID or name for portgroup",
            "chassis": "UUID for chassis_uuid", "volume/targets": "UUID for target_uuid",
            "volume/connectors": "UUID for connector_uuid"}  # fmt: skip
    for path, text in told.items():
        assert fault(metal.get(f"/{path}/52:54:00"), 400) == f"Expected {text}: 52:54:00"
    assert "Unrecognized fault" in fault(metal.get("/nodes?fault=x"), 400)
    assert fault(metal.delete(f"/nodes/{enrol(metal)['uuid']}/vifs"), 400) == "Missing mandatory parameter: vif_id"
    assert fault(metal.get("/nodes/nobody/allocation"), 400) == "Node nobody could not be found."


def test_no_driver_has_calls_of_a_vendors_own(metal: httpx.Client) -> None:
    path = f"/nodes/{enrol(metal)['uuid']}/vendor_passthru"
    assert metal.get(path + "/methods").json() == {}
    assert fault(metal.post(path + "?method=x", json={}), 400) == "No handler for method x"
    assert fault(metal.put(path, json={}), 400) == "Missing mandatory parameter: method"


def test_a_heartbeat_may_name_its_node_in_the_body(metal: httpx.Client) -> None:
    body = {"node_ident": enrol(metal)["uuid"], "callback_url": "http://192.0.2.1:9999"}
    assert "token" in fault(metal.post("/heartbeat", json=body), 400)
    assert "node_ident" in fault(metal.post("/heartbeat", json={"callback_url": "http://192.0.2.1"}), 400)


def test_a_simulated_machine_shows_itself_from_the_start(metal: httpx.Client, cloud: Running) -> None:
    node = enrol(metal)["uuid"]
    before = metal.get(f"/nodes/{node}/management/boot_device").json()
    assert before == {"boot_device": "disk", "persistent": True}
    assert metal.get(f"/nodes/{node}/management/indicators/led@system").json() == {"state": "off"}
    metal.put(f"/nodes/{node}/states/provision", json={"target": "manage"})
    cloud.settle()
    assert metal.get(f"/nodes/{node}/management/boot_device").json() == before
    assert metal.get(f"/nodes/{node}/management/indicators/led@system").json() == {"state": "off"}


def test_a_simulated_machine_may_hang_in_somebody_elses_network(metal: httpx.Client) -> None:
    node, vif = enrol(metal, network_interface="flat")["uuid"], str(uuid4())
    nic = metal.post("/ports", json={"node_uuid": node, "address": "52:54:00:dd:00:01"}).json()["uuid"]
    assert metal.post(f"/nodes/{node}/vifs", json={"id": vif}).status_code == 204
    assert metal.get(f"/ports/{nic}").json()["internal_info"] == {"tenant_vif_port_id": vif}
    assert metal.delete(f"/nodes/{node}/vifs/{vif}").status_code == 204
    assert metal.get(f"/ports/{nic}").json()["internal_info"] == {}


def test_nics_of_a_group_are_in_one_physical_network(metal: httpx.Client) -> None:
    node = enrol(metal)["uuid"]
    group = metal.post("/portgroups", json={"node_uuid": node}).json()["uuid"]
    body = {"node_uuid": node, "portgroup_uuid": group}
    first = metal.post("/ports", json=body | {"address": "52:54:00:dd:01:01", "physical_network": "a"})
    assert first.status_code == 201
    assert metal.get(f"/portgroups/{group}").json()["physical_network"] == "a"
    second = metal.post("/ports", json=body | {"address": "52:54:00:dd:01:02", "physical_network": "b"})
    assert "which has ports in physical network a" in fault(second, 409)
    second = metal.post("/ports", json=body | {"address": "52:54:00:dd:01:02", "physical_network": "a"})
    change = [{"op": "replace", "path": "/physical_network", "value": "b"}]
    assert "cannot become a member" in fault(metal.patch(f"/ports/{second.json()['uuid']}", json=change), 409)


def test_volumes_follow_the_power_that_was_ordered(metal: httpx.Client) -> None:
    node = enrol(metal)["uuid"]
    body = {"node_uuid": node, "volume_type": "iscsi", "volume_id": "v", "boot_index": 0}
    target = metal.post("/volume/targets", json=body).json()["uuid"]
    change = [{"op": "replace", "path": "/extra", "value": {"a": "b"}}]
    metal.put(f"/nodes/{node}/states/power", json={"target": "power on"})
    assert 'in state "power on"' in fault(metal.patch(f"/volume/targets/{target}", json=change), 400)
    assert 'in state "power on"' in fault(metal.delete(f"/volume/targets/{target}"), 400)
    metal.put(f"/nodes/{node}/states/power", json={"target": "power off"})
    assert metal.patch(f"/volume/targets/{target}", json=change).status_code == 200
    assert metal.delete(f"/volume/targets/{target}").status_code == 204
