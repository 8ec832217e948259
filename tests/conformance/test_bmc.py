"""What every BMC driver must do. The cases are data; each runs against the simulated and the emulated BMCs."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from hagane.drivers.bmc import plan as step
from hagane.drivers.bmc.base import BmcAccess, BmcDesired, BmcSeen, Boot, BootDevice, BootMode, Power, Slot
from hagane.drivers.bmc.sim import SimBmc
from hagane.errors import DeviceFailed, HaganeError, Unavailable
from tests.conformance.bmcs import Rig, ipmi_rig, redfish_rig, sim_rig

ON, OFF = Power.ON, Power.OFF
PXE, DISK = Boot(BootDevice.PXE), Boot(BootDevice.DISK, persistent=True)


RIGS = {"sim": sim_rig, "redfish": redfish_rig, "ipmi": ipmi_rig}


@pytest.fixture(params=["sim", *(pytest.param(name, marks=pytest.mark.real) for name in ("redfish", "ipmi"))])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    async with RIGS[request.param](tmp_path) as one:
        yield one


@dataclass(frozen=True)
class Case:
    """From one desired state to the next; what then is seen, and whether the machine was started anew."""

    first: BmcDesired
    then: BmcDesired
    expect: dict[str, Any]
    started: bool


CASES = {
    "on": Case(BmcDesired(), BmcDesired(power=ON), {"power": ON}, True),
    "on twice": Case(BmcDesired(power=ON), BmcDesired(power=ON), {"power": ON}, False),
    "off": Case(BmcDesired(power=ON), BmcDesired(power=OFF), {"power": OFF}, False),
    "off twice": Case(BmcDesired(), BmcDesired(power=OFF), {"power": OFF}, False),
    "soft off of a deaf machine": Case(
        BmcDesired(power=ON), BmcDesired(power=OFF, soft=True, soft_seconds=0.3), {"power": OFF}, False
    ),
    "reset": Case(BmcDesired(power=ON), BmcDesired(power=ON, resets=1), {"power": ON, "resets": 1}, True),
    "soft reset": Case(
        BmcDesired(power=ON), BmcDesired(power=ON, resets=1, soft=True, soft_seconds=0.3), {"power": ON}, True
    ),
    "reset done": Case(BmcDesired(power=ON), BmcDesired(power=ON, resets=1, resets_done=1), {"power": ON}, False),
    "boot device kept": Case(BmcDesired(), BmcDesired(boot=DISK), {"boot": DISK}, False),
    "boot device kept over a start": Case(BmcDesired(boot=DISK), BmcDesired(power=ON, boot=DISK), {"boot": DISK}, True),
    "boot device for one start": Case(BmcDesired(), BmcDesired(boot=PXE), {"boot": PXE}, False),
    "used up by the start": Case(BmcDesired(boot=PXE), BmcDesired(power=ON), {"boot": None}, True),
    "used up stays so": Case(
        BmcDesired(power=ON, boot=PXE), BmcDesired(power=ON, boot=PXE), {"boot": None, "power": ON}, False
    ),
    "armed on purpose": Case(
        BmcDesired(power=ON, boot=PXE), BmcDesired(power=ON, boot=PXE, arms=1), {"boot": PXE, "arms": 1}, False
    ),
    "reset from the network": Case(
        BmcDesired(power=ON, boot=DISK), BmcDesired(resets=2, resets_done=1, boot=PXE), {"boot": None}, True
    ),
    "from CD": Case(
        BmcDesired(),
        BmcDesired(boot=Boot(BootDevice.CDROM, persistent=True)),
        {"boot": Boot(BootDevice.CDROM, persistent=True)},
        False,
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_case(rig: Rig, name: str) -> None:
    case = CASES[name]
    await rig.driver.apply(case.first)
    before = rig.starts()
    agrees(await rig.driver.apply(case.then), case.expect)
    agrees(await rig.driver.read(), {key: value for key, value in case.expect.items() if key not in ("resets", "arms")})
    after = rig.starts()
    assert (after != before) == case.started
    again = replace(case.then, resets_done=case.then.resets, arms_done=case.then.arms)
    agrees(await rig.driver.apply(again), case.expect)
    assert rig.starts() == after, "the second time changes nothing"


def agrees(seen: BmcSeen, expect: dict[str, Any]) -> None:
    assert {key: getattr(seen, key) for key in expect} == expect


async def test_media(rig: Rig) -> None:
    for slot in rig.slots:
        for power in (OFF, ON, ON):
            for url in (rig.image, f"{rig.image}?other", None):
                seen = await rig.driver.apply(BmcDesired(power=power, media={slot: url}))
                assert seen.media[slot] == url
    if not rig.slots:
        with pytest.raises(DeviceFailed, match="no virtual"):
            await rig.driver.apply(BmcDesired(media={Slot.CD: rig.image}))


async def test_boot_mode(rig: Rig) -> None:
    for mode in (BootMode.BIOS, BootMode.UEFI):
        boot = Boot(BootDevice.PXE, persistent=True)
        seen = await rig.driver.apply(BmcDesired(boot=boot, boot_mode=mode))
        agrees(seen, {"boot": boot, "boot_mode": mode})


async def test_http_boot(rig: Rig) -> None:
    wanted = BmcDesired(boot=Boot(BootDevice.HTTP, persistent=True), boot_mode=BootMode.UEFI)
    if rig.http_boot:
        agrees(await rig.driver.apply(wanted), {"boot": wanted.boot})
    else:
        with pytest.raises(DeviceFailed, match="cannot boot from http"):
            await rig.driver.apply(wanted)


async def test_identity_and_sensors(rig: Rig) -> None:
    seen = await rig.driver.read(identity=True, sensors=True)
    assert seen.identity and seen.identity.vendor == "Hagane" and seen.identity.serial
    assert seen.identity.macs == rig.macs
    assert any(sensor.unit == "degrees C" and sensor.value == 22.0 and sensor.healthy for sensor in seen.sensors)
    assert (await rig.driver.read()).identity is None


async def test_power_that_is_lost_is_seen(rig: Rig) -> None:
    await rig.driver.apply(BmcDesired(power=ON))
    await rig.lose_power()
    assert await rig.driver.power() == OFF
    assert (await rig.driver.apply(BmcDesired(power=ON))).power == ON


@dataclass(frozen=True)
class Fault:
    """A fault of the BMC, and what the driver makes of it."""

    error: type[HaganeError]
    words: str
    calls: tuple[str, ...] = field(default=("read", "apply"))


FAULTS = {
    "dead": Fault(Unavailable, "no answer", ("power", "read", "apply")),
    "wrong": Fault(HaganeError, "makes no sense|refuses"),
    "password": Fault(DeviceFailed, "refuses the user name or the password", ("power", "read", "apply")),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_fault(rig: Rig, name: str) -> None:
    fault = FAULTS[name]
    await rig.fault(name)
    for call in fault.calls:
        ask = {"power": rig.driver.power, "read": rig.driver.read, "apply": lambda: rig.driver.apply(BmcDesired())}
        with pytest.raises(fault.error, match=fault.words) as raised:
            await ask[call]()
        assert "secret" not in f"{raised.value.message}{raised.value.detail}"
    await rig.fault("")
    assert await rig.driver.power() == OFF


async def test_slow_is_not_wrong_and_blocks_nobody(rig: Rig) -> None:
    await rig.driver.power()
    await rig.fault("slow")
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    assert await rig.driver.power() == OFF
    ticking.cancel()
    assert ticks >= 5


async def test_soft_off_and_console_of_a_machine_that_listens(rig: Rig) -> None:
    await rig.listens()
    with pytest.raises(Unavailable, match="is off"):
        await rig.driver.console()
    await rig.driver.apply(BmcDesired(power=ON))
    await rig.booted()
    if not rig.console:
        with pytest.raises(DeviceFailed, match="serial console"):
            await rig.driver.console()
    else:
        await says_steel(rig)
    began = time.monotonic()
    assert (await rig.driver.apply(BmcDesired(power=OFF, soft=True, soft_seconds=30))).power == OFF
    assert time.monotonic() - began < 15


async def says_steel(rig: Rig) -> None:
    """It echoes what is typed; and so it does in the same session after it was switched off and on."""
    output, send = await rig.driver.console()
    heard = bytearray()

    async def listen() -> None:
        async for chunk in output:
            heard.extend(chunk)

    listening = asyncio.create_task(listen())
    await _echoes(heard, send, b"steel")
    await rig.driver.apply(BmcDesired(power=OFF))
    await rig.driver.apply(BmcDesired(power=ON))
    await rig.booted()
    await _echoes(heard, send, b"again")
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await output.aclose()


async def _echoes(heard: bytearray, send: Callable[[bytes], Awaitable[None]], word: bytes) -> None:
    """Typed again and again: what comes before the machine listens is lost, as on a real one."""
    async with asyncio.timeout(60):
        while word not in heard:
            await send(word)
            await asyncio.sleep(0.3)


def test_a_password_is_never_shown() -> None:
    assert "secret" not in repr(BmcAccess("10.0.0.1", "admin", "secret"))


def test_the_plan_goes_off_changes_and_goes_on() -> None:
    seen = BmcSeen(ON, boot=DISK, boot_mode=BootMode.BIOS, media={Slot.CD: "http://a/1.iso"})
    desired = BmcDesired(
        power=ON, soft=True, resets=1, boot=PXE, boot_mode=BootMode.UEFI, media={Slot.CD: "http://a/2.iso"}
    )
    assert step.plan(seen, desired) == [
        step.PowerOff(soft=True),
        step.Eject(Slot.CD),
        step.Insert(Slot.CD, "http://a/2.iso"),
        step.SetBootMode(BootMode.UEFI),
        step.SetBoot(PXE, BootMode.UEFI),
        step.PowerOn(),
    ]


async def test_ten_thousand_simulated_are_cheap() -> None:
    began = time.process_time()
    many = [SimBmc(str(number)) for number in range(10_000)]
    powers = [await bmc.power() for bmc in many]
    assert powers.count(OFF) == 10_000
    assert time.process_time() - began < 1.0
