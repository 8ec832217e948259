"""One table of the replica: applies the server's updates to its rows, lookups and listeners, in time that depends on
the change alone, not on the size of the table or of its sets."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Set
from sys import intern
from typing import Any, Literal

from hagane.ovn.row import Holders, Index, Row, Shape
from hagane.ovn.schema import TableSchema
from hagane.ovn.wire import UUID, Before, Column

Kind = Literal["insert", "update", "delete"]
Listener = Callable[[Kind, Row | None, Row | None], None]
Event = tuple[Listener, Kind, Row | None, Row | None]

_NOTHING: frozenset[UUID] = frozenset()


class Inconsistent(Exception):
    """The server changed a row that is not here: the replica must be read anew."""


class Table:
    """Rows of one table, and who wants to know about them."""

    def __init__(self, name: str, wanted: Iterable[str] | None) -> None:
        self.name = name
        self._wanted = None if wanted is None else tuple(wanted)
        self.rows: dict[UUID, Row] = {}
        self.columns: dict[str, Column] = {}
        self._shape = Shape(name, {})
        self._indexes: list[Index] = []
        self._holders: dict[str, Holders] = {}
        self._listeners: list[Listener] = []
        self._unseen: set[UUID] | None = None

    def adopt(self, schema: TableSchema | None) -> bool:
        """Takes the server's schema; columns that it lacks are left out. True if the rows no longer fit."""
        columns = {} if schema is None else schema.columns
        wanted = columns if self._wanted is None else self._wanted
        chosen = {name: columns[name] for name in wanted if name in columns}
        if {n: (c.key, c.value, c.min, c.max) for n, c in chosen.items()} == {
            n: (c.key, c.value, c.min, c.max) for n, c in self.columns.items()
        }:
            return False
        self.columns = chosen
        self._shape = Shape(self.name, {name: column.default for name, column in chosen.items()})
        return True

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def index(self, key_of: Callable[[Row], Hashable]) -> Index:
        index = Index(key_of)
        for row in self.rows.values():
            index.update(None, row)
        self._indexes.append(index)
        return index

    def holders(self, column: str) -> Holders:
        """The lookup of who holds a row in this set column; made once, then kept."""
        if column not in self._holders:
            self._holders[column] = holders = Holders()
            for row_id, row in self.rows.items():
                holders.update(row_id, _NOTHING, row.get(column, _NOTHING))
        return self._holders[column]

    # What the server says

    def begin(self) -> None:
        """The whole content follows: what is not in it is gone."""
        self._unseen = set(self.rows)

    def end(self, events: list[Event]) -> None:
        unseen, self._unseen = self._unseen or set(), None
        for row_id in unseen:
            self._delete(row_id, events)

    def apply(self, row_id: str, change: Mapping[str, Any], events: list[Event]) -> None:
        """One <row-update2> (ovsdb-server(7), 4.1.14). Raises Inconsistent."""
        if "modify" in change:
            self._modify(UUID(row_id), change["modify"], events)
        elif "delete" in change:
            self._delete(UUID(row_id), events)
        else:
            self._put(UUID(intern(row_id)), change.get("insert") or change.get("initial") or {}, events)

    def apply_old(self, row_id: str, change: Mapping[str, Any], events: list[Event]) -> None:
        """One <row-update> of a server that knows only RFC 7047 (section 4.1.6): `new` is the whole row."""
        if "new" in change:
            self._put(UUID(intern(row_id)), change["new"], events)
        else:
            self._delete(UUID(row_id), events)

    def _put(self, row_id: UUID, raw: Mapping[str, Any], events: list[Event]) -> None:
        columns = self.columns
        new = self._shape.make(row_id, {name: columns[name].decode(value) for name, value in raw.items()})
        old = self.rows.get(row_id)
        if self._unseen is not None:
            self._unseen.discard(row_id)
        if old is not None and type(old) is type(new) and old == new:
            return
        self.rows[row_id] = new
        for column, holders in self._holders.items():
            before = _NOTHING if old is None else old.get(column, _NOTHING)
            after = new.get(column, _NOTHING)
            holders.update(row_id, before - after, after - before)
        self._tell("insert" if old is None else "update", old, new, events)

    def _modify(self, row_id: UUID, raw: Mapping[str, Any], events: list[Event]) -> None:
        old = self.rows.get(row_id)
        if old is None:
            raise Inconsistent(f"{self.name} {row_id}")
        values: dict[str, Any] = {}
        live: dict[str, Any] = {}
        for name, value in raw.items():
            column = self.columns[name]
            diff = column.decode(value)
            if name in self._holders:
                self._rehold(name, row_id, old[name], diff)
            values[name] = column.flip(old[name], diff)
            if values[name] is old[name] and column.is_set:
                live[name] = Before(values[name], diff)
        new = self.rows[row_id] = self._shape.change(old, values)
        self._tell("update", self._shape.change(old, live) if live and self._listeners else old, new, events)

    def _rehold(self, column: str, holder: UUID, before: Set[UUID], diff: Set[UUID]) -> None:
        gone = {held for held in diff if held in before}
        self._holders[column].update(holder, gone, diff - gone)

    def _delete(self, row_id: UUID, events: list[Event]) -> None:
        old = self.rows.pop(row_id, None)
        if old is None:
            return
        for column, holders in self._holders.items():
            holders.update(row_id, old.get(column, _NOTHING), _NOTHING)
        self._tell("delete", old, None, events)

    def _tell(self, kind: Kind, old: Row | None, new: Row | None, events: list[Event]) -> None:
        for index in self._indexes:
            index.update(old, new)
        events.extend((listener, kind, old, new) for listener in self._listeners)
