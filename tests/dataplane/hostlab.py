"""A lab of the tests' own, and machines that are only a namespace and a veth: cheap Ports that send real packets."""

import asyncio
import contextlib
import os
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface
from pathlib import Path

from hagane.lab import machine, netns
from hagane.lab.machine import SiteAddress
from hagane.lab.netns import End, inside
from hagane.lab.process import run
from hagane.lab.site import External, Site


def site(folder: Path, prefix: str, *hosts: str) -> Site:
    """A lab that disturbs no other on this machine: its external network is a piece of RFC 2544's test range."""
    number = zlib.crc32(prefix.encode()) % 250 + 1
    external = External(
        ipv4=IPv4Interface(f"198.19.{number}.1/24"), ipv6=IPv6Interface(f"2001:db8:beef:{number:x}::1/64")
    )
    underlay = IPv4Network("172.30.9.0/24")
    return Site(prefix, folder, Path(f"/run/{prefix}"), hosts or ("host1",), external, underlay)


@asynccontextmanager
async def lab(where: Site) -> AsyncIterator[SiteAddress]:
    """The lab, up inside the block and gone after it."""
    await machine.down(where)
    try:
        yield await machine.up(where, kvm=False)
    finally:
        await machine.down(where)


async def nb(address: SiteAddress, *words: str) -> str:
    return await run("ovn-nbctl", f"--db={address.central.nb}", "--timeout=15", *words)


async def plug(where: Site, host: str, port: str, mac: str, ip: str) -> str:
    """A namespace that owns the Port; returns its name."""
    space = f"{where.prefix}-vm-{port}"
    await netns.create(space)
    await netns.cable(End(where.netns(host), f"v-{port}"), End(space, "eth0"), mtu=1442)
    await netns.batch(space, f"link set eth0 address {mac}", f"address replace {ip} dev eth0")
    db = f"--db=unix:{where.folder(host).run}/ovs/db.sock"
    iface = ("--", "set", "Interface", f"v-{port}", f"external-ids:iface-id={port}")
    await run("ovs-vsctl", db, "--may-exist", "add-port", "br-int", f"v-{port}", *iface)
    return space


async def reaches(space: str, ip: str, *, seconds: float = 10.0) -> bool:
    """Whether a ping is answered before the time is up."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                ping = await asyncio.create_subprocess_exec(
                    *inside(space, "ping", "-c1", "-W1", ip), stdout=asyncio.subprocess.DEVNULL
                )
                if await ping.wait() == 0:
                    return True
                await asyncio.sleep(0.05)
    return False


def root_only() -> bool:
    return os.geteuid() == 0
