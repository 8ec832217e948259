"""A real machine on a Host of the lab: libvirt starts it, OVN gives it its address, and it outlives every daemon."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import libvirt
import pytest

from hagane.lab import guest, machine
from hagane.lab.machine import SiteAddress
from hagane.lab.process import run
from hagane.lab.site import Site
from hagane.lab.supervise import supervise
from tests.dataplane.hostlab import lab, nb, plug, reaches, site

pytestmark = [pytest.mark.real, pytest.mark.slow]
MAC, IP = "02:00:00:00:00:aa", "10.0.0.50"
PORT = "7b8a1c66-3c9b-4c39-9b53-0c7f4a2b9d10"

DOMAIN = """
<domain type='qemu'>
  <name>guest</name><memory unit='MiB'>192</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features><cpu mode='maximum'/>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>
    <interface type='bridge'><mac address='{mac}'/><source bridge='br-int'/>
      <virtualport type='openvswitch'><parameters interfaceid='{port}'/></virtualport><model type='virtio'/><rom enabled='no'/>
      <driver name='qemu'><host csum='off' gso='off' tso4='off' tso6='off' ecn='off' ufo='off' mrg_rxbuf='off'/>
        <guest csum='off' tso4='off' tso6='off' ecn='off' ufo='off'/></driver></interface>
    <serial type='pty'><log file='/var/log/libvirt/qemu/guest.console' append='on'/><target port='0'/></serial>
  </devices>
</domain>
"""


@dataclass
class Running:
    """The lab, the domain, its console's log, and the namespace on the other Host that looks at it."""

    where: Site
    address: SiteAddress
    domain: libvirt.virDomain
    console: Path
    looker: str


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    image = await asyncio.to_thread(guest.build)
    # QEMU runs as a user of its own and must be able to come here.
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    where = site(tmp_path, "hgmach", "host1", "host2")
    async with lab(where) as address:
        looker = await network(where, address)
        domain, seconds = await asyncio.to_thread(start, address, image.path)
        console = where.folder("host1").state / "libvirt/log/qemu/guest.console"
        began = time.monotonic()
        assert await reaches(looker, IP, seconds=40)
        print(f"domain started in {seconds:.2f} s, first ping {time.monotonic() - began:.2f} s later")
        yield Running(where, address, domain, console, looker)


async def network(where: Site, address: SiteAddress) -> str:
    options = 'options="server_id"="10.0.0.1" "server_mac"="02:00:00:00:00:fe" "lease_time"="3600" "mtu"="1442"'
    dhcp = (await nb(address, "create", "DHCP_Options", "cidr=10.0.0.0/24", *quoted(options))).strip()
    await nb(address, "ls-add", "net", "--", "lsp-add", "net", PORT, "--", "lsp-set-addresses", PORT, f"{MAC} {IP}")
    await nb(address, "lsp-set-dhcpv4-options", PORT, dhcp)
    await nb(address, "lsp-add", "net", "p2", "--", "lsp-set-addresses", "p2", "02:00:00:00:00:02 10.0.0.12")
    return await plug(where, "host2", "p2", "02:00:00:00:00:02", "10.0.0.12/24")


def quoted(options: str) -> list[str]:
    words = options.removeprefix("options=").split()
    return [f"options:{word.partition('=')[0].strip(chr(34))}={word.partition('=')[2]}" for word in words]


def start(address: SiteAddress, image: Path) -> tuple[libvirt.virDomain, float]:
    host = address.hosts[0]
    disk = host.pool_here / "guest.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", image, disk], check=True)
    connection = libvirt.open(host.libvirt_uri)
    connection.getCapabilities()  # the first call makes libvirt try the QEMU program; not part of the time
    began = time.monotonic()
    domain = connection.createXML(DOMAIN.format(disk=host.pool / "guest.qcow2", mac=MAC, port=PORT))
    return domain, time.monotonic() - began


async def test_a_machine_outlives_the_daemons_of_its_host(running: Running) -> None:
    events: list[str] = []
    async with watching(running, events):
        await outlive(running, events)


@asynccontextmanager
async def watching(running: Running, events: list[str]) -> AsyncIterator[None]:
    watcher = asyncio.create_task(supervise(running.where, events.append, kvm=False))
    await asyncio.sleep(0.1)
    try:
        yield
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)


async def outlive(running: Running, events: list[str]) -> None:
    qemu = await qemu_pid(running)
    for daemon in [d for d in machine.status(running.where) if d.name.startswith(("host1/", "central/"))]:
        assert daemon.pid
        began = time.monotonic()
        os.kill(daemon.pid, signal.SIGKILL)
        await back(running.where, daemon.name, daemon.pid)
        assert await reaches(running.looker, IP), daemon.name
        print(f"{daemon.name}: ping after {time.monotonic() - began:.2f} s")
    assert await qemu_pid(running) == qemu
    connection = await connect(running)
    domain = connection.lookupByName("guest")
    assert domain.isActive()
    domain.shutdown()
    async with asyncio.timeout(20):
        while connection.numOfDomains():
            await asyncio.sleep(0.1)
    assert "Linux version" in running.console.read_text(errors="replace")
    print(*events, sep="\n")


async def connect(running: Running) -> libvirt.virConnect:
    """The process is back at once; its socket answers a moment later."""
    async with asyncio.timeout(5):
        while True:
            try:
                return await asyncio.to_thread(libvirt.open, running.address.hosts[0].libvirt_uri)
            except libvirt.libvirtError:
                await asyncio.sleep(0.1)


async def back(where: Site, name: str, pid: int) -> None:
    async with asyncio.timeout(5):
        while next(d for d in machine.status(where) if d.name == name).pid in (None, pid):
            await asyncio.sleep(0.02)


async def qemu_pid(running: Running) -> str:
    inside = (await run("ip", "netns", "pids", running.where.netns("host1"))).split()
    return next(pid for pid in inside if "qemu" in Path(f"/proc/{pid}/comm").read_text())
