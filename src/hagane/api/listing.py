"""Lists: filters, sorting and paging from a query string, executed by the store.

Paging is by key: the row named by `marker` is looked up, and the page starts behind it in the sort order, so a page
costs the same wherever it starts and rows that come or go between two pages neither repeat nor vanish.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hagane.api.http import Request
from hagane.api.text import natural
from hagane.api.types import Bool, Int, Str
from hagane.errors import Invalid
from hagane.state.database import Reader, Row
from hagane.state.table import Sql, Table

if TYPE_CHECKING:
    from hagane.api.resource import Resource

MOST = 1000  # rows of one page when the caller names no limit, where the service pages at all
CONTROL = frozenset({"limit", "marker", "sort_key", "sort_dir", "sort", "fields", "page_reverse", "offset"})


@dataclass
class Page:
    """What a query says about order and extent, and what came of it (`more`)."""

    limit: int | None
    marker: str | None
    sorts: list[tuple[str, bool]]  # (column, descending), ends with the key
    reverse: bool = False
    more: bool = False
    first: str = ""
    last: str = ""
    found: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sorts = once(self.sorts)

    @classmethod
    def of(cls, request: Request, resource: "Resource", *, most: int | None = None, default: str = "") -> "Page":
        """Read `limit`, `marker`, `sort_key`, `sort_dir`, `sort`, `page_reverse`. Raises Invalid."""
        limit = _limit(request.args.get("limit"), most)
        sorts = _sorts(request, resource, default)
        marker = request.args.get("marker") or None
        return cls(limit, marker, sorts, request.args.get("page_reverse", "").lower() == "true")

    async def rows(
        self, reader: Reader, table: Table, where: dict[str, Any], conditions: Iterable[Sql], seen: Iterable[Sql] = ()
    ) -> list[Row]:
        """The page's rows. `seen`: what the caller may know of. Raises Invalid for a marker that names no such row."""
        conditions = [*conditions, *seen]
        key = table.keys[0]
        if self.marker is not None:
            anchors = await table.select(reader, {key: self.marker}, conditions=seen)
            if not anchors:
                raise Invalid(
                    f"The marker could not be found: {self.marker}", code="MarkerNotFound", marker=self.marker
                )
            conditions.append(behind(table, anchors[0], self._directed()))
        order = ", ".join(f"{sortable(table, c)}{' DESC' if down else ''}" for c, down in self._directed())
        limit = None if self.limit is None else self.limit + 1
        found = await table.select(reader, where, conditions=conditions, order=order, limit=limit)
        if self.limit is not None and len(found) > self.limit:
            self.more = True
            found = found[: self.limit]
        if self.reverse:
            found.reverse()
        if found:
            self.first, self.last = str(found[0][key]), str(found[-1][key])
        self.found = found
        return found

    def _directed(self) -> list[tuple[str, bool]]:
        return [(column, down != self.reverse) for column, down in self.sorts]


def _limit(text: str | None, most: int | None) -> int | None:
    if text is None or text == "":
        return most
    limit = natural(text)
    if limit is None:
        raise Invalid(
            f"Invalid input for limit: {text!r} is not a number of zero or more.", code="BadLimit", value=text
        )
    return limit if most is None else (min(limit, most) if limit else most)


def _sorts(request: Request, resource: "Resource", default: str) -> list[tuple[str, bool]]:
    """`sort_key=a&sort_dir=desc&sort_key=b` or `sort=a:desc,b`; the key is appended to make the order total."""
    pairs: list[tuple[str, str]] = []
    if request.args.get("sort"):
        for entry in request.args["sort"].split(","):
            name, _, way = entry.partition(":")
            pairs.append((name, way or "asc"))
    else:
        keys = [value for name, value in request.query if name == "sort_key"]
        ways = [value for name, value in request.query if name == "sort_dir"]
        if not keys and ways and default:
            keys = [default.split()[0]]
        pairs = [(key, ways[i] if i < len(ways) else "asc") for i, key in enumerate(keys)]
    sorts: list[tuple[str, bool]] = []
    for label, way in pairs:
        attr = resource.by_label.get(label)
        if attr is None or not attr.sort or not attr.stored or attr.type.column == "json":
            raise Invalid(f"{label} is not a valid sort key.", code="BadSortKey", key=label)
        if way not in ("asc", "desc"):
            raise Invalid(f"{way} is not a valid sort direction.", code="BadSortDir", value=way)
        sorts.append((attr.name, way == "desc"))
    if not sorts and default:
        sorts = [(name.removesuffix(" desc"), name.endswith(" desc")) for name in default.split(", ")]
    key = resource.table.keys[0]
    if key not in [name for name, _ in sorts]:
        sorts.append((key, sorts[-1][1] if sorts else False))
    return sorts


def once(sorts: Iterable[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """Each column where it comes first: again it orders nothing, and makes a condition of a page longer."""
    found: dict[str, bool] = {}
    for column, down in sorts:
        found.setdefault(column, down)
    return list(found.items())


def sortable(table: Table, column: str) -> str:
    """A column in a form that sorts alike in both stores: NULL first, as the empty value."""
    kind = next(c.kind for c in table.columns if c.name == column)
    if column in table.keys or column == "created_at":
        return f"{table.name}.{column}"
    return f"COALESCE({table.name}.{column}, {chr(39) * 2 if kind == 'text' else -1})"


def behind(table: Table, anchor: Row, sorts: list[tuple[str, bool]]) -> Sql:
    """Rows behind the anchor: (a > A) OR (a = A AND b > B) OR ..."""
    params: dict[str, Any] = {}
    branches = []
    equal: list[str] = []
    for number, (column, down) in enumerate(sorts):
        value = table.encode(column, anchor[column])
        text = next(c.kind for c in table.columns if c.name == column) == "text"
        params[f"behind_{number}"] = ("" if text else -1) if value is None else value
        expression = sortable(table, column)
        branches.append(" AND ".join([*equal, f"{expression} {'<' if down else '>'} :behind_{number}"]))
        equal.append(f"{expression} = :behind_{number}")
    return Sql(" OR ".join(f"({branch})" for branch in branches), params)


def filters(request: Request, resource: "Resource") -> tuple[dict[str, Any], list[Sql]]:
    """Filters of a query by declared attributes: repeated names mean any of the values. Others are the service's."""
    where: dict[str, Any] = {}
    for label, text in request.query:
        attr = resource.by_label.get(label)
        if attr is None or not attr.filter or not attr.stored or label in CONTROL:
            continue
        if attr.type.column == "json" or not isinstance(attr.type, Str | Bool | Int):
            continue
        value = attr.type.query(label, text) if not isinstance(attr.type, Str) else text
        where.setdefault(attr.name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in where.items()}, []
