"""A Node's whole life through a rack: each phase in its network, the image streamed, nothing left behind."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hagane.baremetal import node_progress
from hagane.baremetal.nic import Nics
from hagane.baremetal.provision import Fetched
from hagane.errors import Invalid, NotFound, Unavailable
from hagane.image.store import fill, new_image
from hagane.network.port_row import PORT
from hagane.reconcile import node_agent, node_cable
from hagane.reconcile.node import NodePart
from hagane.reconcile.rack_drivers import Switches
from hagane.state import clock, work
from hagane.state.database import Row
from tests.scenarios.rack_world import PROJECT, RackWorld, rack_world

T1, T2 = ("tor1", "e1"), ("tor2", "e1")


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[RackWorld]:
    async with rack_world(tmp_path) as made:
        yield made


async def direct(w: RackWorld) -> Row:
    node = await w.node(T1, T2)
    wanted = {"deploy_interface": "direct", "boot_interface": "ipxe", "inspect_interface": "agent",
              "rescue_interface": "agent"}  # fmt: skip
    body = [{"op": "replace", "path": f"/{name}", "value": value} for name, value in wanted.items()]
    body += [{"op": "add", "path": f"/driver_info/{role}_network", "value": w.network_id}
             for role in ("inspection", "rescuing")]  # fmt: skip
    answer = await w.admin.patch(f"/baremetal/v1/nodes/{node['id']}", json=body)
    assert answer.status_code == 200, answer.text
    return node


async def reach(w: RackWorld, node: Row, verb: str, state: str, **more: Any) -> Row:
    path = f"/baremetal/v1/nodes/{node['id']}/states/provision"
    answer = await w.admin.put(path, json={"target": verb, **more})
    assert answer.status_code == 202, answer.text
    return await at(w, node, state)


async def at(w: RackWorld, node: Row, state: str) -> Row:
    row = node

    async def there() -> bool:
        nonlocal row
        row = await w.row(node["id"])
        return row["provision_state"] == state and not ("failed" in state and row["seen"].get("life"))

    try:
        await w.until(there)
    except TimeoutError:
        todo = await w.db.fetch("SELECT reason FROM work WHERE kind = 'node'")
        raise AssertionError(f"{row['provision_state']}: {row['last_error']} {row['seen']} {todo}") from None
    return row


async def _image(w: RackWorld) -> str:
    key = await w.db.write(
        lambda tx: new_image(tx, name="small", owner=PROJECT, properties={}, visibility="public", disk_format="raw")
    )

    async def content() -> AsyncIterator[bytes]:
        yield b"\0" * 4096

    await fill(w.cloud, key, content())
    return key


async def with_image(w: RackWorld, node: Row) -> None:
    """Give the Node something to deploy."""
    info = {"op": "add", "path": "/instance_info", "value": {"image_source": await _image(w)}}
    answer = await w.admin.patch(f"/baremetal/v1/nodes/{node['id']}", json=[info])
    assert answer.status_code == 200, answer.text


async def carried(w: RackWorld, node: Row) -> list[str]:
    """What each Nic carries: the owner of its Port, "" for none."""
    nics = await Nics.table.select(w.db, {"node_id": node["id"]}, order="address")
    ports = [await PORT.get(w.db, id=nic["plugged"]) if nic["plugged"] else None for nic in nics]
    return [str(port["device_owner"]) if port else "" for port in ports]


async def test_a_life_through_the_networks(w: RackWorld) -> None:
    node = await direct(w)
    await reach(w, node, "manage", "manageable")
    await reach(w, node, "provide", "available")
    assert await carried(w, node) == ["", ""]
    tenant = await w.network("tenant", "10.0.0.0/24", w.member)
    vif = await w.port(tenant, w.member)
    await w.give(node, vif["id"])
    await with_image(w, node)
    row = await reach(w, node, "active", "active")
    assert [step["step"] for step in row["seen"]["steps"] if step["step"] in node_progress.DEPLOYMENT] == list(
        node_progress.DEPLOYMENT[:9]
    )
    nics = await Nics.table.select(w.db, {"node_id": node["id"]}, order="address")
    assert [nic["plugged"] for nic in nics] == [vif["id"], None]
    assert (await PORT.get(w.db, id=vif["id"]) or {})["status"] == "ACTIVE"
    await reach(w, node, "rescue", "rescue", rescue_password="x")
    assert [nic["plugged"] for nic in await Nics.table.select(w.db, {"node_id": node["id"]}, order="address")] == [
        vif["id"], None,
    ]  # fmt: skip
    await reach(w, node, "unrescue", "active")
    await reach(w, node, "deleted", "available")
    assert await carried(w, node) == ["", ""]
    assert not any(gateway.patches() for gateway in w.gateways.values())


async def test_an_image_that_is_not_there_fails_with_the_reason_and_leaves_no_port(w: RackWorld) -> None:
    node = await direct(w)
    await reach(w, node, "manage", "manageable")
    await reach(w, node, "provide", "available")
    info = {"op": "add", "path": "/instance_info",
            "value": {"image_source": "6f1c1f6e-0d5c-4a2f-9f3a-0d7f0a3b1c11"}}  # fmt: skip
    assert (await w.admin.patch(f"/baremetal/v1/nodes/{node['id']}", json=[info])).status_code == 200
    row = await reach(w, node, "active", "deploy failed")
    assert "6f1c1f6e-0d5c-4a2f-9f3a-0d7f0a3b1c11" in row["last_error"]
    assert await carried(w, node) == ["", ""]
    assert await PORT.count(w.db, {"device_id": node["id"]}) == 0


async def test_a_nic_without_a_link_is_the_cause(w: RackWorld) -> None:
    node = await w.node(None)
    body = [{"op": "replace", "path": "/deploy_interface", "value": "direct"},
            {"op": "replace", "path": "/boot_interface", "value": "ipxe"}]  # fmt: skip
    assert (await w.admin.patch(f"/baremetal/v1/nodes/{node['id']}", json=body)).status_code == 200
    await reach(w, node, "manage", "manageable")
    row = await reach(w, node, "provide", "clean failed")
    assert "an inspection finds them by LLDP" in row["last_error"]
    assert "has no Link" in row["last_error"] and await PORT.count(w.db, {"device_id": node["id"]}) == 0


async def test_what_the_firmware_fetches_is_a_step(w: RackWorld) -> None:
    node = await direct(w)
    part = w.cloud.use(NodePart)
    await reach(w, node, "manage", "manageable")
    part.fleet.bmc(await w.row(node["id"])).wrong.mute = True
    await reach(w, node, "provide", "clean wait")
    part.hearing.heard(node["id"], Fetched.MEDIA, "done")  # a part of it: the machine may read on
    await w.until(lambda: _step(w, node, "ramdisk", "the BMC reads the CD", ended=False))
    assert not await _step(w, node, "dhcp", "the firmware looks for its network")
    part.hearing.heard(node["id"], Fetched.FIRMWARE, "begun")
    part.hearing.heard(node["id"], Fetched.RAMDISK, "begun")
    await w.until(lambda: _step(w, node, "dhcp", "the firmware has an address"))
    part.hearing.heard(node["id"], Fetched.RAMDISK, "done")
    await w.until(lambda: _step(w, node, "ramdisk", "the ramdisk is loaded"))
    await reach(w, node, "abort", "clean failed")


async def _mute(w: RackWorld) -> Row:
    """A Node whose ramdisk is waited for."""
    node = await direct(w)
    await reach(w, node, "manage", "manageable")
    w.cloud.use(NodePart).fleet.bmc(await w.row(node["id"])).wrong.mute = True
    await reach(w, node, "provide", "clean wait")

    async def started() -> bool:
        return bool((await w.row(node["id"]))["seen"]["life"]["phase"] == "callback")

    await w.until(started)
    return node


async def test_a_ramdisk_whose_token_was_lost_is_started_anew(w: RackWorld) -> None:
    """Nobody can tell it from a stranger who asked first: it gets another token by another start."""
    node, part = await _mute(w), w.cloud.use(NodePart)
    machine = part.fleet.machines[node["id"]]
    starts = machine.starts
    _, lost = await part.fleet.gate.lookup(node["id"], [])
    machine.wrong.mute = False
    _, again = await part.fleet.gate.lookup(node["id"], [])
    assert lost and again is None
    row = await at(w, node, "available")
    assert machine.starts == starts + 1 and row["last_error"] is None
    lines = await w.db.fetch("SELECT event FROM node_history WHERE node_id = :id", {"id": node["id"]})
    assert any("its token was asked for twice" in line["event"] for line in lines)


async def test_a_firmware_that_found_nobody_after_a_restart_is_started_once_more(
    w: RackWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looked for its network while no process of ours was there, and then stands still."""
    monkeypatch.setattr(node_agent, "FIRMWARE", 0.0)
    node, part = await _mute(w), w.cloud.use(NodePart)
    machine = part.fleet.machines[node["id"]]
    starts, machine.wrong.mute = machine.starts, False
    part.tools.began = clock.wall()
    await w.db.write(lambda tx: work.wake(tx, "node", node["id"]))
    row = await at(w, node, "available")
    assert machine.starts == starts + 1 and row["last_error"] is None
    lines = await w.db.fetch("SELECT event FROM node_history WHERE node_id = :id", {"id": node["id"]})
    assert any("nobody answered it while Hagane was started anew" in line["event"] for line in lines)


