"""Nodes over HTTP: enrolling, reading, patching, commanding, removing; versions and errors as the real service's."""

import json
from typing import Any
from uuid import uuid4

import httpx
import openstack
import pytest

from tests.api.people import person
from tests.support import Running

KEYS_1_1 = {
    "uuid", "created_at", "updated_at", "console_enabled", "driver", "driver_info", "extra", "instance_info",
    "instance_uuid", "last_error", "maintenance", "maintenance_reason", "power_state", "properties", "provision_state",
    "provision_updated_at", "reservation", "target_power_state", "target_provision_state", "links", "chassis_uuid",
    "ports",
}  # fmt: skip
KEYS_1_115 = KEYS_1_1 | {
    "automated_clean", "bios_interface", "boot_interface", "boot_mode", "clean_step", "conductor_group",
    "console_interface", "disable_power_off", "deploy_interface", "deploy_step", "description", "driver_internal_info",
    "fault", "firmware_interface", "health", "inspection_finished_at", "inspection_started_at", "inspect_interface",
    "instance_name", "lessee", "management_interface", "name", "network_data", "network_interface", "owner",
    "parent_node", "power_interface", "protected", "protected_reason", "raid_config", "raid_interface",
    "rescue_interface", "resource_class", "retired", "retired_reason", "secure_boot", "service_step", "shard",
    "storage_interface", "target_raid_config", "traits", "vendor_interface", "conductor", "allocation_uuid", "states",
    "portgroups", "volume",
}  # fmt: skip


