"""Types of values that block storage bodies hold, with the real service's looseness: numbers as text, words for yes."""

import re
from collections.abc import Callable
from typing import Any

from hagane.api.types import BadValue, Custom, Str, Type, Uuid
from hagane.errors import Invalid

Rule = Callable[[str, Any], Any]
_KEY = re.compile(r"[a-zA-Z0-9-_:. /]{1,255}\Z")
_KEY_SHOWN = "^[a-zA-Z0-9-_:. /]{1,255}$"
_YES = ("True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes", "y", "t")
_NO = ("False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no", "n", "f")
_BOOLEANS = [True, *_YES, False, *_NO]


def _boolean(field: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise BadValue(field, value, f"{value!r} is not of type 'boolean', 'string'")
    if value not in _YES and value not in _NO:
        raise BadValue(field, value, f"{value!r} is not one of {_BOOLEANS}")
    return value in _YES


def _size(field: str, value: Any) -> int:
    """Gibibytes: a whole number, or one as text."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise BadValue(field, value, f"{value!r} is not of type 'integer', 'string'")
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,18}", value, re.ASCII):
        raise BadValue(field, value, f"{value!r} does not match '^[0-9]+$'")
    number = int(value)
    if number < 1:
        raise BadValue(field, value, f"{number} is less than the minimum of 1")
    if number > 2147483647:
        raise BadValue(field, value, f"{number} is greater than the maximum of 2147483647")
    return number


def _pairs(field: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise BadValue(field, value, f"{value!r} is not of type 'object'")
    wrong = [key for key in value if not _KEY.match(key)]
    if wrong:
        listed, verb = ", ".join(repr(key) for key in sorted(wrong)), "does" if len(wrong) == 1 else "do"
        raise BadValue(field, value, f"{listed} {verb} not match any of the regexes: {_KEY_SHOWN!r}")
    return {key: Str(255).check(f"{field}.{key}", entry) for key, entry in value.items()}


def _trimmed(most: int, word: str) -> Any:
    """Text whose outer blanks do not count."""

    def rule(field: str, value: Any) -> str:
        if not isinstance(value, str):
            raise BadValue(field, value, f"{value!r} is not of type 'string', 'null'")
        text = str(Str(None).check(field, value)).strip()
        if len(text) > most:
            problem = f"{word} has {len(text)} characters, more than {most}."
            raise Invalid(f"Invalid input received: {problem}", code="InvalidInput")
        return text

    return rule


def _bare(field: str, value: Any) -> str:
    """Text of bounded length, kept without its outer blanks."""
    return str(Str(255).check(field, value)).strip()


def _either(rule: Rule) -> Rule:
    """What a schema of alternatives says of a value that fits none."""

    def checked(field: str, value: Any) -> Any:
        try:
            return rule(field, value)
        except BadValue as error:
            raise BadValue(field, value, f"{value!r} is not valid under any of the given schemas") from error

    return checked


def _or_null(rule: Rule) -> Rule:
    """The same, where a wrong type is told with the one more that would do."""

    def checked(field: str, value: Any) -> Any:
        try:
            return rule(field, value)
        except BadValue as error:
            more = ", 'null'" if " is not of type " in error.reason and error.field == field else ""
            raise BadValue(error.field, error.value, error.reason + more) from error

    return checked


_BOOL_SCHEMA = {"type": ["boolean", "string"], "enum": _BOOLEANS}
BOOLEAN = Custom(rule=_boolean, json_schema=_BOOL_SCHEMA)
BOOLEAN_OR_NULL = Custom(rule=_either(_boolean), json_schema=_BOOL_SCHEMA, nullable=True)
_SIZE_SCHEMA = {"type": ["integer", "string"], "minimum": 1, "pattern": "^[0-9]+$"}
SIZE = Custom(rule=_size, json_schema=_SIZE_SCHEMA)
SIZE_OR_NULL = Custom(rule=_or_null(_size), json_schema=_SIZE_SCHEMA, nullable=True)
_PAIRS_SCHEMA = {"type": "object", "additionalProperties": {"type": "string", "maxLength": 255}}
PAIRS = Custom(rule=_pairs, json_schema=_PAIRS_SCHEMA)
PAIRS_OR_NULL = Custom(rule=_or_null(_pairs), json_schema=_PAIRS_SCHEMA, nullable=True)
NAME = Custom(rule=_trimmed(255, "name"), json_schema={"type": "string"}, nullable=True)
TEXT = Custom(rule=_trimmed(255, "description"), json_schema={"type": "string"}, nullable=True)
WORD = Str(255, nullable=True)
TEXT_OR_NULL = Custom(rule=_or_null(Str(255).check), json_schema={"type": "string", "maxLength": 255}, nullable=True)
BARE = Custom(rule=_or_null(_bare), json_schema={"type": "string", "maxLength": 255}, nullable=True)
ID = Uuid()
ID_OR_NULL = Custom(rule=_either(ID.check), json_schema={"type": "string", "format": "uuid"}, nullable=True)
ANY = Type(nullable=True)


def yes(text: str | None, name: str = "all_tenants") -> bool:
    """A flag in a query string. Raises Invalid."""
    if text is None:
        return False
    word = text.strip().lower()
    if word in {entry.lower() for entry in _YES}:
        return True
    if word in {entry.lower() for entry in _NO}:
        return False
    raise Invalid(f"Value '{text}' for '{name}' is not a boolean.", code="InvalidParameterValue")
