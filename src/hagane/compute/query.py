"""Values in query strings: numbers, moments, yes or no. What is not one is refused in the real service's words."""

from datetime import UTC, datetime
from typing import TypeVar

from hagane.api.http import Request
from hagane.api.text import natural
from hagane.compute.base import MOST
from hagane.errors import Invalid

TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
FALSE = frozenset({"0", "f", "false", "off", "n", "no"})
BIGGEST = 2**31 - 1
T = TypeVar("T")


def refused(name: str, text: str, why: str) -> Invalid:
    return Invalid(f"Invalid input for query parameters {name}. Value: {text}. {text!r} {why}")


def whole(text: str) -> int | None:
    """A number of zero or more in plain digits, or None; what is too large for any column is the largest."""
    number = natural(text)
    return None if number is None else min(number, BIGGEST)


def number(request: Request, name: str, default: int) -> int:
    """Raises Invalid."""
    text = request.args.get(name)
    if text is None or text == "":
        return default
    value = whole(text)
    if value is None:
        raise refused(name, text, "does not match '^[0-9]*$'")
    return value


def limit(request: Request) -> int:
    """How many rows a page has: at most 1,000, and as many without a limit; none is none. Raises Invalid."""
    return min(number(request, "limit", MOST), MOST)


def window(request: Request, found: list[T]) -> list[T]:
    """What `offset` and `limit` leave of a list, as the older lists take them. Raises Invalid."""
    offset = number(request, "offset", 0)
    return found[offset : offset + limit(request)]


def moment(name: str, text: str) -> str:
    """A time as rows keep it. Raises Invalid."""
    try:
        found = datetime.fromisoformat(text.replace(" ", "+"))
        if found.tzinfo is not None:
            found = found.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError) as error:
        raise refused(name, text, "is not a 'date-time'") from error
    return found.isoformat(timespec="microseconds")


def between(request: Request) -> tuple[str | None, str | None]:
    """`changes-since` and `changes-before`. Raises Invalid when they exclude each other."""
    names = ("changes-since", "changes-before")
    since, before = (moment(name, request.args[name]) if name in request.args else None for name in names)
    if since and before and before < since:
        raise Invalid("The value of changes-since must be less than or equal to changes-before.")
    return since, before


def flag(request: Request, name: str) -> bool:
    """Yes or no; no when it is not there. Raises Invalid."""
    text = request.args.get(name, "false").lower()
    if text not in TRUE | FALSE:
        raise refused(name, text, "is not a boolean")
    return text in TRUE
