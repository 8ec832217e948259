"""Hashes of passwords and secrets, computed beside the event loop.

bcrypt costs a quarter of a second by design and leaves the GIL free, so it runs in as many threads as there are cores,
with a bounded queue. Clients like the command line log in anew for each command: a password that was right a short
while ago is recognised by a keyed digest that lives in this process only. A wrong one always pays the full price, and
so does an unknown user, whose password is checked against a hash of nothing.

Forms: `$2b$...` (bcrypt; also what Keystone keeps), `sha512+$2b$...` (bcrypt of a digest, for what is longer than the
72 bytes that bcrypt reads), `blake2$...` (secrets that we made: 512 random bits need no slow hash).
"""

import asyncio
import os
import time
from base64 import b64encode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b, sha512
from hmac import compare_digest
from typing import Any, TypeVar

import bcrypt

from hagane.errors import Unavailable

T = TypeVar("T")
LONGEST = 72  # bytes that bcrypt reads
LONG, MADE = "sha512+", "blake2$"
TOO_LONG = 4096  # bytes of no password
QUEUE = 200  # checks that may wait
REMEMBER = 600.0  # seconds
MOST = 1000  # passwords remembered


class Passwords:
    """Hashes and checks. One per process."""

    def __init__(self, cost: int) -> None:
        self._cost = cost
        self._threads = ThreadPoolExecutor(max(1, os.cpu_count() or 1), "bcrypt")
        self._waiting = 0
        self._key = os.urandom(32)
        self._right: OrderedDict[bytes, float] = OrderedDict()
        self._nobody = ""

    async def hash(self, password: str) -> str:
        return await self._run(self._hash, password.encode())

    async def verify(self, password: str, stored: str | None) -> bool:
        """Whether it is the password of a hash; without a hash it takes as long, and is False."""
        data = password.encode(errors="replace")
        if len(data) > TOO_LONG:
            return False
        if stored is not None and stored.startswith(MADE):
            return compare_digest(stored, hash_made(password))
        mark = blake2b(f"{stored}\n".encode() + data, key=self._key, digest_size=32).digest()
        if self._right.get(mark, 0.0) > time.monotonic():
            return True
        if stored is None and not self._nobody:
            self._nobody = await self._run(self._hash, os.urandom(8).hex().encode())
        right = await self._run(_check, data, stored or self._nobody) and stored is not None
        if right:
            self._right[mark] = time.monotonic() + REMEMBER
            while len(self._right) > MOST:
                self._right.popitem(last=False)
        return right

    def _hash(self, data: bytes) -> str:
        # From 72 bytes on, so that what plain bcrypt would cut off always counts.
        prefix, data = (LONG, _digest(data)) if len(data) >= LONGEST else ("", data)
        return prefix + bcrypt.hashpw(data, bcrypt.gensalt(self._cost)).decode()

    async def _run(self, call: Callable[..., T], *args: Any) -> T:
        """In a thread. Raises Unavailable when too many wait already."""
        if self._waiting >= QUEUE:
            raise Unavailable("Too many logins at once; try again.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call, *args)
        finally:
            self._waiting -= 1


def _digest(data: bytes) -> bytes:
    return b64encode(sha512(data).digest())[:LONGEST]


def _check(data: bytes, stored: str) -> bool:
    if stored.startswith(LONG):
        stored, data = stored.removeprefix(LONG), _digest(data)
    try:
        return bcrypt.checkpw(data[:LONGEST], stored.encode())
    except ValueError:  # a zero byte in the password, or a hash of another kind
        return False


def make_secret() -> str:
    """A secret of our own making, for credentials whose owner names none."""
    return urlsafe_b64encode(os.urandom(64)).decode().rstrip("=")


def hash_made(secret: str) -> str:
    return MADE + blake2b(secret.encode(errors="replace"), digest_size=32).hexdigest()
