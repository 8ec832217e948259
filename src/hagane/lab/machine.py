"""The real devices of this machine, all together: what `hagane up`, `hagane status` and `hagane down` call.

    up(site)         fabric, OVN's centre and every Host; whatever already runs is found and left alone
    status(site)     each daemon: running, pid, since, restarts
    down(site)       everything gone, also when half of it was gone before

One file lock keeps two calls on the same lab from running into each other.
"""

import asyncio
import fcntl
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from hagane.lab import central, fabric, host, libvirtd, netns
from hagane.lab.central import CentralAddress
from hagane.lab.host import HostAddress
from hagane.lab.process import Daemon, DaemonSeen, seen, stop, together
from hagane.lab.site import Site

LOCK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class SiteAddress:
    """Where everything of one lab answers."""

    central: CentralAddress
    hosts: tuple[HostAddress, ...]
    external_link: str


def daemons(site: Site) -> tuple[Daemon, ...]:
    """Every daemon of the lab."""
    return (*central.daemons(site), *(d for name in site.hosts for d in host.daemons(site, name, kvm=False)))


async def up(site: Site, *, kvm: bool) -> SiteAddress:
    """Bring everything up; repeatable. Errors: Unavailable, DeviceFailed, with the remedy in words."""
    async with locked(site):
        _mark(site).parent.mkdir(parents=True, exist_ok=True)
        _mark(site).touch()
        await fabric.up(site)
        await libvirtd.ensure_user(kvm=kvm)
        middle = await central.up(site)
        hosts = await together(*(host.up(site, name, kvm=kvm) for name in site.hosts))
        return SiteAddress(middle, tuple(hosts), site.external_link)


def wanted(site: Site) -> bool:
    """Whether the lab was brought up and not taken down since."""
    return _mark(site).exists()


def _mark(site: Site) -> Path:
    return site.run_folder / "up"


def status(site: Site) -> list[DaemonSeen]:
    """Every daemon as it is now."""
    return [seen(daemon) for daemon in daemons(site)]


async def down(site: Site, *, keep_data: bool = False) -> None:
    """Stop and remove everything; with `keep_data` databases and disks stay."""
    _mark(site).unlink(missing_ok=True)
    async with locked(site):
        await together(*(host.down(site, name) for name in site.hosts))
        for daemon in reversed(central.daemons(site)):
            await stop(daemon)
        await netns.remove_link("", site.external_link)
        # Every namespace of ours, also those of Hosts that the configuration no longer names.
        await together(*(netns.delete(name) for name in netns.named(f"{site.prefix}-")))
        await asyncio.to_thread(_sweep, site, keep_data=keep_data)


def _sweep(site: Site, *, keep_data: bool) -> None:
    for folder in (site.run_folder,) if keep_data else (site.run_folder, site.state_folder):
        shutil.rmtree(folder, ignore_errors=True)
    # libvirt's run folder may have been made only as a place to mount ours on.
    for folder in (Path("/run/libvirt"), site.run, site.state):
        _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return


@asynccontextmanager
async def locked(site: Site) -> AsyncIterator[None]:
    """Hold the lab's lock; wait for whoever has it. It ends with the process at the latest."""
    path = Path(f"/run/lock/{site.prefix}-lab.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Asked again and again, not waited for in a thread: that thread could not be called off.
        while not _take(lock):  # noqa: ASYNC110 - the one who unlocks is another process
            await asyncio.sleep(LOCK_SECONDS)
        yield
    finally:
        os.close(lock)


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
