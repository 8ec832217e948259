"""What a process remembers of a Host is never older than what it was told."""

import asyncio
from typing import Any

from hagane.drivers.hypervisor.base import Power, Seen
from hagane.reconcile.host_registry import Station


class Slow:
    """A driver whose reading is taken at once and told later."""

    def __init__(self) -> None:
        self.machines: dict[str, Seen] = {}
        self.readings = 0

    async def read(self) -> dict[str, Seen]:
        self.readings += 1
        found = dict(self.machines)
        await asyncio.sleep(0.02)
        return found


def seen(machine_id: str, power: Power = Power.ON) -> Seen:
    return Seen(machine_id, power, 1)


def station() -> tuple[Station, Any]:
    driver: Any = Slow()
    return Station("a", driver), driver


async def test_a_machine_made_during_a_reading_is_there() -> None:
    here, _ = station()
    reading = asyncio.create_task(here.read())
    await asyncio.sleep(0.005)
    here.saw(seen("new"))
    assert set(await reading) == {"new"}


async def test_a_machine_removed_during_a_reading_is_not() -> None:
    here, driver = station()
    driver.machines["old"] = seen("old")
    reading = asyncio.create_task(here.read())
    await asyncio.sleep(0.005)
    driver.machines.clear()
    here.forgot("old")
    assert await reading == {}
    assert await here.read() == {}


async def test_a_reading_that_began_before_is_not_enough() -> None:
    here, driver = station()
    first = asyncio.create_task(here.read())
    await asyncio.sleep(0.005)
    driver.machines["late"] = seen("late")
    assert set(await here.read()) == {"late"}
    await first
    assert driver.readings == 2


async def test_readings_are_shared_and_remembered() -> None:
    here, driver = station()
    await here.read()
    await asyncio.gather(*(here.read(age=60) for _ in range(5)))
    assert driver.readings == 1
    here.stale()
    driver.machines["m"] = seen("m", Power.OFF)
    found = await asyncio.gather(*(here.read(age=60) for _ in range(5)))
    assert driver.readings == 2
    assert all(one["m"].power is Power.OFF for one in found)
