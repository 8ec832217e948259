"""What we want to be in an OVN database, as values without any UUID.

A row of ours is known by (table, key). The key is stored in the row itself, in external_ids under MARK; a row without
it is foreign and is left alone. Keys read `owner` or `owner/part`: "port:<id>", "sg:<id>/rule:<id>". One reconciler run
names all rows of its owner; what bears the owner's name in the database and is not named any more is deleted.

Tables whose rows have no external_ids are known by the columns in KEY_COLUMNS, and are deleted only when named exactly.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from hagane.ovn.row import Row

MARK = "hagane:key"

KEY_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "Load_Balancer_Group": ("name",),
    "Static_MAC_Binding": ("logical_port", "ip"),
}

RowKey = tuple[str, str]
"""(table, key)"""


@dataclass(frozen=True, slots=True)
class Ref:
    """Stands in a column's value for the UUID of another row of ours."""

    table: str
    key: str


@dataclass(frozen=True, slots=True)
class Only:
    """A map of which only these keys are ours; all other keys in it are left alone."""

    pairs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Desired:
    """A row as it shall be. Columns that are not named are left alone.

    `parent` is (table, key, column) of the row that holds this one, for tables that are no roots: there, in no other
    row. `member_of` says for a set column of another table in which rows of ours this one is: exactly those. Both
    change single elements, so they cost the same in a set of 50,000. Name a set of Refs in `columns` to own the whole
    set instead. `exclusive` names columns of children in which nothing but desired rows may be, not even foreign ones.
    """

    table: str
    key: str
    columns: Mapping[str, Any]
    parent: tuple[str, str, str] | None = None
    member_of: Mapping[tuple[str, str], Collection[str]] = field(default_factory=dict)
    exclusive: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scope:
    """Which rows of ours go if they are not desired: exact keys, all of some owners, or all that a predicate takes
    (that one looks at every row of ours)."""

    keys: Collection[RowKey] = ()
    owners: Collection[str] = ()
    match: Callable[[str, str], bool] | None = None


def owner_of(key: str) -> str:
    return key.partition("/")[0]


def key_of(table: str, row: Row) -> str | None:
    """The key of a row of ours; None for a foreign one."""
    columns = KEY_COLUMNS.get(table)
    if columns is not None:
        return " ".join(row[column] for column in columns)
    marks: Mapping[str, str] = row.get("external_ids") or {}
    return marks.get(MARK)
