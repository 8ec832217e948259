"""Filters, order and extent of block storage lists, in the service's own language.

    name=x  name~=part  status=error  metadata={'Type':'work'}  created_at=gt:2026-01-01T00:00:00,lt:...
    sort=name:asc,size  limit  marker  offset  with_count  all_tenants

Up to microversion 3.30 a filter that a caller may not use is ignored, afterwards it is an error. Conditions are part of
the one statement that the store runs.
"""

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.listing import Page
from hagane.api.text import natural
from hagane.errors import Invalid
from hagane.state import clock
from hagane.state.database import Reader, Row
from hagane.state.table import Sql, Table
from hagane.volume.base import MOST, at, invalid, is_admin, missing, next_links
from hagane.volume.kinds import yes

CONTROL = frozenset({"limit", "marker", "offset", "sort", "sort_key", "sort_dir", "all_tenants", "with_count"})
_COMPARED = {"gt": ">", "gte": ">=", "eq": "=", "neq": "!=", "lt": "<", "lte": "<="}


@dataclass(frozen=True)
class Filters:
    """What a list can be filtered by: `usual` names everybody may use; `columns` maps names to the table's columns."""

    resource: str
    table: Table
    columns: Mapping[str, str]
    usual: tuple[str, ...]
    since: Mapping[str, int] = field(default_factory=dict)
    items: Mapping[str, str] = field(default_factory=dict)  # filter -> kind of ITEM
    like: tuple[str, ...] = ()
    sorts: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()  # words of a query that are no filters
    noun: str = "Volume"


@dataclass
class Listed:
    """A page of rows, and the number of all where it was asked for."""

    rows: list[Row]
    limit: int
    count: int | None


def limit_of(request: Request) -> int:
    """Raises Invalid."""
    text = request.args.get("limit")
    if text is None:
        return MOST
    number = natural(text.strip().removeprefix("-"))
    if number is None:
        raise Invalid("limit param must be an integer", code="BadLimit")
    if number and text.strip().startswith("-"):
        raise Invalid("limit param must be positive", code="BadLimit")
    return min(number, MOST)


def offset_of(request: Request) -> int:
    """Raises Invalid."""
    text = request.args.get("offset", "0")
    number = natural(text)
    if number is None:
        if natural(text.removeprefix("-")) is not None:
            raise Invalid("offset must be >= 0", code="BadOffset")
        raise Invalid("offset must be an integer", code="BadOffset")
    if number > 2147483647:
        raise Invalid("offset must be <= 2147483647", code="BadOffset")
    return number


def sorts_of(request: Request, known: Mapping[str, str]) -> list[tuple[str, bool]]:
    """(column, descending), newest first unless asked otherwise. Raises Invalid."""
    if "sort" in request.args and ("sort_key" in request.args or "sort_dir" in request.args):
        raise Invalid("The 'sort_key' and 'sort_dir' parameters are deprecated and cannot be used with the 'sort'"
                      " parameter.", code="BadSort")  # fmt: skip
    if "sort" in request.args:
        pairs = [entry.partition(":") for entry in request.args["sort"].strip().split(",")]
        wanted = [(key.strip(), way.strip() or "desc") for key, _, way in pairs]
    else:
        wanted = [(request.args.get("sort_key", "created_at").strip(), request.args.get("sort_dir", "desc").strip())]
    found = []
    for key, way in wanted:
        if way not in ("asc", "desc"):
            raise invalid("Unknown sort direction, must be 'desc' or 'asc'.")
        if key not in known:
            raise invalid("Invalid sort key")
        found.append((known[key], way == "desc"))
    return _total(found)


