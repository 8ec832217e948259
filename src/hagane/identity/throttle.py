"""Failed logins are slowed down, per user and address, so that guessing is hopeless and nobody else is locked out.

The first FREE failures cost nothing. From then on attempts of that user from that address wait, each failure doubling
the wait, one after the other; when many of them wait already, further ones are refused at once. A success or a quiet
quarter of an hour forgets it all.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from hagane.api.http import Request

FREE = 4  # failures without a wait
FIRST, LONGEST = 0.5, 15.0  # seconds
QUIET = 900.0  # seconds
MOST = 10_000  # pairs of user and address remembered
WAITING = 5  # attempts of one pair that may wait


class TooMany(Exception):
    """So many attempts of this pair wait already that this one is refused."""


@dataclass
class _Pair:
    failures: int = 0
    last: float = 0.0
    waiting: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Throttle:
    """Remembers failures; use one per process."""

    def __init__(self) -> None:
        self._pairs: OrderedDict[tuple[str, str], _Pair] = OrderedDict()

    @asynccontextmanager
    async def attempt(self, user: str, address: str) -> AsyncIterator[None]:
        """Wait as long as this pair has to, and note whether the block failed. Raises TooMany."""
        pair = self._pair(user, address)
        pause = self.pause(pair.failures)
        if pause and pair.waiting >= WAITING:
            raise TooMany
        pair.waiting += 1
        try:
            if pause:
                async with pair.turn:
                    await asyncio.sleep(pause)
                    yield
            else:
                yield
        except Exception:
            pair.failures += 1
            pair.last = time.monotonic()
            raise
        else:
            pair.failures = 0
        finally:
            pair.waiting -= 1
            if not pair.failures and not pair.waiting:
                self._pairs.pop((user, address), None)

    def _pair(self, user: str, address: str) -> _Pair:
        pair = self._pairs.get((user, address))
        if pair is None or (pair.failures and time.monotonic() - pair.last > QUIET):
            pair = self._pairs[user, address] = _Pair()
        self._pairs.move_to_end((user, address))
        while len(self._pairs) > MOST:
            self._pairs.popitem(last=False)
        return pair

    @staticmethod
    def pause(failures: int) -> float:
        """Seconds that the next attempt waits."""
        return 0.0 if failures < FREE else min(LONGEST, FIRST * 2.0 ** min(failures - FREE, 20))


def address_of(request: Request) -> str:
    client = request.scope.get("client")
    return str(client[0]) if client else ""