async def test_a_ramdisk_that_is_to_be_switched_off_is_not_heard(w: RackWorld) -> None:
    """A BMC that is slow leaves it time to ask; it would get the token of the ramdisk that is started next."""
    node, part = await direct(w), w.cloud.use(NodePart)
    await reach(w, node, "manage", "manageable")
    machine = part.fleet.bmc(await w.row(node["id"]))
    machine.fail_always = Unavailable("it thinks")
    await reach(w, node, "provide", "cleaning")

    async def booting() -> bool:
        return bool(((await w.row(node["id"]))["seen"].get("life") or {}).get("phase") == "boot")

    await w.until(booting)
    with pytest.raises(NotFound):
        await part.fleet.gate.lookup(node["id"], [])
    with pytest.raises(Invalid, match="about to be switched off"):
        await part.fleet.gate.heartbeat(node["id"], {"callback_url": "http://172.30.16.9:9999", "agent_token": "x"})
    machine.fail_always = None
    await at(w, node, "available")


async def test_a_token_that_is_asked_for_twice_in_each_start_fails_it(w: RackWorld) -> None:
    node, part = await _mute(w), w.cloud.use(NodePart)

    async def failed() -> bool:
        row = await w.row(node["id"])
        if row["provision_state"] == "clean wait" and (row["seen"].get("life") or {}).get("phase") == "callback":
            with contextlib.suppress(NotFound):  # it is being switched off by now
                await part.fleet.gate.lookup(node["id"], [])
        return row["provision_state"] == "clean failed"

    await w.until(failed)
    assert "In each of 3 starts the ramdisk's token was asked for twice" in (await w.row(node["id"]))["last_error"]