def enrol(metal: httpx.Client, **more: Any) -> dict[str, Any]:
    answer = metal.post("/nodes", json={"driver": "fake-hardware"} | more)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def fault(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    inner = json.loads(answer.json()["error_message"])
    return str(inner.get("faultstring", inner.get("description")))


def verb(metal: httpx.Client, node: str, target: str, **more: Any) -> httpx.Response:
    return metal.put(f"/nodes/{node}/states/provision", json={"target": target} | more)


def state(metal: httpx.Client, node: str) -> str:
    return str(metal.get(f"/nodes/{node}/states").json()["provision_state"])


@pytest.mark.parametrize(("version", "keys"), [("1.1", KEYS_1_1), ("1.115", KEYS_1_115), ("latest", KEYS_1_115)])
def test_a_node_has_the_keys_of_its_version(metal: httpx.Client, version: str, keys: set[str]) -> None:
    node = enrol(metal)["uuid"]
    answer = metal.get(f"/nodes/{node}", headers={"X-OpenStack-Ironic-API-Version": version})
    assert set(answer.json()) == keys
    assert answer.headers["x-openstack-ironic-api-version"] == version.replace("latest", "1.115")


def test_versions_are_negotiated(metal: httpx.Client) -> None:
    for version, text in (("1.999", "Version 1.999 was requested but the minor version is not supported"),
                          ("9.9", "Mutually exclusive versions requested."), ("x", "Invalid value for")):  # fmt: skip
        answer = metal.get("/nodes", headers={"X-OpenStack-Ironic-API-Version": version})
        assert fault(answer, 406).startswith(text)
        assert answer.headers["x-openstack-ironic-api-maximum-version"] == "1.115"


def test_refusals_read_as_the_real_ones(metal: httpx.Client) -> None:
    node = enrol(metal, name="twice")
    assert fault(metal.post("/nodes", json={"driver": "fake-hardware", "name": "twice"}), 409) == (
        "A node with name twice already exists."
    )
    assert fault(metal.post("/nodes", json={}), 400) == "Schema error for node: 'driver' is a required property"
    assert "No conductor service registered which supports driver x" in fault(
        metal.post("/nodes", json={"driver": "x"}), 400
    )
    assert fault(metal.post("/nodes", json={"driver": "fake-hardware", "extra": 5}), 400) == (
        "Schema error for node: 5 is not of type 'object', 'null'"
    )
    assert fault(metal.get("/nodes/nowhere"), 404) == "Node nowhere could not be found."
    assert fault(metal.get("/nodes?owner=x", headers={"X-OpenStack-Ironic-API-Version": "1.30"}), 406) == (
        "Request not acceptable. The minimal required API version should be 1.50"
    )
    assert fault(verb(metal, node["uuid"], "active"), 400) == (
        f'The requested action "active" can not be performed on node "{node["uuid"]}" while it is in state "enroll".'
    )


def test_patch(metal: httpx.Client) -> None:
    node = enrol(metal, extra={"a": {"b": 1}}, driver_info={"redfish_password": "hunter2", "x": 1})
    assert node["driver_info"] == {"redfish_password": "******", "x": 1}

    def patch(*operations: Any) -> httpx.Response:
        return metal.patch(f"/nodes/{node['uuid']}", json=list(operations))

    changed = patch(
        {"op": "replace", "path": "/extra/a/b", "value": 2}, {"op": "add", "path": "/driver_info/y", "value": 3}
    )
    assert changed.json()["extra"] == {"a": {"b": 2}}
    assert changed.json()["driver_info"] == {"redfish_password": "******", "x": 1, "y": 3}
    assert "Cannot patch /uuid." in fault(patch({"op": "replace", "path": "/uuid", "value": "x"}), 400)
    assert fault(patch({"op": "remove", "path": "/extra/z"}), 400) == (
        "Couldn't apply patch '{'op': 'remove', 'path': '/extra/z'}'. Reason: can't remove a non-existent object 'z'"
    )
    assert "can only be made protected" in fault(patch({"op": "add", "path": "/protected", "value": True}), 409)
    assert patch({"op": "remove", "path": "/extra"}).json()["extra"] == {}


def test_secrets_are_not_in_the_store(metal: httpx.Client, cloud: Running) -> None:
    node = enrol(metal, driver_info={"ipmi_password": "correct-horse-battery"})["uuid"]
    sql = "SELECT driver_info, secrets FROM node WHERE id = :id"
    row = cloud.run(lambda: cloud.hagane.cloud.db.fetch(sql, {"id": node}))[0]
    assert "correct-horse" not in str(row)


def test_no_patch_is_answered_with_a_secret(metal: httpx.Client) -> None:
    kept = {"ipmi_password": "correct-horse", "deep": {"snmp_auth_key": "battery"}}
    node = enrol(metal, driver_info=kept)["uuid"]
    for path in ("x/y", "ipmi_password/x", "ipmi_password/x/y", "deep/x/y", "redfish_password", "deep/snmp_auth_key/0"):
        entry = {"op": "replace", "path": f"/driver_info/{path}", "value": {"a_token": "staple"}}
        answer = metal.patch(f"/nodes/{node}", json=[entry])
        assert answer.status_code == 400
        assert not [word for word in ("correct", "battery", "staple") if word in answer.text], answer.text


def test_a_node_of_others_is_no_marker(metal: httpx.Client, cloud: Running) -> None:
    node = enrol(metal)["uuid"]
    who = person(cloud)
    answer = who.http.get(f"/baremetal/v1/nodes?marker={node}", headers={"X-OpenStack-Ironic-API-Version": "1.115"})
    assert answer.status_code == 404
    assert metal.get(f"/nodes?marker={node}").status_code == 200
    who.http.close()


def test_pages_filters_and_fields(metal: httpx.Client) -> None:
    shard = uuid4().hex
    made = [enrol(metal, shard=shard, resource_class="paged")["uuid"] for _ in range(5)]
    seen, url = [], f"/nodes?shard={shard}&limit=2&fields=uuid,shard"
    while url:
        page = metal.get(url).json()
        assert all(set(node) == {"uuid", "shard", "links"} for node in page["nodes"])
        seen += [node["uuid"] for node in page["nodes"]]
        url = page.get("next", "").partition("/baremetal/v1")[2]
    assert seen == made
    down = metal.get(f"/nodes?shard={shard}&sort_key=uuid&sort_dir=desc").json()["nodes"]
    assert [node["uuid"] for node in down] == sorted(made, reverse=True)
    assert metal.get(f"/nodes?shard={shard}&associated=true").json() == {"nodes": []}
    assert len(metal.get(f"/nodes/detail?shard={shard}&resource_class=paged").json()["nodes"]) == 5
    assert fault(metal.get("/nodes?bogus=1"), 400) == "Unexpected arguments: bogus"


def test_the_life_of_a_simulated_node(metal: httpx.Client, cloud: Running) -> None:
    node = enrol(metal, name="life")["uuid"]
    for target, after in (("manage", "manageable"), ("inspect", "manageable"), ("provide", "available"),
                          ("active", "active"), ("rebuild", "active"), ("deleted", "available")):  # fmt: skip
        assert verb(metal, node, target).status_code == 202
        cloud.settle()
        states = metal.get(f"/nodes/{node}/states").json()
        assert (states["provision_state"], states["target_provision_state"]) == (after, None), states
        if target == "active":
            assert states["power_state"] == "power on"
            assert metal.put(f"/nodes/{node}/states/power", json={"target": "power off"}).status_code == 202
            cloud.settle()
            assert metal.get(f"/nodes/{node}/states").json()["power_state"] == "power off"
    events = [event["event"] for event in metal.get(f"/nodes/{node}/history?detail=true").json()["history"]]
    assert "manage was requested" in events and "deploying ended" in events
    assert "inventory" in metal.get(f"/nodes/{node}/inventory").json()
    assert metal.delete(f"/nodes/{node}").status_code == 204


def test_a_node_that_cannot_be_reached_says_why(metal: httpx.Client, cloud: Running) -> None:
    node = enrol(metal, driver="ipmi")["uuid"]
    verb(metal, node, "manage")
    cloud.settle()
    shown = metal.get(f"/nodes/{node}").json()
    assert shown["provision_state"] == "enroll"
    assert "does not say where its BMC is" in shown["last_error"]


def test_maintenance_traits_and_validation(metal: httpx.Client) -> None:
    node = enrol(metal)["uuid"]
    assert metal.put(f"/nodes/{node}/maintenance", json={"reason": "fan"}).status_code == 202
    assert metal.get(f"/nodes/{node}").json()["maintenance_reason"] == "fan"
    assert metal.delete(f"/nodes/{node}/maintenance").status_code == 202
    assert metal.put(f"/nodes/{node}/traits", json={"traits": ["CUSTOM_A", "HW_CPU_X86_VMX"]}).status_code == 204
    assert metal.put(f"/nodes/{node}/traits/CUSTOM_B").status_code == 204
    assert metal.delete(f"/nodes/{node}/traits/CUSTOM_A").status_code == 204
    assert metal.get(f"/nodes/{node}/traits").json() == {"traits": ["CUSTOM_B", "HW_CPU_X86_VMX"]}
    assert metal.get(f"/nodes/{node}/validate").json()["power"] == {"result": True}


def test_a_project_sees_its_own_nodes_only(metal: httpx.Client, cloud: Running) -> None:
    who = person(cloud)
    mine, other = enrol(metal, owner=who.project_id)["uuid"], enrol(metal)["uuid"]
    headers = {"X-OpenStack-Ironic-API-Version": "1.115"}
    listed = who.http.get("/baremetal/v1/nodes", headers=headers).json()["nodes"]
    assert [node["uuid"] for node in listed] == [mine]
    assert who.http.get(f"/baremetal/v1/nodes/{other}", headers=headers).status_code == 404
    assert who.http.delete(f"/baremetal/v1/nodes/{mine}", headers=headers).status_code == 403
    who.http.close()


def test_openstacksdk(admin: openstack.connection.Connection, cloud: Running) -> None:
    node = admin.baremetal.create_node(driver="fake-hardware", name="by-sdk")
    port = admin.baremetal.create_port(node_id=node.id, address="52:54:00:12:34:56")
    admin.baremetal.set_node_provision_state(node, "manage", wait=True, timeout=20)
    admin.baremetal.set_node_provision_state(node, "provide", wait=True, timeout=20)
    assert admin.baremetal.get_node("by-sdk").provision_state == "available"
    assert [found.id for found in admin.baremetal.ports(node=node.id)] == [port.id]
