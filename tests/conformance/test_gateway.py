"""What every gateway driver does; the real one on a real OVSDB server."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest

from hagane.drivers.gateway import make
from hagane.drivers.gateway.base import Gateway, GatewayAccess, Patch
from hagane.drivers.gateway.sim import SimGateway
from hagane.errors import Unavailable
from hagane.lab.ovs import SCHEMA
from tests.dataplane.ovsdb_server import OvsdbServer, eventually

ONE, TWO = "0b0d1e5a-0000-4000-8000-000000000001", "0b0d1e5a-0000-4000-8000-000000000002"
BOTH = {ONE: Patch(1001, "port-1"), TWO: Patch(1002, "port-2")}


class Rig(Protocol):
    driver: Gateway

    async def take_away(self, key: str) -> None: ...

    async def power(self, *, on: bool) -> None: ...


class SimRig:
    def __init__(self) -> None:
        made = make(GatewayAccess("gw1", "sim:gw1"))
        assert isinstance(made, SimGateway)
        self.driver = made

    async def take_away(self, key: str) -> None:
        self.driver.meddle(key, None)

    async def power(self, *, on: bool) -> None:
        self.driver.power(on=on)


class OvsdbRig:
    def __init__(self, folder: Path) -> None:
        self.server = OvsdbServer(folder, SCHEMA).start()
        self.vsctl("init", "--", "add-br", "br-trunk", "--", "add-br", "br-int", "--", "add-port", "br-int", "tap1",
                   "--", "set", "Open_vSwitch", ".", "external-ids:system-id=gw1")  # fmt: skip
        self.driver = make(GatewayAccess("gw1", self.server.remote))

    def vsctl(self, *words: str) -> str:
        command = ["ovs-vsctl", "--no-wait", f"--db={self.server.remote}", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    async def take_away(self, key: str) -> None:
        [name] = self.vsctl("--bare", "--columns=name", "find", "Interface", f"external_ids:hagane-nic={key}",
                            "external_ids:iface-id!=x", "options:peer!=x").split()[:1]  # fmt: skip
        self.vsctl("del-port", name)

    async def power(self, *, on: bool) -> None:
        if on:
            self.server.start()
        else:
            self.server.kill()


@asynccontextmanager
async def sim_rig(_folder: Path) -> AsyncIterator[Rig]:
    yield SimRig()


@asynccontextmanager
async def ovsdb_rig(folder: Path) -> AsyncIterator[Rig]:
    made = OvsdbRig(folder)
    try:
        yield made
    finally:
        made.server.kill()


RIGS = {"sim": sim_rig, "ovsdb": ovsdb_rig}


class Heard:
    """Counts what a driver tells."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture(params=sorted(RIGS))
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Rig, Heard]]:
    async with RIGS[request.param](tmp_path) as made:
        heard = Heard()
        await made.driver.start(heard)
        await eventually(lambda: made.driver.connected)
        yield made, heard
        await made.driver.close()


async def test_patches_come_about_move_and_go(rig: tuple[Rig, Heard]) -> None:
    driver = rig[0].driver
    assert driver.chassis == "gw1" and driver.patches() == {}
    assert await driver.apply(BOTH) > 0
    assert driver.patches() == BOTH
    assert await driver.apply(BOTH) == 0
    moved = BOTH | {ONE: Patch(1001, "port-9")}
    assert await driver.apply(moved) == 1  # one operation: its iface-id
    assert driver.patches() == moved
    assert await driver.apply({TWO: Patch(1003, "port-2")}) > 0
    assert driver.patches() == {TWO: Patch(1003, "port-2")}
    assert await driver.apply({}) > 0
    assert driver.patches() == {}


async def test_what_others_change_is_told_and_put_right(rig: tuple[Rig, Heard]) -> None:
    made, heard = rig
    await made.driver.apply(BOTH)
    before = heard.count
    await made.take_away(ONE)
    await eventually(lambda: heard.count > before and ONE not in made.driver.patches())
    await made.driver.apply(BOTH)
    assert made.driver.patches() == BOTH


async def test_gateway_that_dies_and_comes_back(rig: tuple[Rig, Heard]) -> None:
    made, heard = rig
    await made.driver.apply(BOTH)
    before = heard.count
    await made.power(on=False)
    await eventually(lambda: not made.driver.connected and heard.count > before)
    assert made.driver.patches() == {} and made.driver.chassis == ""
    with pytest.raises(Unavailable):
        await made.driver.apply(BOTH)
    await made.power(on=True)
    await eventually(lambda: made.driver.connected)
    assert made.driver.patches() == BOTH


async def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    async with ovsdb_rig(tmp_path) as rig:
        assert isinstance(rig, OvsdbRig)
        await rig.driver.start(lambda: None)
        await eventually(lambda: rig.driver.connected)
        await rig.driver.apply(BOTH)
        # OVN notes things of its own on what it claims; they stay when the Nic moves.
        name = rig.vsctl("--bare", "--columns=name", "find", "Interface", "external_ids:iface-id=port-1").strip()
        rig.vsctl("set", "Interface", name, "external_ids:ovn-installed=true")
        await eventually(lambda: rig.driver.patches() == BOTH)
        await rig.driver.apply(BOTH | {ONE: Patch(1001, "port-9")})
        assert "ovn-installed" in rig.vsctl("get", "Interface", name, "external_ids")
        assert "1001, 1002" in rig.vsctl("get", "Bridge", "br-trunk", "flood_vlans")
        rig.vsctl("add", "Bridge", "br-trunk", "flood_vlans", "77")
        await eventually(lambda: rig.driver.patches())
        await rig.driver.apply({})
        assert rig.vsctl("get", "Bridge", "br-trunk", "flood_vlans").strip() == "[77]"
        assert rig.vsctl("list-ports", "br-int").split() == ["tap1"]
        assert rig.vsctl("list-ports", "br-trunk").split() == []
        await rig.driver.close()