def _total(found: list[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """The same order made total by time and id."""
    names = [column for column, _ in found]
    return found + [(column, found[-1][1]) for column in ("created_at", "id") if column not in names]


async def listed(request: Request, reader: Reader, filters: Filters, *, scope: Iterable[Sql] = ()) -> Listed:
    """The page that a request asks for. Raises Invalid, NotFound (marker)."""
    limit, offset = limit_of(request), offset_of(request)
    page = Page(limit + offset, request.args.get("marker"), sorts_of(request, filters.sorts))
    conditions = [*conditions_of(request, filters), *scope]
    seen = _project(request, filters.table)
    count = None
    if at(request, 45) and yes(request.args.get("with_count"), "with_count"):
        count = await filters.table.count(reader, {}, [*conditions, *seen])
    try:
        rows = await page.rows(reader, filters.table, {}, conditions, seen) if limit else []
    except Invalid as error:
        if error.code == "MarkerNotFound":
            raise missing(filters.noun, str(page.marker)) from error
        raise
    return Listed(rows[offset:], limit, count)


def answer(
    request: Request, found: Listed, name: str, views: list[Any], *, detail: bool = False, links: str = ""
) -> Response:
    """A page as it is sent: the link to the next one (`links`: its key, `<name>_links` unless given), and the number
    of all."""
    whole: dict[str, Any] = {name: views}
    last = found.rows[-1]["id"] if found.rows else None
    if more := next_links(request, f"{name}/detail" if detail else name, last, len(found.rows), found.limit):
        whole[links or f"{name}_links"] = more
    if found.count is not None:
        whole["count"] = found.count
    return json_response(200, whole)


def _project(request: Request, table: Table) -> list[Sql]:
    """Own things; of an administrator who asks for all, everything."""
    if is_admin(request) and yes(request.args.get("all_tenants")):
        return []
    return [Sql(f"{table.name}.project_id = :own_project", {"own_project": request.caller.project_id})]


def conditions_of(request: Request, filters: Filters) -> list[Sql]:
    """All filters of a request as conditions. Raises Invalid."""
    found, wrong = [], []
    admin = is_admin(request)
    for number, (name, text) in enumerate(request.query):
        if (
            name in CONTROL
            or name in filters.ignored
            or (name in filters.since and not at(request, filters.since[name]))
        ):
            continue
        base = name.removesuffix("~")
        if not name.isascii():
            raise Invalid("Filter keys can only contain ASCII characters.", code="BadFilter")
        if not admin and not (base in filters.usual and (base == name or base in filters.like)):
            wrong.append(name)
            continue
        found.append(_condition(request, filters, name, text, f"filter_{number}"))
    if not admin and "all_tenants" in request.args:
        wrong.append("all_tenants")
    if wrong and at(request, 31) and (wrong := [name for name in wrong if name != "all_tenants"]):
        raise Invalid(f"Invalid filters {', '.join(sorted(wrong))} are found in query options.", code="BadFilter")
    return found


def _condition(request: Request, filters: Filters, name: str, text: str, slot: str) -> Sql:
    base = name.removesuffix("~")
    if base in filters.items:
        return _items(filters, base, text, slot)
    column = filters.columns.get(base)
    if column is None:
        return Sql("1 = 0")  # an administrator may ask for anything, and finds nothing
    place = f"{filters.table.name}.{column}"
    if name.endswith("~"):
        escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return Sql(f"{place} LIKE :{slot} ESCAPE '\\'", {slot: f"%{escaped}%"})
    if base in ("created_at", "updated_at"):
        return _moments(base, place, text, slot)
    kind = next(c.kind for c in filters.table.columns if c.name == column)
    if kind == "bool":
        return Sql(f"{place} = :{slot}", {slot: int(_flag(request, base, text))})
    if kind == "int":
        value = natural(text)
        return Sql("1 = 0") if value is None or value > 2**62 else Sql(f"{place} = :{slot}", {slot: value})
    return Sql(f"{place} = :{slot}", {slot: text})


def _flag(request: Request, name: str, text: str) -> bool:
    if not at(request, 2):
        return text.lower() != "false"
    try:
        return yes(text)
    except Invalid as error:
        raise invalid(f"'{name} = {text}'") from error


def _moments(name: str, place: str, text: str, slot: str) -> Sql:
    parts, params = [], {}
    for number, entry in enumerate(text.split(",")):
        operator, _, moment = entry.partition(":")
        if operator not in _COMPARED:
            raise Invalid(f"Invalid {operator} operator", code="BadFilter")
        try:
            params[f"{slot}_{number}"] = clock.kept(moment)
        except ValueError as error:
            raise Invalid(f"Invalid {moment} value", code="BadFilter") from error
        parts.append(f"{place} {_COMPARED[operator]} :{slot}_{number}")
    return Sql(" AND ".join(parts), params)


def _items(filters: Filters, name: str, text: str, slot: str) -> Sql:
    """All of the pairs that a Python dictionary in the query names."""
    pairs = literal(text)
    if not isinstance(pairs, dict):
        return Sql("1 = 0")
    parts, params = [], {f"{slot}_kind": filters.items[name]}
    for number, (key, value) in enumerate(pairs.items()):
        params |= {f"{slot}_k{number}": str(key), f"{slot}_v{number}": str(value)}
        parts.append(
            f"EXISTS (SELECT 1 FROM volume_item i WHERE i.owner_id = {filters.table.name}.id AND i.kind = :{slot}_kind"
            f" AND i.name = :{slot}_k{number} AND i.value = :{slot}_v{number})"
        )
    return Sql(" AND ".join(parts) or "1 = 1", params)


def literal(text: str) -> Any:
    """A Python value in a query string; what is none is the text itself."""
    try:
        return ast.literal_eval(text) if len(text) < 4096 else text
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return text
