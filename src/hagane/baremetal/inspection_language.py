"""The language of inspection rules: conditions on what an inspection found, and actions on the Node. Pure.

    rules, the highest priority first ─▶ does every condition hold? ─▶ its actions, one after the other, on a Subject

Texts hold `{node.uuid}`, `{inventory[cpu][count]}`, `{plugin_data.x}` and, in a loop, `{item}`: a name, and keys of
what it names. Unlike Python's own formatting they reach nothing but data. What cannot be found stays as it is written.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address, ip_network
from itertools import pairwise
from typing import Any

from hagane.api.cpu import TooLong, at_most
from hagane.baremetal.node_secret import masked
from hagane.errors import HaganeError, Invalid

Data = dict[str, Any]
_FIELD = re.compile(r"\{([A-Za-z_][\w-]*(?:\.[\w-]+|\[[^\[\]{}]+\])*)\}|\{\{|\}\}")
_KEY = re.compile(r"\.([\w-]+)|\[([^\[\]]+)\]")
HIDDEN = frozenset({"password", "auth_token", "bmc_password"})
EMPTY = ("", "None", "[]", "{}")
SECONDS = 1.0  # of the processor's time for one rule
LONGEST = 65536  # letters of a text that was filled in
_WRONG = (Invalid, ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError, re.error, TooLong)
"""What a rule can run into by its own fault."""


class Refused(HaganeError):
    """A rule's own action says that the inspection has failed."""


@dataclass
class Subject:
    """What rules look at and change: the Node and its Nics in the API's words, and what was found."""

    node: Data
    nics: list[Data]
    inventory: Data
    plugin_data: Data
    said: list[tuple[str, str]] = field(default_factory=list)  # (level, text) that was to be logged

    def context(self) -> Data:
        """What texts may name: no secret is among it."""
        return {"node": masked(self.node), "inventory": _hidden(self.inventory),
                "plugin_data": _hidden(self.plugin_data)}  # fmt: skip


@dataclass(frozen=True)
class Word:
    """An operator or an action: what it must be given, what it may be given, and in which of these texts are filled."""

    run: Callable[..., Any]
    needs: tuple[str, ...]
    may: tuple[str, ...] = ()
    filled: tuple[str, ...] = ()

    def named(self, op: str, args: Any) -> Data:
        """Arguments by their names; a list gives them in their order. Raises Invalid."""
        if isinstance(args, list):
            args = dict(zip((*self.needs, *self.may), args, strict=False))
        if not isinstance(args, dict):
            raise Invalid(f"{op}: args must be either a list or dictionary")
        said = []
        if lacking := [name for name in self.needs if name not in args]:
            said.append(f"missing required argument(s): {', '.join(lacking)}")
        if unknown := sorted(args.keys() - {*self.needs, *self.may}):
            said.append(f"unexpected argument(s): {', '.join(unknown)}")
        if said:
            raise Invalid(f"{op}: {'; '.join(said)}")
        return dict(args)


def apply(rules: Sequence[Mapping[str, Any]], subject: Subject) -> list[str]:
    """Bring a subject what the rules say; returns the ids of those that held. Raises Refused, Invalid with the rule."""
    held = []
    for rule in sorted(rules, key=lambda rule: -int(rule["priority"] or 0)):
        try:
            with at_most(SECONDS):
                if all(_holds(condition, subject) for condition in rule["conditions"] or ()):
                    for action in rule["actions"]:
                        _act(action, subject)
                    held.append(str(rule["id"]))
        except Refused:
            raise
        except _WRONG as error:
            why = error.message if isinstance(error, HaganeError) else f"{type(error).__name__}: {error}"
            raise Invalid(f"Failed to apply inspection rule {rule['id']}: {why}") from error
    return held


# Texts


def fill(value: Any, context: Mapping[str, Any], *, empty: bool = False) -> Any:
    """Names in a value's texts replaced by what they stand for; `empty`: a text with an unknown name is None."""
    if isinstance(value, list):
        return [fill(entry, context, empty=empty) for entry in value]
    if isinstance(value, dict):
        return {fill(key, context): fill(entry, context, empty=empty) for key, entry in value.items()}
    if not isinstance(value, str):
        return value
    try:
        return _FIELD.sub(partial(_said, context, [0]), value)
    except (KeyError, IndexError, TypeError, ValueError):
        return None if empty else value


def _said(context: Mapping[str, Any], size: list[int], found: re.Match[str]) -> str:
    """What stands for a name. Raises Invalid when all that was filled in (`size`) is more than a text may hold."""
    text = str(_at(found[1], context)) if found[1] else found[0][0]
    size[0] += len(text)
    if size[0] > LONGEST:
        raise Invalid(f"A text has become longer than {LONGEST} letters")
    return text


