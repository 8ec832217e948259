"""A simulated switch: it keeps what it was told, and fails when told to. For `--sim`, scenarios and benchmarks."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import replace

from hagane.drivers.switch.base import SwitchAccess, SwitchDesired, SwitchGroup, SwitchPort, SwitchSeen
from hagane.drivers.switch.plan import plan, vlan_name, whole, without
from hagane.errors import DeviceFailed, HaganeError, Unavailable

CHASSIS_ID = "52:54:00:5f:00:01"


class SimSwitch:
    """Knobs: `delay` (seconds of one exchange), `dead` (it does not answer), `fault` (what the next exchange raises),
    `lost` (the next commit is done, and its answer does not come), `ignored` (ports of which it takes settings and
    forgets them), `dark` (ports without a carrier). Option `ports`: which it has, separated by spaces; without it, any
    that is asked for."""

    def __init__(self, access: SwitchAccess) -> None:
        options = access.options
        self.delay = float(options.get("delay") or 0.0)
        self.dead = False
        self.lost = False
        self.fault: HaganeError | None = None
        self.ignored: frozenset[str] = frozenset()
        self.dark: frozenset[str] = frozenset()
        self.commits = 0
        self.calls = 0
        self.at_once = 0  # exchanges under way; more than one would be our fault
        self.most_at_once = 0
        known = options.get("ports")
        self.ports: dict[str, SwitchPort] = {name: SwitchPort(native=1) for name in (known or "").split()}
        self.groups: dict[str, SwitchGroup] = {}
        self.vlans: dict[int, str] = {1: "default"}
        self._any = known is None
        self._chassis_id = options.get("chassis_id", CHASSIS_ID)
        self._changed: list[Callable[[], None]] = []

    async def read(self, ports: Collection[str] | None = None) -> SwitchSeen:
        await self._exchange()
        return self._seen(ports, 0)

    async def apply(self, desired: SwitchDesired) -> SwitchSeen:
        await self._exchange()
        if self._any:
            self.ports |= {name: SwitchPort(native=1) for name in desired.ports if name not in self.ports}
        lacking = {name: "there is no such port" for name in desired.ports if name not in self.ports}
        commits = self._commit(without(desired, frozenset(lacking)))
        if self.lost and commits:
            self.lost = False
            raise Unavailable("The switch does not answer any more.")
        if lacking:
            raise DeviceFailed(f"The switch has no port {', '.join(map(repr, lacking))}.", ports=lacking)
        return self._seen(desired.ports, commits)

    def _commit(self, desired: SwitchDesired) -> int:
        lacks = plan(desired, self._seen(None, 0))
        if not lacks:
            return 0
        self.commits += 1
        wanted = whole(desired)
        self.vlans |= {vlan: vlan_name(vlan) for vlan in lacks.make}
        self.groups |= lacks.groups
        for name in lacks.ports.keys() - self.ignored:
            port = wanted.ports[name]
            self.ports[name] = replace(port, mtu=self.ports[name].mtu if port.mtu is None else port.mtu)
        for group in lacks.drop_groups:
            del self.groups[group]
        for vlan in lacks.drop:
            del self.vlans[vlan]
        return 1

    def watch(self, changed: Callable[[], None]) -> bool:
        self._changed.append(changed)
        return True

    async def close(self) -> None:
        return

    def meddle(self, name: str, port: SwitchPort) -> None:
        """Somebody else changes a port."""
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

    def _seen(self, ports: Collection[str] | None, commits: int) -> SwitchSeen:
        if ports is not None and self._any:
            self.ports |= {name: SwitchPort(native=1) for name in ports if name not in self.ports}
        names = self.ports if ports is None else [name for name in ports if name in self.ports]
        found = {name: self.ports[name] for name in names}
        up = found.keys() - self.dark
        return SwitchSeen(found, dict(self.groups), self._chassis_id, "sim", frozenset(up), commits, dict(self.vlans),
                          frozenset(self.groups))  # fmt: skip
