"""A database's schema (RFC 7047 section 3.2), as far as a client needs it: columns, roots, and who holds whom."""

from dataclasses import dataclass
from typing import Any

from hagane.errors import Unsupported
from hagane.ovn.wire import Column

_UUID_COLUMN = Column("_uuid", "uuid")


@dataclass(slots=True)
class TableSchema:
    """One table. Rows of a table that is no root vanish when no row holds them by a strong reference any more."""

    name: str
    columns: dict[str, Column]
    is_root: bool
    indexes: tuple[tuple[str, ...], ...]
    holders: tuple[tuple[str, str], ...] = ()  # (table, column) of the sets that hold rows of this table strongly

    def column(self, name: str) -> Column:
        """Raises Unsupported when this server's schema has no such column (an older or newer OVN)."""
        if name == "_uuid":
            return _UUID_COLUMN
        try:
            return self.columns[name]
        except KeyError:
            raise Unsupported(f"The database has no column {name} in its table {self.name}.") from None


@dataclass(slots=True)
class Schema:
    name: str
    version: str
    tables: dict[str, TableSchema]

    def table(self, name: str) -> TableSchema:
        """Raises Unsupported when this server's schema has no such table."""
        try:
            return self.tables[name]
        except KeyError:
            raise Unsupported(f"The database {self.name} has no table {name}.") from None


def _atom_type(raw: Any) -> dict[str, Any]:
    return {"type": raw} if isinstance(raw, str) else raw


def parse_column(name: str, raw: Any) -> Column:
    """A <column-schema>'s type: an atomic type's name, or an object with key, value, min and max."""
    kind: dict[str, Any] = {"key": raw} if isinstance(raw, str) else raw
    key = _atom_type(kind["key"])
    value = _atom_type(kind["value"])["type"] if "value" in kind else None
    most = kind.get("max", 1)
    return Column(
        name=name,
        key=key["type"],
        value=value,
        min=kind.get("min", 1),
        max=None if most == "unlimited" else most,
        ref_table=key.get("refTable"),
        strong="refTable" in key and key.get("refType", "strong") == "strong",
    )


def parse_schema(raw: dict[str, Any]) -> Schema:
    """The answer of `get_schema`. Where no table names itself a root, all are (RFC 7047 section 3.2)."""
    rooted = any(table.get("isRoot", False) for table in raw["tables"].values())
    schema = Schema(raw["name"], raw.get("version", ""), {})
    for name, table in raw["tables"].items():
        columns = {column: parse_column(column, spec["type"]) for column, spec in table["columns"].items()}
        indexes = tuple(tuple(index) for index in table.get("indexes", ()))
        schema.tables[name] = TableSchema(name, columns, table.get("isRoot", False) or not rooted, indexes)
    _find_holders(schema)
    return schema


def _find_holders(schema: Schema) -> None:
    for table in schema.tables.values():
        for column in table.columns.values():
            held = schema.tables.get(column.ref_table or "")
            if held is not None and column.strong and column.is_set:
                held.holders += ((table.name, column.name),)
