"""Two Hosts on one machine: packets between them, the external network, and what happens when something dies."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hostlab import lab, nb, plug, reaches, site

from hagane.lab import machine
from hagane.lab.machine import SiteAddress
from hagane.lab.site import Site
from hagane.lab.supervise import supervise

pytestmark = pytest.mark.real


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[Site, SiteAddress]]:
    where = site(tmp_path, "hgtest", "host1", "host2")
    async with lab(where) as address:
        yield where, address


async def wire(where: Site, address: SiteAddress) -> tuple[str, str]:
    """A logical switch with one Port on each Host."""
    await nb(address, "--may-exist", "ls-add", "net")
    spaces = []
    for number, host in enumerate(where.hosts, 1):
        mac, ip = f"02:00:00:00:00:0{number}", f"10.0.0.1{number}"
        await nb(
            address,
            "--may-exist",
            "lsp-add",
            "net",
            f"p{number}",
            "--",
            "lsp-set-addresses",
            f"p{number}",
            f"{mac} {ip}",
        )
        spaces.append(await plug(where, host, f"p{number}", mac, f"{ip}/24"))
    return spaces[0], spaces[1]


async def test_packets_travel_between_hosts_and_a_second_up_changes_nothing(two: tuple[Site, SiteAddress]) -> None:
    where, address = two
    one, _ = await wire(where, address)
    assert await reaches(one, "10.0.0.12")
    before = [(d.name, d.pid) for d in machine.status(where)]
    assert await machine.up(where, kvm=False) == address
    assert [(d.name, d.pid) for d in machine.status(where)] == before
    assert all(pid for _, pid in before)


async def test_every_daemon_comes_back_after_kill_9(two: tuple[Site, SiteAddress]) -> None:
    where, address = two
    one, _ = await wire(where, address)
    assert await reaches(one, "10.0.0.12")
    events: list[str] = []
    watcher = asyncio.create_task(supervise(where, events.append, kvm=False))
    await asyncio.sleep(0.1)
    slow = {}
    for daemon in machine.status(where):
        assert daemon.pid
        began = time.monotonic()
        os.kill(daemon.pid, signal.SIGKILL)
        while (now := next(d for d in machine.status(where) if d.name == daemon.name)).pid in (None, daemon.pid):
            assert time.monotonic() - began < 3, (daemon.name, events)
            await asyncio.sleep(0.02)
        assert await reaches(one, "10.0.0.12", seconds=5), daemon.name
        slow[daemon.name] = round(time.monotonic() - began, 2)
        assert now.restarts >= 1 or await _counted(where, daemon.name)
    watcher.cancel()
    print(slow, *events, sep="\n")
    assert max(slow.values()) < 4


async def _counted(where: Site, name: str) -> bool:
    for _ in range(100):
        if next(d for d in machine.status(where) if d.name == name).restarts:
            return True
        await asyncio.sleep(0.02)
    return False
