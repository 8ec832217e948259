"""The BMCs that the BMC suite runs against, with the few handles that a driver does not offer."""

from dataclasses import replace
from typing import Protocol

from hagane.drivers.bmc.base import Bmc, Slot
from hagane.drivers.bmc.sim import Knobs, SimBmc
from hagane.errors import DeviceFailed


class Rig(Protocol):
    """One BMC under test, with its machine."""

    driver: Bmc
    slots: frozenset[Slot]  # virtual drives that it has
    image: str  # URL of an image that it can insert
    knows_macs: bool
    http_boot: bool
    deaf: bool  # whether the machine ignores the power button as it stands

    def starts(self) -> object:
        """Something that changes exactly when the machine is started anew."""
        ...

    async def fault(self, name: str) -> None:
        """Turn a fault on: dead, wrong, password, slow; "" ends them all."""
        ...

    async def listens(self) -> None:
        """From the machine's next start on, its operating system obeys the power button; returns at once."""
        ...

    async def booted(self) -> None:
        """Wait until the operating system obeys."""
        ...

    async def lose_power(self) -> None: ...


class SimRig:
    """A simulated one."""

    slots = frozenset(Slot)
    image = "http://127.0.0.1/tiny.iso"
    knows_macs = http_boot = True

    def __init__(self) -> None:
        self.driver = self._bmc = SimBmc()
        self._bmc.knobs = Knobs(deaf=True)

    def starts(self) -> object:
        return self._bmc.starts

    async def fault(self, name: str) -> None:
        knobs = Knobs(deaf=self._bmc.knobs.deaf)
        changes: dict[str, dict[str, object]] = {
            "": {},
            "dead": {"dead": True},
            "wrong": {"fail": {"read": DeviceFailed("sim: an answer that makes no sense")}},
            "password": {"wrong_password": True},
            "slow": {"delay": 0.2},
        }
        self._bmc.knobs = replace(knobs, **changes[name])  # type: ignore[arg-type]

    async def listens(self) -> None:
        self._bmc.knobs = replace(self._bmc.knobs, deaf=False)

    async def booted(self) -> None:
        return None

    async def lose_power(self) -> None:
        self._bmc.lose_power()
