"""The shared store: PostgreSQL through a pool, for several processes on one cloud.

Transactions run SERIALIZABLE and are run again when PostgreSQL asks for it, so the nouns need no row locks.
`NOTIFY` tells the other processes that there is work; a lost connection of the listener is opened anew, and since work
is rows, a missed notification costs a poll interval, never a task.
"""

import asyncio
import logging
import os
import random
import re
from asyncio.subprocess import PIPE
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import asyncpg

from hagane.errors import Invalid, Unavailable
from hagane.state.database import Duplicate, Params, Row, Work

T = TypeVar("T")
log = logging.getLogger(__name__)
CHANNEL = "hagane"
SCRIPTS = 0x686167616E65  # the advisory lock of scripts
AWAY = (
    OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError, asyncpg.PostgresSystemError,
)  # fmt: skip
"""It does not answer, shuts down or starts, or has no room: what was asked for was not at fault."""
UNKEEPABLE = (
    asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError, asyncpg.InvalidRegularExpressionError,
    asyncpg.NumericValueOutOfRangeError, asyncpg.ProgramLimitExceededError,
)  # fmt: skip
LONG = 4000  # characters of a statement; longer ones hold lists, are seldom the same, and would fill the memory
ATTEMPTS = 40  # of one transaction, with a growing random pause between them
_NAME = re.compile(r"(?<![:\w]):([a-z_][a-z0-9_]*)")


def positional(sql: str) -> tuple[str, tuple[str, ...]]:
    """Turn `:name` parameters into `$1`; returns the statement and the names in order."""
    return _remembered(sql) if len(sql) <= LONG else _positional(sql)


def _positional(sql: str) -> tuple[str, tuple[str, ...]]:
    numbers: dict[str, int] = {}
    text = _NAME.sub(lambda match: f"${numbers.setdefault(match.group(1), len(numbers) + 1)}", sql)
    return text, tuple(numbers)


_remembered = lru_cache(5000)(_positional)


def _unkeepable(error: Exception) -> Invalid:
    """PostgreSQL keeps and compares no NUL, which may come in any part of a URL, nor all else that others take."""
    return Invalid(f"The request holds what cannot be kept or compared: {error}.", code="BadText")


def _away(error: Exception) -> Unavailable:
    if isinstance(error, asyncpg.DiskFullError):
        return Unavailable("The database cannot be written: its disk is full.", detail=str(error))
    return Unavailable("The database does not answer.", detail=str(error))


class PostgresTx:
    """One open transaction."""

    dialect = "postgresql"

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.afters: list[Callable[[], None]] = []
        self.topics: set[str] = set()

    async def fetch(self, sql: str, params: Params | None = None) -> list[Row]:
        return [dict(row) for row in await self.fetch_tuples(sql, params)]

    async def fetch_tuples(self, sql: str, params: Params | None = None) -> Sequence[Sequence[Any]]:
        text, names = positional(sql)
        result: Sequence[Sequence[Any]] = await self._connection.fetch(text, *[(params or {})[name] for name in names])
        return result

    async def execute(self, sql: str, params: Params | None = None) -> int:
        text, names = positional(sql)
        try:
            tag = await self._connection.execute(text, *[(params or {})[name] for name in names])
        except asyncpg.IntegrityConstraintViolationError as error:
            raise Duplicate(str(error)) from error
        last = tag.rpartition(" ")[2]
        return int(last) if last.isdigit() else 0

    def after(self, call: Callable[[], None]) -> None:
        self.afters.append(call)

    def notify(self, topic: str) -> None:
        self.topics.add(topic)


