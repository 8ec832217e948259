"""JSON patch (RFC 6902: add, replace, remove) as the bare-metal service takes it: one operation after another."""

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hagane.baremetal.node_secret import STARS, masked, secret
from hagane.errors import Invalid

OPERATIONS = ("add", "replace", "remove")
_PATH = re.compile(r"(/[\w-]+)+\Z")
_PATH_98 = re.compile(r"(/(?:[\w.:-]|~[01])+)+\Z")
Operation = Mapping[str, Any]


def check(body: Any, allowed: Sequence[str], *, special: bool) -> list[Operation]:
    """The operations of a body. `special`: keys may hold ~0, ~1 and dots (since 1.98). Raises Invalid."""
    if not isinstance(body, list):
        raise _schema(f"{body!r} is not of type 'array'")
    for entry in body:
        _check_one(entry, special)
    for entry in body:
        if root(entry) not in allowed:
            raise Invalid(
                f"Cannot patch {entry['path']}. Only the following can be updated: {', '.join(allowed)}",
                code="BadPatch",
            )
    return body


def _check_one(entry: Any, special: bool) -> None:
    if not isinstance(entry, dict):
        raise _schema(f"{entry!r} is not of type 'object'")
    for name in ("op", "path"):
        if name not in entry:
            raise _schema(f"{name!r} is a required property")
    if entry["op"] not in OPERATIONS:
        raise _schema(f"{entry['op']!r} is not one of {list(OPERATIONS)}")
    pattern = _PATH_98 if special else _PATH
    if not isinstance(entry["path"], str) or not pattern.match(entry["path"]):
        raise _schema(f"{entry['path']!r} does not match '^(/[\\\\w-]+)+$'")


def _schema(reason: str) -> Invalid:
    return Invalid(f"Schema error for patch: {reason}", code="BadPatch")


def root(entry: Operation) -> str:
    """The attribute that an operation is about."""
    return _steps(entry["path"])[0]


def values(patch: Sequence[Operation], name: str) -> list[Any]:
    """What the operations set a whole attribute to."""
    return [entry.get("value") for entry in patch if entry["path"] == f"/{name}" and entry["op"] != "remove"]


def apply(document: dict[str, Any], patch: Sequence[Operation]) -> dict[str, Any]:
    """A patched copy. Raises Invalid with the operation that does not fit."""
    patched = copy.deepcopy(document)
    for entry in patch:
        try:
            _apply_one(patched, entry)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            reason = error.args[0] if error.args else "the path does not exist"
            raise Invalid(f"Couldn't apply patch '{_shown(entry)}'. Reason: {reason}", code="BadPatch") from error
    return patched


def _shown(entry: Operation) -> dict[str, Any]:
    hidden = "value" in entry and any(map(secret, _steps(entry["path"])))
    return {**entry, "value": STARS} if hidden else masked(dict(entry))


def _apply_one(document: Any, entry: Operation) -> None:
    if entry["op"] != "remove" and "value" not in entry:
        raise ValueError("The operation does not contain a 'value' member")
    *before, last = _steps(entry["path"])
    holder = document
    for step in before:
        holder = holder[_index(holder, step)] if isinstance(holder, list) else _member(holder, step)
    if isinstance(holder, list):
        _change_list(holder, last, entry)
    elif isinstance(holder, dict):
        _change_dict(holder, last, entry)
    else:
        raise KeyError(f"member '{last}' not found")


def _member(holder: Any, step: str) -> Any:
    """What there is instead is not said: it may be a secret, or hold some."""
    if not isinstance(holder, dict) or step not in holder:
        raise KeyError(f"member '{step}' not found")
    return holder[step]


def _change_dict(holder: dict[str, Any], last: str, entry: Operation) -> None:
    if entry["op"] == "add":
        holder[last] = entry["value"]
    elif last not in holder:
        verb = "remove" if entry["op"] == "remove" else "replace"
        raise KeyError(f"can't {verb} a non-existent object '{last}'")
    elif entry["op"] == "remove":
        del holder[last]
    else:
        holder[last] = entry["value"]


def _change_list(holder: list[Any], last: str, entry: Operation) -> None:
    if entry["op"] == "add":
        place = len(holder) if last == "-" else _index(holder, last, beyond=1)
        holder.insert(place, entry["value"])
    elif entry["op"] == "remove":
        del holder[_index(holder, last)]
    else:
        holder[_index(holder, last)] = entry["value"]


def _index(holder: list[Any], step: str, *, beyond: int = 0) -> int:
    if not step.isdigit() or int(step) >= len(holder) + beyond:
        raise IndexError(f"can't use '{step}' as an index of a list of {len(holder)}")
    return int(step)


def _steps(path: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]
