"""Pauses between tries that stop a guest while they last.

QEMU opens a volume with everything else standing still. One whose target or monitors do not answer would be tried again
at once and stop the guest nearly all the time; so after a try that took long there is none for three times as long, or
for a quarter of a minute, as what is mended should be noticed soon.
"""

import time
from collections.abc import Awaitable

from hagane.errors import Unavailable

PAUSE, LONGEST = 3.0, 15.0  # times as long as the try; seconds
Key = tuple[str, str]


class Patience:
    """`key`: a machine and a disk."""

    def __init__(self) -> None:
        self._later: dict[Key, tuple[float, Unavailable]] = {}

    def check(self, key: Key) -> None:
        """Raises what was the matter the last time, if that was just now."""
        until, error = self._later.get(key, (0.0, None))
        if error is not None and time.monotonic() < until:
            raise Unavailable(error.message, detail=error.detail)

    async def give(self, key: Key, work: Awaitable[None]) -> None:
        """Do it, and note how that went."""
        began = time.monotonic()
        self._later.pop(key, None)
        try:
            await work
        except Unavailable as error:
            now = time.monotonic()
            self._later = {one: last for one, last in self._later.items() if last[0] > now}
            self._later[key] = (now + min(LONGEST, PAUSE * (now - began)), error)
            raise
