"""The types that compute bodies share. What they take and refuse follows the real service's request schemas."""

import base64
import binascii
import ipaddress
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hagane.api.text import unscoped
from hagane.api.types import BadValue, Custom, Enum, Int, ListOf, MapOf, Str, Type, Uuid, is_uuid

_TRUE = ("True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes")
_FALSE = ("False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no")


def printable(text: str) -> bool:
    """Letters, marks, numbers, symbols and spaces; no control characters and no line ends."""
    return all((kind := unicodedata.category(c))[0] != "C" and (kind[0] != "Z" or kind == "Zs") for c in text)


@dataclass(frozen=True)
class Name(Str):
    """1 to 255 printable characters without space at either end."""

    min: int = 1

    def convert(self, field: str, value: Any) -> Any:
        text = super().convert(field, value)
        if text != text.strip() or not printable(text):
            raise BadValue("", value, "An invalid 'name' value was provided. The name must be: printable characters. "
                           "Can not start or end with whitespace.")  # fmt: skip
        return text


@dataclass(frozen=True)
class Description(Str):
    """Up to 255 printable characters, or nothing."""

    nullable: bool = True

    def convert(self, field: str, value: Any) -> Any:
        text = super().convert(field, value)
        if not printable(text):
            raise BadValue(field, value, f"{value!r} does not match the pattern of printable characters")
        return text


@dataclass(frozen=True)
class Count(Int):
    """A number, or digits in a text: the compute API takes both. No upper bound but the column's."""

    min: int | None = 1

    def convert(self, field: str, value: Any) -> Any:
        digits = "-?[0-9]+" if self.min is not None and self.min < 0 else "[0-9]+"
        if isinstance(value, str) and not re.fullmatch(digits, value):
            reason = "does not match '^[0-9]*$'" if value else "is too short"
            raise BadValue(field, value, f"{value!r} {reason}")
        return super().convert(field, value)


def _boolean(field: str, value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in _TRUE:
        return True
    if isinstance(value, str) and value in _FALSE:
        return False
    kind = "" if isinstance(value, str) else f"{value!r} is not of type 'boolean', 'string'; "
    raise BadValue(field, value, f"{kind}{value!r} is not one of {[True, *_TRUE, False, *_FALSE]}")


def _base64(field: str, value: Any) -> Any:
    if not isinstance(value, str):
        raise BadValue(field, value, f"{value!r} is not of type 'string'")
    if len(value) > 65535:
        raise BadValue(field, value, f"{value!r} is too long")
    try:
        base64.b64decode(value.replace("\n", ""), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadValue(field, value, f"{value!r} is not a 'base64'") from error
    return value


@dataclass(frozen=True)
class MetadataValue(Str):
    """Text up to 255 characters."""


@dataclass(frozen=True)
class OneOf(Type):
    """The first of several types that takes the value; `says` is the refusal when none does."""

    types: tuple[Type, ...] = ()
    says: str = ""

    def convert(self, field: str, value: Any) -> Any:
        for kind in self.types:
            try:
                return kind.check(field, value)
            except BadValue:
                continue
        raise BadValue(field, value, self.says or f"{value!r} is not valid under any of the given schemas")

    def own_schema(self) -> dict[str, Any]:
        return {"oneOf": [kind.schema() for kind in self.types]}


def _image_ref(field: str, value: Any) -> Any:
    if value == "" or is_uuid(value):
        return value
    raise BadValue(field, value, f"{value!r} is not a 'uuid'" if isinstance(value, str)
                   else f"{value!r} is not of type 'string'")  # fmt: skip


def _flavor_ref(field: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadValue(field, value, f"{value!r} is not of type 'string', 'integer'")
    if value == "":
        raise BadValue(field, value, "'' should be non-empty")
    if isinstance(value, int) and value < 0:
        raise BadValue(field, value, f"{value} is less than the minimum of 0")
    return str(value).rsplit("/", 1)[-1]


NAME = Name()
NAME_OR_NONE = Str(255, min=1, nullable=True)
DESCRIPTION = Description()
BOOLEAN = Custom(
    rule=_boolean, kind="bool", json_schema={"type": ["boolean", "string"], "enum": [True, *_TRUE, False, *_FALSE]}
)
POSITIVE = Count(min=1)
NON_NEGATIVE = Count(min=0)
USER_DATA = Custom(rule=_base64, kind="text", json_schema={"type": "string", "format": "base64", "maxLength": 65535})
USER_DATA_OR_NONE = Custom(rule=_base64, kind="text", nullable=True, json_schema={"type": "string", "format": "base64"})
METADATA = MapOf(value=MetadataValue(), key=Str(255, min=1, pattern=r"^[a-zA-Z0-9-_:. ]{1,255}\Z"))
DISK_CONFIG = Enum(values=("AUTO", "MANUAL"))
PASSWORD = Str(None)
IMAGE_REF = Custom(rule=_image_ref, kind="text", json_schema={"type": "string"})
FLAVOR_REF = Custom(rule=_flavor_ref, kind="text", json_schema={"type": ["string", "integer"], "minLength": 1})
TAG = Str(60, min=1, pattern=r"^[^,/]*\Z")
TAGS = ListOf(item=TAG, max=50)
HOSTNAME = Str(63, min=2, pattern=r"^[a-zA-Z0-9]+[a-zA-Z0-9-]*[a-zA-Z0-9]+\Z")
FQDN = Str(255, min=1, pattern=r"^[a-zA-Z0-9-._]*\Z")
ANY = Type(nullable=True)
DEVICE = Str(None, nullable=True, pattern=r"^/dev/x?[a-z]?d?[a-z]+[0-9]*\Z")
UUID = Uuid()


def ip_or_empty(version: int) -> Callable[[str, Any], Any]:
    """A rule for an address of one version in its shortest form (RFC 5952); empty text removes it."""

    def rule(field: str, value: Any) -> Any:
        if value == "":
            return None
        try:
            address = ipaddress.ip_address(unscoped(value))
        except ValueError as error:
            raise BadValue(field, value, f"{value!r} is not a 'ipv{version}'") from error
        if address.version != version:
            raise BadValue(field, value, f"{value!r} is not a 'ipv{version}'")
        return str(address)

    return rule
