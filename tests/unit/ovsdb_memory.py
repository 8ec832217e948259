"""A naive OVSDB in memory: applies operations as RFC 7047 says and looks everything up by scanning. It is what `plan`
is tried against where a server would be too slow, and shares no code with the replica."""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hagane.ovn.desired import KEY_COLUMNS, MARK, owner_of
from hagane.ovn.schema import Schema, parse_schema
from hagane.ovn.transaction import Delete, Insert, Mutate, Op, Update

NB_SCHEMA = Path("/usr/share/ovn/ovn-nb.ovsschema")
Content = dict[str, dict[str, dict[str, Any]]]


class MemoryDatabase:
    def __init__(self) -> None:
        self.schema: Schema = parse_schema(json.loads(NB_SCHEMA.read_text()))
        self.tables: Content = {name: {} for name in self.schema.tables}
        self._ids = (f"{number:08x}-0000-4000-8000-000000000000" for number in itertools.count(1))

    # View

    def find(self, table: str, key: str) -> Sequence[Any]:
        return [row for row in self.tables[table].values() if self.key(table, row) == key]

    def get(self, table: str, row_id: str) -> Any:
        return self.tables[table].get(row_id)

    def key(self, table: str, row: Any) -> str | None:
        if table in KEY_COLUMNS:
            return " ".join(row[column] for column in KEY_COLUMNS[table])
        return row.get("external_ids", {}).get(MARK)

    def holders(self, table: str, column: str, held: str) -> Sequence[Any]:
        return [row_id for row_id, row in self.tables[table].items() if held in row[column]]

    def owned(self, owner: str) -> Iterable[tuple[str, Any]]:
        return [(table, row) for table, key, row in self.all_ours() if owner_of(key) == owner]

    def all_ours(self) -> Iterable[tuple[str, str, Any]]:
        for table, rows in self.tables.items():
            for row in rows.values():
                key = self.key(table, row)
                if key is not None and table not in KEY_COLUMNS:
                    yield table, key, row

    def lost(self, table: str, columns: Mapping[str, Any]) -> Sequence[Any]:
        name = columns.get("name") or ""
        return [row for row in self.tables[table].values() if row.get("name") == name and len(name) >= 36]

    # Changes

    def commit(self, ops: Iterable[Op]) -> None:
        names: dict[str, str] = {}
        ops = list(ops)
        for op in ops:
            if isinstance(op, Insert):
                names[op.name] = next(self._ids)
        for op in ops:
            self._apply(op, names)
        self._check_references()
        while self._collect():
            pass

    def add(self, table: str, **columns: Any) -> str:
        """A row of somebody else's, without the garbage collection of a commit."""
        row_id = next(self._ids)
        defaults = {name: column.default for name, column in self.schema.tables[table].columns.items()}
        self.tables[table][row_id] = {"_uuid": row_id, **defaults, **columns}
        return row_id

    def _apply(self, op: Op, names: dict[str, str]) -> None:
        match op:
            case Insert(table, row, name):
                row_id = names[name]
                columns = self.schema.tables[table].columns
                values = {column: self._named(columns[column].coerce(value), names) for column, value in row.items()}
                defaults = {column: spec.default for column, spec in columns.items()}
                self.tables[table][row_id] = {"_uuid": row_id, **defaults, **values}
            case Update(table, row_id, row):
                self.tables[table][row_id] |= {column: self._named(value, names) for column, value in row.items()}
            case Mutate(table, row_id, changes):
                for column, mutator, value in changes:
                    row = self.tables[table][row_id]
                    row[column] = _mutated(row[column], mutator, self._named(value, names))
            case Delete(table, row_id):
                self.tables[table].pop(row_id, None)
            case _:
                raise AssertionError(f"unexpected {op}")

    def _named(self, value: Any, names: dict[str, str]) -> Any:
        if isinstance(value, frozenset | set):
            return frozenset(names.get(item, item) for item in value)
        return names.get(value, value) if isinstance(value, str) else value

    def _references(self, *, strong: bool) -> Iterable[tuple[str, str, str]]:
        for table, rows in self.tables.items():
            for column in self.schema.tables[table].columns.values():
                if column.ref_table is None or column.strong != strong:
                    continue
                for row in rows.values():
                    held = row[column.name]
                    for item in held if column.is_set else [held] * (held is not None):
                        yield column.ref_table, item, f"{table}.{column.name}"

    def _check_references(self) -> None:
        """A strong reference to a row that is not there would be refused, except from a row that is garbage itself."""
        for table, row_id, place in self._references(strong=True):
            assert row_id in self.tables[table], f"{place} refers to a row that is not in {table}"

    def _collect(self) -> bool:
        held = {(table, row_id) for table, row_id, _ in self._references(strong=True)}
        garbage = [
            (table, row_id)
            for table, rows in self.tables.items()
            if not self.schema.tables[table].is_root
            for row_id in rows
            if (table, row_id) not in held
        ]
        for table, row_id in garbage:
            del self.tables[table][row_id]
        for table, row_id, place in list(self._references(strong=False)):
            if row_id not in self.tables[table]:
                holder, column = place.split(".")
                for row in self.tables[holder].values():
                    if self.schema.tables[holder].columns[column].is_set:
                        row[column] = frozenset(row[column]) - {row_id}
                    elif row[column] == row_id:
                        row[column] = None
        return bool(garbage)


def _mutated(have: Any, mutator: str, value: Any) -> Any:
    match have, mutator:
        case dict(), "insert":
            return {**value, **have}
        case dict(), "delete":
            return {key: item for key, item in have.items() if key not in value}
        case _, "insert":
            return frozenset(have) | value
        case _, "delete":
            return frozenset(have) - value
    raise AssertionError(mutator)
