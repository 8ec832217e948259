"""The Hosts that this process can reach: a driver each, and what it last showed.

What is seen is kept for the reading of others: a Server's reconciler does not ask a Host about every machine. A sign of
change (a machine went off by itself, the connection was lost) makes the Host be read again at once.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping

from hagane.drivers.hypervisor.base import Hypervisor, Seen
from hagane.errors import Unavailable

READ_SECONDS = 20.0  # a Host that has not answered by then does not answer
AT_ONCE = 32  # machines that one Host is asked to change at a time
QUEUE = 64  # and how many wait for that in this process; the others wait as work


class Station:
    """One Host as this process knows it."""

    def __init__(self, name: str, driver: Hypervisor) -> None:
        self.name, self.driver = name, driver
        self.seen: dict[str, Seen] = {}
        self._read_at = self._changed_at = 0.0  # monotonic: when the last reading began, and the last sign of change
        self._told: dict[str, tuple[float, Seen | None]] = {}  # what a driver said of one machine, and when
        self._reading: asyncio.Task[None] | None = None
        self._gate, self._waiting = asyncio.Semaphore(AT_ONCE), 0

    @property
    def busy(self) -> bool:
        """Whether so many wait for this Host that another should not: one that hangs must not hold up the others."""
        return self._waiting >= QUEUE

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn to change a machine."""
        self._waiting += 1
        try:
            await self._gate.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._gate.release()

    async def read(self, *, age: float = 0.0) -> dict[str, Seen]:
        """What is on the Host, by a reading that began `age` seconds ago at the most and after the last sign of change.

        Those who ask before it begins share it.
        """
        since = max(time.monotonic() - age, self._changed_at)
        while self._read_at < since:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.get_running_loop().create_task(self._read())
            await asyncio.shield(self._reading)
        return self.seen

    async def _read(self) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(READ_SECONDS):
                seen = await self.driver.read()
        except TimeoutError as error:
            raise Unavailable(f"{self.name} did not answer within {READ_SECONDS:.0f} s") from error
        # A machine that was changed meanwhile is as the change left it, whether the reading caught it or not.
        self._told = {key: (when, one) for key, (when, one) in self._told.items() if when >= began}
        for key, (_, one) in self._told.items():
            if one is None:
                seen.pop(key, None)
            else:
                seen[key] = one
        self.seen, self._read_at = seen, began

    def stale(self) -> None:
        """Something happened there: what was seen is not to be trusted."""
        self._changed_at = time.monotonic()

    def saw(self, seen: Seen) -> None:
        """A machine as the driver has just shown it."""
        self.seen[seen.id] = seen
        self._told[seen.id] = (time.monotonic(), seen)

    def forgot(self, machine_id: str) -> None:
        """A machine that the driver has just removed."""
        self.seen.pop(machine_id, None)
        self._told[machine_id] = (time.monotonic(), None)


class Registry:
    """All of them, by name."""

    def __init__(self, drivers: Mapping[str, Hypervisor]) -> None:
        self.stations = {name: Station(name, driver) for name, driver in drivers.items()}

    def station(self, name: str) -> Station:
        """Raises Unavailable for a Host that this process has no way to."""
        try:
            return self.stations[name]
        except KeyError:
            raise Unavailable(f"Host {name} is not configured in this process.") from None

    async def connect(self, changed: Callable[[str, str], None]) -> None:
        """Connect all, and tell `changed(host, machine_id)` what happens there ("": to the Host itself)."""
        for station in self.stations.values():
            station.driver.watch(_watcher(station, changed))
        await asyncio.gather(*(station.driver.connect() for station in self.stations.values()))

    async def close(self) -> None:
        await asyncio.gather(*(station.driver.close() for station in self.stations.values()), return_exceptions=True)


def _watcher(station: Station, changed: Callable[[str, str], None]) -> Callable[[str], None]:
    def happened(machine_id: str) -> None:
        station.stale()
        changed(station.name, machine_id)

    return happened
