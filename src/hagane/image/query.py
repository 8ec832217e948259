"""What a list request asks for: filters, order and extent, in the image API's own language.

    name=in:a,"b,c"   created_at=gt:2026-01-01T00:00:00Z   size_min=1   tag=x&tag=y   any_property=value

Every condition is part of the one statement that the store runs; nothing is filtered after it.
"""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from hagane.api.http import Request
from hagane.api.listing import Page
from hagane.api.text import natural
from hagane.errors import Invalid
from hagane.state import clock
from hagane.state.table import Sql, listed

if TYPE_CHECKING:
    from hagane.image.image import Image

MOST, USUAL = 1000, 25
SORT_KEYS = ("name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at")
NAMES = ("name", "status", "visibility", "owner", "disk_format", "container_format", "size_min", "size_max", "tag",
         "member_status", "protected", "os_hidden", "created_at", "updated_at", "limit", "marker", "sort",
         "sort_key", "sort_dir")  # fmt: skip
_LISTS = frozenset({"id", "name", "status", "container_format", "disk_format"})
_COMPARED = {"eq": "=", "neq": "!=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_CONTROL = frozenset({"limit", "marker", "sort", "sort_key", "sort_dir", "member_status", "visibility", "deleted"})


def page(request: Request) -> Page:
    """Order and extent. Raises Invalid."""
    return Page(limit(request.args.get("limit")), request.args.get("marker") or None, _sorts(request))


def limit(text: str | None) -> int:
    if text is None:
        return USUAL
    number = natural(text.removeprefix("-"))
    if number is None:
        raise Invalid("limit param must be an integer", code="BadLimit")
    if number and text.startswith("-"):
        raise Invalid("limit param must be positive", code="BadLimit")
    return min(number, MOST)


def _sorts(request: Request) -> list[tuple[str, bool]]:
    keys = [value for name, value in request.query if name == "sort_key"]
    ways = [value for name, value in request.query if name == "sort_dir"]
    if "sort" in request.args:
        if keys or ways:
            raise Invalid("Old and new sorting syntax cannot be combined", code="BadSort")
        pairs = [(name.strip(), way.strip()) for name, _, way in
                 (entry.partition(":") for entry in request.args["sort"].split(","))]  # fmt: skip
        keys, ways = [key for key, _ in pairs], [way or "desc" for _, way in pairs]
    keys = keys or ["created_at"]
    if len(ways) <= 1:
        ways = (ways or ["desc"]) * len(keys)
    elif len(ways) != len(keys):
        raise Invalid("Number of sort dirs does not match the number of sort keys", code="BadSort")
    for key in keys:
        if key not in SORT_KEYS:
            known = ", ".join(SORT_KEYS)
            raise Invalid(f"Invalid sort key: {key}. It must be one of the following: {known}.", code="BadSortKey")
    for way in ways:
        if way not in ("asc", "desc"):
            raise Invalid(f"Invalid sort direction: {way}", code="BadSortDir")
    sorts = dict(reversed([(key, way == "desc") for key, way in zip(keys, ways, strict=True)]))
    ordered = [(key, sorts[key]) for key in dict.fromkeys(keys)]
    for key in ("created_at", "id"):
        if key not in sorts:
            ordered.append((key, ways[0] == "desc"))
    return ordered


def links(request: Request, found: Page, what: str = "images") -> dict[str, Any]:
    """`first`, `next` where there is more, and `schema`."""
    kept = [(name, value) for name, value in request.query if name != "marker"]
    answer = {"first": f"/v2/{what}" + (f"?{urlencode(kept)}" if kept else ""), "schema": f"/v2/schemas/{what}"}
    if found.more:
        answer["next"] = f"/v2/{what}?{urlencode([*kept, ('marker', found.last)])}"
    return answer


def conditions(request: Request, image: "Image") -> list[Sql]:
    """All filters of a request, and what its caller may see. Raises Invalid."""
    found = [_scope(request)]
    hidden = "false"
    for number, (name, text) in enumerate(request.query):
        slot = f"filter_{number}"
        if name == "os_hidden":
            hidden = text
        elif name not in _CONTROL:
            found.append(_condition(image, name, text, slot))
    return [*found, _flag("os_hidden", hidden, "filter_hidden")]


def _scope(request: Request) -> Sql:
    """Own images, public ones, and those shared with the caller; of an administrator's list everything."""
    visibility = request.args.get("visibility")
    status = request.args.get("member_status", "accepted")
    if visibility is not None and visibility not in ("public", "private", "shared", "community", "all"):
        raise Invalid(f"Invalid visibility value: {visibility}", code="BadFilter")
    if status not in ("pending", "accepted", "rejected", "all"):
        raise Invalid(f"Invalid status: {status}", code="BadFilter")
    params: dict[str, Any] = {"visibility": visibility, "me": request.caller.project_id, "member_status": status}
    wanted = "image.visibility = :visibility" if visibility not in (None, "all") else "1 = 1"
    if request.caller.is_admin:
        return Sql(wanted, params)
    member = "SELECT 1 FROM image_member m WHERE m.image_id = image.id AND m.member_id = :me"
    if status != "all":
        member += " AND m.status = :member_status"
    open_to_all = "'public', 'community'" if visibility in ("community", "all") else "'public'"
    mine = f"image.owner = :me OR image.visibility IN ({open_to_all})"
    return Sql(f"{wanted} AND ({mine} OR image.visibility = 'shared' AND EXISTS ({member}))", params)


def _condition(image: "Image", name: str, text: str, slot: str) -> Sql:
    attr = image.by_label.get(name)
    if name == "tag":
        return Sql(f"EXISTS (SELECT 1 FROM image_tag t WHERE t.image_id = image.id AND t.tag = :{slot})", {slot: text})
    if name in ("size_min", "size_max"):
        return _bound(name, text, slot)
    if name == "protected":
        return _flag(name, text, slot)
    if name in ("created_at", "updated_at"):
        return _moment(name, text, slot)
    if name == "changes-since":
        raise Invalid('The "changes-since" filter is no longer available on v2.', code="BadFilter")
    if attr is None or not attr.shown or not attr.stored:
        found = f"EXISTS (SELECT 1 FROM image_property p WHERE p.image_id = image.id AND p.name = :{slot}n"
        return Sql(f"{found} AND p.value = :{slot})", {slot: text, f"{slot}n": name})
    if attr.type.column == "int":
        number = int(text) if text.lstrip("-").isdecimal() and len(text) < 19 else None
        return Sql(f"image.{name} = :{slot}", {slot: number}) if number is not None else Sql("1 = 0")
    return _words(name, text, slot)


def _words(name: str, text: str, slot: str) -> Sql:
    """`value`, `eq:value` or `in:a,"b,c"`. A colon after any other word is part of the value."""
    operator, colon, rest = text.partition(":")
    if name not in _LISTS or not colon or operator not in ("in", *_COMPARED):
        return Sql(f"image.{name} = :{slot}", {slot: text})
    if operator not in ("in", "eq"):
        raise Invalid(f"Unable to filter by unknown operator '{operator}'.", code="BadFilter")
    values = _quoted(rest) if operator == "in" else [rest]
    among = listed(slot, values)
    return Sql(f"image.{name} IN {among.text}", among.params)


def _quoted(text: str) -> list[str]:
    """Values between commas; a value in double quotes may hold commas, and \\" a quote. Raises Invalid."""
    values, value, quoted, escaped = [], "", False, False
    for sign in text:
        if escaped:
            value, escaped = value + sign, False
        elif sign == "\\" and quoted:
            escaped = True
        elif sign == '"':
            quoted = not quoted
        elif sign == "," and not quoted:
            values.append(value)
            value = ""
        else:
            value += sign
    if quoted:
        raise Invalid(f"Invalid filter value {text}. The quote is not closed.", code="BadFilter")
    return [*values, value]


def _bound(name: str, text: str, slot: str) -> Sql:
    try:
        number = int(text)
    except ValueError as error:
        raise Invalid("Unable to filter on a range with a non-numeric value.", code="BadFilter") from error
    if number < 0:
        return Sql("1 = 0")
    return Sql(f"image.size {'>=' if name == 'size_min' else '<='} :{slot}", {slot: min(number, 2**63 - 1)})


def _flag(name: str, text: str, slot: str) -> Sql:
    if text.lower() not in ("true", "false"):
        message = f"Invalid value '{text}' for '{name}' filter. Valid values are 'true' or 'false'."
        raise Invalid(message, code="BadFilter")
    return Sql(f"image.{name} = :{slot}", {slot: int(text.lower() == "true")})


def _moment(name: str, text: str, slot: str) -> Sql:
    """A comparison to the second, which is what the API shows of a time."""
    operator, colon, rest = text.partition(":")
    if not colon or operator[:1].isdigit():
        operator, rest = "eq", text
    if operator not in _COMPARED:
        raise Invalid("Unable to filter on a unknown operator.", code="BadFilter")
    try:
        moment = clock.utc(rest)
    except ValueError as error:
        message = f'Bad "{name}" query filter format. Use ISO 8601 DateTime notation.'
        raise Invalid(message, code="BadFilter") from error
    value = moment.isoformat(timespec="seconds")
    return Sql(f"substr(image.{name}, 1, 19) {_COMPARED[operator]} :{slot}", {slot: value})
