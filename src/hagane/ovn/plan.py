"""The difference between desired rows and the database, as operations: a pure function.

    desired ─┐   find each by key (or adopt) ─▶ insert what is missing, change what differs
    actual  ─┼─▶ in scope, not desired       ─▶ delete (children leave their parents, roots are deleted)
    scope   ─┘   parents and memberships     ─▶ single elements come and go in set columns

After the operations are committed, the same call returns none. Its cost depends on the rows named and on their change,
not on the size of the database: rows are found by index, holders by the way back, sets differ by elements.

A row that has lost its mark is found again where its name tells (see `View.lost`); a second row of the same key is
deleted.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Protocol

from hagane.errors import Conflict, Invalid
from hagane.ovn.desired import KEY_COLUMNS, MARK, Desired, Only, Ref, RowKey, Scope
from hagane.ovn.row import Row
from hagane.ovn.schema import Schema
from hagane.ovn.transaction import Delete, Insert, Mutate, Op, Update
from hagane.ovn.wire import UUID, Column, Named

Handle = UUID | Named
Moves = defaultdict[tuple[str, Handle], defaultdict[str, set[Handle]]]
"""(table, holder) → column → those held"""


class View(Protocol):
    """The database as `plan` needs to see it."""

    @property
    def schema(self) -> Schema: ...

    def find(self, table: str, key: str) -> Sequence[Row]:
        """Our rows of this key: one, or none, or several after a mishap."""
        ...

    def get(self, table: str, row_id: UUID) -> Row | None: ...

    def key(self, table: str, row: Row) -> str | None:
        """The key of a row of ours; None for a foreign row."""
        ...

    def holders(self, table: str, column: str, held: UUID) -> Sequence[UUID]:
        """The rows of `table`, foreign ones too, that hold `held` in their set `column`."""
        ...

    def owned(self, owner: str) -> Iterable[tuple[str, Row]]:
        """All rows of ours of an owner, with their tables."""
        ...

    def all_ours(self) -> Iterable[tuple[str, str, Row]]:
        """(table, key, row) of all rows of ours."""
        ...

    def lost(self, table: str, columns: Mapping[str, Any]) -> Sequence[Row]:
        """Rows without the mark that can only be the one with these columns, by their name or all they say."""
        ...


def plan(desired: Iterable[Desired], actual: View, scope: Scope | None = None) -> list[Op]:
    """The operations that turn `actual` into `desired` within `scope`.

    Raises Conflict when a parent or a referenced row is neither there nor desired (its own reconciler has not run yet),
    Invalid for desired rows that contradict each other, Unsupported for a column that this OVN has not.
    """
    return _Plan(desired, actual, scope or Scope()).ops()


@dataclass(slots=True)
class _Found:
    """A desired row, and its row in the database, if any. `handle` stands for it in the transaction."""

    want: Desired
    row: Row | None
    handle: Handle


class _Plan:
    def __init__(self, desired: Iterable[Desired], actual: View, scope: Scope) -> None:
        self._actual = actual
        self._found: dict[RowKey, _Found] = {}
        self._columns_of: dict[Handle, Mapping[str, Any]] = {}
        self._doomed: dict[UUID, str] = {}  # row → table
        self._joins: Moves = defaultdict(lambda: defaultdict(set))
        self._leaves: Moves = defaultdict(lambda: defaultdict(set))
        for want in desired:
            self._locate(want)
        self._doom(scope)

    def ops(self) -> list[Op]:
        for found in self._found.values():
            self._place(found)
            self._enrol(found)
        for row_id, table in self._doomed.items():
            self._evict(table, row_id)
        inserts: list[Op] = []
        changes: list[Op] = []
        for found in self._found.values():
            if found.row is None:
                inserts.append(self._insert(found))
            else:
                changes += self._change(found)
        roots = [Delete(table, row_id) for row_id, table in self._doomed.items() if self._table(table).is_root]
        return [*inserts, *changes, *self._memberships(), *roots]

    # Finding

    def _locate(self, want: Desired) -> None:
        name = (want.table, want.key)
        if name in self._found:
            raise Invalid(f"{want.table} {want.key} is desired twice.")
        if want.parent is None and not self._table(want.table).is_root:
            raise Invalid(f"{want.table} {want.key} needs a parent.")
        rows = sorted(self._actual.find(*name), key=lambda row: self._fitness(want, row))
        row = rows[0] if rows else self._lost(want)
        handle: Handle = Named(f"row{len(self._found)}") if row is None else row["_uuid"]
        self._found[name] = _Found(want, row, handle)
        self._columns_of[handle] = want.columns
        self._doomed.update((row["_uuid"], want.table) for row in rows[1:])

    def _fitness(self, want: Desired, row: Row) -> tuple[bool, str]:
        """Of several rows of one key, the one in the right place stays."""
        placed = False
        if want.parent is not None:
            table, key, column = want.parent
            holders = self._actual.holders(table, column, row["_uuid"])
            placed = any(parent["_uuid"] in holders for parent in self._actual.find(table, key))
        return not placed, row["_uuid"]

    def _lost(self, want: Desired) -> Row | None:
        """A row that lost its mark. One that has no name has to be in its place as well."""
        rows = self._actual.lost(want.table, want.columns) if want.table not in KEY_COLUMNS else ()
        if want.parent is not None and "name" not in want.columns:
            rows = [row for row in rows if self._fitness(want, row) == (False, row["_uuid"])]
        return rows[0] if rows else None

    def _doom(self, scope: Scope) -> None:
        for table, key in scope.keys:
            self._doom_rows(table, key, self._actual.find(table, key))
        for owner in scope.owners:
            for table, row in self._actual.owned(owner):
                self._doom_rows(table, self._actual.key(table, row) or "", [row])
        if scope.match is not None:
            for table, key, row in self._actual.all_ours():
                if scope.match(table, key):
                    self._doom_rows(table, key, [row])
        for found in self._found.values():
            self._doom_strangers(found)

    def _doom_rows(self, table: str, key: str, rows: Iterable[Row]) -> None:
        if (table, key) not in self._found:
            self._doomed.update((row["_uuid"], table) for row in rows)

    def _doom_strangers(self, found: _Found) -> None:
        """Children of a column of ours alone, which nobody desires."""
        kept = {other.handle for other in self._found.values()} if found.want.exclusive else set()
        for name in found.want.exclusive if found.row is not None else ():
            table = self._column(found.want.table, name).ref_table or ""
            self._doomed.update((child, table) for child in found.row[name] if child not in kept)  # type: ignore[index]

    # Places in other rows' sets

    def _place(self, found: _Found) -> None:
        """A child is in its parent and nowhere else."""
        if found.want.parent is None:
            return
        table, key, column = found.want.parent
        parent = self._resolve(Ref(table, key))
        held_in = self._held_in(found)
        if (table, column, parent) not in held_in:
            self._joins[table, parent][column].add(found.handle)
        for other in held_in - {(table, column, parent)}:
            self._leave(*other, found.handle)

    def _held_in(self, found: _Found) -> set[tuple[str, str, Handle]]:
        if found.row is None:
            return set()
        child = found.row["_uuid"]
        places = self._table(found.want.table).holders
        return {(t, c, holder) for t, c in places for holder in self._actual.holders(t, c, child)}

    def _enrol(self, found: _Found) -> None:
        """A member is in the named rows of ours, and in no other of ours; foreign rows are not looked at. A desired row
        that names the whole set itself has the say."""
        for (table, column), keys in found.want.member_of.items():
            wanted = {self._resolve(Ref(table, key)) for key in keys}
            held_in: set[Handle] = set()
            if found.row is not None:
                held_in = {
                    h for h in self._actual.holders(table, column, found.row["_uuid"]) if self._is_ours(table, h)
                }
            whole = {holder for holder in wanted | held_in if column in self._columns_of.get(holder, ())}
            for holder in wanted - held_in - whole:
                self._joins[table, holder][column].add(found.handle)
            for holder in held_in - wanted - whole:
                self._leave(table, column, holder, found.handle)

    def _is_ours(self, table: str, row_id: UUID) -> bool:
        row = self._actual.get(table, row_id)
        return row is not None and self._actual.key(table, row) is not None

    def _evict(self, table: str, row_id: UUID) -> None:
        """A row of no root table is deleted by leaving all that hold it; of a root table, holders must let it go."""
        for holder_table, column in self._table(table).holders:
            for holder in self._actual.holders(holder_table, column, row_id):
                self._leave(holder_table, column, holder, row_id)

    def _leave(self, table: str, column: str, holder: Handle, held: Handle) -> None:
        if holder not in self._doomed:
            self._leaves[table, holder][column].add(held)

    def _memberships(self) -> Iterable[Op]:
        for table, holder in dict.fromkeys([*self._leaves, *self._joins]):
            if type(holder) is Named:
                continue  # it is inserted with those that it holds
            gone = [(column, "delete", frozenset(held)) for column, held in self._leaves[table, holder].items()]
            come = [(column, "insert", frozenset(held)) for column, held in self._joins[table, holder].items()]
            yield Mutate(table, holder, (*gone, *come))

    # A row's own columns

    def _insert(self, found: _Found) -> Insert:
        want = found.want
        row = {name: self._value(want, name, value) for name, value in want.columns.items()}
        row = {name: dict(value.pairs) if isinstance(value, Only) else value for name, value in row.items()}
        if want.table not in KEY_COLUMNS:
            row["external_ids"] = {**row.get("external_ids", {}), MARK: want.key}
        for column, held in self._joins.get((want.table, found.handle), {}).items():
            row[column] = frozenset(held) | row.get(column, frozenset())
        assert isinstance(found.handle, Named)
        return Insert(want.table, row, found.handle)

    def _change(self, found: _Found) -> list[Op]:
        want, row = found.want, found.row
        assert row is not None
        columns = dict(want.columns)
        if want.table not in KEY_COLUMNS:
            own = columns.get("external_ids", Only({}))
            columns["external_ids"] = (
                Only({**own.pairs, MARK: want.key}) if isinstance(own, Only) else {**own, MARK: want.key}
            )
        values: dict[str, Any] = {}
        mutations: list[tuple[str, str, Any]] = []
        for name, raw in columns.items():
            column = self._column(want.table, name)
            value = self._value(want, name, raw)
            if column.is_map:
                mutations += _map_changes(name, row[name], value)
            elif column.is_set and column.min == 0:
                mutations += _set_changes(name, row[name], value)
            elif row[name] != value:
                values[name] = value
        ops: list[Op] = [Update(want.table, row["_uuid"], values)] if values else []
        return [*ops, Mutate(want.table, row["_uuid"], tuple(mutations))] if mutations else ops

    def _value(self, want: Desired, name: str, raw: Any) -> Any:
        """The value as the column holds it, Refs resolved."""
        column = self._column(want.table, name)
        if isinstance(raw, Only):
            return raw
        if isinstance(raw, Ref):
            return self._resolve(raw) if not column.is_set else frozenset((self._resolve(raw),))
        value = column.coerce(raw)
        if column.ref_table is not None and column.is_set:
            return frozenset(self._resolve(item) if isinstance(item, Ref) else item for item in value)
        return value

    # Looking up

    def _resolve(self, ref: Ref) -> Handle:
        found = self._found.get((ref.table, ref.key))
        if found is not None:
            return found.handle
        rows = [row for row in self._actual.find(ref.table, ref.key) if row["_uuid"] not in self._doomed]
        if not rows:
            raise Conflict(f"{ref.table} {ref.key} is not in the OVN database (yet).", code="OvnRowMissing")
        return UUID(min(row["_uuid"] for row in rows))

    def _table(self, name: str) -> Any:
        return self._actual.schema.table(name)

    def _column(self, table: str, name: str) -> Column:
        return self._actual.schema.table(table).column(name)


def _set_changes(name: str, have: Set[Any], want: Set[Any]) -> list[tuple[str, str, Any]]:
    changes = []
    if gone := frozenset(have - want):
        changes.append((name, "delete", gone))
    if come := frozenset(want - have):
        changes.append((name, "insert", come))
    return changes


def _map_changes(name: str, have: Mapping[Any, Any], want: Any) -> list[tuple[str, str, Any]]:
    """A map's "insert" does not replace, so a pair that differs goes first."""
    pairs, whole = (want.pairs, False) if isinstance(want, Only) else (want, True)
    come = {key: value for key, value in pairs.items() if have.get(key) != value}
    gone = frozenset(key for key in have if key in come or (whole and key not in pairs))
    changes: list[tuple[str, str, Any]] = []
    if gone:
        changes.append((name, "delete", gone))
    if come:
        changes.append((name, "insert", come))
    return changes
