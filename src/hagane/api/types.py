"""The types of attributes: each checks a value from a body, reads one from a query, and writes its JSON Schema.

A type says why it refuses in the words of JSON Schema, because that is what the real services answer; the service's own
sentence around it ("Invalid input for field/attribute ...") is put there by faults.py.
"""

import ipaddress
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from hagane.api.text import unscoped
from hagane.errors import Invalid
from hagane.state import clock

_TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
_FALSE = frozenset({"0", "f", "false", "off", "n", "no"})


class BadValue(Invalid):
    """A value does not fit: the field's wire name, the value, and the reason; the service words the sentence."""

    def __init__(self, field: str, value: Any, reason: str) -> None:
        super().__init__(f"Invalid input for {field}: {reason}", field=field, value=value, reason=reason)
        self.field, self.value, self.reason = field, value, reason


@dataclass(frozen=True)
class Type:
    """Base: takes anything. `column` is the kind of column that keeps such a value."""

    nullable: bool = field(default=False, kw_only=True)
    column = "json"

    def check(self, field: str, value: Any) -> Any:
        """The value as it is kept. Raises BadValue."""
        if value is None:
            if self.nullable:
                return None
            raise BadValue(field, value, f"None is not of type '{self.word}'")
        return self.convert(field, value)

    def convert(self, field: str, value: Any) -> Any:
        return value

    def query(self, field: str, text: str) -> Any:
        """The value of a filter in a query string."""
        return self.check(field, text)

    @property
    def word(self) -> str:
        return "object"

    def schema(self) -> dict[str, Any]:
        """JSON Schema of the value."""
        own = self.own_schema()
        if self.nullable and isinstance(own.get("type"), str):
            own["type"] = [own["type"], "null"]
        return own

    def own_schema(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class Str(Type):
    """Text of bounded length, by a pattern where one is given (anchor it with \\Z: `$` lets a newline through)."""

    max: int | None = 255
    min: int = 0
    pattern: str = ""
    column = "text"

    @property
    def word(self) -> str:
        return "string"

    def convert(self, field: str, value: Any) -> Any:
        if not isinstance(value, str):
            raise BadValue(field, value, f"{value!r} is not of type 'string'")
        if len(value) < self.min:
            raise BadValue(field, value, f"{value!r} is too short")
        if self.max is not None and len(value) > self.max:
            raise BadValue(field, value, f"{value!r} is too long")
        if self.pattern and not re.search(self.pattern, value):
            shown = self.pattern.replace(r"\Z", "$")
            raise BadValue(field, value, f"{value!r} does not match {shown!r}")
        if "\x00" in value or any("\ud800" <= c <= "\udfff" for c in value):
            raise BadValue(field, value, "the text holds characters that cannot be kept")
        return value

    def own_schema(self) -> dict[str, Any]:
        more: dict[str, Any] = {"pattern": self.pattern.replace(r"\Z", "$")} if self.pattern else {}
        if self.max is not None:
            more["maxLength"] = self.max
        return {"type": "string", "minLength": self.min} | more


@dataclass(frozen=True)
class Enum(Str):
    """One of a few words."""

    values: tuple[str, ...] = ()

    def convert(self, field: str, value: Any) -> Any:
        if value not in self.values:
            raise BadValue(field, value, f"{value!r} is not one of {list(self.values)}")
        return value

    def query(self, field: str, text: str) -> Any:
        return text

    def own_schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.values)}


@dataclass(frozen=True)
class Uuid(Str):
    """A UUID with or without dashes, kept as it came (the real services do not normalise)."""

    def convert(self, field: str, value: Any) -> Any:
        if not isinstance(value, str):
            raise BadValue(field, value, f"{value!r} is not of type 'string'")
        if not is_uuid(value):
            raise BadValue(field, value, f"{value!r} is not a 'uuid'")
        return value

    def query(self, field: str, text: str) -> Any:
        return text

    def own_schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "uuid"}


