"""Physical switches: SwitchPorts and their VLANs. `make` finds a family's driver by the name in a rack's description.

A family is one file here with one class, which takes a `SwitchAccess`. It is loaded when a switch of it exists: a rack
of one family does not pay for the libraries of the others. What speaks SSH is loaded by a thread at the first call,
because that takes some tenths of a second, for which no request should wait.
"""

import asyncio
from collections.abc import Callable, Collection
from importlib import import_module

from hagane.drivers.switch.base import Switch, SwitchAccess, SwitchDesired, SwitchSeen
from hagane.errors import Invalid

# The name in a rack's description → the module here, its class, and what it calls the link aggregation of a number.
FAMILIES = {
    "eos": ("eos", "EosSwitch", "Port-Channel{}"),
    "netconf": ("netconf", "NetconfSwitch", "Port-Channel{}"),
    "nxos": ("nxos", "NxosSwitch", "port-channel{}"),
    "ovsdb": ("ovsdb", "OvsdbSwitch", "bond{}"),
    "sim": ("sim", "SimSwitch", "bond{}"),
    "sonic": ("sonic", "SonicSwitch", "PortChannel{:04}"),
}
OVER_SSH = frozenset({"eos", "netconf", "nxos", "sonic"})


def make(driver: str, access: SwitchAccess) -> Switch:
    """The driver of one switch; it connects at its first call. Raises Invalid for a family that there is not."""
    if driver not in FAMILIES:
        raise Invalid(f"There is no switch driver {driver!r}; there are: {', '.join(sorted(FAMILIES))}.")
    return _Later(driver, access) if driver in OVER_SSH else _load(driver, access)


def group_name(driver: str, number: int) -> str:
    """How a family calls a link aggregation."""
    return FAMILIES[driver][2].format(number)


def _load(driver: str, access: SwitchAccess) -> Switch:
    module, name, _ = FAMILIES[driver]
    built: Switch = getattr(import_module(f"{__name__}.{module}"), name)(access)
    return built


class _Later:
    """A switch over SSH, whose family is loaded at the first call. Options that are none are told then."""

    def __init__(self, driver: str, access: SwitchAccess) -> None:
        self._driver, self._access = driver, access
        self._lock = asyncio.Lock()
        self._switch: Switch | None = None

    async def read(self, ports: Collection[str] | None = None) -> SwitchSeen:
        return await (await self._loaded()).read(ports)

    async def apply(self, desired: SwitchDesired) -> SwitchSeen:
        return await (await self._loaded()).apply(desired)

    def watch(self, changed: Callable[[], None]) -> bool:
        return False  # none of these families can tell

    async def close(self) -> None:
        if self._switch is not None:
            await self._switch.close()

    async def _loaded(self) -> Switch:
        async with self._lock:
            if self._switch is None:
                self._switch = await asyncio.to_thread(_load, self._driver, self._access)
            return self._switch
