"""Rigs of the switch suite without an emulator: the simulated switch, and a real OVSDB server with a switch's schema."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hagane.drivers.switch.base import SwitchAccess, SwitchPort
from hagane.drivers.switch.ovsdb import OvsdbSwitch
from hagane.drivers.switch.sim import SimSwitch
from hagane.lab.ovs import SCHEMA
from tests.dataplane.ovsdb_server import OvsdbServer

NAMES = ("p0", "p1", "p2", "p3", "p4", "p5")


class SimRig:
    mtu = vlans = static = True
    group, short, ports, foreign = "bond5", "p0", NAMES[:4], "p5"

    def __init__(self) -> None:
        self.driver = SimSwitch(SwitchAccess("", 0, options={"ports": " ".join(NAMES)}))
        self.driver.dark = frozenset(sorted(NAMES)[1:])
        self.driver.ports["p5"] = SwitchPort(native=77, tagged=frozenset({77, 88, 1001}))
        self.driver.vlans |= {77: "storage", 88: "backup"}

    async def other_hand(self, port: str, vlan: int) -> None:
        self.driver.meddle(port, SwitchPort(native=vlan))

    async def foreign_state(self) -> object:
        return self.driver.ports[self.foreign]

    async def made_vlans(self) -> set[int]:
        return set(self.driver.vlans) - {1}

    async def commits(self) -> int:
        return self.driver.commits

    async def restart(self) -> None:
        """It keeps everything."""


class OvsdbRig:
    """A database server and no ovs-vswitchd: what is written is what is there."""

    mtu, vlans, static = True, False, True
    group, short, ports, foreign = "bond5", "p0", NAMES[:4], "p5"

    def __init__(self, folder: Path) -> None:
        self.server = OvsdbServer(folder, SCHEMA).start()
        words = ["--", "init", "--", "add-br", "br-tor"]
        for name in NAMES:
            words += ["--", "add-port", "br-tor", name, "vlan_mode=trunk", "trunks=4095"]
        words += ["--", "set", "Port", "p5", "vlan_mode=native-untagged", "tag=77", "trunks=77,88,1001"]
        self.vsctl(*words[1:])
        self.driver = OvsdbSwitch(SwitchAccess("", 0, options={"remote": self.server.remote, "confirm": "no"}))

    def vsctl(self, *words: str) -> str:
        command = ["ovs-vsctl", "--no-wait", f"--db={self.server.remote}", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    async def other_hand(self, port: str, vlan: int) -> None:
        self.vsctl("set", "Port", port, "vlan_mode=access", f"tag={vlan}", "trunks=[]")

    async def foreign_state(self) -> object:
        return self.vsctl("list", "Port", self.foreign)

    async def made_vlans(self) -> set[int]:
        return set()

    async def commits(self) -> int:
        return int(self.vsctl("get", "Open_vSwitch", ".", "next_cfg"))

    async def restart(self) -> None:
        self.server.kill()
        self.server.start()


@asynccontextmanager
async def sim_rig(_folder: Path) -> AsyncIterator[SimRig]:
    yield SimRig()


@asynccontextmanager
async def ovsdb_rig(folder: Path) -> AsyncIterator[OvsdbRig]:
    made = OvsdbRig(folder)
    try:
        yield made
    finally:
        await made.driver.close()
        made.server.kill()


OWN = {"ovsdb": ovsdb_rig, "sim": sim_rig}
