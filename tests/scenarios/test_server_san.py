"""Servers on Nodes that boot from volumes: created, deleted, created again from the same volume; and brought back."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from hagane.baremetal.node import NODE
from hagane.baremetal.volume import Targets
from hagane.errors import DeviceFailed, Unavailable
from hagane.reconcile import server_node_volume
from hagane.reconcile.devices import Devices
from hagane.state import work
from hagane.state.database import Row
from hagane.volume import attach
from hagane.volume.row import ATTACHMENT, VOLUME
from tests.scenarios.steel_world import NODES, V21, Steel, steel

CAN: dict[str, Any] = {"deploy_interface": "direct", "storage_interface": "cinder"}


async def volume(w: Steel) -> str:
    answer = await w.member.post("/volume/v3/volumes", json={"volume": {"size": 1}})
    assert answer.status_code == 202, answer.text
    key = str(answer.json()["volume"]["id"])
    await has_status(w, key, "available")
    marked = await w.member.post(f"/volume/v3/volumes/{key}/action", json={"os-set_bootable": {"bootable": True}})
    assert marked.status_code == 200, marked.text
    return key


async def has_status(w: Steel, key: str, status: str) -> None:
    async def so() -> bool:
        row = await VOLUME.get(w.db, id=key)
        return row is not None and row["status"] == status

    await w.until(so)


def disk(volume_id: str, **more: Any) -> list[Row]:
    return [{"uuid": volume_id, "source_type": "volume", "destination_type": "volume", "boot_index": 0} | more]


async def connector(w: Steel, volume_id: str) -> Row:
    (found,) = await ATTACHMENT.select(w.db, {"volume_id": volume_id})
    return dict(found["connector"])


async def test_from_a_volume_and_again(tmp_path: Path) -> None:
    async with steel(tmp_path, 1, **CAN) as w:
        key = await volume(w)
        for _ in range(2):
            made = await w.create(imageRef="", block_device_mapping_v2=disk(key))
            shown = await w.becomes(made["id"], "ACTIVE")
            node = await w.node((await w.row(made["id"]))["node_id"])
            assert "image_source" not in node["instance_info"] and shown["image"] == ""
            assert [one["volume_id"] for one in await Targets.table.select(w.db, {"node_id": node["id"]})] == [key]
            assert (await connector(w, key))["host"] == node["id"]
            await has_status(w, key, "in-use")
            await w.end(made["id"])
            await w.all_free()
            await has_status(w, key, "available")
            assert await Targets.table.select(w.db) == [] and await ATTACHMENT.select(w.db) == []


async def test_a_volume_made_of_an_image_ends_with_its_server(tmp_path: Path) -> None:
    async with steel(tmp_path, 1, **CAN) as w:
        mapping = [{"uuid": w.image_id, "source_type": "image", "destination_type": "volume", "boot_index": 0,
                    "volume_size": 1, "delete_on_termination": True}]  # fmt: skip
        made = await w.create(imageRef="", block_device_mapping_v2=mapping)
        await w.becomes(made["id"], "ACTIVE")
        (step,) = await w.db.fetch("SELECT * FROM event WHERE step = 'block-device-mapping'")
        assert step["key"] == made["id"] and step["result"] == "Success" and step["finished_at"]
        await w.end(made["id"])
        await w.all_free()

        async def gone() -> bool:
            return not await VOLUME.select(w.db)

        await w.until(gone)
        assert await w.metal_leaks() == {}


async def test_a_volume_that_is_not_made_ends_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait is told as a step of the Server's, and is not for ever; the Node is the next one's."""
    async with steel(tmp_path, 1, **CAN) as w:
        backend: Any = w.cloud.use(Devices).volumes["sim"]

        def away(call: str) -> None:
            if call == "Volume":
                raise Unavailable("The backend is away.")

        backend.hook = away
        mapping = [{"uuid": w.image_id, "source_type": "image", "destination_type": "volume", "boot_index": 0,
                    "volume_size": 1, "delete_on_termination": True}]  # fmt: skip
        server = (await w.create(imageRef="", block_device_mapping_v2=mapping))["id"]

        async def waits() -> bool:
            return bool(await w.db.fetch("SELECT * FROM event WHERE step = 'block-device-mapping'"))

        await w.until(waits)
        monkeypatch.setattr(server_node_volume, "PATIENCE", -1)
        await w.db.write(lambda tx: work.wake(tx, "server", server))
        shown = await w.becomes(server, "ERROR")
        assert shown["fault"]["message"].endswith("Given up."), shown
        backend.hook = lambda call: None
        await w.end(server)
        await w.all_free()