@dataclass(frozen=True)
class Bool(Type):
    """A boolean; `loose` also takes the words and numbers that the older APIs take."""

    loose: bool = False
    column = "bool"

    @property
    def word(self) -> str:
        return "boolean"

    def convert(self, field: str, value: Any) -> Any:
        if isinstance(value, bool):
            return value
        if self.loose:
            return self._words(field, value)
        raise BadValue(field, value, f"{value!r} is not of type 'boolean'")

    def query(self, field: str, text: str) -> Any:
        return self._words(field, text)

    def _words(self, field: str, value: Any) -> bool:
        word = str(value).strip().lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        raise BadValue(field, value, f"{value!r} is not a boolean")

    def own_schema(self) -> dict[str, Any]:
        return {"type": ["boolean", "string", "integer"]} if self.loose else {"type": "boolean"}


@dataclass(frozen=True)
class Int(Type):
    """A whole number in a range; `loose` also takes it as text."""

    min: int | None = None
    max: int | None = 2**31 - 1
    loose: bool = True
    column = "int"

    @property
    def word(self) -> str:
        return "integer"

    def convert(self, field: str, value: Any) -> Any:
        number = value
        if self.loose and isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value):
            number = int(value)
        if isinstance(number, bool) or not isinstance(number, int):
            raise BadValue(field, value, f"{value!r} is not of type 'integer'")
        if self.min is not None and number < self.min:
            raise BadValue(field, value, f"{value!r} is less than the minimum of {self.min}")
        if self.max is not None and number > self.max:
            raise BadValue(field, value, f"{value!r} is greater than the maximum of {self.max}")
        return number

    def query(self, field: str, text: str) -> Any:
        if not re.fullmatch(r"-?[0-9]{1,18}", text):
            raise BadValue(field, text, f"{text!r} is not of type 'integer'")
        return int(text)

    def own_schema(self) -> dict[str, Any]:
        bounds = {"minimum": self.min, "maximum": self.max}
        kind: dict[str, Any] = (
            {"type": ["integer", "string"], "pattern": "^-?[0-9]+$"} if self.loose else {"type": "integer"}
        )
        return kind | {key: bound for key, bound in bounds.items() if bound is not None}


@dataclass(frozen=True)
class Number(Type):
    """A number with a fraction."""

    min: float | None = None
    column = "real"

    @property
    def word(self) -> str:
        return "number"

    def convert(self, field: str, value: Any) -> Any:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise BadValue(field, value, f"{value!r} is not of type 'number'") from error
        if not math.isfinite(number):
            raise BadValue(field, value, f"{value!r} is not of type 'number'")
        if self.min is not None and number < self.min:
            raise BadValue(field, value, f"{value!r} is less than the minimum of {self.min}")
        return number

    def own_schema(self) -> dict[str, Any]:
        return {"type": "number"} | ({"minimum": self.min} if self.min is not None else {})


@dataclass(frozen=True)
class Time(Str):
    """ISO 8601, kept in UTC without a suffix (state/clock.py)."""

    def convert(self, field: str, value: Any) -> Any:
        try:
            return clock.kept(value)
        except ValueError as error:
            raise BadValue(field, value, f"{value!r} is not a 'date-time'") from error

    def own_schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "date-time"}


@dataclass(frozen=True)
class Ip(Str):
    """An address of version 4, 6 or (0) either, kept in its shortest form (RFC 5952)."""

    version: int = 0

    def convert(self, field: str, value: Any) -> Any:
        try:
            address = ipaddress.ip_address(unscoped(value))
        except ValueError as error:
            raise BadValue(field, value, f"{value!r} is not a valid IP address") from error
        if self.version and address.version != self.version:
            raise BadValue(field, value, f"{value!r} is not a 'ipv{self.version}'")
        return str(address)

    def own_schema(self) -> dict[str, Any]:
        return {"type": "string"} | ({"format": f"ipv{self.version}"} if self.version else {})


@dataclass(frozen=True)
class Mac(Str):
    """An Ethernet address, kept in lower case with colons."""

    def convert(self, field: str, value: Any) -> Any:
        if not isinstance(value, str) or not re.fullmatch(r"([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}", value):
            raise BadValue(field, value, f"{value!r} is not a valid MAC address")
        return value.lower().replace("-", ":")


