"""A process that is killed at its n-th write, for every n that there is: before the write (what was done to the world is
not written), or after it (what is written goes no further)."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from hagane.errors import Unavailable


class Killer:
    """Ends all writing at the n-th write that is `ours`; `after`: when that write is in the store."""

    def __init__(self, w: Any, number: int, ours: Callable[[Any], bool], *, after: bool) -> None:
        self._w, self._left, self._ours, self._after = w, number, ours, after
        self._dead = asyncio.Event()
        self._write = w.db.write
        w.db.write = self.write

    async def write(self, work: Any) -> Any:
        if self._dead.is_set():
            raise Unavailable("there is no process")
        ours = self._ours(work)
        self._left -= ours
        if ours and self._left == 0:
            if self._after:
                await self._write(work)
            self._dead.set()
            await asyncio.Event().wait()
        return await self._write(work)

    async def spares(self, ending: Coroutine[Any, Any, Any]) -> bool:
        """Wait for an end, or until the process is dead; then end everything at once, as a kill does: what was sent to
        machines has been sent. Whether the end came first."""
        ended, died = asyncio.create_task(ending), asyncio.create_task(self._dead.wait())
        await asyncio.wait({ended, died}, return_when=asyncio.FIRST_COMPLETED, timeout=20)
        finished = ended.done() and not died.done()
        engine = self._w.hagane.engine
        tasks = [ended, died, *engine._tasks, *engine._running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._w.db.close()
        return finished


def of_module(*starts: str) -> Callable[[Any], bool]:
    """Writes whose work comes from a module that begins so."""
    return lambda work: str(getattr(work, "__module__", "")).startswith(starts)


async def at_every_write(folder: Path, life: Callable[[Path, int], Awaitable[bool]], *, more_than: int) -> None:
    """Play a life (its folder, n) for each n, until it has ended before its n-th write (False)."""
    number = 1
    while await life(folder / str(number), number):
        number += 1
        assert number < 60
    assert number > more_than, "there are more writes than that"
