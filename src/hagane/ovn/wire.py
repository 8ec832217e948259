"""OVSDB values on the wire and in Python, column by column (RFC 7047 section 5.1, types 3.2).

    wire                                 type of the column     Python
    "x", 1, 1.5, true, ["uuid", u]       min 1, max 1           str, int, float, bool, UUID
    atom or ["set", []]                  min 0, max 1           the atom or None
    atom or ["set", [atoms]]             max above 1            frozenset (big ones: see `Column.flip`)
    ["map", [[key, value], ...]]         has a value type       dict

Every column gets its own decoder when the schema is read, so that a row costs one call per column and no case
analysis. UUIDs are plain strings, interned: a port's uuid in `ports` and in its own row is one object.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from sys import intern
from typing import Any, NewType

from hagane.errors import Invalid

UUID = NewType("UUID", str)

BIG = 128
"""Sets above this many elements change in place; smaller ones are replaced by a new frozenset."""


class Named(str):
    """Stands for the UUID of a row that the same transaction inserts (["named-uuid", name] on the wire)."""

    __slots__ = ()


_PYTHON: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "real": (float, int),
    "boolean": (bool,),
    "string": (str,),
    "uuid": (str,),
}


def encode_atom(kind: str, value: Any, prefix: str = "") -> Any:
    """One atom for the wire. Raises Invalid for what the server would refuse as malformed, since that would end the
    whole connection and not only this transaction."""
    if not isinstance(value, _PYTHON[kind]) or (kind != "boolean" and isinstance(value, bool)):
        raise Invalid(f"{value!r} is no {kind}")
    match value:
        case str():
            return _encode_text(kind, value, prefix)
        case float() if not math.isfinite(value):
            raise Invalid(f"{value!r} is no number that the database can hold")
        case int() if not -(1 << 63) <= value < 1 << 63:
            raise Invalid(f"{value!r} does not fit 64 bits")
    return value


def _encode_text(kind: str, value: str, prefix: str) -> Any:
    if kind == "uuid":
        return ["named-uuid", prefix + value] if type(value) is Named else ["uuid", value]
    if "\0" in value or not (value.isascii() or _is_utf8(value)):
        raise Invalid(f"{value!r} holds a character that the database cannot")
    return value


def _is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _same(raw: Any) -> Any:
    return raw


def _uuid(raw: Any) -> Any:
    return intern(raw[1])


_ATOM: dict[str, Callable[[Any], Any]] = {
    "integer": _same,
    "real": float,
    "boolean": _same,
    "string": _same,
    "uuid": _uuid,
}


def _decode_optional(kind: str) -> Callable[[Any], Any]:
    atom = _ATOM[kind]

    def decode(raw: Any) -> Any:
        if type(raw) is list and raw[0] == "set":
            return atom(raw[1][0]) if raw[1] else None
        return atom(raw)

    return decode


def _decode_set(kind: str) -> Callable[[Any], Any]:
    atom = _ATOM[kind]

    def decode(raw: Any) -> Any:
        if type(raw) is not list or raw[0] != "set":
            return frozenset((atom(raw),))
        return frozenset(raw[1]) if atom is _same else frozenset(map(atom, raw[1]))

    return decode


def _decode_map(kind: str, value_kind: str) -> Callable[[Any], Any]:
    key, value = _ATOM[kind], _ATOM[value_kind]
    if key is _same and value is _same:
        if kind == "string":  # the same few keys in every row
            return lambda raw: {intern(k): v for k, v in raw[1]}
        return lambda raw: dict(raw[1])
    return lambda raw: {key(k): value(v) for k, v in raw[1]}


_ZERO: dict[str, Any] = {
    "integer": 0,
    "real": 0.0,
    "boolean": False,
    "string": "",
    "uuid": "00000000-0000-0000-0000-000000000000",
}


@dataclass(slots=True)
class Column:
    """One column of a table: its type (RFC 7047 section 3.2), its decoder, and its default on insert."""

    name: str
    key: str
    value: str | None = None
    min: int = 1
    max: int | None = 1
    ref_table: str | None = None
    strong: bool = False
    decode: Callable[[Any], Any] = field(init=False)
    default: Any = field(init=False)

    def __post_init__(self) -> None:
        if self.value is not None:
            self.decode, self.default = _decode_map(self.key, self.value), {}
        elif self.max != 1:
            self.decode, self.default = _decode_set(self.key), frozenset()
        elif self.min == 0:
            self.decode, self.default = _decode_optional(self.key), None
        else:
            self.decode, self.default = _ATOM[self.key], _ZERO[self.key]

    @property
    def is_map(self) -> bool:
        return self.value is not None

    @property
    def is_set(self) -> bool:
        return self.value is None and self.max != 1

    def encode(self, value: Any, prefix: str = "") -> Any:
        """The value for the wire. `prefix` goes before the names of `Named` rows; raises Invalid."""
        if self.value is not None:
            return [
                "map",
                [[encode_atom(self.key, k, prefix), encode_atom(self.value, v, prefix)] for k, v in value.items()],
            ]
        if self.max != 1:
            return ["set", [encode_atom(self.key, item, prefix) for item in value]]
        if value is None and self.min == 0:
            return ["set", []]
        return encode_atom(self.key, value, prefix)

    def encode_keys(self, keys: Iterable[Any]) -> Any:
        """Keys of a map, as the mutator "delete" takes them."""
        return ["set", [encode_atom(self.key, key) for key in keys]]

    def coerce(self, value: Any) -> Any:
        """A value as a caller writes it (any iterable for a set, any mapping for a map) as this column holds it."""
        if self.is_map:
            return dict(_expect(value, Mapping, self.name))
        if not self.is_set:
            return value
        if isinstance(value, str):
            raise Invalid(f"column {self.name} holds a set, not the text {value!r}")
        return value if isinstance(value, Set) else frozenset(_expect(value, Iterable, self.name))

    def flip(self, old: Any, diff: Any) -> Any:
        """The value after a `modify` of update2 and update3 (ovsdb-server(7), 4.1.14): sets come as symmetric
        difference, maps as changed pairs (a pair that is there already goes), all else as the new value.

        A set of more than BIG elements is changed in place, because a copy of 50,000 elements costs a millisecond for
        each port that comes or goes.
        """
        if self.max == 1:
            return diff
        if self.is_map:
            return _flip_map(old, diff)
        if len(old) <= BIG:
            return old ^ diff if type(old) is frozenset else frozenset(old) ^ diff
        live = old if type(old) is set else set(old)
        live ^= diff
        return live


def _expect(value: Any, kind: Any, name: str) -> Any:
    if not isinstance(value, kind):
        raise Invalid(f"column {name} cannot hold {value!r}")
    return value


def _flip_map(old: dict[Any, Any], diff: dict[Any, Any]) -> dict[Any, Any]:
    new = dict(old)
    for key, value in diff.items():
        if key in new and new[key] == value:
            del new[key]
        else:
            new[key] = value
    return new


class Before(Set[Any]):
    """A big set as it was before a change: a view on the changed set and the difference, good only during the callback
    that received it."""

    __slots__ = ("_diff", "_live")

    def __init__(self, live: Set[Any], diff: Set[Any]) -> None:
        self._live, self._diff = live, diff

    def __contains__(self, item: object) -> bool:
        return (item in self._live) != (item in self._diff)

    def __iter__(self) -> Any:
        yield from (item for item in self._live if item not in self._diff)
        yield from (item for item in self._diff if item not in self._live)

    def __len__(self) -> int:
        came = sum(item in self._live for item in self._diff)
        return len(self._live) - came + len(self._diff) - came


def changed(old: Set[Any], new: Set[Any]) -> Set[Any]:
    """The elements that only one of both versions of a set has; costs the change, not the size, of a big set."""
    return old._diff if isinstance(old, Before) else old ^ new