class PostgresDatabase:
    """See the module's text. Open it with `await PostgresDatabase.open(url)`."""

    dialect = "postgresql"

    def __init__(self, url: str, pool: Any) -> None:
        self.url = url
        self._listeners: list[Callable[[str], None]] = []
        self._pool = pool
        self._listening = asyncio.get_running_loop().create_task(self._listen(), name="postgres-listen")

    @classmethod
    async def open(cls, url: str) -> "PostgresDatabase":
        try:
            pool = await asyncpg.create_pool(url, min_size=2, max_size=20, command_timeout=60)
        except (OSError, asyncpg.PostgresError) as error:
            raise Unavailable(f"The PostgreSQL database does not answer: {error}.") from error
        return cls(url, pool)

    async def fetch(self, sql: str, params: Params | None = None) -> list[Row]:
        return [dict(row) for row in await self.fetch_tuples(sql, params)]

    async def fetch_tuples(self, sql: str, params: Params | None = None) -> Sequence[Sequence[Any]]:
        text, names = positional(sql)
        try:
            result: Sequence[Sequence[Any]] = await self._pool.fetch(text, *[(params or {})[name] for name in names])
        except UNKEEPABLE as error:
            raise _unkeepable(error) from error
        except AWAY as error:
            raise _away(error) from error
        return result

    async def write(self, work: Work[T]) -> T:
        for attempt in range(ATTEMPTS):
            try:
                return await self._once(work)
            except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError):
                await asyncio.sleep(random.random() * 0.004 * (attempt + 1))
            except UNKEEPABLE as error:
                raise _unkeepable(error) from error
            except AWAY as error:
                raise _away(error) from error
        raise Unavailable("The database is too contended; try again.", detail=f"{ATTEMPTS} serialization failures")

    async def _once(self, work: Work[T]) -> T:
        async with self._pool.acquire() as connection:
            tx = PostgresTx(connection)
            async with connection.transaction(isolation="serializable"):
                result = await work(tx)
                for topic in tx.topics:
                    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, topic)
        for call in tx.afters:
            call()
        for topic in tx.topics:
            self._tell(topic)
        return result

    def listen(self, call: Callable[[str], None]) -> None:
        self._listeners.append(call)

    def _tell(self, topic: str) -> None:
        for listener in self._listeners:
            listener(topic)

    async def script(self, sql: str, *, unless: str = "") -> bool:
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", SCRIPTS)
                if unless and await connection.fetch(unless):
                    return False
                await connection.execute(sql)
        except (asyncpg.InsufficientPrivilegeError, *AWAY) as error:
            raise Unavailable(f"The database lets us make no tables: {error}.") from error
        return True

    async def backup(self, path: str) -> None:
        url, environment = _without_password(self.url)
        arguments = ("--format=custom", f"--file={path}", url)
        try:
            process = await asyncio.create_subprocess_exec("pg_dump", *arguments, env=environment, stderr=PIPE)
        except OSError as error:
            raise Unavailable(f"pg_dump cannot be run: {error.strerror}.") from error
        _, said = await process.communicate()
        if process.returncode != 0:
            raise Unavailable("The database cannot be copied.", detail=said.decode(errors="replace").strip())

    async def _listen(self) -> None:
        """Hold one connection that listens; open another when it is lost."""
        while True:
            lost = asyncio.Event()
            try:
                connection = await asyncpg.connect(self.url)
                connection.add_termination_listener(lambda _: lost.set())  # noqa: B023 - called while this one lives
                await connection.add_listener(CHANNEL, lambda _c, _p, _ch, topic: self._tell(topic))
                self._tell("*")  # what was sent while nobody listened
                try:
                    await lost.wait()
                finally:
                    await connection.close(timeout=1)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
                log.warning("the database's notifications are lost, trying again: %s", error)
            await asyncio.sleep(1)

    async def close(self) -> None:
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        await self._pool.close()


def _without_password(url: str) -> tuple[str, dict[str, str]]:
    """The URL as every user of the machine may see it in the list of processes, and the environment with the rest."""
    parts = urlsplit(url)
    if not parts.password:
        return url, dict(os.environ)
    user, _, host = parts.netloc.rpartition("@")
    shown = parts._replace(netloc=f"{user.partition(':')[0]}@{host}").geturl()
    return shown, os.environ | {"PGPASSWORD": unquote(parts.password)}
