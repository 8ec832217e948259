"""Rows of the replica and the lookups that are kept beside them.

A row is a small object with one slot per monitored column (a third of a dict's memory; there may be 50,000 of them). It
is never changed: a change makes a new row, so a reader may keep one across an await. The one exception are sets of more
than `wire.BIG` elements, which all versions of the row share and which change in place.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Set
from typing import Any

from hagane.ovn.wire import UUID


class Row:
    """Column → value: `row["name"]`, `row.get("name")`, `dict(row)`. `row["_uuid"]` is its UUID."""

    __slots__ = ()

    def __getitem__(self, column: str) -> Any:
        try:
            return getattr(self, column)
        except AttributeError:
            raise KeyError(column) from None

    def get(self, column: str, default: Any = None) -> Any:
        return getattr(self, column, default)

    def keys(self) -> Iterable[str]:
        return self.__slots__

    def __iter__(self) -> Iterator[str]:
        return iter(self.__slots__)

    def __contains__(self, column: object) -> bool:
        return column in self.__slots__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and dict(self) == dict(other)

    __hash__ = None  # type: ignore[assignment]  # values are sets and dicts

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self)!r})"


class Shape:
    """Makes the rows of one table. `defaults` are the monitored columns' values where the server names none."""

    def __init__(self, table: str, defaults: Mapping[str, Any]) -> None:
        self._names = tuple(defaults)
        self._defaults = dict(defaults)
        self._kind: type[Row] = type(table, (Row,), {"__slots__": ("_uuid", *self._names)})

    def make(self, row_id: UUID, values: Mapping[str, Any]) -> Row:
        row = self._kind()
        setattr(row, "_uuid", row_id)  # noqa: B010  # the class is made at run time
        for name, default in self._defaults.items():
            setattr(row, name, values.get(name, default))
        return row

    def change(self, old: Row, values: Mapping[str, Any]) -> Row:
        row = self._kind()
        setattr(row, "_uuid", getattr(old, "_uuid"))  # noqa: B009, B010
        for name in self._names:
            setattr(row, name, values[name] if name in values else getattr(old, name))
        return row


class Index:
    """Rows by a function of the row, for instance a column or the owner in it. The function must not look into sets
    that may become big; None keeps a row out."""

    def __init__(self, key_of: Callable[[Row], Hashable]) -> None:
        self._key_of = key_of
        self._found: dict[Hashable, Row | dict[UUID, Row]] = {}

    def get(self, key: Hashable) -> list[Row]:
        """All rows with this key."""
        found = self._found.get(key)
        if found is None:
            return []
        return [found] if isinstance(found, Row) else list(found.values())

    def keys(self) -> Iterable[Hashable]:
        return self._found.keys()

    def __len__(self) -> int:
        return len(self._found)

    def update(self, old: Row | None, new: Row | None) -> None:
        old_key = None if old is None else self._key_of(old)
        new_key = None if new is None else self._key_of(new)
        if old is not None and old_key is not None:
            self._drop(old_key, old["_uuid"])
        if new is not None and new_key is not None:
            self._add(new_key, new)

    def _add(self, key: Hashable, row: Row) -> None:
        found = self._found.get(key)
        if found is None:
            self._found[key] = row
        elif isinstance(found, Row):
            self._found[key] = {found["_uuid"]: found, row["_uuid"]: row}
        else:
            found[row["_uuid"]] = row

    def _drop(self, key: Hashable, row_id: UUID) -> None:
        found = self._found.get(key)
        if isinstance(found, Row):
            del self._found[key]
        elif found is not None:
            found.pop(row_id, None)
            if not found:
                del self._found[key]


class Holders:
    """Who holds a row in a set column: the way back from a port to its switch, without looking into each switch's
    set."""

    def __init__(self) -> None:
        self._holders: dict[UUID, UUID | frozenset[UUID]] = {}

    def of(self, held: UUID) -> tuple[UUID, ...]:
        found = self._holders.get(held)
        if found is None:
            return ()
        return (found,) if isinstance(found, str) else tuple(found)

    def update(self, holder: UUID, gone: Set[UUID], come: Set[UUID]) -> None:
        for held in gone:
            self._put(held, frozenset(self.of(held)) - {holder})
        for held in come:
            self._put(held, frozenset((*self.of(held), holder)))

    def _put(self, held: UUID, holders: frozenset[UUID]) -> None:
        if not holders:
            self._holders.pop(held, None)
        elif len(holders) == 1:
            (self._holders[held],) = holders
        else:
            self._holders[held] = holders
