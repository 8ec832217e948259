"""Two Hosts on one machine: packets between them, the external network, and what happens when something dies."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hagane.lab import central, host, machine, netns
from hagane.lab.machine import SiteAddress
from hagane.lab.netns import inside
from hagane.lab.process import pid_of, run
from hagane.lab.site import Site
from hagane.lab.supervise import supervise
from tests.dataplane.hostlab import lab, nb, plug, reaches, site

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
    for number, name in enumerate(where.hosts, 1):
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
        spaces.append(await plug(where, name, f"p{number}", mac, f"{ip}/24"))
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


async def test_a_floating_ip_answers_in_the_machines_own_shell(two: tuple[Site, SiteAddress], tmp_path: Path) -> None:
    where, address = two
    inner, _ = await wire(where, address)
    await router(where, address)
    await netns.batch(inner, "route replace default via 10.0.0.1")
    floating = str(where.external.ipv4.ip + 49)
    assert await reaches("", floating)
    assert where.external.ipv6 is not None
    assert await reaches("", str(where.external.ipv6.ip + 15))
    # Bulk TCP, because a wrong checksum offload lets pings through.
    (tmp_path / "bulk").write_bytes(os.urandom(8 << 20))
    serve = inside(inner, sys.executable, "-I", "-c", SERVE, "10.0.0.11", str(tmp_path / "bulk"))
    server = await asyncio.to_thread(subprocess.Popen, serve)
    try:
        got = await asyncio.to_thread(fetch, floating)
    finally:
        server.kill()
        server.wait()
    assert got == (tmp_path / "bulk").read_bytes()


SERVE = """
import socket, sys
listener = socket.create_server((sys.argv[1], 80))
listener.accept()[0].sendall(open(sys.argv[2], "rb").read())
"""


def fetch(address: str) -> bytes:
    for _ in range(100):
        try:
            with socket.create_connection((address, 80), timeout=20) as connection:
                return b"".join(iter(lambda: connection.recv(1 << 16), b""))
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise AssertionError(f"{address} never answered")


async def router(where: Site, address: SiteAddress) -> None:
    """A router between the net and the external network, its gateway on the second Host, and a floating IP."""
    inner, outer = "02:00:00:00:00:fe", "02:00:00:00:ee:01"
    v6 = f"{where.external.ipv6.ip + 15}/64" if where.external.ipv6 else ""
    await nb(address, "lr-add", "r", "--", "lrp-add", "r", "r-net", inner, "10.0.0.1/24")
    await nb(address, "lrp-add", "r", "r-ext", outer, f"{where.external.ipv4.ip + 9}/24", v6)
    await nb(address, "lrp-set-gateway-chassis", "r-ext", "host2", "10")
    for switch, port in (("net", "r-net"), ("ext", "r-ext")):
        plug = f"to-{port}"
        await nb(address, "--may-exist", "ls-add", switch, "--", "lsp-add", switch, plug)
        await nb(address, "lsp-set-type", plug, "router", "--", "lsp-set-addresses", plug, "router")
        await nb(address, "lsp-set-options", plug, f"router-port={port}")
    await nb(address, "lsp-add", "ext", "ln", "--", "lsp-set-type", "ln", "localnet")
    await nb(address, "lsp-set-addresses", "ln", "unknown", "--", "lsp-set-options", "ln", "network_name=ext")
    await nb(address, "lr-nat-add", "r", "dnat_and_snat", str(where.external.ipv4.ip + 49), "10.0.0.11")


async def test_down_leaves_nothing_and_spares_strangers(tmp_path: Path) -> None:
    where = site(tmp_path / "state", "hggone", "host1")
    await machine.up(where, kvm=False)
    # A pid file that names a stranger, a daemon gone, its pid file gone, a namespace gone.
    stranger = await asyncio.to_thread(subprocess.Popen, ["sleep", "60"])
    try:
        controller, libvirtd = (host.daemons(where, "host1", kvm=False)[i] for i in (2, 4))
        for daemon in (controller, libvirtd):
            os.kill(pid_of(daemon) or 0, signal.SIGKILL)
        controller.pid_file.write_text(str(stranger.pid))
        central.daemons(where)[0].pid_file.unlink()
        await netns.remove_link("", where.external_link)
        await machine.down(where)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    assert not netns.named("hgdown-")
    assert not where.state.exists() and not where.run.exists()
    assert not [d for d in machine.status(where) if d.running]
    assert not [name for name in await netns.links("") if name.startswith("hggone")]
    await machine.down(where)


async def test_up_after_the_machine_was_rebooted(tmp_path: Path) -> None:
    """A reboot leaves files, even pid files and names of namespaces where /run is no tmpfs, and nothing alive."""
    where = site(tmp_path, "hgboot", "host1")
    async with lab(where) as address:
        await nb(address, "ls-add", "kept")
        for daemon in machine.status(where):
            os.kill(daemon.pid or 0, signal.SIGKILL)
        for name in netns.named("hgboot-"):
            await netns.delete(name)
            (netns.FOLDER / name).touch()
        again = await machine.up(where, kvm=False)
        assert "kept" in await nb(again, "ls-list")
        assert all(daemon.running for daemon in machine.status(where))
        # Nothing of the past is left in the switch: its ports are gone with the namespace.
        assert (await run("ovs-vsctl", f"--db={again.hosts[0].ovs_db}", "list-br")).split() == [
            "br-ex",
            "br-int",
            "br-phy",
        ]


async def test_down_in_another_process_ends_the_supervisor(tmp_path: Path) -> None:
    where = site(tmp_path, "hgsup", "host1")
    async with lab(where):
        events: list[str] = []
        watcher = asyncio.create_task(supervise(where, events.append, kvm=False))
        await asyncio.sleep(0.1)
        await machine.down(where)
        await asyncio.wait_for(watcher, 5)
        assert not any(daemon.running for daemon in machine.status(where))
