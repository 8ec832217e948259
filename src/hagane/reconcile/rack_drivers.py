"""The drivers of switches and gateways, one for each row, kept while its address and account stay the same."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping

from hagane.baremetal import rack as racks
from hagane.drivers import gateway as gateways
from hagane.drivers import switch as switches
from hagane.drivers.gateway.base import Gateway, GatewayAccess
from hagane.drivers.switch.base import Switch, SwitchAccess
from hagane.errors import HaganeError
from hagane.state.database import Row
from hagane.state.secret import Secrets

Changed = Callable[[str], None]


class Switches:
    """`given`: drivers that are there already, by the switch's name (scenarios have theirs)."""

    def __init__(self, secrets: Secrets, given: Mapping[str, Switch], changed: Changed) -> None:
        self._secrets, self._given, self._changed = secrets, given, changed
        self._known: dict[str, tuple[str, Switch]] = {}
        self._watched: dict[str, bool] = {}

    async def of(self, row: Row) -> Switch:
        """Raises Invalid for a family that there is not."""
        mark = f"{row['name']} {row['driver']} {row['access']} {row['secrets']}"
        known = self._known.get(row["id"])
        if known is not None and known[0] == mark:
            return known[1]
        await self.forget(row["id"])
        made = self._given.get(row["name"]) or switches.make(row["driver"], self._access(row))
        self._known[row["id"]] = (mark, made)
        return made

    def _access(self, row: Row) -> SwitchAccess:
        shown, hidden = row["access"], racks.opened(self._secrets, row)
        options = {key: value for key, value in hidden.items() if key != "password"}
        return SwitchAccess(
            shown["address"], int(shown.get("port") or 0), shown.get("username") or "", hidden.get("password") or "",
            options=dict(shown.get("options") or {}) | options,
        )  # fmt: skip

    def watch(self, key: str, driver: Switch) -> bool:
        """Whether the switch tells of changes; asked once."""
        if key not in self._watched:
            self._watched[key] = driver.watch(lambda: self._changed(key))
        return self._watched[key]

    async def forget(self, key: str) -> None:
        self._watched.pop(key, None)
        _, driver = self._known.pop(key, ("", None))
        if driver is not None:
            with contextlib.suppress(HaganeError):
                await driver.close()

    async def close(self) -> None:
        await asyncio.gather(*(self.forget(key) for key in list(self._known)))


class Gateways:
    """As `Switches`; a gateway's driver is connected from the moment when it is first asked for."""

    def __init__(self, given: Mapping[str, Gateway], changed: Changed) -> None:
        self._given, self._changed = given, changed
        self._known: dict[str, tuple[str, Gateway]] = {}
        self._lost: dict[str, float] = {}

    async def of(self, row: Row) -> Gateway:
        """Raises Invalid for an address that is none."""
        access = GatewayAccess(row["name"], row["ovsdb"], row["trunk_bridge"], row["integration_bridge"])
        known = self._known.get(row["id"])
        if known is not None and known[0] == str(access):
            return known[1]
        await self.forget(row["id"])
        made = self._given.get(row["name"]) or gateways.make(access)
        self._known[row["id"]] = (str(access), made)
        await made.start(lambda: self._changed(row["id"]))
        return made

    def silent(self, key: str, driver: Gateway) -> float:
        """For how many seconds it has not been connected; 0.0: it is."""
        if driver.connected:
            self._lost.pop(key, None)
            return 0.0
        return time.monotonic() - self._lost.setdefault(key, time.monotonic()) + 0.001

    async def forget(self, key: str) -> None:
        self._lost.pop(key, None)
        _, driver = self._known.pop(key, ("", None))
        if driver is not None:
            await driver.close()

    async def close(self) -> None:
        await asyncio.gather(*(self.forget(key) for key in list(self._known)))