async def test_nodes_that_cannot_are_told(tmp_path: Path) -> None:
    async with steel(tmp_path, 1, deploy_interface="direct") as w:
        key = await volume(w)
        made = await w.create(imageRef="", block_device_mapping_v2=disk(key))
        shown = await w.becomes(made["id"], "ERROR")
        assert "storage interface is noop: it cannot boot from a volume" in shown["fault"]["details"]
        await has_status(w, key, "available")
        blank = {"source_type": "blank", "destination_type": "volume", "volume_size": 1, "boot_index": -1}
        body = {"name": "x", "flavorRef": "metal", "networks": "none", "block_device_mapping_v2": [*disk(key), blank]}
        answer = await w.member.post(f"{V21}/servers", json={"server": body})
        assert answer.status_code == 400 and "takes no other block devices" in answer.text


async def evacuate(w: Steel, server_id: str, version: str = "2.90", **more: Any) -> httpx.Response:
    headers = {"OpenStack-API-Version": f"compute {version}"}
    return await w.admin.post(f"{V21}/servers/{server_id}/action", json={"evacuate": more}, headers=headers)


async def dead(w: Steel, node_id: str) -> None:
    """Its BMC answers nothing, and an operator has noticed."""
    bmc = await w.bmc(node_id)
    bmc.fail_always = Unavailable("no answer")  # type: ignore[attr-defined]
    answer = await w.metal.put(f"{NODES}/{node_id}/maintenance", json={"reason": "dead"})
    assert answer.status_code == 202


@pytest.mark.parametrize("backed", [True, False], ids=["volume", "local disk"])
async def test_a_server_whose_node_dies_comes_back_on_another(tmp_path: Path, backed: bool) -> None:
    async with steel(tmp_path, 2, **CAN) as w:
        key = await volume(w) if backed else ""
        made = await w.create(**({"imageRef": "", "block_device_mapping_v2": disk(key)} if backed else {}))
        before = await w.becomes(made["id"], "ACTIVE")
        source = (await w.row(made["id"]))["node_id"]
        answer = await evacuate(w, made["id"])
        assert answer.status_code == 400 and "still in use" in answer.text
        await dead(w, source)
        assert (await w.act(made["id"], evacuate={})).status_code == 403
        answer = await evacuate(w, made["id"], host=source)
        assert answer.status_code == 400 and "same one" in answer.text
        answer = await evacuate(w, made["id"])
        assert (answer.status_code, answer.content) == (200, b"")
        shown = await w.becomes(made["id"], "ACTIVE")
        row = await w.row(made["id"])
        assert row["node_id"] not in (None, source)
        assert {one["addr"] for one in shown["addresses"]["net"]} == {one["addr"] for one in before["addresses"]["net"]}
        (mac,) = (await w.db.fetch("SELECT address FROM nic WHERE vif IS NOT NULL"))[0].values()
        assert {one["OS-EXT-IPS-MAC:mac_addr"] for one in shown["addresses"]["net"]} == {mac}
        if backed:
            assert (await connector(w, key))["host"] == row["node_id"]
            assert [one["node_id"] for one in await Targets.table.select(w.db)] == [row["node_id"]]
        moves = (await w.admin.get(f"{V21}/os-migrations")).json()["migrations"]
        assert [(one["migration_type"], one["status"]) for one in moves] == [("evacuation", "done")]
        old = await w.node(source)
        assert old["instance_id"] is None and old["provision_state"] in ("deleting", "error")
        await w.end(made["id"])
        if backed:
            await has_status(w, key, "available")


async def test_without_another_node_the_volume_stays_the_servers(tmp_path: Path) -> None:
    async with steel(tmp_path, 1, **CAN) as w:
        key = await volume(w)
        made = await w.create(imageRef="", block_device_mapping_v2=disk(key))
        await w.becomes(made["id"], "ACTIVE")
        await dead(w, (await w.row(made["id"]))["node_id"])
        assert (await evacuate(w, made["id"])).status_code == 200
        await w.becomes(made["id"], "ERROR")
        assert (await VOLUME.get(w.db, id=key) or {})["status"] == "in-use"
        await w.enrol("bm9")
        assert (await evacuate(w, made["id"], "2.95")).status_code == 200
        await w.becomes(made["id"], "SHUTOFF")
        assert (await connector(w, key))["host"] == (await w.row(made["id"]))["node_id"]


