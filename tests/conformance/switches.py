"""The switches that the switch suite runs against. A driver joins by an entry in RIGS: its name, and what makes a rig.

A rig offers a driver and the few handles that a driver does not: ports that are ours and one that is not, another
hand that changes a port, and what the switch has.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from hagane.drivers.switch import make
from hagane.drivers.switch.base import Switch, SwitchAccess
from hagane.lab.switch import eos, netconf, nxos, sonic
from hagane.lab.switch.box import Faults, Memory
from hagane.lab.switch.server import SwitchServer
from tests.conformance.switches_own import OWN


class Rig(Protocol):
    """One switch under test."""

    driver: Switch
    ports: tuple[str, ...]  # four that are ours
    short: str  # the first of them as its users abbreviate it; the same where there is no such custom
    group: str  # a name that a group may have; "" where there are none
    foreign: str  # a port that is not ours, with VLANs of its own
    mtu: bool  # whether a port has an MTU of its own
    vlans: bool  # whether the switch wants VLANs made
    static: bool  # whether a group may be without LACP

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

    mtu = vlans = static = True
    words = ""  # a part of what it says when it refuses a port

    def __init__(self, server: SwitchServer, driver: Switch, group: str, short: str, access: SwitchAccess) -> None:
        self.access = access
        self.server, self.driver, self.box = server, driver, server.box
        names = server.box.names()
        self.ports, self.foreign, self.group, self.short = names[:4], names[5], group, short

    @property
    def faults(self) -> Faults:
        return self.box.faults

    async def other_hand(self, port: str, vlan: int) -> None:
        self.box.hand(port, vlan)

    async def foreign_state(self) -> object:
        return self.box.port(self.foreign)

    async def made_vlans(self) -> set[int]:
        return self.box.made()

    async def commits(self) -> int:
        return self.box.commits

    async def restart(self) -> None:
        self.server.reboot()


def furnish(box: Memory[Any]) -> None:
    """A port that is not ours, with VLANs that are not ours, and one carrier."""
    names = box.names()
    box.hand(names[5], 77, frozenset({88, 1999}))
    box.hand(names[6], 1)
    box.up = {names[0]}
    box.copy()


@asynccontextmanager
async def emulated(
    family: str, server: SwitchServer, group: str, short: str, words: str, **options: str
) -> AsyncIterator[EmulatedRig]:
    furnish(server.box)
    await server.start()
    options = {"host_key": server.fingerprint, **options}
    access = SwitchAccess("127.0.0.1", server.port, "admin", "secret", timeout=10.0, options=options)
    driver = make(family, access)
    try:
        rig = EmulatedRig(server, driver, group, short, access)
        rig.words, rig.static = words, family != "sonic"
        yield rig
    finally:
        await driver.close()
        await server.stop()


def eos_rig(_folder: Path | None = None, **options: str) -> AbstractAsyncContextManager[EmulatedRig]:
    return emulated("eos", eos.serve(eos.make()), "Port-Channel5", "Et1", "is reserved", **options)


def nxos_rig(_folder: Path | None = None, **options: str) -> AbstractAsyncContextManager[EmulatedRig]:
    return emulated("nxos", nxos.serve(nxos.make()), "port-channel5", "Eth1/1", "port capability", **options)


def sonic_rig(_folder: Path | None = None, **options: str) -> AbstractAsyncContextManager[EmulatedRig]:
    return emulated("sonic", sonic.serve(sonic.make()), "PortChannel0005", "etp1", "SAI_STATUS", **options)


def netconf_rig(_folder: Path | None = None, **options: str) -> AbstractAsyncContextManager[EmulatedRig]:
    return emulated("netconf", netconf.serve(netconf.make()), "Port-Channel5", "Ethernet1", "not supported", **options)


def running_rig(_folder: Path | None = None, **options: str) -> AbstractAsyncContextManager[EmulatedRig]:
    """A NETCONF switch of the first version, without a candidate and without chunks."""
    server = netconf.serve(netconf.make(), candidate=False)
    return emulated("netconf", server, "Port-Channel5", "Ethernet1", "not supported", **options)


EMULATED: dict[str, Callable[..., AbstractAsyncContextManager[EmulatedRig]]] = {
    "eos": eos_rig,
    "netconf": netconf_rig,
    "netconf-running": running_rig,
    "nxos": nxos_rig,
    "sonic": sonic_rig,
}
RIGS: dict[str, Callable[[Path], AbstractAsyncContextManager[Rig]]] = {**EMULATED, **OWN}
