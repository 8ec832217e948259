"""An emulated switch's memory: running and startup configuration, what pends, and the faults that are switched on.

pending ──commit──▶ running ──copy──▶ startup ──reboot──▶ running
"""

import asyncio
from abc import ABC, abstractmethod
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Generic, TypeVar

C = TypeVar("C")

EVERY_VLAN = frozenset(range(1, 4095))


@dataclass(slots=True)
class Face:
    """One port or port-channel as its configuration says."""

    mode: str = "access"
    access: int = 1
    native: int = 1
    native_tag: bool = False  # untagged frames of the trunk go nowhere
    allowed: frozenset[int] = EVERY_VLAN
    shutdown: bool = False
    routed: bool = False
    mtu: int = 0  # 0: as delivered
    channel: str = ""  # the number of its port-channel
    channel_mode: str = ""
    fallback: str = ""
    description: str = ""

    def vlans(self) -> tuple[int | None, frozenset[int]]:
        """What the port does: the VLAN of untagged frames, and the tagged ones."""
        if self.routed:
            return None, frozenset()
        if self.mode == "access":
            return self.access, frozenset()
        native = None if self.native_tag or self.native not in self.allowed else self.native
        return native, self.allowed - {native}


@dataclass(slots=True)
class Config:
    ports: dict[str, Face]
    groups: dict[str, Face] = field(default_factory=dict)
    vlans: dict[int, str] = field(default_factory=lambda: {1: "default"})

    def face(self, name: str) -> Face | None:
        return self.ports.get(name) or self.groups.get(name)


@dataclass(slots=True)
class Faults:
    """What is wrong with this switch. Change it at any time."""

    password: bool = False  # refuses every password
    slow: float = 0.0  # seconds before each answer
    silent: bool = False  # takes what one says, and says nothing
    hang: bool = False  # never ends a commit, and has not done it
    drop_after: int | None = None  # hangs up after so many more lines
    refuse: frozenset[str] = frozenset()  # ports whose VLANs it refuses to set
    ignore: frozenset[str] = frozenset()  # ports whose settings it takes and forgets
    locked: str = ""  # who holds the configuration


class HangUp(Exception):
    """The switch ends the connection here."""


class Memory(ABC, Generic[C]):
    """One switch; C is how it keeps a configuration. `commits`: how many changed the running one; `commit_seconds`:
    what one takes."""

    def __init__(self, name: str, running: C, *, mac: str, model: str) -> None:
        self.name, self.mac, self.model = name, mac, model
        self.running = running
        self.startup = deepcopy(running)
        self.faults = Faults()
        self.commits = 0
        self.commit_seconds = 0.0
        self.up: set[str] = set()
        self.users = {"admin": "secret"}

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """All ports."""

    @abstractmethod
    def port(self, name: str) -> str:
        """All that the running configuration says of a port."""

    @abstractmethod
    def hand(self, name: str, native: int, tagged: frozenset[int] = frozenset()) -> None:
        """Somebody sets a port by hand."""

    @abstractmethod
    def made(self) -> set[int]:
        """The VLANs that there are, without VLAN 1."""

    @abstractmethod
    def forget(self, wanted: C, name: str) -> None:
        """Put a port in `wanted` back to what it is now."""

    @abstractmethod
    def same(self, one: C, other: C) -> bool: ...

    async def line(self) -> None:
        """Called for each line or message that comes in: what the faults do to it."""
        faults = self.faults
        if faults.slow:
            await asyncio.sleep(faults.slow)
        if faults.silent:
            await asyncio.Event().wait()
        if faults.drop_after is not None:
            faults.drop_after -= 1
            if faults.drop_after < 0:
                raise HangUp

    async def commit(self, wanted: C) -> None:
        """Make this the running configuration, with the time that it takes."""
        if self.faults.hang:
            await asyncio.Event().wait()
        wanted = deepcopy(wanted)
        for name in self.faults.ignore:
            self.forget(wanted, name)
        if not self.same(wanted, self.running):
            await asyncio.sleep(self.commit_seconds)
            self.commits, self.running = self.commits + 1, wanted

    def copy(self) -> None:
        self.startup = deepcopy(self.running)

    def reboot(self) -> None:
        """What was not saved is lost."""
        self.running = deepcopy(self.startup)


class Box(Memory[Config]):
    """A switch with a command line. `enable`: the password that raises the privilege, "": there is no need to."""

    enable = ""
    banner = ""

    def __init__(self, name: str, ports: tuple[str, ...], *, mac: str, model: str) -> None:
        super().__init__(name, Config({port: Face() for port in ports}), mac=mac, model=model)

    def names(self) -> tuple[str, ...]:
        return tuple(self.running.ports)

    def port(self, name: str) -> str:
        return repr(self.running.ports[name])

    def hand(self, name: str, native: int, tagged: frozenset[int] = frozenset()) -> None:
        face = self.running.ports[name]
        face.mode = "trunk" if tagged else "access"
        face.access = face.native = native
        face.allowed = tagged | {native}
        for vlan in face.allowed - set(self.running.vlans):
            self.running.vlans[vlan] = ""

    def made(self) -> set[int]:
        return set(self.running.vlans) - {1}

    def forget(self, wanted: Config, name: str) -> None:
        wanted.ports[name] = deepcopy(self.running.ports[name])

    def same(self, one: Config, other: Config) -> bool:
        return one == other
