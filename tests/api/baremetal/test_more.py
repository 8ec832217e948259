"""Nics and their groups, VIFs, chassis, drivers, allocations, deploy templates, volumes."""

import asyncio
from uuid import uuid4

import httpx

from tests.api.baremetal.test_node import enrol, fault, verb
from tests.support import Running

LINK = {"switch_id": "0A:1b:2c:3d:4e:5f", "port_id": "p1", "switch_info": "s"}


def available(metal: httpx.Client, cloud: Running, kind: str) -> str:
    node = str(enrol(metal, resource_class=kind)["uuid"])
    for target in ("manage", "provide"):
        verb(metal, node, target)
        cloud.settle()
    return node


def test_nics_and_groups(metal: httpx.Client) -> None:
    node = enrol(metal)["uuid"]
    group = metal.post("/portgroups", json={"node_uuid": node, "name": "bond"}).json()
    assert group["mode"] == "active-backup" and group["standalone_ports_supported"] is True
    body = {"node_uuid": node, "address": "52:54:00:BB:00:01", "portgroup_uuid": group["uuid"],
            "local_link_connection": LINK}  # fmt: skip
    nic = metal.post("/ports", json=body).json()
    assert nic["address"] == "52:54:00:bb:00:01" and nic["local_link_connection"]["switch_id"] == "0a:1b:2c:3d:4e:5f"
    assert "already exists" in fault(metal.post("/ports", json=body), 409)
    assert fault(metal.post("/ports", json={"node_uuid": node, "address": "x"}), 400) == (
        "Expected valid MAC address for address: x"
    )
    assert "contains ports" in fault(metal.delete("/portgroups/bond"), 400)
    assert [p["uuid"] for p in metal.get("/portgroups/bond/ports").json()["ports"]] == [nic["uuid"]]
    assert [p["uuid"] for p in metal.get(f"/nodes/{node}/ports/detail").json()["ports"]] == [nic["uuid"]]
    change = [{"op": "replace", "path": "/pxe_enabled", "value": False}]
    assert metal.patch(f"/ports/{nic['uuid']}", json=change).json()["pxe_enabled"] is False
    assert metal.delete(f"/ports/{nic['uuid']}").status_code == 204
    assert metal.delete("/portgroups/bond").status_code == 204


def test_vifs_take_the_nic_with_a_link_first(metal: httpx.Client, cloud: Running) -> None:
    node, vif = enrol(metal)["uuid"], str(uuid4())
    metal.post("/ports", json={"node_uuid": node, "address": "52:54:00:cc:00:01"})
    linked = {"node_uuid": node, "address": "52:54:00:cc:00:02", "local_link_connection": LINK}
    nic = metal.post("/ports", json=linked).json()["uuid"]
    assert metal.post(f"/nodes/{node}/vifs", json={"id": vif}).status_code == 204
    assert metal.get(f"/nodes/{node}/vifs").json() == {"vifs": [{"id": vif}]}
    assert "already attached" in fault(metal.post(f"/nodes/{node}/vifs", json={"id": vif}), 409)
    assert f"VIF {vif} is attached to it" in fault(metal.delete(f"/ports/{nic}"), 409)
    assert metal.delete(f"/nodes/{node}/vifs/{vif}").status_code == 204
    assert "not attached" in fault(metal.delete(f"/nodes/{node}/vifs/{vif}"), 400)


def test_media_are_named_by_urls_that_a_bmc_can_read(metal: httpx.Client) -> None:
    node = enrol(metal)["uuid"]
    for url in ("http://[", "file:///etc/passwd", "http://", "http://a b/", "http://a/\nx", "//a/x.iso"):
        answer = metal.post(f"/nodes/{node}/vmedia", json={"device_type": "cdrom", "image_url": url})
        assert "no http or https URL" in fault(answer, 400), url
    for kind in ({}, [], 1, "tape"):
        body = {"device_type": kind, "image_url": "http://a/x.iso"}
        assert "is not one of" in fault(metal.post(f"/nodes/{node}/vmedia", json=body), 400), kind
        fault(metal.request("DELETE", f"/nodes/{node}/vmedia", json={"device_types": kind or [{}]}), 400)


def test_chassis_and_drivers(metal: httpx.Client) -> None:
    chassis = metal.post("/chassis", json={"description": "rack 1"}).json()["uuid"]
    node = enrol(metal, chassis_uuid=chassis)["uuid"]
    assert [n["uuid"] for n in metal.get(f"/chassis/{chassis}/nodes").json()["nodes"]] == [node]
    assert "contains nodes" in fault(metal.delete(f"/chassis/{chassis}"), 400)
    assert {d["name"] for d in metal.get("/drivers").json()["drivers"]} == {"redfish", "ipmi", "fake-hardware"}
    assert metal.get("/drivers/redfish").json()["default_power_interface"] == "redfish"
    assert "redfish_address" in metal.get("/drivers/redfish/properties").json()


def test_nobody_makes_a_raid_here(metal: httpx.Client) -> None:
    for driver in ("redfish", "ipmi"):
        assert metal.get(f"/drivers/{driver}").json()["enabled_raid_interfaces"] == ["no-raid"]
        assert "does not support raid" in fault(metal.get(f"/drivers/{driver}/raid/logical_disk_properties"), 404)
    node = enrol(metal, driver="ipmi")["uuid"]
    config = {"logical_disks": [{"size_gb": 1, "raid_level": "1"}]}
    assert "does not support raid" in fault(metal.put(f"/nodes/{node}/states/raid", json=config), 404)
    assert "Valid interfaces" in fault(metal.post("/nodes", json={"driver": "ipmi", "raid_interface": "agent"}), 400)


