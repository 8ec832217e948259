"""Machines boot over a network of OVN: its DHCP, our HTTP and TFTP, our CDs; each way to boot prints what it took.

One machine after the other: a start takes a core, and what is measured here is what docs/decisions/provisioning.md says.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hagane.drivers.bmc.base import BootMode
from hagane.drivers.boot import DRIVERS
from hagane.drivers.boot.base import BootNode, BootPlan
from hagane.lab import machine, netns
from hagane.lab.process import run
from tests.dataplane.bootlab import BASE, NETWORK, PARAMETERS, SAYS, BootLab, bootlab
from tests.dataplane.hostlab import nb, plug, site

pytestmark = pytest.mark.real
BIOS, UEFI = BootMode.BIOS, BootMode.UEFI


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[BootLab]:
    where = site(tmp_path, "hgprov")
    await machine.down(where)
    try:
        async with bootlab(where, await machine.up(where, kvm=False), tmp_path) as made:
            yield made
    finally:
        await machine.down(where)


def plan(name: str, mode: BootMode, media: str = "") -> BootPlan:
    return DRIVERS[name].plan(BootNode(mode, BASE, PARAMETERS, media))


async def boot(place: BootLab, name: str, mode: BootMode) -> dict[str, float]:
    times = await place.boot(plan(name, mode), mode=mode.value)
    print(f"\n{name} on {mode}:", ", ".join(f"{what} {when:.1f} s" for what, when in times.items()))
    assert "ipa-api-url=http://x" in place.cmdline()
    return times


async def test_over_the_network(place: BootLab) -> None:
    times = await boot(place, "ipxe", BIOS)
    assert list(times) == ["GET boot.ipxe", "GET kernel", "GET ramdisk", SAYS]
    assert "BOOTIF=52:54:00:77:00:01" in place.cmdline()
    # The machine's iPXE waits 13 s where nobody answers its router solicitations.
    assert times["GET boot.ipxe"] < 15

    times = await boot(place, "pxe", BIOS)
    assert list(times)[-3:] == ["TFTP kernel", "TFTP ramdisk", SAYS]
    assert "BOOTIF=01-52-54-00-77-00-01" in place.cmdline()

    times = await boot(place, "ipxe", UEFI)
    assert list(times)[-3:] == ["GET kernel", "GET ramdisk", SAYS]


async def test_by_http_and_from_a_cd(place: BootLab) -> None:
    times = await boot(place, "redfish-virtual-media", BIOS)
    assert list(times)[-1] == SAYS
    await boot(place, "redfish-virtual-media", UEFI)
    assert not any(what.startswith("TFTP") for what, _ in place.files.asked)
    await place.machine.off()
    await place.machine.eject("cd")
    times = await boot(place, "http", UEFI)
    assert "GET boot.iso" in times


async def test_connections_into_the_network(place: BootLab) -> None:
    """As to an agent, which listens on a machine that only this namespace reaches."""
    where = site(place.machine.spec.folder, "hgprov")
    await nb(place.address, "lsp-add", "prov", "agent", "--", "lsp-set-addresses", "agent",
             "02:00:00:00:20:63 172.30.20.99")  # fmt: skip
    space = await plug(where, "host1", "agent", "02:00:00:00:20:63", "172.30.20.99/24")
    server = await asyncio.create_subprocess_exec(
        *netns.inside(space, "busybox", "httpd", "-f", "-p", "9999", "-h", str(where.state))
    )
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    reader, writer = await place.driver.dial(NETWORK)("172.30.20.99", 9999)
                    break
                except OSError:
                    await asyncio.sleep(0.2)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.")
        writer.close()
        # A stranger on the same network gets nothing.
        answer = await run(*netns.inside(space, "curl", "-sS", "-m", "5", "-w", "%{http_code}", f"{BASE}/kernel"))
        assert answer == "404"
        with pytest.raises(OSError):
            await place.driver.dial(NETWORK)("172.30.20.99", 9998)
    finally:
        server.kill()
        await server.wait()
        await netns.delete(space)
