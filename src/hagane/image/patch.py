"""Both forms of JSON patch that image clients send, as one list of changes of top-level names.

application/openstack-images-v2.1-json-patch   [{"op": "replace", "path": "/name", "value": "x"}]
application/openstack-images-v2.0-json-patch   [{"replace": "/name", "value": "x"}]     (an early draft of RFC 6902)
"""

import re
from dataclasses import dataclass
from typing import Any

from hagane.api.http import Request
from hagane.api.types import ListOf, Obj, Str, Type
from hagane.errors import HaganeError, Invalid

V20 = "application/openstack-images-v2.0-json-patch"
V21 = "application/openstack-images-v2.1-json-patch"
OPERATIONS = ("add", "remove", "replace")
BODY = ListOf(item=Obj(fields={"op": Str(), "path": Str(), "value": Type(nullable=True)}, required=("op", "path")))


@dataclass(frozen=True, slots=True)
class Change:
    """One operation on the attribute or property `name`; `value` is None for remove."""

    op: str
    name: str
    value: Any


def style(request: Request) -> str:
    """Which form the body has, by its media type. Raises an error of status 415."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in (V20, V21):
        text = f"The request media type {media or 'none'} is not supported by this server. Image PATCH expects"
        raise HaganeError(f"{text} Content-Type one of: {V20}, {V21}", code="UnsupportedMediaType", status=415)
    return media


def parse(media: str, body: Any) -> list[Change]:
    """The operations of a body, in order. Raises Invalid."""
    if not isinstance(body, list):
        raise _bad("Request body must be a JSON array of operation objects.")
    return [_change(media, entry) for entry in body]


def _change(media: str, entry: Any) -> Change:
    if not isinstance(entry, dict):
        raise _bad("Operations must be JSON objects.")
    op, path = _v21(entry) if media == V21 else _v20(entry)
    if op != "remove" and "value" not in entry:
        raise _bad(f'Operation "{op}" requires a member named "value".')
    return Change(op, _name(path), None if op == "remove" else entry["value"])


def _v21(entry: dict[str, Any]) -> tuple[str, Any]:
    listed = ", ".join(OPERATIONS)
    if "op" not in entry:
        raise _bad(f"Unable to find `op` in JSON Schema change. It must be one of the following: {listed}.")
    if entry["op"] not in OPERATIONS:
        raise _bad(f"Invalid operation: `{entry['op']}`. It must be one of the following: {listed}.")
    if "path" not in entry:
        raise _bad("Unable to find 'path' in JSON Schema change")
    return entry["op"], entry["path"]


def _v20(entry: dict[str, Any]) -> tuple[str, Any]:
    named = [op for op in OPERATIONS if op in entry]
    if len(named) != 1:
        word = "only" if named else "exactly"
        raise _bad(f'Operation objects must contain {word} one member named "add", "remove", or "replace".')
    return named[0], entry[named[0]]


def _name(path: Any) -> str:
    """The top-level name that a JSON pointer (RFC 6901) of one token stands for."""
    if not isinstance(path, str) or not path.startswith("/"):
        raise _bad(f'Pointer `{path}` does not start with "/".')
    tokens = path[1:].split("/")
    if re.search("~[^01]|~$", path):
        raise _bad(f'Pointer `{path}` contains "~" not part of a recognized escape sequence.')
    if len(tokens) != 1:
        raise _bad(f"Invalid JSON pointer for this resource: '{path}'")
    return tokens[0].replace("~1", "/").replace("~0", "~")


def _bad(text: str) -> Invalid:
    return Invalid(text, code="BadPatch")
