"""Nodes that start from a volume, as an operator deploys them: what is plugged, attached and told to the BMC, and its end."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hagane.baremetal import san
from hagane.baremetal.nic import Nics
from hagane.baremetal.volume import Targets
from hagane.drivers.metadata.base import Reply
from hagane.errors import DeviceFailed
from hagane.network.port_row import PORT
from hagane.reconcile.devices import Devices
from hagane.reconcile.node import NodePart
from hagane.reconcile.provision import ProvisionPart
from hagane.state.database import Row
from hagane.volume.row import ATTACHMENT, VOLUME
from tests.scenarios.rack_world import PROJECT, RackWorld, rack_world
from tests.scenarios.test_node_rack import at, reach, with_image

V1 = "/baremetal/v1"


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[RackWorld]:
    async with rack_world(tmp_path) as made:
        await made.network("storage", "172.30.20.0/22")
        yield made


async def storage_network(w: RackWorld) -> str:
    return str((await w.admin.get("/network/v2.0/networks?name=storage")).json()["networks"][0]["id"])


async def volume(w: RackWorld) -> str:
    answer = await w.admin.post(f"/volume/v3/{PROJECT}/volumes", json={"volume": {"size": 1}})
    assert answer.status_code == 202, answer.text
    key = str(answer.json()["volume"]["id"])

    async def there() -> bool:
        return (await of_volume(w, key))["status"] == "available"

    await w.until(there)
    return key


async def of_volume(w: RackWorld, key: str) -> Row:
    row = await VOLUME.get(w.db, id=key)
    assert row is not None
    return row


async def diskless(w: RackWorld, volume_id: str, **changes: Any) -> Row:
    """A Node that is available and has a volume to start from; its second Nic is for the tenant."""
    links = ("tor1", f"e{w.count}"), ("tor2", f"e{w.count}")
    node = await w.node(*links, storage_network=await storage_network(w))
    wanted = {"deploy_interface": "direct", "boot_interface": "ipxe", "storage_interface": "cinder",
              "properties/capabilities": "iscsi_boot:true"} | changes  # fmt: skip
    body = [{"op": "add", "path": f"/{name}", "value": value} for name, value in wanted.items()]
    answer = await w.admin.patch(f"{V1}/nodes/{node['id']}", json=body)
    assert answer.status_code == 200, answer.text
    await reach(w, node, "manage", "manageable")
    await reach(w, node, "provide", "available")
    target = {"node_uuid": node["id"], "volume_type": "iscsi", "boot_index": 0, "volume_id": volume_id}
    answer = await w.admin.post(f"{V1}/volume/targets", json=target)
    assert answer.status_code == 201, answer.text
    return await w.row(node["id"])


async def vif(w: RackWorld, node: Row) -> dict[str, Any]:
    nics = await Nics.table.select(w.db, {"node_id": node["id"]}, order="created_at, id")
    port = await w.port(await w.network("tenant", "10.9.0.0/24"))
    body = {"id": port["id"], "port_uuid": nics[1]["id"]}
    answer = await w.admin.post(f"{V1}/nodes/{node['id']}/vifs", json=body)
    assert answer.status_code == 204, answer.text
    return port


async def test_a_machine_starts_from_its_volume_and_gives_it_back(w: RackWorld) -> None:
    volume_id = await volume(w)
    node = await diskless(w, volume_id)
    port = await vif(w, node)
    machine = w.cloud.use(NodePart).tools.bmcs.of(node)
    before = list(machine.did)  # type: ignore[attr-defined]
    node = await reach(w, node, "active", "active")

    assert [step["step"] for step in node["seen"]["steps"]][:5] == [
        "tenant-network", "storage", "power-off", "tenant-switch", "reboot"
    ]  # fmt: skip
    assert machine.did == before, "no ramdisk has run"  # type: ignore[attr-defined]
    seen = await machine.read()
    assert seen.boot is not None and seen.boot.device.value == "pxe" and seen.boot.persistent
    first, second = await Nics.table.select(w.db, {"node_id": node["id"]}, order="created_at, id")
    assert second["plugged"] == port["id"]
    storage = await PORT.get(w.db, id=first["plugged"])
    assert storage is not None and storage["device_owner"] == "baremetal:storage"
    assert any(option["opt_value"].endswith("/boot.ipxe") for option in storage["extra_dhcp_opts"])
    (attachment,) = await ATTACHMENT.select(w.db, {"volume_id": volume_id})
    assert attachment["attach_status"] == "attached" and attachment["connector"]["host"] == node["id"]
    assert (
        attachment["connector"]["initiator"].startswith("iqn.")
        and (await of_volume(w, volume_id))["status"] == "in-use"
    )

    await reach(w, node, "deleted", "available")
    assert await ATTACHMENT.select(w.db, {"volume_id": volume_id}) == []
    assert (await of_volume(w, volume_id))["status"] == "available"
    assert await PORT.select(w.db, {"device_owner": "baremetal:storage"}) == []
    assert "boot_from_volume" not in (await w.row(node["id"]))["driver_internal_info"]


@pytest.mark.parametrize(("field", "value", "words"), [
    ("properties/capabilities", "boot_mode:bios", "no iSCSI boot support"),
    ("boot_interface", "pxe", "cannot boot from an iSCSI volume"),
])  # fmt: skip
async def test_what_cannot_start_from_a_volume_is_told_before(w: RackWorld, field: str, value: str, words: str) -> None:
    node = await diskless(w, await volume(w), **{field: value})
    answer = await w.admin.get(f"{V1}/nodes/{node['id']}/validate")
    assert words in answer.json()["storage"]["reason"] and answer.json()["deploy"] == {"result": True}
    answer = await w.admin.put(f"{V1}/nodes/{node['id']}/states/provision", json={"target": "active"})
    assert answer.status_code == 400 and words in answer.text


async def test_a_tenant_on_every_nic_leaves_none_for_the_volume(w: RackWorld) -> None:
    node = await diskless(w, volume_id := await volume(w))
    await w.give(node, (await w.port(await w.network("tenant", "10.9.0.0/24")))["id"])  # the one that boots
    answer = await w.admin.put(f"{V1}/nodes/{node['id']}/states/provision", json={"target": "active"})
    assert answer.status_code == 202
    failed = await at(w, node, "deploy failed")
    assert "no Nic left to reach its volume by" in failed["last_error"]

    async def free() -> bool:
        return (await of_volume(w, volume_id))["status"] == "available"

    await w.until(free)


async def test_a_volume_that_somebody_has_is_refused(w: RackWorld) -> None:
    volume_id = await volume(w)
    one, other = await diskless(w, volume_id), await diskless(w, volume_id)
    await reach(w, one, "active", "active")
    answer = await w.admin.put(f"{V1}/nodes/{other['id']}/states/provision", json={"target": "active"})
    assert answer.status_code == 202
    assert "status must be" in (await at(w, other, "deploy failed"))["last_error"]
    (attachment,) = await ATTACHMENT.select(w.db, {"volume_id": volume_id})
    assert attachment["connector"]["host"] == one["id"]


async def ask(w: RackWorld, node: Row, path: str, method: str = "GET") -> Reply:
    """As a machine with the address of the Node's Port for storage does."""
    first = (await Nics.table.select(w.db, {"node_id": node["id"]}, order="created_at, id"))[0]
    port = await PORT.get(w.db, id=first["plugged"])
    assert port is not None
    driver: Any = w.cloud.use(ProvisionPart).driver
    reply: Reply = await driver.ask(port["network_id"], port["fixed_ips"][0]["ip_address"], path, method=method)
    return reply


