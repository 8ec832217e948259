"""Lists as the network API gives them: filters that are checked, sort pairs, and pages with two links.

`fields`, `sort_key` and `sort_dir` may be repeated; a filter repeated means any of its values. Paging is off unless a
`limit` is given, and a marker without a limit means nothing, as in the real service.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from hagane.api.http import Request
from hagane.api.listing import behind, once, sortable
from hagane.api.text import natural
from hagane.errors import NotFound
from hagane.network.errors import bad_request, error
from hagane.state import clock
from hagane.state.database import Reader
from hagane.state.table import Sql, listed

if TYPE_CHECKING:
    from hagane.network.base import NetResource

CONTROL = frozenset({"fields", "sort_key", "sort_dir", "limit", "marker", "page_reverse"})
_IGNORED = frozenset({"metadata", "registry", "get", "items", "keys", "next", "update", "save", "iteritems"})
TAGS = frozenset({"tags", "tags-any", "not-tags", "not-tags-any"})


@dataclass(slots=True)
class Extent:
    """Order and page of one list."""

    sorts: list[tuple[str, bool]]  # (column, descending)
    limit: int = 0
    marker: str | None = None
    reverse: bool = False

    @classmethod
    def of(cls, request: Request, resource: "NetResource") -> "Extent":
        """Read it from the query. Raises HTTPBadRequest, BadRequest."""
        sorts = _sorts(request, resource)
        limit = _limit(request.args.get("limit", "0"))
        if limit and resource.table.keys[0] not in [column for column, _ in sorts]:
            sorts.append((resource.table.keys[0], False))
        reverse = request.args.get("page_reverse", "").lower() == "true"
        return cls(sorts, limit, (request.args.get("marker") or None) if limit else None, reverse)

    async def condition(self, request: Request, reader: Reader, resource: "NetResource") -> Sql | None:
        """What restricts the page to the rows behind the marker. Raises the resource's NotFound."""
        if self.marker is None:
            return None
        try:
            anchor = await resource.find(request, reader, self.marker)
        except NotFound:
            if resource.marked:
                raise
            return None
        return behind(resource.table, anchor, self._directed())

    def order(self, resource: "NetResource") -> str:
        return ", ".join(f"{sortable(resource.table, c)}{' DESC' if down else ''}" for c, down in self._directed())

    def _directed(self) -> list[tuple[str, bool]]:
        return [(column, down != self.reverse) for column, down in self.sorts]

    def links(self, request: Request, ids: Sequence[str]) -> list[dict[str, str]]:
        """Where the next and the previous page are, as the real service sees it: a full page may have a next one."""
        if not self.limit:
            return []
        kept = [(name, value) for name, value in request.query if name not in ("marker", "page_reverse")]
        links = []
        if len(ids) >= self.limit or self.reverse:
            query = kept + ([("marker", ids[-1])] if ids else [])
            links.append({"rel": "next", "href": f"{request.base_url}{request.path}?{urlencode(query)}"})
        if len(ids) >= self.limit or not self.reverse:
            query = [*kept, *([("marker", ids[0])] if ids else []), ("page_reverse", "True")]
            links.append({"rel": "previous", "href": f"{request.base_url}{request.path}?{urlencode(query)}"})
        return links


def _limit(text: str) -> int:
    if (limit := natural(text)) is not None:
        return min(limit, 10**9)
    raise error("BadRequest", resource="limit", reason=f"Limit must be an integer 0 or greater and not '{text}'")


def _sorts(request: Request, resource: "NetResource") -> list[tuple[str, bool]]:
    keys = [value for name, value in request.query if name == "sort_key" and value]
    ways = [value for name, value in request.query if name == "sort_dir" and value]
    if len(keys) != len(ways):
        raise bad_request("The number of sort_keys and sort_dirs must be same")
    known = {key: resource.by_label.get(key) for key in keys}
    unknown = [key for key, attr in known.items() if attr is None or not attr.sort or not resource.column(attr)]
    if unknown:
        raise bad_request(f"{unknown} is invalid attribute for sort_keys")
    wrong = [way for way in ways if way not in ("asc", "desc")]
    if wrong:
        raise bad_request(f"{wrong} is invalid value for sort_dirs, valid value is 'asc' and 'desc'")
    columns = {key: str(resource.column(attr)) for key, attr in known.items() if attr is not None}
    return once((columns[key], way == "desc") for key, way in zip(keys, ways, strict=True))


def filters(request: Request, resource: "NetResource") -> tuple[dict[str, Any], list[Sql]]:
    """What a query asks for. Raises HTTPBadRequest for names that are no filters."""
    where: dict[str, Any] = {}
    conditions: list[Sql] = []
    by_label: dict[str, list[str]] = {}
    for label, text in request.query:
        if label not in CONTROL and label not in _IGNORED:
            by_label.setdefault(label, []).append(text)
    if not by_label:
        return where, conditions
    unknown = []
    for label, texts in by_label.items():
        attr = resource.by_label.get(label)
        if label in resource.special:
            conditions += resource.special[label](resource, request, texts)
        elif label in TAGS and "tags" in resource.by_label:
            conditions.append(tagged(resource, label, texts))
        elif label == "changed_since" and "updated_at" in resource.by_label:
            conditions.append(
                Sql(f"{resource.table.name}.updated_at >= :changed_since", {"changed_since": since(texts[-1])})
            )
        elif attr is None or not attr.filter or resource.column(attr) is None:
            unknown.append(label)
        else:
            where[str(resource.column(attr))] = [attr.type.query(label, text) for text in texts]
    if unknown:
        raise bad_request(f"{unknown} is invalid attribute for filtering")
    return where, conditions


def since(text: str) -> str:
    """The time of `changed_since`, as rows keep it. Raises BadRequest."""
    try:
        return clock.kept(text)
    except ValueError:
        raise error(
            "InvalidInput", reason=f"The input {text} must be in the following format: YYYY-MM-DDTHH:MM:SSZ"
        ) from None


def tagged(resource: "NetResource", label: str, texts: list[str]) -> Sql:
    """`tags`: all of them; `tags-any`: one of them; `not-`: the opposite."""
    tags = sorted({tag for text in texts for tag in text.split(",")})
    slug = label.replace("-", "_")
    among = listed(slug, tags)
    found = f"SELECT resource_id FROM network_tag WHERE tag IN {among.text}"
    if not label.endswith("-any"):
        found += f" GROUP BY resource_id HAVING count(*) = {len(tags)}"
    return Sql(f"{resource.table.name}.id {'NOT IN' if label.startswith('not') else 'IN'} ({found})", among.params)


def like(column: str, slot: str, text: str) -> Sql:
    """A condition that a text column holds `text` anywhere."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return Sql(f"{column} LIKE :{slot} ESCAPE '\\'", {slot: f"%{escaped}%"})
