"""What a transaction does, as values: `plan` returns them, tests compare them, `encode` puts them on the wire.

    Txn().insert(...), .update(...), ...  ──encode──▶ JSON ──server──▶ JSON ──outcome──▶ a result for each operation

Nothing is sent before the end, so dropping a Txn aborts it. The server commits all of it or nothing (RFC 7047, 5.2).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hagane.errors import Conflict, DeviceFailed, HaganeError, Unavailable
from hagane.ovn.schema import Schema, TableSchema
from hagane.ovn.wire import UUID, Named, encode_atom


@dataclass(frozen=True, slots=True)
class Insert:
    """A new row; `name` stands for its UUID elsewhere in the same transaction. Result: the UUID."""

    table: str
    row: Mapping[str, Any]
    name: Named


@dataclass(frozen=True, slots=True)
class Update:
    """Sets the named columns. Result: the number of rows found, 0 or 1."""

    table: str
    row_id: UUID | Named
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Mutate:
    """Changes (column, mutator, value): "insert" and "delete" on sets and maps, "+=" and so on for numbers. A map's
    "delete" takes a set of keys, or a map of pairs. Result: the number of rows found."""

    table: str
    row_id: UUID | Named
    changes: tuple[tuple[str, str, Any], ...]


@dataclass(frozen=True, slots=True)
class Delete:
    """Deletes a row. Result: the number of rows found."""

    table: str
    row_id: UUID | Named


@dataclass(frozen=True, slots=True)
class Wait:
    """Goes on only if the row has (or, with equal=False, has not) these values; otherwise the transaction fails with
    Conflict after `timeout` milliseconds. Result: None."""

    table: str
    row_id: UUID
    row: Mapping[str, Any]
    timeout: int = 0
    equal: bool = True


@dataclass(frozen=True, slots=True)
class Select:
    """Reads rows by equality of columns (all rows by none). Result: a list of dicts."""

    table: str
    where: Mapping[str, Any]
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comment:
    """A line in the server's log of transactions. Result: None."""

    text: str


Op = Insert | Update | Mutate | Delete | Wait | Select | Comment


@dataclass(slots=True)
class Txn:
    """Collects operations. Any sequence of them can be submitted as well."""

    ops: list[Op] = field(default_factory=list)

    def __iter__(self) -> Iterator[Op]:
        return iter(self.ops)

    def insert(self, table: str, row: Mapping[str, Any]) -> Named:
        """Returns a stand-in for the new row's UUID, good within this transaction."""
        name = Named(f"row{len(self.ops)}")
        self.ops.append(Insert(table, row, name))
        return name

    def update(self, table: str, row_id: UUID | Named, row: Mapping[str, Any]) -> None:
        self.ops.append(Update(table, row_id, row))

    def mutate(self, table: str, row_id: UUID | Named, column: str, mutator: str, value: Any) -> None:
        self.ops.append(Mutate(table, row_id, ((column, mutator, value),)))

    def delete(self, table: str, row_id: UUID | Named) -> None:
        self.ops.append(Delete(table, row_id))

    def wait(self, table: str, row_id: UUID, row: Mapping[str, Any], *, timeout: int = 0, equal: bool = True) -> None:
        self.ops.append(Wait(table, row_id, row, timeout, equal))

    def select(self, table: str, where: Mapping[str, Any], columns: Iterable[str]) -> None:
        self.ops.append(Select(table, where, tuple(columns)))

    def comment(self, text: str) -> None:
        self.ops.append(Comment(text))


def encode(ops: Iterable[Op], schema: Schema, prefix: str = "") -> list[dict[str, Any]]:
    """The operations for the wire. `prefix` keeps the names of one transaction's rows apart from another's that shares
    the same commit. Raises Invalid and Unsupported for what the schema has not."""
    return [_encode(op, schema, prefix) for op in ops]


def _encode(op: Op, schema: Schema, prefix: str) -> dict[str, Any]:
    if isinstance(op, Comment):
        return {"op": "comment", "comment": encode_atom("string", op.text)}
    table = schema.table(op.table)
    match op:
        case Insert():
            return {
                "op": "insert",
                "table": op.table,
                "row": _row(table, op.row, prefix),
                "uuid-name": prefix + op.name,
            }
        case Update():
            return {"op": "update", **_where(op, prefix), "row": _row(table, op.row, prefix)}
        case Mutate():
            return {
                "op": "mutate",
                **_where(op, prefix),
                "mutations": [_mutation(table, *c, prefix) for c in op.changes],
            }
        case Delete():
            return {"op": "delete", **_where(op, prefix)}
        case Wait():
            return _wait(op, table)
        case Select():
            where = [[name, "==", table.column(name).encode(value)] for name, value in op.where.items()]
            return {"op": "select", "table": op.table, "where": where, "columns": list(op.columns)}


def _wait(op: Wait, table: TableSchema) -> dict[str, Any]:
    until = "==" if op.equal else "!="
    rows = [_row(table, op.row, "")]
    return {
        "op": "wait",
        **_where(op, ""),
        "timeout": op.timeout,
        "columns": list(op.row),
        "until": until,
        "rows": rows,
    }


def _where(op: Update | Mutate | Delete | Wait, prefix: str) -> dict[str, Any]:
    named = type(op.row_id) is Named
    row_id = ["named-uuid", prefix + op.row_id] if named else ["uuid", op.row_id]
    return {"table": op.table, "where": [["_uuid", "==", row_id]]}


def _row(table: TableSchema, row: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name: table.column(name).encode(value, prefix) for name, value in row.items()}


def _mutation(table: TableSchema, name: str, mutator: str, value: Any, prefix: str) -> list[Any]:
    column = table.column(name)
    if column.is_map and not isinstance(value, Mapping):
        return [name, mutator, column.encode_keys(value)]
    return [name, mutator, column.encode(value, prefix)]


def outcome(ops: Sequence[Op], reply: Sequence[Any], schema: Schema) -> list[Any]:
    """The result of each operation of a transaction that was committed (see `error_of`)."""
    return [_result(op, answer, schema) for op, answer in zip(ops, reply, strict=False)]


def _result(op: Op, answer: Mapping[str, Any], schema: Schema) -> Any:
    match op:
        case Insert():
            return UUID(answer["uuid"][1])
        case Update() | Mutate() | Delete():
            return answer["count"]
        case Select():
            columns = schema.table(op.table)
            return [{name: columns.column(name).decode(raw) for name, raw in row.items()} for row in answer["rows"]]
        case Wait() | Comment():
            return None


_MAY_PASS = {
    "resources exhausted",
    "I/O error",
    "not leader",
    "cluster error",
    "canceled",
    "cancelled",
    "database removed",
}


def error_of(reply: Sequence[Any]) -> HaganeError | None:
    """The error of a transaction's reply: an operation's own, or that of the commit, which comes after all of them.

    Unavailable when trying again may help; Conflict when a `wait` did not hold; DeviceFailed for all that the database
    refuses (a broken constraint, a dangling reference, a missing permission).
    """
    for answer in reply:
        if type(answer) is dict and "error" in answer:
            return _error(answer["error"], answer.get("details") or "")
    return None


def _error(error: str, details: str) -> HaganeError:
    words = f"{error}: {details}" if details else error
    if error == "timed out":
        return Conflict("A row does not have the expected values any more.", code="OvsdbWaitFailed", detail=words)
    if error in _MAY_PASS:
        return Unavailable("The database cannot commit now.", code="OvsdbBusy", detail=words)
    return DeviceFailed(f"The database refuses the change ({error}).", code="OvsdbRefused", detail=words)
