"""From what a BMC shows to what is wanted, in steps: a pure function, the same for every driver.

Order: off first (some firmware takes a boot mode only then), then media, boot mode, boot device, then on or restart. A
boot device for one start is set where a start follows or the machine is off; on a machine that runs on, the firmware
has used it up already, and setting it again would surprise the next reboot; `arms` asks for that on purpose.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace

from hagane.drivers.bmc.base import BmcDesired, BmcSeen, Boot, BootMode, Power, Slot
from hagane.errors import Unavailable

SETTLE_SECONDS = 30.0  # how long a BMC may take to show the power that it was told
POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class PowerOff:
    soft: bool


@dataclass(frozen=True, slots=True)
class PowerOn:
    pass


@dataclass(frozen=True, slots=True)
class Reset:
    """Restart by force; a soft restart is PowerOff(soft) and PowerOn."""


@dataclass(frozen=True, slots=True)
class Insert:
    slot: Slot
    url: str


@dataclass(frozen=True, slots=True)
class Eject:
    slot: Slot


@dataclass(frozen=True, slots=True)
class SetBootMode:
    mode: BootMode


@dataclass(frozen=True, slots=True)
class SetBoot:
    boot: Boot
    mode: BootMode | None  # some BMCs take both in one word, and forget the mode if it is not said again


Step = PowerOff | PowerOn | Reset | Insert | Eject | SetBootMode | SetBoot


def plan(seen: BmcSeen, desired: BmcDesired) -> list[Step]:
    """The steps that are missing."""
    running = seen.power == Power.ON
    restart = running and desired.power != Power.OFF and desired.resets != desired.resets_done
    off = running and (desired.power == Power.OFF or (restart and desired.soft))
    starts = restart or (not running and desired.power == Power.ON)
    steps: list[Step] = [PowerOff(desired.soft)] if off else []
    steps += _media(seen, desired)
    steps += _boot(seen, desired, next_start=starts or off or not running)
    if starts:
        steps.append(Reset() if restart and not off else PowerOn())
    return steps


def _media(seen: BmcSeen, desired: BmcDesired) -> Iterator[Step]:
    for slot, url in desired.media.items():
        now = seen.media.get(slot)
        if now == url:
            continue
        if now is not None:
            yield Eject(slot)
        if url is not None:
            yield Insert(slot, url)


def _boot(seen: BmcSeen, desired: BmcDesired, *, next_start: bool) -> Iterator[Step]:
    mode, boot = desired.boot_mode, desired.boot
    if mode is not None and seen.boot_mode != mode:
        yield SetBootMode(mode)
    if boot is None or seen.boot == boot:
        return
    if boot.persistent or next_start or desired.arms != desired.arms_done:
        yield SetBoot(boot, mode or seen.boot_mode)


def done(seen: BmcSeen, desired: BmcDesired) -> BmcSeen:
    """What `apply` returns: the world, and the numbers that the caller stores."""
    return replace(seen, resets=desired.resets, arms=desired.arms)


async def switch(
    todo: PowerOff | PowerOn | Reset, desired: BmcDesired, order: Callable[[str], Awaitable[object]],
    power: Callable[[], Awaitable[Power]], name: str,
) -> None:  # fmt: skip
    """Give the order ("on", "off", "soft": the operating system is asked, "reset"), and wait until it is so. Who does
    not go by being asked is switched off."""
    match todo:
        case PowerOff(soft):
            if soft:
                await order("soft")
                if await until(power, Power.OFF, desired.soft_seconds):
                    return
            await order("off")
            await settled(power, Power.OFF, name)
        case PowerOn() | Reset():
            await order("on" if isinstance(todo, PowerOn) else "reset")
            await settled(power, Power.ON, name)


async def until(power: Callable[[], Awaitable[Power]], wanted: Power, seconds: float) -> bool:
    """Ask until the machine has this power; False when time is up first."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while await power() != wanted:
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True


async def settled(power: Callable[[], Awaitable[Power]], wanted: Power, name: str) -> None:
    """The same, for a BMC that took the order: it has to follow. Errors: Unavailable."""
    if not await until(power, wanted, SETTLE_SECONDS):
        raise Unavailable(f"{name}: took the order, but the machine is not {wanted} after {SETTLE_SECONDS:g} s")
