"""A volume that does not answer stops a guest for a part of the time only."""

import asyncio

import pytest

from hagane.drivers.hypervisor.libvirt_patience import PAUSE, Patience
from hagane.errors import Unavailable

KEY = ("machine", "disk")


async def slow(seconds: float, *, well: bool = False) -> None:
    await asyncio.sleep(seconds)
    if not well:
        raise Unavailable("no answer")


async def test_a_try_that_took_long_is_followed_by_a_pause() -> None:
    patience, long = Patience(), 0.3
    patience.check(KEY)
    with pytest.raises(Unavailable, match="no answer"):
        await patience.give(KEY, slow(long))
    with pytest.raises(Unavailable, match="no answer"):
        patience.check(KEY)
    patience.check(("machine", "other"))
    await asyncio.sleep(PAUSE * long + 0.3)
    patience.check(KEY)
    with pytest.raises(Unavailable):
        await patience.give(KEY, slow(long))
    await patience.give(KEY, slow(0, well=True))
    patience.check(KEY)