async def test_an_evacuation_that_every_node_fails_ends_with_an_error(tmp_path: Path) -> None:
    async with steel(tmp_path, 4, **CAN) as w:
        server = (await w.create())["id"]
        await w.becomes(server, "ACTIVE")
        source = (await w.row(server))["node_id"]
        await dead(w, source)
        for node_id, machine in w.fleet.machines.items():
            if node_id != source:
                machine.fail_once["PowerOn"] = DeviceFailed("fuse blown")
        assert (await evacuate(w, server)).status_code == 200
        shown = await w.becomes(server, "ERROR")
        assert "Exceeded maximum number of retries" in shown["fault"]["message"]
        moves = (await w.admin.get(f"{V21}/os-migrations")).json()["migrations"]
        assert [(one["migration_type"], one["status"]) for one in moves] == [("evacuation", "error")]


async def test_a_protected_node_keeps_its_server(tmp_path: Path) -> None:
    async with steel(tmp_path, 1, **CAN) as w:
        server = (await w.create())["id"]
        await w.becomes(server, "ACTIVE")
        source = (await w.row(server))["node_id"]
        answer = await w.metal.patch(f"{NODES}/{source}", json=[{"op": "add", "path": "/protected", "value": True}])
        assert answer.status_code == 200, answer.text
        await dead(w, source)
        answer = await evacuate(w, server)
        assert answer.status_code == 400 and "is protected and keeps its server" in answer.text
        assert (await w.row(server))["node_id"] == source


async def test_what_else_is_done_to_one_that_runs_from_a_volume(tmp_path: Path) -> None:
    """Power and rescue as for others; its volume stays its own, and gets no other content by a rebuild."""
    async with steel(tmp_path, 1, **CAN, rescue_interface="agent") as w:
        key = await volume(w)
        server = (await w.create(imageRef="", block_device_mapping_v2=disk(key)))["id"]
        await w.becomes(server, "ACTIVE")
        machine = w.fleet.machines[(await w.row(server))["node_id"]]
        for action, status in (("os-stop", "SHUTOFF"), ("os-start", "ACTIVE")):
            assert (await w.act(server, **{action: None})).status_code == 202
            await w.becomes(server, status)
        assert (await w.act(server, rescue={})).status_code == 200
        await w.becomes(server, "RESCUE")
        assert (await w.act(server, unrescue=None)).status_code == 202
        await w.becomes(server, "ACTIVE")
        assert "standby.prepare_image" not in machine.did, "no disk was written to"
        assert (await connector(w, key))["host"] == (await w.row(server))["node_id"]
        headers = {"OpenStack-API-Version": "compute 2.93"}
        body = {"rebuild": {"imageRef": w.image_id}}
        answer = await w.member.post(f"{V21}/servers/{server}/action", json=body, headers=headers)
        assert answer.status_code == 501 and "content of its volume" in answer.text, answer.text
        attach = {"volumeAttachment": {"volumeId": await volume(w)}}
        answer = await w.member.post(f"{V21}/servers/{server}/os-volume_attachments", json=attach)
        assert answer.status_code == 501, answer.text
        await w.end(server)
        await has_status(w, key, "available")


async def test_a_node_that_fails_is_cut_off_whatever_its_bmc_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be switched off, so its own reconciler releases nothing; the Server goes on without it."""
    async with steel(tmp_path, 1, **CAN) as w:
        ended: list[tuple[str, str]] = []

        async def disconnect(volume: Row, connector: Row) -> None:
            ended.append((volume["id"], connector["host"]))

        monkeypatch.setattr(w.cloud.use(attach.Connections), "disconnect", disconnect)
        (node,) = await NODE.select(w.db)
        (await w.bmc(node["id"])).fail_always = DeviceFailed("stuck")  # type: ignore[attr-defined]
        key = await volume(w)
        made = await w.create(imageRef="", block_device_mapping_v2=disk(key))
        await w.becomes(made["id"], "ERROR")
        assert (key, node["id"]) in ended
        await has_status(w, key, "available")