def exports(w: RackWorld) -> dict[str, Any]:
    return dict(w.cloud.use(Devices).exports.there)  # type: ignore[union-attr]


async def test_only_the_machine_itself_learns_its_password(w: RackWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    one, other = await diskless(w, await volume(w)), await diskless(w, await volume(w))
    for node in (one, other):
        await reach(w, node, "active", "active")
    scripts = [(await ask(w, node, "/boot.ipxe")).body.decode() for node in (one, other)]
    passwords = [export.password for export in exports(w).values()]
    assert len(set(passwords)) == 2
    for script in scripts:
        (mine,) = [password for password in passwords if f"set password {password}\n" in script]
        assert mine not in caplog.text and f":{mine}" not in script
    assert scripts[0] != scripts[1] and "sanboot iscsi:172.30.20." in scripts[0]
    for path in ("/kernel", "/ramdisk", "/boot.iso", "/baremetal/v1/lookup", "/", "/loader/nothing"):
        assert (await ask(w, one, path)).status == 404, path
    assert (await ask(w, one, "/boot.ipxe", "POST")).status == 404
    stored = [await w.db.fetch(f"SELECT * FROM {table}") for table in ("node", "volume_attachment", "volume_export")]
    assert not any(password in str(stored) for password in passwords)

    await reach(w, one, "deleted", "available")
    assert [export.initiator.rpartition(":")[2] for export in exports(w).values()] == [other["id"]]


async def test_a_connector_names_the_initiator(w: RackWorld) -> None:
    node = await diskless(w, await volume(w))
    body = {"node_uuid": node["id"], "type": "iqn", "connector_id": "iqn.2020-01.example:one"}
    assert (await w.admin.post(f"{V1}/volume/connectors", json=body)).status_code == 201
    await reach(w, node, "active", "active")
    assert [export.initiator for export in exports(w).values()] == ["iqn.2020-01.example:one"]
    assert "set initiator-iqn iqn.2020-01.example:one\n" in (await ask(w, node, "/boot.ipxe")).body.decode()


async def test_a_deployment_that_fails_leaves_nothing(w: RackWorld) -> None:
    """Whatever ends a deployment, the volume is free again; the next one may have it."""
    volume_id = await volume(w)
    node = await diskless(w, volume_id)
    machine: Any = w.cloud.use(NodePart).tools.bmcs.of(node)
    machine.fail_once["PowerOn"] = DeviceFailed("no power today")
    answer = await w.admin.put(f"{V1}/nodes/{node['id']}/states/provision", json={"target": "active"})
    assert answer.status_code == 202
    assert "no power today" in (await at(w, node, "deploy failed"))["last_error"]
    assert exports(w) == {} and (await of_volume(w, volume_id))["status"] == "available"
    await reach(w, node, "active", "active")
    assert len(exports(w)) == 1


@pytest.mark.parametrize(("verb", "more"), [
    ("rescue", {"rescue_password": "let-me-in"}),
    ("service", {"service_steps": [{"interface": "deploy", "step": "erase_devices_metadata", "args": {}}]}),
])  # fmt: skip
async def test_a_rescue_or_service_that_fails_keeps_the_volume(w: RackWorld, verb: str, more: dict[str, Any]) -> None:
    volume_id = await volume(w)
    node = await diskless(w, volume_id, rescue_interface="agent", **{"driver_info/rescuing_network": w.network_id})
    await reach(w, node, "active", "active")
    machine: Any = w.cloud.use(NodePart).tools.bmcs.of(node)
    machine.fail_once["PowerOn"] = DeviceFailed("no power today")
    answer = await w.admin.put(f"{V1}/nodes/{node['id']}/states/provision", json={"target": verb} | more)
    assert answer.status_code == 202, answer.text
    failed = await at(w, node, f"{verb} failed")
    assert "no power today" in failed["last_error"] and san.started(failed)
    assert len(exports(w)) == 1 and (await of_volume(w, volume_id))["status"] == "in-use"
    if verb == "rescue":  # the way back leads to the volume
        await reach(w, node, "unrescue", "active")
        assert (await machine.read()).boot.persistent
    await reach(w, node, "deleted", "available")
    assert exports(w) == {} and (await of_volume(w, volume_id))["status"] == "available"


async def test_a_rebuild_to_an_image_gives_the_volume_back(w: RackWorld) -> None:
    volume_id = await volume(w)
    node = await diskless(w, volume_id)
    await reach(w, node, "active", "active")
    await with_image(w, node)
    node = await reach(w, node, "rebuild", "active")
    assert "callback" in [step["step"] for step in node["seen"]["steps"]], "a ramdisk wrote the image"
    assert not san.started(node) and exports(w) == {}
    assert await ATTACHMENT.select(w.db) == [] and (await of_volume(w, volume_id))["status"] == "available"


async def powered_off(w: RackWorld, node: Row) -> None:
    answer = await w.admin.put(f"{V1}/nodes/{node['id']}/states/power", json={"target": "power off"})
    assert answer.status_code == 202

    async def off() -> bool:
        return bool((await w.row(node["id"]))["power_state"] == "power off")

    await w.until(off)


async def target_of(w: RackWorld, node: Row) -> str:
    (found,) = await Targets.table.select(w.db, {"node_id": node["id"]})
    return f"{V1}/volume/targets/{found['id']}"


async def test_a_target_that_is_gone_leaves_no_way_to_its_volume(w: RackWorld) -> None:
    volume_id = await volume(w)
    node = await diskless(w, volume_id)
    await reach(w, node, "active", "active")
    await powered_off(w, node)
    assert (await w.admin.delete(await target_of(w, node))).status_code == 204
    await reach(w, node, "deleted", "available")
    assert exports(w) == {} and await ATTACHMENT.select(w.db) == []
    assert (await of_volume(w, volume_id))["status"] == "available"


async def test_a_rebuild_from_another_volume_gives_the_first_back(w: RackWorld) -> None:
    first, second = await volume(w), await volume(w)
    node = await diskless(w, first)
    await reach(w, node, "active", "active")
    await powered_off(w, node)
    body = [{"op": "replace", "path": "/volume_id", "value": second}]
    assert (await w.admin.patch(await target_of(w, node), json=body)).status_code == 200
    await reach(w, node, "rebuild", "active")
    assert [(await of_volume(w, key))["status"] for key in (first, second)] == ["available", "in-use"]
    assert len(exports(w)) == 1


async def test_a_node_that_is_removed_while_it_runs_has_no_volume_any_more(w: RackWorld) -> None:
    volume_id = await volume(w)
    node = await diskless(w, volume_id)
    await reach(w, node, "active", "active")
    answer = await w.admin.put(f"{V1}/nodes/{node['id']}/maintenance", json={"reason": "it burns"})
    assert answer.status_code == 202
    assert (await w.admin.delete(f"{V1}/nodes/{node['id']}")).status_code == 204

    async def free() -> bool:
        return (await of_volume(w, volume_id))["status"] == "available" and exports(w) == {}

    await w.until(free)
    assert await ATTACHMENT.select(w.db) == []
