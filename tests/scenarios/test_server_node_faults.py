"""Servers that are Nodes, with simulated ramdisks: the steps that their owners see, each failure of BMC and ramdisk
once, a process that is killed at each write, and two processes that share the Nodes."""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from hagane.baremetal.node import NODE
from hagane.errors import DeviceFailed
from hagane.reconcile.node_sim import Fleet
from tests.scenarios.kill import Killer, at_every_write, of_module
from tests.scenarios.steel_world import DIRECT, PROJECT, V21, beside, steel

AGENT = {name: value for name, value in DIRECT.items() if name.endswith("_interface")}
STEPS = ["schedule", "tenant-network", "provisioning-network", "power-on", "dhcp", "ramdisk", "callback", "write-image",
         "tenant-switch", "reboot", "tenant-dhcp", "reachable"]  # fmt: skip


async def test_the_twelve_steps(tmp_path: Path) -> None:
    async with steel(tmp_path, 1, **AGENT) as w:
        server = (await w.create())["id"]
        await w.becomes(server, "ACTIVE")
        events = list(reversed(await w.events(server, {"reachable"})))
        assert [event["event"] for event in events] == STEPS
        assert {event["result"] for event in events} == {"Success"}
        assert all(event["start_time"] <= event["finish_time"] for event in events)
        await w.end(server)
        await w.all_free()
        assert await w.metal_leaks() == {}


CALLS = ("read", "PowerOn", "SetBoot")
COMMANDS = ("deploy.get_deploy_steps", "standby.prepare_image", "standby.sync")


@pytest.mark.parametrize("broken", [*CALLS, *COMMANDS, "mute"])
async def test_each_failure_leads_to_another_node(tmp_path: Path, broken: str) -> None:
    async with steel(tmp_path, 2, **AGENT) as w:
        first, second = [row["id"] for row in await NODE.select(w.db, order="provision_updated_at, created_at")]
        machine = w.fleet.machines[first]
        if broken in CALLS:
            machine.fail_once[broken] = DeviceFailed(f"{broken} is refused")
        elif broken == "mute":
            machine.wrong.mute = True
            w.fleet.paces.callback |= {"deploy": 0.2, "clean": 0.5}
        else:
            machine.wrong.fail[broken] = f"{broken} is refused"
        server = (await w.create())["id"]
        shown = await w.becomes(server, "ACTIVE")
        assert shown["OS-EXT-SRV-ATTR:hypervisor_hostname"] == second
        tried = (await w.row(server))["tried"]
        assert [one["host"] for one in tried] == [first]
        assert ("Timeout" if broken == "mute" else "is refused") in tried[0]["why"]
        events = await w.events(server, {"schedule-2", "reboot-2"})
        assert any(event["result"] == "Error" and "schedule" not in event["event"] for event in events)
        await w.end(server)
        # A ramdisk that never calls back cleans nothing either: its Node is not given away again.
        await w.node_is(first, "clean failed" if broken == "mute" else "available")
        await w.node_is(second, "available")
        assert await w.metal_leaks() == {}


async def _life(folder: Path, number: int, *, after: bool, ending: bool) -> bool:
    """Order (or delete) a Server in a process that dies at its n-th write; False when it had ended before."""
    fleet, server = Fleet(), ""
    folder.mkdir()
    async with steel(folder, 1, fleet=fleet, **AGENT) as w:
        if ending:
            server = (await w.create())["id"]
            await w.becomes(server, "ACTIVE")
            await w.events(server, {"reachable"})
        killer = Killer(w, number, of_module("hagane.reconcile.server_node"), after=after)
        if ending:
            assert (await w.member.delete(f"{V21}/servers/{server}")).status_code == 204
        else:
            server = (await w.create())["id"]
        finished = await killer.spares(w.gone(server) if ending else w.events(server, {"reachable"}))
    async with beside(folder, fleet) as w:
        if not ending:
            await w.becomes(server, "ACTIVE")
            await w.end(server)
        await w.gone(server)
        await w.all_free()
        assert await w.metal_leaks() == {}
    await fleet.close()
    return not finished


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("ending", [False, True], ids=["create", "delete"])
async def test_killed_at_every_write(tmp_path: Path, ending: bool, after: bool) -> None:
    await at_every_write(tmp_path, partial(_life, after=after, ending=ending), more_than=2)


async def test_two_processes_share_the_nodes(tmp_path: Path, postgres_url: str) -> None:
    """Twelve orders through both processes for six Nodes: six run, each on a Node of its own."""
    fleet = Fleet()
    async with steel(tmp_path, 6, fleet=fleet, url=postgres_url) as one, beside(tmp_path, fleet, postgres_url) as two:
        two.image_id, two.flavor_id, two.network_id = one.image_id, one.flavor_id, one.network_id
        quota = {"quota_set": {"instances": 100, "cores": 100}}
        assert (await one.admin.put(f"{V21}/os-quota-sets/{PROJECT}", json=quota)).status_code == 200
        made = await asyncio.gather(*((one, two)[n % 2].create() for n in range(12)))
        shown = [await one.settled(server["id"], 60) for server in made]
        states = [server["status"] for server in shown if server]
        assert (states.count("ACTIVE"), states.count("ERROR")) == (6, 6)
        nodes = [server["OS-EXT-SRV-ATTR:hypervisor_hostname"] for server in shown if server]
        assert len({node for node in nodes if node}) == 6
        for server in made:
            await two.end(server["id"])
        await one.all_free()
        assert await one.metal_leaks() == {}


async def test_the_owner_is_told_the_cause_without_what_is_the_operators(tmp_path: Path) -> None:
    async with steel(tmp_path, 1, **AGENT) as w:
        node = (await NODE.select(w.db))[0]["id"]
        w.fleet.machines[node].fail_once["PowerOn"] = DeviceFailed("https://172.30.1.11: the BMC refuses: fuse blown")
        server = (await w.create())["id"]
        await w.becomes(server, "ERROR")
        fault, tried = (await w.row(server))["fault"], (await w.row(server))["tried"]
        assert "172.30" in tried[0]["why"] and "172.30.1.11: the BMC refuses: fuse blown" in fault["details"]
        told = [event["message"] or "" for event in await w.db.fetch("SELECT message FROM event WHERE kind = 'server'")]
        assert not any("172.30" in text for text in [fault["message"], *told])
        assert any("the BMC refuses: fuse blown" in text for text in told)
