"""The switches that the switch suite runs against. A driver joins by an entry in RIGS: its name, and what makes a rig.

A rig offers a driver and the few handles that a driver does not: ports that are ours and one that is not, another
hand that changes a port, and what the switch has.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from hagane.drivers.switch import make
from hagane.drivers.switch.base import Switch, SwitchAccess
from hagane.lab.switch import eos, nxos
from hagane.lab.switch.box import Box, Faults
from hagane.lab.switch.server import SwitchServer


class Rig(Protocol):
    """One switch under test."""

    driver: Switch
    ports: tuple[str, ...]  # four that are ours
    short: str  # the first of them as its users abbreviate it; the same where there is no such custom
    group: str  # a name that a group may have; "" where there are none
    foreign: str  # a port that is not ours, with VLANs of its own
    mtu: bool  # whether a port has an MTU of its own
    vlans: bool  # whether the switch wants VLANs made

    async def other_hand(self, port: str, vlan: int) -> None:
        """Somebody else puts this port into this VLAN, untagged."""
        ...

    async def foreign_state(self) -> object:
        """All of the foreign port's configuration, to compare."""
        ...

    async def made_vlans(self) -> set[int]:
        """The VLANs that the switch has made."""
        ...

    async def commits(self) -> int:
        """How many changes of its configuration the switch has had, by whomever."""
        ...

    async def restart(self) -> None:
        """Power off and on: what was not saved is lost."""
        ...


class EmulatedRig:
    """An emulator on loopback, with its faults."""

    mtu = vlans = True

    def __init__(self, server: SwitchServer, driver: Switch, group: str, short: str) -> None:
        self.server, self.driver, self.box = server, driver, server.box
        names = tuple(server.box.running.ports)
        self.ports, self.foreign, self.group, self.short = names[:4], names[5], group, short

    @property
    def faults(self) -> Faults:
        return self.box.faults

    async def other_hand(self, port: str, vlan: int) -> None:
        face = self.box.running.ports[port]
        face.mode, face.access = "access", vlan
        self.box.running.vlans.setdefault(vlan, "")

    async def foreign_state(self) -> object:
        return repr(self.box.running.ports[self.foreign])

    async def made_vlans(self) -> set[int]:
        return set(self.box.running.vlans) - {1}

    async def commits(self) -> int:
        return self.box.commits

    async def restart(self) -> None:
        self.server.reboot()


def furnish(box: Box) -> None:
    """A port that is not ours, a VLAN that is not ours, and one carrier."""
    names = tuple(box.running.ports)
    foreign = box.running.ports[names[5]]
    foreign.mode, foreign.native, foreign.allowed = "trunk", 77, frozenset({77, 88, 1001})
    foreign.description = "uplink to spine 1"
    box.running.vlans |= {77: "storage", 88: "backup"}
    box.up = {names[0]}
    box.copy()


@asynccontextmanager
async def emulated(
    family: str, server: SwitchServer, group: str, short: str, **options: str
) -> AsyncIterator[EmulatedRig]:
    furnish(server.box)
    await server.start()
    options = {"host_key": server.fingerprint, **options}
    access = SwitchAccess("127.0.0.1", server.port, "admin", "secret", timeout=10.0, options=options)
    driver = make(family, access)
    try:
        yield EmulatedRig(server, driver, group, short)
    finally:
        await driver.close()
        await server.stop()


def eos_rig(_folder: Path | None = None, **options: str) -> AbstractAsyncContextManager[EmulatedRig]:
    return emulated("eos", eos.serve(eos.make()), "Port-Channel5", "Et1", **options)


def nxos_rig(_folder: Path | None = None, **options: str) -> AbstractAsyncContextManager[EmulatedRig]:
    return emulated("nxos", nxos.serve(nxos.make()), "port-channel5", "Eth1/1", **options)


EMULATED: dict[str, Callable[..., AbstractAsyncContextManager[EmulatedRig]]] = {"eos": eos_rig, "nxos": nxos_rig}
RIGS: dict[str, Callable[[Path], AbstractAsyncContextManager[Rig]]] = {**EMULATED}