async def _step(w: RackWorld, node: Row, name: str, message: str, *, ended: bool = True) -> bool:
    steps = (await w.row(node["id"]))["seen"].get("steps") or []
    named = [step for step in steps if step["step"] == name and step["message"] == message]
    return any(bool(step["finished_at"]) is ended for step in named)


async def test_a_cable_without_a_carrier_is_named(w: RackWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_cable, "PATIENCE", 0.0)
    w.cloud.use(NodePart).tools.times.callback["clean"] = 0.5
    w.switches["tor1"].dark = frozenset({T1[1]})
    w.switches["tor2"].dead = True  # it cannot say
    row = await at(w, await _mute(w), "clean failed")
    assert "not called back yet. There is no carrier on port e1 of switch tor1: is the cable" in row["last_error"]


async def test_a_switch_is_asked_for_dark_cables_once_a_minute(w: RackWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_cable, "PATIENCE", 0.0)
    times = w.cloud.use(NodePart).tools.times
    times.callback["clean"], times.look = 2.0, 0.05
    w.switches["tor1"].dark = frozenset({T1[1]})
    asked: list[str] = []
    of = node_cable._of

    async def counted(switches: Switches, row: Row, names: list[str]) -> str:
        asked.append(row["name"])
        return await of(switches, row, names)

    monkeypatch.setattr(node_cable, "_of", counted)
    row = await at(w, await _mute(w), "clean failed")
    assert "no carrier on port e1" in row["last_error"] and sorted(asked) == sorted(set(asked)) and "tor1" in asked


async def test_a_dead_switch_is_the_cause_until_it_is_mended(w: RackWorld) -> None:
    node = await direct(w)
    times = w.cloud.use(NodePart).tools.times
    await reach(w, node, "manage", "manageable")
    w.switches["tor1"].dead = True
    times.network = 1.0
    row = await reach(w, node, "provide", "clean failed")
    assert "Timeout reached while waiting for network" in row["last_error"]
    assert "of switch tor1 is not in VLAN" in row["last_error"]
    assert await PORT.count(w.db, {"device_id": node["id"]}) == 0
    w.switches["tor1"].dead = False
    times.network = 20.0
    await reach(w, node, "manage", "manageable")
    await reach(w, node, "provide", "available")
