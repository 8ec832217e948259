"""The embedded store: SQLite in WAL mode, one connection that writes and one that reads.

Statements run inline on the event loop (a few microseconds each, no thread to wait for); only the commit, which waits
for the disk, runs in a thread. Transactions that arrive while a commit is under way gather and share the next one:

    write ─▶ queue ─▶ BEGIN, each work in its own savepoint ─▶ COMMIT in a thread ─▶ answers, then after-calls

A work that fails rolls back to its savepoint and fails alone. Neither a long list nor a long queue of works holds the
event loop: both are done in slices, between which others have their turn.
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast

import apsw

from hagane.errors import Invalid, Unavailable
from hagane.state.checkpoint import Checkpoints
from hagane.state.database import Duplicate, Params, Row, Work

T = TypeVar("T")
BATCH_SECONDS = 0.008  # works that fit into this time share one commit
SLICE = 500  # rows read at a time


class SqliteTx:
    """The transaction of one work inside the shared commit."""

    dialect = "sqlite"

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.afters: list[Callable[[], None]] = []
        self.topics: set[str] = set()

    async def fetch(self, sql: str, params: Params | None = None) -> list[Row]:
        return _rows(self._connection, sql, params)

    async def fetch_tuples(self, sql: str, params: Params | None = None) -> Sequence[Sequence[Any]]:
        return _ask(self._connection, sql, params).fetchall()

    async def execute(self, sql: str, params: Params | None = None) -> int:
        try:
            self._connection.execute(sql, params or {})
        except apsw.ConstraintError as error:
            raise Duplicate(str(error)) from error
        return self._connection.changes()

    def after(self, call: Callable[[], None]) -> None:
        self.afters.append(call)

    def notify(self, topic: str) -> None:
        self.topics.add(topic)


Settled = tuple[asyncio.Future[Any], SqliteTx, Any]  # a work, and its result in a tuple or the exception it raised


class SqliteDatabase:
    """See the module's text. One process at a time opens a file: a second one is refused."""

    dialect = "sqlite"

    def __init__(self, path: str) -> None:
        self.path = path
        self._listeners: list[Callable[[str], None]] = []
        self._writer = self._open(path, exclusive=True)
        # A memory database lives in its connection, so there the reader is the writer.
        self._reader = self._writer if path == ":memory:" else self._open(path, exclusive=False)
        self._checkpoints = None if path == ":memory:" else Checkpoints(self._writer, self._open(path, exclusive=False))
        self._queue: deque[tuple[Work[Any], asyncio.Future[Any]]] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "sqlite-commit")
        self._closed = False

    def _open(self, path: str, *, exclusive: bool) -> apsw.Connection:
        try:
            _only_ours(path)
            connection = apsw.Connection(path, statementcachesize=1000)
            connection.set_busy_timeout(5000)
            connection.pragma("journal_mode", "wal")
            connection.pragma("synchronous", "full")
            connection.pragma("cache_size", -64_000)
            connection.pragma("temp_store", "memory")
            # Plans do not depend on bound values; otherwise each new value of many a query has it prepared again.
            connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
            connection.create_scalar_function("regexp", cast(Any, _matches), 2, deterministic=True)
            connection.pragma("wal_autocheckpoint", 0)  # see checkpoint.py
            if exclusive:
                self._lock(path)
        except (apsw.Error, OSError) as error:
            raise Unavailable(f"The database {path} cannot be opened: {error}.") from error
        return connection

    def _lock(self, path: str) -> None:
        """Hold a lock file, so that two processes never reconcile from one SQLite file."""
        if path == ":memory:":
            return
        import fcntl

        self._lockfile = Path(path + ".lock").open("w")  # noqa: SIM115 - held open for the life of the process
        try:
            fcntl.flock(self._lockfile, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lockfile.close()
            raise Unavailable(f"Another process has the database {path} open.") from error

    async def fetch(self, sql: str, params: Params | None = None) -> list[Row]:
        cursor = _ask(self._reader, sql, params)
        names = _names(cursor)
        return [dict(zip(names, row, strict=True)) for row in await self._all(cursor)]

    async def fetch_tuples(self, sql: str, params: Params | None = None) -> Sequence[Sequence[Any]]:
        return await self._all(_ask(self._reader, sql, params))

    async def _all(self, cursor: apsw.Cursor) -> list[tuple[Any, ...]]:
        """All rows, as they were when the first was read."""
        if self._reader is self._writer:
            return list(cursor)
        rows = slice_ = list(islice(cursor, SLICE))
        while len(slice_) == SLICE:
            await asyncio.sleep(0)
            slice_ = list(islice(cursor, SLICE))
            rows += slice_
        return rows

    async def write(self, work: Work[T]) -> T:
        if self._closed:
            raise Unavailable(f"The database {self.path} is closed.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.append((work, future))
        if self._runner is None or self._runner.done():
            # It works for many requests: what is logged there is not of the one that happened to start it.
            self._runner = loop.create_task(self._run(), name="sqlite-writer", context=Context())
        return await future

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            settled: list[Settled] = []
            try:
                for entry in self._batch():
                    settled.append(self._work(*entry))
                    self._still_open(settled[-1][2])
                await loop.run_in_executor(self._thread, self._commit)
            except (apsw.Error, Unavailable) as error:
                self._fail(settled, error)
                continue
            for future, tx, result in settled:
                self._settle(future, tx, result)
            if self._checkpoints is not None:
                self._checkpoints.start_if_due()

    def _commit(self) -> None:
        self._writer.execute("COMMIT")
        if self._checkpoints is not None:
            self._checkpoints.committed()

    def _batch(self) -> Iterator[tuple[Work[Any], asyncio.Future[Any]]]:
        until = time.monotonic() + BATCH_SECONDS
        yield self._queue.popleft()
        while self._queue and time.monotonic() < until:
            yield self._queue.popleft()

    def _work(self, work: Work[Any], future: asyncio.Future[Any]) -> Settled:
        """Run one work in its savepoint; its result, or the exception it raised, waits for the commit."""
        tx = SqliteTx(self._writer)
        try:
            if not self._writer.in_transaction:
                self._writer.execute("BEGIN IMMEDIATE")
            self._writer.execute("SAVEPOINT work")
            try:
                result = _drive(work(tx))
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK TO work")
                raise
            finally:
                if self._writer.in_transaction:
                    self._writer.execute("RELEASE work")
        except Exception as error:
            return future, tx, _full(error)
        return future, tx, (result,)

    def _still_open(self, result: Any) -> None:
        """A full or failing disk has SQLite roll back all of the transaction: the works before this one, too."""
        if not self._writer.in_transaction:
            raise result if isinstance(result, apsw.Error | Unavailable) else Unavailable("The database lost a write.")

    def _settle(self, future: asyncio.Future[Any], tx: SqliteTx, result: Any) -> None:
        if isinstance(result, BaseException):
            if not future.done():
                future.set_exception(result)
            return
        if not future.done():
            future.set_result(result[0])
        for call in tx.afters:
            call()
        for topic in tx.topics:
            for listener in self._listeners:
                listener(topic)

    def listen(self, call: Callable[[str], None]) -> None:
        self._listeners.append(call)

    def _fail(self, settled: list[Settled], error: Exception) -> None:
        """Nothing of the batch happened."""
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")
        for future, _, _ in settled:
            if not future.done():
                future.set_exception(_full(error))

    async def script(self, sql: str, *, unless: str = "") -> bool:
        async def run(tx: Any) -> bool:
            if unless and await tx.fetch_tuples(unless):
                return False
            for statement in sql.split(";\n"):
                if statement.strip():
                    await tx.execute(statement)
            return True

        return await self.write(run)

    async def backup(self, path: str) -> None:
        """Copy in small steps, so that writers go on in between; SQLite restarts the copy's changed pages itself."""
        _only_ours(path)
        target = apsw.Connection(path)
        with target.backup("main", self._reader, "main") as copy:
            while not copy.done:
                copy.step(200)
                await asyncio.sleep(0)
        target.close()

    async def close(self) -> None:
        self._closed = True  # a write that came later would wait for ever
        if self._runner is not None and not self._runner.done():
            await self._runner
        self._thread.shutdown()
        if self._checkpoints is not None:
            await self._checkpoints.close()
        self._reader.close()
        self._writer.close()
        if self.path != ":memory:":
            self._lockfile.close()


def _only_ours(path: str) -> None:
    """Nobody else reads it: there are hashes of passwords and user data in it. SQLite gives its log the same mode."""
    if path != ":memory:":
        Path(path).touch(mode=0o600)


def _matches(pattern: str, text: str | None) -> bool:
    """`text REGEXP pattern`. Patterns come from users: who lets one in has made sure that it ends in time."""
    return text is not None and _pattern(pattern).search(text) is not None


@lru_cache(100)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def _rows(connection: apsw.Connection, sql: str, params: Params | None) -> list[Row]:
    cursor = _ask(connection, sql, params)
    names = _names(cursor)
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _ask(connection: apsw.Connection, sql: str, params: Params | None) -> apsw.Cursor:
    """Raises Invalid for a question that is too long for SQLite: it has as many parts as the request's query."""
    try:
        return connection.execute(sql, params or {})
    except (apsw.SQLError, apsw.TooBigError) as error:
        if "too " in str(error) or "overflow" in str(error):
            raise Invalid(f"The request asks for too much at once: {error}.", code="LongQuery") from error
        raise


def _names(cursor: apsw.Cursor) -> list[str]:
    try:
        return [column[0] for column in cursor.get_description()]
    except apsw.ExecutionCompleteError:
        return []  # there are no rows either


def _drive(coroutine: Awaitable[T]) -> T:
    """Run a coroutine that never suspends to its end."""
    running = cast(Any, coroutine)
    try:
        running.send(None)
    except StopIteration as stop:
        return cast(T, stop.value)
    running.close()
    raise RuntimeError("A transaction may await only the methods of its own tx.")


def _full(error: Exception) -> Exception:
    if isinstance(error, apsw.FullError | apsw.IOError):
        return Unavailable("The database cannot be written: the disk is full or failing.", detail=str(error))
    return error
