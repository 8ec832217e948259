"""What devices tell by themselves: the keys that it concerns are woken, those that come together by one write.

tell() ─▶ gathered ─▶ one transaction ─▶ a store that is away is asked again
"""

import asyncio
import logging

from hagane.errors import Unavailable
from hagane.state import work
from hagane.state.database import Database, Tx

log = logging.getLogger(__name__)
AGAIN = 1.0  # seconds until a store that did not answer is asked again


class News:
    """`gather`: seconds in which what is told is gathered. `tell` may be called from any callback of a connection."""

    def __init__(self, db: Database, name: str, gather: float) -> None:
        self._db, self._name, self._gather = db, name, gather
        self._keys: set[tuple[str, str]] = set()
        self._task: asyncio.Task[None] | None = None

    def tell(self, kind: str, key: str) -> None:
        self._keys.add((kind, key))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._wake(), name=self._name)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _wake(self) -> None:
        await asyncio.sleep(self._gather)
        while self._keys:
            keys, self._keys = self._keys, set()

            async def write(tx: Tx, keys: set[tuple[str, str]] = keys) -> None:
                await work.wake_things(tx, keys)

            try:
                await self._db.write(write)
            except Unavailable as error:
                log.warning("cannot note news of devices, again in %.0f s: %s", AGAIN, error)
                self._keys |= keys
                await asyncio.sleep(AGAIN)
