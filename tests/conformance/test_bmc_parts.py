"""What an emulated Redfish BMC shows beneath its system, as sushy reads it; and that secure boot is no mere word."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sushy

from hagane.drivers.bmc.base import BmcAccess, BmcDesired, Boot, BootDevice, BootMode, Power
from hagane.drivers.bmc.redfish import RedfishBmc
from hagane.lab.bmc import variables
from hagane.lab.bmc.machine import Machine
from hagane.lab.bmc.qemu import MachineSpec
from hagane.lab.bmc.redfish import RedfishFront, RedfishServer

pytestmark = pytest.mark.real


class Rig:
    """One machine behind one BMC."""

    def __init__(self, folder: Path) -> None:
        disk = folder / "disk"
        with disk.open("wb") as file:
            file.truncate(1 << 30)
        spec = MachineSpec("bm", str(uuid.uuid4()), folder / "bm", disks=(disk,), memory_mb=192, option_roms=False)
        self.machine = Machine(spec)
        self.front = RedfishFront(self.machine, "admin", "secret")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.front.port}"

    async def ask(self, question: Any) -> Any:
        """Call question(system, root) with sushy's."""

        def work() -> Any:
            auth = sushy.auth.BasicAuth("admin", "secret")
            root = sushy.Sushy(self.url, auth=auth)
            return question(root.get_system_collection().get_members()[0], root)

        return await asyncio.to_thread(work)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path)
    server = RedfishServer([made.front])
    await server.start()
    yield made
    await made.machine.off()
    await server.stop()


async def test_a_client_reads_processors_disks_and_firmware(rig: Rig) -> None:
    assert await rig.ask(lambda system, _: system.processors.summary.count) == 1
    assert await rig.ask(lambda system, _: system.simple_storage.max_size_bytes) == 1 << 30
    inventory = await rig.ask(lambda _, root: root.get_update_service().firmware_inventory.get_members())
    assert {one.identity for one in inventory} == {"BMC", "BIOS"}


async def test_bios_attributes_wait_for_the_next_start(rig: Rig) -> None:
    assert await rig.ask(lambda system, _: system.bios.attributes) == {
        "BootMode": "LegacyBios",
        "NetworkBoot": "Disabled",
    }
    await rig.ask(lambda system, _: system.bios.set_attributes({"BootMode": "Uefi"}))
    assert (await rig.ask(lambda system, _: system.bios.attributes))["BootMode"] == "LegacyBios"
    assert await rig.ask(lambda system, _: system.bios.pending_attributes) == {"BootMode": "Uefi"}
    with pytest.raises(sushy.exceptions.BadRequestError):
        await rig.ask(lambda system, _: system.bios.set_attributes({"Colour": "red"}))
    await rig.machine.on()
    assert await rig.ask(lambda system, _: system.bios.pending_attributes) == {}
    assert (await rig.ask(lambda system, _: system.bios.attributes))["BootMode"] == "Uefi"
    await rig.ask(lambda system, _: system.bios.reset_bios())
    await rig.machine.reset()
    assert (await rig.ask(lambda system, _: system.bios.attributes))["BootMode"] == "LegacyBios"


async def test_the_light_is_lit(rig: Rig) -> None:
    await rig.ask(lambda system, _: system.set_indicator_led(sushy.IndicatorLED.LIT))
    assert await rig.ask(lambda system, _: system.indicator_led) == sushy.IndicatorLED.LIT


async def test_secure_boot_refuses_what_is_not_signed(rig: Rig) -> None:
    with pytest.raises(sushy.exceptions.BadRequestError):
        await rig.ask(lambda system, _: system.secure_boot.set_enabled(True))
    rig.machine.set_mode("uefi")
    await rig.ask(lambda system, _: system.secure_boot.set_enabled(True))
    assert await rig.ask(lambda system, _: system.secure_boot.enabled) is True
    await rig.machine.on()
    log = rig.machine.spec.console_log
    async with asyncio.timeout(120):  # the firmware's own shell bears no signature
        while not (log.exists() and b"Security Violation" in log.read_bytes()):
            await asyncio.sleep(0.2)


async def test_a_uri_to_boot_from_reaches_the_firmware_once(rig: Rig) -> None:
    bmc = RedfishBmc(BmcAccess(rig.url, "admin", "secret"))
    uri = "http://10.0.0.1/boot.efi"
    boot = Boot(BootDevice.HTTP, uri=uri)
    seen = await bmc.apply(BmcDesired(Power.OFF, boot=boot, boot_mode=BootMode.UEFI))
    assert seen.boot == boot
    seen = await bmc.apply(BmcDesired(Power.ON))
    assert seen.boot is None
    await bmc.apply(BmcDesired(Power.OFF))
    known = variables.read(rig.machine.spec.variables)
    assert uri.encode() in known["Boot0F00"]
    await bmc.close()
