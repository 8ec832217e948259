"""Secure boot, the light, BIOS attributes and firmware of an emulated Redfish BMC, as the driver reads and sets them."""

import asyncio

import pytest

from hagane.drivers.bmc.base import LIGHT, BmcAccess, Parts
from hagane.drivers.bmc.redfish import RedfishBmc
from hagane.errors import DeviceFailed
from tests.conformance.test_bmc_parts import Rig, rig

__all__ = ["rig"]
pytestmark = pytest.mark.real


async def test_what_is_shown_can_be_set(rig: Rig) -> None:
    bmc = RedfishBmc(BmcAccess(rig.url, "admin", "secret"))
    try:
        shown = await bmc.parts()
        assert shown.bios == {"BootMode": "LegacyBios", "NetworkBoot": "Disabled"}
        assert set(shown.firmware) == {"BMC", "BIOS"}
        assert (shown.secure_boot, shown.indicators) == (False, {LIGHT: "off"})
        rig.machine.set_mode("uefi")
        await bmc.set_secure_boot(on=True)
        await bmc.set_indicator(LIGHT, "blinking")
        after: Parts = await bmc.parts()
        assert (after.secure_boot, after.indicators) == (True, {LIGHT: "blinking"})
        with pytest.raises(DeviceFailed):
            await bmc.set_indicator("led@chassis", "on")
    finally:
        await bmc.close()
        await asyncio.sleep(0)