def _at(path: str, context: Mapping[str, Any]) -> Any:
    name = re.split(r"[.\[]", path, maxsplit=1)[0]
    found: Any = context[name]
    for dotted, bracketed in _KEY.findall(path[len(name) :]):
        key = dotted or bracketed
        found = found[int(key)] if isinstance(found, list) else found[key]
    return found


def _hidden(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: "***" if key in HIDDEN else _hidden(entry) for key, entry in value.items()}
    return [_hidden(entry) for entry in value] if isinstance(value, list) else value


# Conditions


def split(op: str) -> tuple[str, bool]:
    """ "!eq" -> ("eq", True). Raises Invalid."""
    if op.count("!") > 1:
        raise Invalid("Multiple exclamation marks are not allowed. To apply the invert of an operation, simply add an "
                      "exclamation mark (with an optional space) before the operator, e.g. eq - !eq.")  # fmt: skip
    op = op.strip()
    return op.lstrip("!").strip(), op.startswith("!")


def _holds(condition: Data, subject: Subject) -> bool:
    results = []
    for item in _turns(condition):
        results.append(_holds_once(condition, subject, item))
        if condition.get("multiple") == "first" and results[-1]:
            return True
    if condition.get("multiple") == "last":
        return results[-1]
    return all(results) if condition.get("multiple") == "all" else any(results)


def _holds_once(condition: Data, subject: Subject, item: Data) -> bool:
    op, inverted = split(condition["op"])
    word = OPERATORS[op]
    args = _args(word, op, condition, subject, item, empty=op == "is-empty")
    if item and "force_strings" in word.may:
        args["force_strings"] = True  # what was filled in is text, and is compared with text
    return bool(word.run(**args)) != inverted


def _turns(told: Data) -> Iterator[Data]:
    """What `{item}` is, turn by turn; {} where there is no loop."""
    loop = told.get("loop")
    if not loop:
        yield {}
    else:
        yield from ({"item": item} for item in (loop if isinstance(loop, list) else [loop]))


def _args(word: Word, op: str, told: Data, subject: Subject, item: Data, *, empty: bool = False) -> Data:
    context = subject.context() | item
    args = word.named(op, told["args"])
    if item:  # what an item holds may be a text with names in it
        args = {name: fill(value, context) for name, value in args.items()}
    return {
        name: fill(value, context, empty=empty) if item or name in word.filled else value
        for name, value in args.items()
    }


def _chain(test: Callable[[Any, Any], bool]) -> Word:
    def run(values: Any, force_strings: Any = False) -> bool:
        if not isinstance(values, list):
            raise Invalid(f"Expected list for 'values', got: {type(values).__name__}")
        known = [str(value) for value in values] if force_strings else values
        return all(test(one, two) for one, two in pairwise(known))

    return Word(run, ("values",), ("force_strings",), ("values",))


def _truth(value: Any, *words: str) -> bool:
    return value.lower() in words if isinstance(value, str) else False


def _true(value: Any) -> bool:
    return bool(value) if isinstance(value, bool | int | float) else _truth(value, "yes", "true")


def _false(value: Any) -> bool:
    return not value if isinstance(value, bool | int | float) or value is None else _truth(value, "no", "false")


_VALUE: Data = {"needs": ("value",), "filled": ("value",)}
_REGEX: Data = {"needs": ("value", "regex"), "filled": ("value",)}
OPERATORS: Mapping[str, Word] = {
    "eq": _chain(lambda one, two: bool(one == two)),
    "lt": _chain(lambda one, two: bool(one < two)),
    "gt": _chain(lambda one, two: bool(one > two)),
    "is-empty": Word(lambda value: str(value) in EMPTY, **_VALUE),
    "in-net": Word(lambda address, subnet: ip_address(address) in ip_network(subnet, strict=False),
                   ("address", "subnet"), (), ("address", "subnet")),
    "matches": Word(lambda value, regex: re.match(regex if regex[-1:] == "$" else regex + "$", str(value)), **_REGEX),
    "contains": Word(lambda value, regex: re.search(regex, str(value)), **_REGEX),
    "one-of": Word(lambda value, values=(): value in values, ("value",), ("values",), ("value",)),
    "is-none": Word(lambda value: value is None, **_VALUE),
    "is-true": Word(_true, **_VALUE),
    "is-false": Word(_false, **_VALUE),
}  # fmt: skip


# Actions


def _act(action: Data, subject: Subject) -> None:
    word = ACTIONS[action["op"]]
    for item in _turns(action):
        word.run(subject, **_args(word, action["op"], action, subject, item))