@dataclass(frozen=True)
class ListOf(Type):
    """A list of values of one type."""

    item: Type = field(default_factory=Type)
    max: int | None = None
    min: int = 0
    unique: bool = False

    @property
    def word(self) -> str:
        return "array"

    def convert(self, field: str, value: Any) -> Any:
        if not isinstance(value, list):
            raise BadValue(field, value, f"{value!r} is not of type 'array'")
        if len(value) < self.min:
            raise BadValue(field, value, f"{value!r} is too short")
        if self.max is not None and len(value) > self.max:
            raise BadValue(field, value, f"{value!r} is too long")
        items = [self.item.check(f"{field}.{i}" if field else str(i), entry) for i, entry in enumerate(value)]
        if self.unique and len({msgspec.json.encode(item, order="deterministic") for item in items}) < len(items):
            raise BadValue(field, value, f"{value!r} has non-unique elements")
        return items

    def own_schema(self) -> dict[str, Any]:
        bounds: dict[str, Any] = {"minItems": self.min} | ({"maxItems": self.max} if self.max is not None else {})
        return {"type": "array", "items": self.item.schema(), "uniqueItems": self.unique} | bounds


@dataclass(frozen=True)
class Obj(Type):
    """An object of named fields. Fields not in `required` may be absent; others than named only when `open`."""

    fields: Mapping[str, Type] = field(default_factory=dict)
    required: Sequence[str] = ()
    open: bool = False

    def convert(self, field: str, value: Any) -> Any:
        if not isinstance(value, dict):
            raise BadValue(field, value, f"{value!r} is not of type 'object'")
        for name in self.required:
            if name not in value:
                raise BadValue(field, value, f"{name!r} is a required property")
        unknown = [name for name in value if name not in self.fields]
        if unknown and not self.open:
            listed = ", ".join(repr(name) for name in unknown)
            verb = "was" if len(unknown) == 1 else "were"
            raise BadValue(field, value, f"Additional properties are not allowed ({listed} {verb} unexpected)")
        prefix = f"{field}." if field else ""
        return {
            name: self.fields[name].check(prefix + name, entry) if name in self.fields else entry
            for name, entry in value.items()
        }

    def own_schema(self) -> dict[str, Any]:
        properties = {name: kind.schema() for name, kind in self.fields.items()}
        return {"type": "object", "properties": properties, "additionalProperties": self.open} | (
            {"required": list(self.required)} if self.required else {}
        )


@dataclass(frozen=True)
class MapOf(Type):
    """An object with free keys and values of one type (metadata)."""

    value: Type = field(default_factory=Type)
    key: Str = field(default_factory=lambda: Str(255, min=1))
    max: int | None = None

    def convert(self, field: str, value: Any) -> Any:
        if not isinstance(value, dict):
            raise BadValue(field, value, f"{value!r} is not of type 'object'")
        if self.max is not None and len(value) > self.max:
            raise BadValue(field, value, f"{value!r} has too many properties")
        return {
            self.key.check(field, name): self.value.check(f"{field}.{name}" if field else name, entry)
            for name, entry in value.items()
        }

    def own_schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": self.value.schema()}


@dataclass(frozen=True)
class Custom(Type):
    """A type whose check is a function `(field, value) -> value`, for rules that are one resource's own."""

    rule: Callable[[str, Any], Any] = field(default=lambda field, value: value)
    kind: str = "json"
    json_schema: Mapping[str, Any] = field(default_factory=dict)

    @property
    def column(self) -> str:  # type: ignore[override]
        return self.kind

    def convert(self, field: str, value: Any) -> Any:
        return self.rule(field, value)

    def query(self, field: str, text: str) -> Any:
        return text

    def own_schema(self) -> dict[str, Any]:
        return dict(self.json_schema)


def is_uuid(text: Any) -> bool:
    """As oslo.utils sees it: dashes may lack, case does not matter."""
    try:
        return isinstance(text, str) and str(UUID(text)).replace("-", "") == text.lower().replace("-", "")
    except ValueError:
        return False
