"""Tables: columns declared once, and the handful of statements that every noun needs, for both stores.

A `where` is a dict: a plain value means equality, a list means one of, `None` means IS NULL, and the small classes
below say the rest. Values are Python's (bool, list, dict); the table codes them, by functions that are compiled from
its columns: a row is one dictionary display. No statement here is run per row.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec

from hagane.state.database import Reader, Row, Tx

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Column:
    """`kind`: text, int, real, bool (0/1) or json (TEXT)."""

    name: str
    kind: str = "text"
    key: bool = False


@dataclass(frozen=True, slots=True)
class Op:
    """A comparison in a `where`: Op("<", 5), Op("LIKE", "a%"), Op("!=", "x")."""

    operator: str
    value: Any


@dataclass(frozen=True, slots=True)
class Sql:
    """A condition in words of SQL with `:name` parameters, for what a comparison cannot say."""

    text: str
    params: Mapping[str, Any] = field(default_factory=dict)


def listed(slot: str, values: Iterable[Any]) -> Sql:
    """What stands after an IN: `(:slot_0, :slot_1)`. Of no values it is no SQL."""
    params = {f"{slot}_{number}": value for number, value in enumerate(values)}
    return Sql(f"({', '.join(f':{name}' for name in params)})", params)


@dataclass(frozen=True, slots=True)
class Not:
    """None of the listed values (NULL counts as none of them)."""

    values: Sequence[Any]


Where = Mapping[str, Any]
MANY = 4096  # values in a list that are still handed over one by one; the stores take about 32,000 in a statement
UNPACKED = {
    "sqlite": "SELECT value AS key FROM json_each(:{0})",
    "postgresql": "SELECT jsonb_array_elements_text(CAST(:{0} AS JSONB)) AS key",
}
"""A query for the texts of a list that is one parameter."""


_AS_IS = {"text": "{0}", "real": "{0}"}
_ENCODED = _AS_IS | {"int": "I({0})", "bool": "I({0})", "json": "J({0})"}
_DECODED = _AS_IS | {
    "int": "{0}",
    "bool": "None if {0} is None else {0} != 0",
    "json": "None if {0} is None else D({0})",
}


def _compiled(argument: str, parts: Iterable[tuple[str, str]]) -> Callable[[Any], Row]:
    """A function whose value is a dictionary display. The source is made of declared names only."""
    source = ", ".join(f"{name!r}: {value}" for name, value in parts)
    names = {"D": _decode, "I": _number, "J": _text}
    function: Callable[[Any], Row] = eval(f"lambda {argument}: {{{source}}}", names)
    return function


def _number(value: Any) -> int | None:
    return None if value is None else int(value)


def _text(value: Any) -> str | None:
    return None if value is None else _encode(value).decode()


@dataclass(frozen=True)
class Table:
    """One table. `indexes` are column lists ("project_id, name"); a leading "unique " makes one unique."""

    name: str
    columns: tuple[Column, ...]
    indexes: tuple[str, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if column.key)

    @cached_property
    def _kinds(self) -> dict[str, str]:
        return {column.name: column.kind for column in self.columns}

    @cached_property
    def _decoders(self) -> dict[tuple[str, ...], Callable[[Sequence[Any]], Row]]:
        return {}

    @cached_property
    def _encoded(self) -> Callable[[Row], Row]:
        return _compiled("r", ((name, _ENCODED[kind].format(f"r.get({name!r})")) for name, kind in self._kinds.items()))

    def _select(self, columns: Iterable[str]) -> str:
        return "SELECT " + ", ".join(f"{self.name}.{name}" for name in columns) + f" FROM {self.name}"

    @cached_property
    def _select_all(self) -> str:
        return self._select(self.names)

    @cached_property
    def _insert(self) -> str:
        values = ", ".join(":" + name for name in self.names)
        return f"INSERT INTO {self.name} ({', '.join(self.names)}) VALUES ({values})"

    def encode(self, name: str, value: Any) -> Any:
        """A Python value as the store keeps it."""
        kind = self._kinds[name]
        if kind == "json":
            return _text(value)
        return _number(value) if kind in ("bool", "int") else value

    @cached_property
    def decode(self) -> Callable[[Sequence[Any]], Row]:
        """One fetched tuple, in the order of the columns, as a row of Python values."""
        return self._decoder(self.names)

    def _decoder(self, names: tuple[str, ...]) -> Callable[[Sequence[Any]], Row]:
        found = self._decoders.get(names)
        if found is None:
            parts = ((name, _DECODED[self._kinds[name]].format(f"v[{place}]")) for place, name in enumerate(names))
            found = self._decoders[names] = _compiled("v", parts)
        return found

    async def insert(self, tx: Tx, row: Row) -> None:
        """Insert one row; columns it does not name become NULL. Raises Duplicate."""
        await tx.execute(self._insert, self._encoded(row))

    async def update(self, tx: Tx, where: Where, changes: Row) -> int:
        """Change all rows that match; returns how many. An optimistic update puts the old generation into `where`."""
        text, params = self._where(tx, where)
        params.update({f"new_{name}": self.encode(name, value) for name, value in changes.items()})
        settings = ", ".join(f"{name} = :new_{name}" for name in changes)
        return await tx.execute(f"UPDATE {self.name} SET {settings}{text}", params)

    async def delete(self, tx: Tx, where: Where) -> int:
        text, params = self._where(tx, where)
        return await tx.execute(f"DELETE FROM {self.name}{text}", params)

    async def get(self, reader: Reader, **where: Any) -> Row | None:
        """The one row that matches, or None."""
        rows = await self.select(reader, where, limit=1)
        return rows[0] if rows else None

    async def select(
        self,
        reader: Reader,
        where: Where | None = None,
        *,
        conditions: Iterable[Sql] = (),
        order: str = "",
        limit: int | None = None,
        columns: tuple[str, ...] = (),
    ) -> list[Row]:
        """Rows that match all of `where` and `conditions`; `order` is SQL ("created_at DESC, id"); `columns`: with no
        others than these."""
        decode = self._decoder(columns) if columns else self.decode
        found = await self.select_tuples(
            reader, where, conditions=conditions, order=order, limit=limit, columns=columns
        )
        return [decode(values) for values in found]

    async def select_tuples(
        self,
        reader: Reader,
        where: Where | None = None,
        *,
        conditions: Iterable[Sql] = (),
        order: str = "",
        limit: int | None = None,
        columns: tuple[str, ...] = (),
    ) -> Sequence[Sequence[Any]]:
        """As `select`, but as the store keeps them, in the order of the columns: for long lists."""
        text, params = self._where(reader, where or {}, conditions)
        sql = (self._select(columns) if columns else self._select_all) + text + (f" ORDER BY {order}" if order else "")
        if limit is not None:
            sql += " LIMIT :limit_"
            params["limit_"] = limit
        return await reader.fetch_tuples(sql, params)

    async def count(self, reader: Reader, where: Where | None = None, conditions: Iterable[Sql] = ()) -> int:
        text, params = self._where(reader, where or {}, conditions)
        return int((await reader.fetch_tuples(f"SELECT count(*) FROM {self.name}{text}", params))[0][0])

    def _where(self, store: Reader | Tx, where: Where, conditions: Iterable[Sql] = ()) -> tuple[str, dict[str, Any]]:
        parts: list[str] = []
        params: dict[str, Any] = {}
        for name, value in where.items():
            parts.append(self._condition(store.dialect, name, value, params))
        for condition in conditions:
            parts.append(f"({condition.text})")
            params.update(condition.params)
        return (" WHERE " + " AND ".join(parts) if parts else ""), params

    def _condition(self, dialect: str, name: str, value: Any, params: dict[str, Any]) -> str:
        column, slot = f"{self.name}.{name}", f"{name}_{len(params)}"
        match value:
            case None:
                return f"{column} IS NULL"
            case Sql():
                params.update(value.params)
                return f"({value.text})"
            case Not():
                return f"({column} IS NULL OR NOT {self._among(dialect, name, value.values, params)})"
            case Op():
                params[slot] = self.encode(name, value.value)
                return f"{column} {value.operator} :{slot}"
            case list() | tuple() | set() | frozenset():
                return self._among(dialect, name, list(value), params)
        params[slot] = self.encode(name, value)
        return f"{column} = :{slot}"

    def _among(self, dialect: str, name: str, values: Sequence[Any], params: dict[str, Any]) -> str:
        """`IN` with as many slots as the next power of two, so that few different statements need preparing; many
        values are one parameter.
        """
        known = [self.encode(name, value) for value in values if value is not None]
        if not known:
            return f"{self.name}.{name} IS NULL" if len(values) else "1 = 0"
        if len(known) > MANY and self._kinds[name] in ("text", "json"):
            slot = f"{name}_{len(params)}"
            params[slot] = _text(known)
            listed = UNPACKED[dialect].format(slot)
        else:
            slots = [f"{name}_{len(params) + i}" for i in range(1 << (len(known) - 1).bit_length())]
            params.update({slot: known[min(i, len(known) - 1)] for i, slot in enumerate(slots)})
            listed = ", ".join(":" + slot for slot in slots)
        text = f"{self.name}.{name} IN ({listed})"
        return f"({text} OR {self.name}.{name} IS NULL)" if len(known) < len(values) else text

    def ddl(self) -> list[str]:
        """The statements that make this table, for a migration."""
        types = {"text": "TEXT", "json": "TEXT", "int": "BIGINT", "bool": "BIGINT", "real": "DOUBLE PRECISION"}
        lines = [f"  {c.name} {types[c.kind]}{' NOT NULL' if c.key else ''}" for c in self.columns]
        lines.append(f"  PRIMARY KEY ({', '.join(self.keys)})")
        statements = [f"CREATE TABLE {self.name} (\n" + ",\n".join(lines) + "\n)"]
        for number, index in enumerate(self.indexes):
            unique, columns = ("UNIQUE ", index.removeprefix("unique ")) if index.startswith("unique ") else ("", index)
            statements.append(f"CREATE {unique}INDEX {self.name}_{number} ON {self.name} ({columns})")
        return statements