def _parts(path: str) -> list[str]:
    return path.strip("/").split("/") if "/" in path else path.split(".")


def _set(data: Data, path: list[str], value: Any) -> None:
    for part in path[:-1]:
        data = data.setdefault(part, {})
    data[path[-1]] = value


def _extend(data: Data, path: list[str], value: Any, unique: Any) -> None:
    for part in path[:-1]:
        data = data.setdefault(part, {})
    there = data.get(path[-1]) or []
    if not isinstance(there, list):
        raise Invalid(f"Cannot extend non-list attribute {'/'.join(path)} with value {value}")
    if not unique or value not in there:
        data[path[-1]] = [*there, value]


def _unset(data: Data, path: list[str]) -> None:
    for part in path[:-1]:
        data = data[part]
    del data[path[-1]]


def _nic(subject: Subject, key: str) -> Data:
    for nic in subject.nics:
        if nic["uuid"] == key:
            return nic
    raise Invalid(f"Port {key} could not be found.")


def _fail(subject: Subject, msg: Any) -> None:
    raise Refused(str(msg))


def _log(subject: Subject, msg: Any, level: str = "info") -> None:
    if level.lower() not in ("debug", "info", "warning", "error", "critical"):
        raise Invalid(f"Invalid log level: {level}.")
    subject.said.append((level.lower(), str(msg)))


def _capabilities(subject: Subject) -> tuple[Data, dict[str, str]]:
    properties: Data = subject.node.setdefault("properties", {})
    text = str(properties.get("capabilities") or "")
    return properties, {name: value for name, _, value in (part.partition(":") for part in text.split(",") if part)}


def _capable(subject: Subject, name: str, value: Any) -> None:
    properties, known = _capabilities(subject)
    properties["capabilities"] = ",".join(f"{key}:{entry}" for key, entry in (known | {name: value}).items())


def _incapable(subject: Subject, name: str) -> None:
    properties, known = _capabilities(subject)
    known.pop(name, None)
    properties["capabilities"] = ",".join(f"{key}:{entry}" for key, entry in known.items())


def _trait(subject: Subject, name: str, *, there: bool) -> None:
    others = [trait for trait in subject.node.get("traits") or [] if trait != name]
    subject.node["traits"] = sorted([*others, name] if there else others)


def _forget(subject: Subject, path: str) -> None:
    """What was found goes if it is there."""
    parts = path.split(".")
    data: Any = subject.plugin_data
    for part in parts[:-1]:
        data = data.get(part) if isinstance(data, dict) else None
    if isinstance(data, dict):
        data.pop(parts[-1], None)


_PATH, _SETS, _ADDS = ("path",), ("path", "value"), {"may": ("unique",), "filled": ("value",)}
ACTIONS: Mapping[str, Word] = {
    "fail": Word(_fail, ("msg",)),
    "log": Word(_log, ("msg",), ("level",), ("msg",)),
    "set-attribute": Word(lambda s, path, value: _set(s.node, _parts(path), value), _SETS, filled=("value",)),
    "extend-attribute": Word(
        lambda s, path, value, unique=False: _extend(s.node, _parts(path), value, unique), _SETS, **_ADDS),
    "del-attribute": Word(lambda s, path: _unset(s.node, _parts(path)), _PATH),
    "set-capability": Word(_capable, ("name", "value"), filled=("value",)),
    "unset-capability": Word(_incapable, ("name",)),
    "add-trait": Word(lambda s, name: _trait(s, name, there=True), ("name",)),
    "remove-trait": Word(lambda s, name: _trait(s, name, there=False), ("name",)),
    "set-plugin-data": Word(lambda s, path, value: _set(s.plugin_data, path.split("."), value), _SETS,
                            filled=("value",)),
    "extend-plugin-data": Word(
        lambda s, path, value, unique=False: _extend(s.plugin_data, path.split("."), value, unique), _SETS, **_ADDS),
    "unset-plugin-data": Word(_forget, _PATH),
    "set-port-attribute": Word(lambda s, port_id, path, value: _set(_nic(s, port_id), _parts(path), value),
                               ("port_id", *_SETS), filled=("value",)),
    "extend-port-attribute": Word(
        lambda s, port_id, path, value, unique=False: _extend(_nic(s, port_id), _parts(path), value, unique),
        ("port_id", *_SETS), **_ADDS),
    "del-port-attribute": Word(lambda s, port_id, path: _unset(_nic(s, port_id), _parts(path)), ("port_id", *_PATH)),
}  # fmt: skip
"""Those of the real service, but `api-call`: this cloud asks no addresses that a rule names."""