def test_allocations_claim_a_node(metal: httpx.Client, cloud: Running) -> None:
    node = available(metal, cloud, "alloc")
    first = metal.post("/allocations", json={"resource_class": "alloc", "name": "mine"}).json()
    assert (first["state"], first["node_uuid"], first["last_error"]) == ("allocating", None, None)
    cloud.settle()
    first = metal.get("/allocations/mine").json()
    assert (first["state"], first["node_uuid"]) == ("active", node)
    shown = metal.get(f"/nodes/{node}").json()
    assert (shown["instance_uuid"], shown["allocation_uuid"]) == (first["uuid"], first["uuid"])
    asked = metal.post("/allocations", json={"resource_class": "alloc"}).json()["uuid"]
    cloud.settle()
    second = metal.get(f"/allocations/{asked}").json()
    assert second["state"] == "error" and "no available nodes match" in second["last_error"]
    assert metal.get(f"/nodes/{node}/allocation").json()["uuid"] == first["uuid"]
    assert metal.delete("/allocations/mine").status_code == 204
    assert metal.get(f"/nodes/{node}").json()["instance_uuid"] is None


def test_an_allocation_may_end_before_it_has_a_node(metal: httpx.Client, cloud: Running) -> None:
    node = available(metal, cloud, "brief")
    made = metal.post("/allocations", json={"resource_class": "brief", "candidate_nodes": [node]}).json()["uuid"]
    assert metal.delete(f"/allocations/{made}").status_code == 204
    cloud.settle()
    assert metal.get(f"/nodes/{node}").json()["instance_uuid"] is None


def test_what_a_tenant_had_ends_with_the_tenant(metal: httpx.Client, cloud: Running) -> None:
    node, vif = available(metal, cloud, "ends"), str(uuid4())
    metal.post("/ports", json={"node_uuid": node, "address": "52:54:00:dd:00:01"})
    made = metal.post("/allocations", json={"resource_class": "ends"}).json()["uuid"]
    cloud.settle()
    assert metal.post(f"/nodes/{node}/vifs", json={"id": vif}).status_code == 204
    verb(metal, node, "active")
    cloud.settle()
    remove = [{"op": "remove", "path": "/instance_uuid"}]
    assert "with an allocation can not have" in fault(metal.patch(f"/nodes/{node}", json=remove), 409)
    assert "not allowed to be removed" in fault(metal.delete(f"/allocations/{made}"), 409)
    verb(metal, node, "deleted")
    cloud.settle()
    shown = metal.get(f"/nodes/{node}").json()
    assert (shown["provision_state"], shown["instance_uuid"], shown["allocation_uuid"]) == ("available", None, None)
    assert metal.get(f"/nodes/{node}/vifs").json() == {"vifs": []}
    assert metal.get(f"/allocations/{made}").status_code == 404


def test_two_at_once_never_get_one_node(metal: httpx.Client, cloud: Running) -> None:
    nodes = {available(metal, cloud, "race") for _ in range(2)}

    async def run() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=str(metal.base_url), headers=dict(metal.headers)) as http:
            body = {"resource_class": "race"}
            return list(await asyncio.gather(*(http.post("allocations", json=body) for _ in range(5))))

    asked = [answer.json()["uuid"] for answer in asyncio.run(run())]
    cloud.settle()
    got = [metal.get(f"/allocations/{key}").json() for key in asked]
    assert sorted(a["state"] for a in got) == ["active"] * 2 + ["error"] * 3
    assert {a["node_uuid"] for a in got if a["state"] == "active"} == nodes


def test_deploy_templates(metal: httpx.Client) -> None:
    step = {"interface": "bios", "step": "apply", "args": {"password": "x"}, "priority": 50}
    made = metal.post("/deploy_templates", json={"name": "CUSTOM_FAST", "steps": [step]})
    assert made.json()["steps"] == [step | {"args": {"password": "******"}}]
    twice = metal.post("/deploy_templates", json={"name": "CUSTOM_FAST", "steps": [step]})
    assert fault(twice, 409) == "A deploy template with name CUSTOM_FAST already exists."
    assert fault(metal.post("/deploy_templates", json={"name": "CUSTOM_X", "steps": []}), 400) == (
        "Schema error for template: [] should be non-empty"
    )
    assert metal.delete("/deploy_templates/CUSTOM_FAST").status_code == 204


def test_volumes(metal: httpx.Client) -> None:
    node = enrol(metal)["uuid"]
    connector = {"node_uuid": node, "type": "iqn", "connector_id": "iqn.2026-01.x:1"}
    made = metal.post("/volume/connectors", json=connector).json()
    assert "already exists" in fault(metal.post("/volume/connectors", json=connector), 409)
    target = {"node_uuid": node, "volume_type": "iscsi", "volume_id": "v", "boot_index": 0}
    assert metal.post("/volume/targets", json=target).status_code == 201
    assert "boot index '0'" in fault(metal.post("/volume/targets", json=target), 409)
    assert [t["volume_id"] for t in metal.get(f"/nodes/{node}/volume/targets").json()["targets"]] == ["v"]
    for what in ("connectors", "targets"):
        assert len(metal.get(f"/volume/{what}?node={node}").json()[what]) == 1
        assert metal.get(f"/volume/{what}?project={'0' * 32}").json()[what] == []
    assert metal.delete(f"/volume/connectors/{made['uuid']}").status_code == 204
