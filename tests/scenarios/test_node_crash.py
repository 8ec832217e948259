"""`kill -9` between any two steps: whoever comes next goes on from the row and the world, and it ends as it would have."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hagane.app import Hagane
from hagane.config import Config
from hagane.drivers.gateway.base import GatewayAccess
from hagane.drivers.gateway.sim import SimGateway
from hagane.drivers.switch.base import SwitchAccess
from hagane.drivers.switch.sim import SimSwitch
from hagane.reconcile.devices import Devices
from hagane.reconcile.node_sim import Fleet
from tests.scenarios import test_node_rack as rack
from tests.scenarios.kill import Killer, at_every_write
from tests.scenarios.node_world import quick, world
from tests.scenarios.rack_world import RackWorld, authenticate

WORK = ("Job._store", "Job.answered", "join", "leave", "teardown")


def _ours(work: Any) -> bool:
    """Whether a write is one of a Node's work."""
    return any(name in work.__qualname__ for name in WORK)


async def _life(verb: str, state: str, folder: Path, number: int, *, after: bool) -> bool:
    """Run a verb in a process that dies at its n-th write, then in another; False when it had ended before."""
    fleet = Fleet()
    folder.mkdir()
    async with world(folder, fleet=fleet) as w:
        node = await (w.active() if verb in ("deleted", "rescue") else w.available())
        await w.instance(node)
        killer = Killer(w, number, _ours, after=after)
        more = {"rescue_password": "x"} if verb == "rescue" else {}
        assert (await w.ask(node, verb, **more)).status_code == 202
        finished = await killer.spares(w.at(node, state))
    async with world(folder, fleet=fleet) as w:
        await w.at(node, state)
        row = await w.row(node)
        assert row["last_error"] is None
        if state == "available":
            assert await w.leaks(node) == {}
        if state == "active":
            assert row["power_state"] == "power on" and fleet.machines[node].ramdisk is None
            assert fleet.machines[node].did.count("standby.prepare_image") >= 1
    await fleet.close()
    return not finished


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize(("verb", "state"), [("active", "active"), ("deleted", "available"), ("rescue", "rescue")])
async def test_killed_at_every_write(tmp_path: Path, verb: str, state: str, after: bool) -> None:
    await at_every_write(tmp_path, partial(_life, verb, state, after=after), more_than=5)


@asynccontextmanager
async def _process(folder: Path, devices: Devices) -> AsyncIterator[RackWorld]:
    """A process on a rack that outlives it."""
    hagane = Hagane(Config(state=folder, sim=True), devices, authenticate)
    await hagane.start()
    made = RackWorld(hagane, devices.switches, devices.gateways)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        await made.admin.aclose()
        await made.member.aclose()
        await hagane.stop()


async def _in_a_rack(folder: Path, number: int) -> bool:
    """A deployment through a rack's networks, killed before the n-th write; False when it had ended before."""
    folder.mkdir()
    fleet = Fleet()
    fleet.paces = quick()
    devices = Devices(
        switches={name: SimSwitch(SwitchAccess("", 0)) for name in ("tor1", "tor2")},
        gateways={name: SimGateway(GatewayAccess(name, f"sim:{name}")) for name in ("gw1", "gw2")}, fleet=fleet,
    )  # fmt: skip
    async with _process(folder, devices) as w:
        await w.furnish()
        node = await rack.direct(w)
        await rack.reach(w, node, "manage", "manageable")
        await rack.reach(w, node, "provide", "available")
        vif = await w.port(await w.network("tenant", "10.0.0.0/24", w.member), w.member)
        await w.give(node, vif["id"])
        await rack.with_image(w, node)
        killer = Killer(w, number, _ours, after=False)
        finished = await killer.spares(rack.reach(w, node, "active", "active"))
    async with _process(folder, devices) as w:
        w.network_id = (await w.db.fetch("SELECT id FROM network WHERE name = 'provisioning'"))[0]["id"]
        row = await rack.at(w, node, "active")
        assert row["last_error"] is None and row["power_state"] == "power on"
        assert [patch.port_id for patch in devices.gateways["gw1"].patches().values()] == [vif["id"]]  # type: ignore[attr-defined]
        await rack.reach(w, node, "deleted", "available")
        assert await rack.carried(w, node) == ["", ""]
        assert await w.db.fetch("SELECT id FROM port WHERE device_owner LIKE 'baremetal:%'") == []
    await fleet.close()
    return not finished


async def test_killed_at_every_write_in_a_rack(tmp_path: Path) -> None:
    await at_every_write(tmp_path, _in_a_rack, more_than=8)
