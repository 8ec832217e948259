"""Keep the lab's daemons alive: whoever dies is started again, and what died with it is put right.

    watching ──a daemon dies──▶ repairing (the part's whole `up`, which is repeatable) ──▶ watching
       ▲                            │ fails, or dies again at once
       └──────── back-off ◀─────────┘ (0.2 s, doubling up to 10 s)

Deaths are seen at once through pidfds, nothing is polled. `down`, from whichever process, takes the lab's mark away
first: then the supervisor ends instead of bringing everything back.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hagane.errors import HaganeError
from hagane.lab import central, host, machine, rack, rack_place, rack_trouble
from hagane.lab.process import Daemon, count_restart, gone, pid_of
from hagane.lab.site import Site
from hagane.lab.supervise_part import Part

Report = Callable[[str], None]
SHORTEST, LONGEST = 0.2, 10.0
STABLE_SECONDS = 10.0
RACK_SECONDS = 0.5


async def supervise(site: Site, report: Report, *, kvm: bool) -> None:
    """Watch until cancelled, or until the lab is taken down. `report` is told every event in words."""
    parts = [Part("central", central.daemons(site), lambda: central.up(site))]
    parts += [_host(site, name, kvm=kvm) for name in site.hosts]
    await asyncio.gather(*(_keep(site, part, report) for part in parts), _racks(site, report, kvm=kvm))


async def _racks(site: Site, report: Report, *, kvm: bool) -> None:
    """Watch the rack whenever there is one. It comes and goes, and parts of it are broken on purpose: that is looked
    for here, in two small files, for whoever does it is another process."""
    while machine.wanted(site):
        wanted = rack_place.current(site)
        before = rack_trouble.stamp(wanted) if wanted is not None else None
        parts = rack.parts(wanted, kvm=kvm) if wanted is not None else []
        watches = [asyncio.create_task(_keep(site, part, report)) for part in parts]
        try:
            while rack_place.current(site) == wanted and (wanted is None or rack_trouble.stamp(wanted) == before):
                await asyncio.sleep(RACK_SECONDS)
                if wanted is None and not machine.wanted(site):
                    return
        finally:
            await _end(site, watches)


async def _end(site: Site, watches: Sequence[asyncio.Task[None]]) -> None:
    """Under the lock, so that no repair is broken off in the middle."""
    if watches:
        async with machine.locked(site):
            for watch in watches:
                watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)


def _host(site: Site, name: str, *, kvm: bool) -> Part:
    return Part(name, host.daemons(site, name, kvm=kvm), lambda: host.up(site, name, kvm=kvm))


async def _keep(site: Site, part: Part, report: Report) -> None:
    patience = Patience()
    while True:
        dead = await _death(part)
        await asyncio.sleep(patience.after([daemon.name for daemon in dead]))
        if not await _repair(site, part, dead, report):
            return


@dataclass(slots=True)
class Patience:
    """How long to wait before starting what died: not at all, unless the same daemon keeps dying."""

    last: dict[str, float] = field(default_factory=dict)
    delay: dict[str, float] = field(default_factory=dict)

    def after(self, names: Sequence[str]) -> float:
        """Seconds to wait; call once for each round of deaths."""
        now = time.monotonic()
        for name in names:
            again = now - self.last.get(name, -STABLE_SECONDS) < STABLE_SECONDS + self.delay.get(name, 0.0)
            self.delay[name] = min(max(SHORTEST, self.delay.get(name, 0.0) * 2), LONGEST) if again else 0.0
            self.last[name] = now
        return max((self.delay[name] for name in names), default=SHORTEST)


async def _death(part: Part) -> list[Daemon]:
    """Wait until at least one daemon of the part does not run; return those."""
    pids = {daemon.name: pid_of(daemon) for daemon in part.daemons}
    watches = [asyncio.create_task(_ended(pid)) for pid in pids.values() if pid is not None]
    try:
        if len(watches) == len(part.daemons):
            await asyncio.wait(watches, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
    return [daemon for daemon in part.daemons if pid_of(daemon) is None]


async def _ended(pid: int) -> None:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await gone(fd, timeout=None)
    finally:
        os.close(fd)


async def _repair(site: Site, part: Part, dead: Sequence[Daemon], report: Report) -> bool:
    """Bring the part up again; False if the lab is no longer wanted."""
    began = time.monotonic()
    async with machine.locked(site):
        if not machine.wanted(site):
            return False
        dead = [daemon for daemon in dead if pid_of(daemon) is None]
        if not dead or not part.wanted():
            return True  # somebody else was faster, or meant it
        report(f"{', '.join(daemon.name for daemon in dead)} died; starting again.")
        try:
            await part.repair()
        except HaganeError as error:
            report(f"{part.name} could not be repaired: {error.message}")
            return True
    for daemon in dead:
        count_restart(daemon)
    report(f"{part.name} is whole again after {time.monotonic() - began:.2f} s.")
    return True
