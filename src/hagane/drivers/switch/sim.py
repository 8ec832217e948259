"""A simulated switch: it keeps what it was told, and fails when told to. For `--sim`, scenarios and benchmarks."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import replace

from hagane.drivers.switch.base import SwitchAccess, SwitchDesired, SwitchGroup, SwitchPort, SwitchSeen
from hagane.errors import HaganeError, Unavailable

CHASSIS_ID = "52:54:00:5f:00:01"


class SimSwitch:
    """Knobs: `delay` (seconds of one exchange), `dead` (it does not answer), `fault` (what the next exchange raises),
    `lost` (the next commit is done, and its answer does not come)."""

    def __init__(self, access: SwitchAccess, *, ports: Collection[str] | None = None) -> None:
        options = access.options
        self.delay = float(options.get("delay") or 0.0)
        self.dead = False
        self.lost = False
        self.fault: HaganeError | None = None
        self.commits = 0
        self.calls = 0
        self.at_once = 0  # exchanges under way; more than one would be our fault
        self.most_at_once = 0
        self.ports: dict[str, SwitchPort] = {}
        self.groups: dict[str, SwitchGroup] = {}
        self._chassis_id = options.get("chassis_id", CHASSIS_ID)
        self._known = None if ports is None else frozenset(ports)
        self._changed: list[Callable[[], None]] = []

    async def read(self, ports: Collection[str] | None = None) -> SwitchSeen:
        await self._exchange()
        return self._seen(ports, 0)

    async def apply(self, desired: SwitchDesired) -> SwitchSeen:
        await self._exchange()
        wanted = {name: port for name, port in desired.ports.items() if self._has(name)}
        groups = dict(desired.groups)
        gone = {name for name in self.groups if name not in groups and self._only_ours(name, desired)}
        differs = any(self.ports.get(name) != port for name, port in wanted.items())
        if differs or gone or any(self.groups.get(name) != group for name, group in groups.items()):
            self.commits += 1
            self.ports |= {name: replace(port, mtu=port.mtu) for name, port in wanted.items()}
            self.groups = {name: group for name, group in (self.groups | groups).items() if name not in gone}
            if self.lost:
                self.lost = False
                raise Unavailable("The switch does not answer any more.")
            return self._seen(desired.ports, 1)
        return self._seen(desired.ports, 0)

    def watch(self, changed: Callable[[], None]) -> bool:
        self._changed.append(changed)
        return True

    async def close(self) -> None:
        return

    def meddle(self, name: str, port: SwitchPort | None) -> None:
        """Somebody else changes a port, or (None) wipes it."""
        if port is None:
            self.ports.pop(name, None)
        else:
            self.ports[name] = port
        for tell in self._changed:
            tell()

    async def _exchange(self) -> None:
        self.calls += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.delay:
                await asyncio.sleep(self.delay)
            if self.dead:
                raise Unavailable("The switch does not answer.")
            fault, self.fault = self.fault, None
            if fault is not None:
                raise fault
        finally:
            self.at_once -= 1

    def _has(self, name: str) -> bool:
        return self._known is None or name in self._known

    def _only_ours(self, group: str, desired: SwitchDesired) -> bool:
        """A group goes when the last of its members has left it."""
        after = {name: desired.ports.get(name, port) for name, port in self.ports.items()}
        return not any(port.group == group for port in after.values())

    def _seen(self, ports: Collection[str] | None, commits: int) -> SwitchSeen:
        names = self.ports if ports is None else [name for name in ports if name in self.ports]
        found = {name: self.ports[name] for name in names}
        return SwitchSeen(found, dict(self.groups), self._chassis_id, "sim", frozenset(found), commits)
