"""One driver for each switch: kept while its row stays the same, closed when the row says another address or is gone."""

from pathlib import Path

import pytest

from hagane.drivers import switch as switches
from hagane.drivers.switch.base import SwitchAccess
from hagane.drivers.switch.sim import SimSwitch
from hagane.reconcile.rack_drivers import Switches
from hagane.state.database import Row
from hagane.state.secret import Secrets


class Counted(SimSwitch):
    """It remembers that it was closed."""

    closed = False

    async def close(self) -> None:
        self.closed = True


def row(address: str) -> Row:
    return {"id": "1", "name": "tor1", "driver": "sim", "access": {"address": address}, "secrets": None}


async def test_a_switch_at_another_address_gets_another_driver_and_the_old_one_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(family: str, access: SwitchAccess) -> Counted:
        return Counted(access)

    monkeypatch.setattr(switches, "make", make)
    known = Switches(Secrets(tmp_path), {}, lambda key: None)
    first = await known.of(row("192.0.2.1"))
    assert isinstance(first, Counted) and known.watch("1", first)
    assert await known.of(row("192.0.2.1")) is first and not first.closed
    second = await known.of(row("192.0.2.2"))
    assert second is not first and first.closed
    await known.forget("1")
    assert isinstance(second, Counted) and second.closed
