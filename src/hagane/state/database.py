"""One door to the store: reads that see what is committed, and writes that are whole transactions.

    rows = await db.fetch("SELECT ... WHERE id = :id", {"id": x})
    result = await db.write(work)        # work is `async def work(tx) -> result`

A transaction is a function because it may have to run again: PostgreSQL answers a serialization conflict by asking for
the transaction anew. For the same reason it must touch nothing but `tx`; what must happen after the commit (waking
a reconciler) is handed to `tx.after`. On SQLite the function is driven to its end without leaving the event loop, so
it may await only the methods of `tx`. Both stores give serializable isolation: a claim checked is a claim held.

Statements use `:name` parameters and the part of SQL that both stores speak. Columns are TEXT, BIGINT or DOUBLE; JSON
and times are TEXT (times ISO 8601 in UTC, so that they sort), booleans are 0 and 1.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Row = dict[str, Any]
Params = Mapping[str, Any]
Work = Callable[["Tx"], Awaitable[T]]


class Duplicate(Exception):
    """A unique constraint refused the row. Nouns turn it into their own Conflict."""


class Reader(Protocol):
    """What `Database` and `Tx` have in common: a place to read from."""

    dialect: str

    async def fetch(self, sql: str, params: Params | None = None) -> list[Row]: ...

    async def fetch_tuples(self, sql: str, params: Params | None = None) -> Sequence[Sequence[Any]]: ...


class Tx(Protocol):
    """An open transaction. It also reads its own writes."""

    dialect: str

    async def fetch(self, sql: str, params: Params | None = None) -> list[Row]: ...

    async def fetch_tuples(self, sql: str, params: Params | None = None) -> Sequence[Sequence[Any]]: ...

    async def execute(self, sql: str, params: Params | None = None) -> int:
        """Run a statement; returns the number of rows it changed. After a Duplicate the work must end with an error."""
        ...

    def after(self, call: Callable[[], None]) -> None:
        """Run `call` when this transaction has been committed, and only then."""
        ...

    def notify(self, topic: str) -> None:
        """Tell every process that listens, when this transaction has been committed."""
        ...


class Database(Protocol):
    """One store."""

    dialect: str

    def listen(self, call: Callable[[str], None]) -> None:
        """Have `call(topic)` called here for every committed `tx.notify(topic)`, whichever process sent it; "*" says
        that some topics may have been missed."""
        ...

    async def fetch(self, sql: str, params: Params | None = None) -> list[Row]: ...

    async def fetch_tuples(self, sql: str, params: Params | None = None) -> Sequence[Sequence[Any]]: ...

    async def write(self, work: Work[T]) -> T: ...

    async def script(self, sql: str, *, unless: str = "") -> bool:
        """Run a migration: several statements in one transaction, one such at a time in all processes; nothing when
        the query `unless` finds a row. Returns whether it ran."""
        ...

    async def backup(self, path: str) -> None:
        """Copy the store to a file while it is in use."""
        ...

    async def close(self) -> None: ...


async def open_database(url: str) -> Database:
    """`sqlite:/path/file.db`, `sqlite::memory:` or `postgresql://user@host/db`."""
    if url.startswith("sqlite:"):
        from hagane.state.sqlite import SqliteDatabase

        return SqliteDatabase(url.removeprefix("sqlite:"))
    from hagane.state.postgres import PostgresDatabase

    return await PostgresDatabase.open(url)
