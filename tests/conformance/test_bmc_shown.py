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


async def test_bios_settings_are_applied_by_the_next_start(rig: Rig) -> None:
    bmc = RedfishBmc(BmcAccess(rig.url, "admin", "secret"))
    try:
        with pytest.raises(DeviceFailed, match="has no BIOS setting Colour"):
            await bmc.set_bios({"Colour": "red"})
        with pytest.raises(DeviceFailed, match="the BMC refuses"):
            await bmc.set_bios({"NetworkBoot": "Perhaps"})
        await bmc.set_bios({"BootMode": "Uefi"})
        assert (await bmc.parts()).bios["BootMode"] == "LegacyBios"
        rig.machine._apply_pending()  # what a start does first
        assert (await bmc.parts()).bios["BootMode"] == "Uefi"
        await bmc.set_bios(None)
        rig.machine._apply_pending()
        assert (await bmc.parts()).bios["BootMode"] == "LegacyBios"
    finally:
        await bmc.close()
