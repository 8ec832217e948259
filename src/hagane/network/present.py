"""Rows as answers, compiled once per set of attributes: one dictionary display per row, and no look-up by name in it.

JSON columns pass as they are kept: they are put into the answer as raw bytes, never decoded and encoded again.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from hagane.state.database import Row
from hagane.state.table import Table

Made = dict[str, Any]
FromTuple = Callable[[Sequence[Any], Made], Made]
_BOOL = {0: False, 1: True, None: None}
TIMES = frozenset({"created_at", "updated_at"})
SPELLED = frozenset({"default_prefixlen", "min_prefixlen", "max_prefixlen"})
"""Numbers that the real service answers as text."""


@lru_cache(2048)
def compiled(table: Table, labels: tuple[tuple[str, str | None], ...]) -> FromTuple:
    """A function from a fetched tuple (and what was computed beside it) to an answer.

    `labels` are (wire name, column); without a column the value is found among the computed ones.
    """
    kinds = {column.name: column.kind for column in table.columns}
    places = {name: number for number, name in enumerate(table.names)}
    parts = []
    for label, column in labels:
        if column is None:
            parts.append(f"{label!r}: x[{label!r}]")
            continue
        value = f"v[{places[column]}]"
        if kinds[column] == "bool":
            value = f"B[{value}]"
        elif kinds[column] == "json":
            value = f"(None if {value} is None else Raw({value}))"
        elif column in TIMES:
            value = f"({value}[:19] + 'Z')"
        elif column in SPELLED:
            value = f"str({value})"
        parts.append(f"{label!r}: {value}")
    code = f"lambda v, x: {{{', '.join(parts)}}}"
    # The source is made of declared names only, none of which a caller chooses.
    function: FromTuple = eval(code, {"B": _BOOL, "Raw": msgspec.Raw})
    return function


def from_row(row: Row, labels: tuple[tuple[str, str | None], ...], made: Made) -> Made:
    """One row of Python values as an answer."""
    answer = {}
    for label, column in labels:
        value = made[label] if column is None else row.get(column)
        if column in TIMES:
            value = f"{str(value)[:19]}Z"
        answer[label] = str(value) if column in SPELLED else value
    return answer
