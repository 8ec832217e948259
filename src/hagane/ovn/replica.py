"""An in-memory replica of a database (or of the tables and columns that one wants), always as the server last said.

    stopped ─start─▶ syncing ─content complete─▶ ready ─connection lost─▶ syncing ...
                        ▲                                                    │
                        └── resumes after the last transaction if the server remembers it, else reads all and compares

Only `ready` content may be acted upon: while syncing, a row that is missing may just not have arrived yet. After a
reconnect listeners hear of the real differences only, however they were learnt. Updates are applied in the order of
commits, each transaction as a whole before any listener runs. One that changes thousands of rows (ovn-northd's do) is
applied in slices, so that it does not hold the event loop; `whole` waits for its end, and so does whoever writes.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from hagane.errors import Unavailable
from hagane.ovn.batch import Batcher
from hagane.ovn.connection import Connection, Tls
from hagane.ovn.pause import no_collections
from hagane.ovn.peer import Peer, RemoteError
from hagane.ovn.row import Holders, Index, Row
from hagane.ovn.schema import Schema, parse_schema
from hagane.ovn.table import Event, Inconsistent, Listener, Table
from hagane.ovn.transaction import Op
from hagane.ovn.wire import UUID

log = logging.getLogger(__name__)

T = TypeVar("T")

_SLICE = 250  # rows that are applied, and changes that are told, in one turn of the event loop
_UNKNOWN_TXN = "00000000-0000-0000-0000-000000000000"


class Replica:
    """`tables` names the columns to keep of each table (None: all). Columns that a server's schema lacks are left
    out."""

    def __init__(
        self,
        remotes: str,
        database: str,
        tables: Mapping[str, Iterable[str] | None],
        *,
        tls: Tls | None = None,
        leader_only: bool = True,
        probe: float = 10.0,
    ) -> None:
        self.database = database
        self.connection = Connection(remotes, database, tls=tls, leader_only=leader_only, probe=probe)
        self.ready = asyncio.Event()
        self.sessions = 0  # how often the content became complete anew
        self.resumed = False
        self._schema: Schema | None = None
        self._tables = {name: Table(name, wanted) for name, wanted in tables.items()}
        self._last_txn: str | None = None
        self._peer: Peer | None = None
        self._early: deque[tuple[str, list[Any]]] | None = None
        self._later: deque[tuple[str, list[Any]]] = deque()  # a big change, and those that came after it
        self._slicing: asyncio.Task[None] | None = None
        self._whole = asyncio.Event()
        self._whole.set()
        self._waiters: list[Callable[[], bool]] = []
        self._states: list[Callable[[], None]] = []
        self._batcher = Batcher(self._send)

    async def start(self) -> None:
        """Begins to connect, and returns at once: `ready` tells when the content is complete."""
        self.connection.start(self._set_up, self._notified, self._lost)

    async def stop(self) -> None:
        await self.connection.stop()

    @property
    def schema(self) -> Schema:
        if self._schema is None:
            raise Unavailable(f"The database {self.database} has not been reached yet.", detail=self.connection.reason)
        return self._schema

    # Reading

    def table(self, name: str) -> dict[UUID, Row]:
        """The live rows of a table, by UUID; not to be changed."""
        return self._tables[name].rows

    def index(self, table: str, key_of: Callable[[Row], Hashable]) -> Index:
        """A lookup by a function of the row, kept up to date from now on."""
        return self._tables[table].index(key_of)

    def holders(self, table: str, column: str) -> Holders:
        """A lookup of the rows of `table` that hold a UUID in their set `column`, kept up to date from now on."""
        return self._tables[table].holders(column)

    def on_change(self, table: str, listener: Listener) -> None:
        """Calls listener("insert" | "update" | "delete", old, new) for each change, in order, from the event loop. The
        initial content comes as inserts. A listener must not block; what it raises is logged."""
        self._tables[table].listen(listener)

    def on_state(self, listener: Callable[[], None]) -> None:
        """Calls listener() when the replica becomes `ready`, and when it is that no more."""
        self._states.append(listener)

    async def until(self, look: Callable[[], T], timeout: float) -> T:
        """Waits until `look()` is true, looking again after each change, and returns what it gave; TimeoutError."""
        found = look()
        if found:
            return found
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def attempt() -> bool:
            if not future.done() and (now := look()):
                future.set_result(now)
            return future.done()

        self._waiters.append(attempt)
        try:
            async with asyncio.timeout(timeout):
                return await future
        finally:
            future.cancel()
            self._waiters = [waiter for waiter in self._waiters if waiter is not attempt]

    async def whole(self) -> None:
        """Waits until no change is half applied."""
        await self._whole.wait()

    # Writing

    async def transact(self, ops: Iterable[Op]) -> list[Any]:
        """Commits these operations as one transaction of their own, and returns a result for each.

        Raises DeviceFailed (refused), Conflict (a `wait` did not hold), Invalid (wrong types), Unavailable. The last
        one may come after the server has committed: read again and compute anew. The replica shows the effect on
        return.
        """
        return await self._batcher.alone(tuple(ops), self.schema)

    async def submit(self, ops: Iterable[Op]) -> list[Any]:
        """As `transact`, but shares its commit with others that are submitted at the same time. If that fails, each is
        tried by itself, so nobody suffers from another's mistake."""
        return await self._batcher.submit(tuple(ops), self.schema)

    async def _send(self, ops: Sequence[Any]) -> list[Any]:
        peer = self._peer
        if peer is None or not self.ready.is_set():
            raise Unavailable(f"The database {self.database} is not connected.", detail=self.connection.reason)
        try:
            reply: list[Any] = await peer.call("transact", [self.database, *ops])
        except RemoteError as error:
            return [{"error": error.error, "details": error.details}]
        await self.whole()  # the change that this reply follows may still be under way
        return reply

    # The connection's side

    async def _set_up(self, peer: Peer) -> None:
        self._peer, self._early = peer, deque()
        self._schema = parse_schema(await peer.call("get_schema", [self.database]))
        changed = [table.adopt(self._schema.tables.get(name)) for name, table in self._tables.items()]
        if any(changed):
            self._last_txn = None
        requests = {name: [{"columns": list(table.columns)}] for name, table in self._tables.items() if table.columns}
        self.resumed, updates, apply = await self._monitor(peer, requests)
        events: list[Event] = []
        try:
            with no_collections:
                await self._load(updates, apply, events)
                await self._tell_in_slices(events)
                self._catch_up(events)
        except BaseException as error:
            self._last_txn = None  # half of it may be applied: the next connection reads everything
            if isinstance(error, Inconsistent):
                raise Unavailable("The database contradicts itself.", detail=f"a change of no row: {error}") from None
            raise
        finally:
            self._tell(events)
        self._early = None
        self.sessions += 1
        self.ready.set()
        self._look_again()
        self._tell_state()
        log.info("%s: ready (%s)", self.database, "resumed" if self.resumed else "read anew")

    async def _monitor(self, peer: Peer, requests: Mapping[str, Any]) -> tuple[bool, dict[str, Any], Any]:
        """Asks for the content and all later changes by the best method that the server knows. Returns whether only
        what changed since the last transaction comes, the content, and the method that applies it to a table."""
        base = [self.database, self.database, requests]
        try:
            found, self._last_txn, updates = await peer.call(
                "monitor_cond_since", [*base, self._last_txn or _UNKNOWN_TXN]
            )
        except RemoteError:
            self._last_txn = None
        else:
            return found, updates, Table.apply
        try:
            return False, await peer.call("monitor_cond", base), Table.apply
        except RemoteError:
            return False, await peer.call("monitor", base), Table.apply_old

    async def _load(self, updates: dict[str, Any], apply: Any, events: list[Event]) -> None:
        if not self.resumed:
            for table in self._tables.values():
                table.begin()
        count = 0
        for name, rows in updates.items():
            table = self._tables[name]
            for row_id, change in rows.items():
                apply(table, row_id, change, events)
                count += 1
                if count % _SLICE == 0:
                    await asyncio.sleep(0)
        if not self.resumed:
            for table in self._tables.values():
                table.end(events)
        self._catch_up(events)

    def _catch_up(self, events: list[Event]) -> None:
        """Apply what came while the content was read, or told."""
        while self._early:
            self._apply(*self._early.popleft(), events)

    def _notified(self, method: str, params: list[Any]) -> None:
        if self._early is not None:
            self._early.append((method, params))
        elif self._later or _size(params) > _SLICE:
            self._later.append((method, params))
            if self._slicing is None:
                self._whole.clear()
                self._slicing = asyncio.get_running_loop().create_task(self._slice(), name=f"{self.database} slices")
        else:
            events: list[Event] = []
            try:
                self._apply(method, params, events)
            except Exception as error:
                self._distrust(error)
            self._tell(events)
            self._look_again()

    async def _slice(self) -> None:
        """Apply what waits in `_later`, a slice in a turn of the event loop."""
        try:
            while self._later:
                events: list[Event] = []
                for part in _parts(*self._later[0]):
                    self._apply(*part, events)
                    await asyncio.sleep(0)
                await self._tell_in_slices(events)
                self._later.popleft()
                self._look_again()
        except Exception as error:
            self._distrust(error)
        finally:
            self._slicing = None
            self._later.clear()
            self._whole.set()

    def _distrust(self, error: Exception) -> None:
        """Half of a change may be applied: only all of the content is to be trusted."""
        log.warning("%s: a change cannot be applied (%r), reading anew", self.database, error)
        self._last_txn = None
        self._drop("a change that cannot be applied; reading anew")

    def _apply(self, method: str, params: list[Any], events: list[Event]) -> None:
        apply = Table.apply
        match method:
            case "update3":
                _, self._last_txn, updates = params
            case "update2":
                updates = params[1]
            case "update":
                updates, apply = params[1], Table.apply_old
            case "monitor_canceled":
                return self._drop("the server has dropped the database")
            case _:
                return None
        for name, rows in updates.items():
            table = self._tables[name]
            for row_id, change in rows.items():
                apply(table, row_id, change, events)
        return None

    def _drop(self, reason: str) -> None:
        if self._peer is not None:
            self._peer.close(reason)

    def _lost(self) -> None:
        was_ready = self.ready.is_set()
        self.ready.clear()
        self._peer = self._early = None
        if self._slicing is not None:
            self._slicing.cancel()
            self._last_txn = None
        if was_ready:
            self._tell_state()

    def _tell_state(self) -> None:
        for listener in self._states:
            try:
                listener()
            except Exception:
                log.exception("%s: a listener failed", self.database)

    async def _tell_in_slices(self, events: list[Event]) -> None:
        """Tell all; what is told is taken out."""
        while events:
            self._tell(events[:_SLICE])
            del events[:_SLICE]
            await asyncio.sleep(0)

    def _tell(self, events: list[Event]) -> None:
        for listener, kind, old, new in events:
            try:
                listener(kind, old, new)
            except Exception:
                log.exception("%s: a listener failed", self.database)

    def _look_again(self) -> None:
        for waiter in list(self._waiters):
            waiter()


def _size(params: list[Any]) -> int:
    """How many rows a notification is about."""
    updates = params[-1] if params else None
    return sum(map(len, updates.values())) if isinstance(updates, dict) else 0


def _parts(method: str, params: list[Any]) -> Iterator[tuple[str, list[Any]]]:
    """A notification in slices, each as a notification of its own."""
    if not _size(params):
        yield method, params
        return
    for name, rows in params[-1].items():
        changes = list(rows.items())
        for start in range(0, len(changes), _SLICE):
            yield method, [*params[:-1], {name: dict(changes[start : start + _SLICE])}]
