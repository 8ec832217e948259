"""Machines boot over a network of OVN: its DHCP, our HTTP and TFTP; each way to boot prints what it took."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hagane.drivers.bmc.base import BootMode
from hagane.drivers.boot import DRIVERS
from hagane.drivers.boot.base import BootNode, BootPlan
from hagane.lab import machine
from tests.dataplane.bootlab import BASE, PARAMETERS, SAYS, BootLab, bootlab
from tests.dataplane.hostlab import site

pytestmark = pytest.mark.real


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


async def test_ipxe_on_bios(place: BootLab) -> None:
    times = await place.boot(plan("ipxe", BootMode.BIOS))
    print("\nBIOS iPXE:", {what: round(when, 1) for what, when in times.items()})
    assert list(times) == ["GET boot.ipxe", "GET kernel", "GET ramdisk", SAYS]
    assert "BOOTIF=52:54:00:77:00:01" in place.cmdline()
