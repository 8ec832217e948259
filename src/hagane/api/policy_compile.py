"""From the tree of a policy rule to nested closures, compiled once, called with a token's Creds and a target.

Most checks ask for a role or compare one value of the token with one attribute of the target: those cost one look-up
on each side. The rest of oslo.policy's behaviour (values inside lists and dicts, several substitutions, nested
targets) is behind them in slower functions.

A target's attributes are looked up by the name in the rule, then by the service's other names for the same thing,
then, if the name is dotted, inside nested mappings (`target.user.domain_id`).
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hagane.api.creds import Creds
from hagane.api.policy_language import All, BadRule, Check, Constant, Node, Not, Some

Target = Mapping[str, Any]
Test = Callable[[Creds, Target], bool]
Places = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Dialect:
    """Where one service reads the language differently from the others.

    `fields` names the attributes that a `field:` check converts, by resource; None: the service has no such check.
    `aliases` gives further names under which a target may hold an attribute, `kinds` the present names of the token's
    values that rules may call by an old one. `admin_any_case`: `is_admin:true` is
    meant as `is_admin:True`, and any other word as `is_admin:False`.
    """

    fields: Mapping[str, Mapping[str, str]] | None = None
    aliases: Callable[[str], tuple[str, ...]] = field(default=lambda key: ())
    kinds: Mapping[str, str] = field(default_factory=dict)
    admin_any_case: bool = False


class Compiler:
    """`rule` finds the closure of another rule; `is_admin` the credential of that name, None if there is none."""

    def __init__(self, dialect: Dialect, rule: Callable[[str], Test], is_admin: Callable[[Creds], bool | None]) -> None:
        self._dialect = dialect
        self._rule = rule
        self._is_admin = is_admin

    def compile(self, node: Node) -> Test:
        """Raises BadRule for a check that could never be evaluated."""
        if isinstance(node, Constant):
            value = node.value
            return lambda creds, target: value
        if isinstance(node, Not):
            test = self.compile(node.part)
            return lambda creds, target: not test(creds, target)
        if isinstance(node, All):
            return _all_of([self.compile(part) for part in node.parts])
        if isinstance(node, Some):
            return _any_of([self.compile(part) for part in node.parts])
        return self._compile_check(node)

    def _compile_check(self, check: Check) -> Test:
        if check.kind == "rule":
            return self._rule(check.match)
        if check.kind == "role":
            return self._role(check.match)
        if check.kind == "is_admin":
            return self._admin(check.match)
        if check.kind == "field" and self._dialect.fields is not None:
            return _field(check.match, self._dialect.fields)
        text = self._text(check.match)
        literal = _literal(check.kind)
        if literal is not None:
            return lambda creds, target: text(target) == literal
        return self._path(check, text)

    def _role(self, match: str) -> Test:
        if "%" not in match:
            role = match.lower()
            return lambda creds, target: role in creds.roles
        text = self._text(match)
        return lambda creds, target: (text(target) or "").lower() in creds.roles

    def _admin(self, match: str) -> Test:
        if self._dialect.admin_any_case:
            match = str(match.lower() == "true")
        is_admin, text = self._is_admin, self._text(match)

        def test(creds: Creds, target: Target) -> bool:
            admin = is_admin(creds)
            return admin is not None and text(target) == str(admin)

        return test

    def _path(self, check: Check, text: Callable[[Target], str | None]) -> Test:
        """Compare a value of the token; one look-up on each side in the usual case, `project_id:%(project_id)s`."""
        name = self._dialect.kinds.get(check.kind, check.kind)
        path = tuple(name.split("."))
        key = _single_key(check.match)

        def slow(creds: Creds, target: Target) -> bool:
            wanted = text(target)
            return wanted is not None and creds.holds(path, wanted)

        if key is None or len(path) > 1:
            return slow

        def test(creds: Creds, target: Target) -> bool:
            have = creds.texts.get(name)
            value = target.get(key)
            if have is None or value is None:
                return slow(creds, target)
            return have == (value if isinstance(value, str) else str(value))

        return test

    def _text(self, match: str) -> Callable[[Target], str | None]:
        """A function from the target to the text of `match`, or to None if the target lacks a named attribute."""
        if "%" not in match:
            return lambda target: match
        key = _single_key(match)
        if key is not None:
            places = _places(key, self._dialect)
            return lambda target: _as_text(_find(target, places))
        _validate_format(match)
        dialect = self._dialect

        def text(target: Target) -> str | None:
            try:
                return match % _Substitutes(target, dialect)
            except (KeyError, TypeError, ValueError):
                return None

        return text


def _all_of(tests: list[Test]) -> Test:
    if len(tests) == 2:
        first, second = tests
        return lambda creds, target: first(creds, target) and second(creds, target)

    def test(creds: Creds, target: Target) -> bool:
        for part in tests:  # noqa: SIM110 - a generator costs a microsecond per check
            if not part(creds, target):
                return False
        return True

    return test


def _any_of(tests: list[Test]) -> Test:
    if len(tests) == 2:
        first, second = tests
        return lambda creds, target: first(creds, target) or second(creds, target)

    def test(creds: Creds, target: Target) -> bool:
        for part in tests:  # noqa: SIM110 - as above
            if part(creds, target):
                return True
        return False

    return test


def _literal(kind: str) -> str | None:
    """The text of a literal on the left side (`'public':…`, `None:…`, `True:…`), None for the name of a value."""
    try:
        return str(ast.literal_eval(kind))
    except ValueError:
        return None
    except (SyntaxError, TypeError, MemoryError, RecursionError):
        raise BadRule(f"{kind!r} is neither a kind of check, a literal, nor the name of a value of the token") from None


_MISSING = object()
_KEY = re.compile(r"%\(([^()]*)\)s")


def _single_key(match: str) -> str | None:
    found = _KEY.fullmatch(match)
    return found[1] if found else None


def _places(key: str, dialect: Dialect) -> Places:
    """Where a target may hold an attribute: each name of it, and the way to it through nested targets."""
    return tuple((name, tuple(name.split("."))) for name in (key, *dialect.aliases(key)))


def _find(target: Target, places: Places) -> object:
    for name, path in places:
        if name in target:
            return target[name]
        value: Any = target
        for step in path if len(path) > 1 else ():
            if not isinstance(value, Mapping) or step not in value:
                break
            value = value[step]
        else:
            if value is not target:
                return value
    return _MISSING


def _as_text(value: object) -> str | None:
    if value is _MISSING:
        return None
    return value if isinstance(value, str) else str(value)


class _Substitutes(Mapping[str, Any]):
    """The target as the right side of the % operator, for a match with more than one substitution."""

    def __init__(self, target: Target, dialect: Dialect) -> None:
        self._target = target
        self._dialect = dialect

    def __getitem__(self, key: str) -> object:
        value = _find(self._target, _places(key, self._dialect))
        if value is _MISSING:
            raise KeyError(key)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._target)

    def __len__(self) -> int:
        return len(self._target)


def _validate_format(match: str) -> None:
    class Zero(dict[str, int]):
        def __missing__(self, key: str) -> int:
            return 0

    try:
        _ = match % Zero()
    except (TypeError, ValueError) as error:
        raise BadRule(f"{match!r}: {error}; an attribute of the target is written %(name)s") from None


def _field(match: str, fields: Mapping[str, Mapping[str, str]]) -> Test:
    """`resource:attribute=value`, or `=~pattern`. A shared network's Ports and Subnets are told by `network:shared`."""
    resource, colon, rest = match.partition(":")
    attribute, equals, text = rest.partition("=")
    if not colon or not equals:
        raise BadRule(f"field:{match} lacks a part; it has the form field:resource:attribute=value")
    if text.startswith("~"):
        return _field_pattern(attribute, text[1:])
    value = _convert(text, fields.get(resource, {}).get(attribute, "str"))
    spare = "network:shared" if (resource, attribute) == ("networks", "shared") else attribute

    def test(creds: Creds, target: Target) -> bool:
        found = target[attribute] if attribute in target else target.get(spare)
        return found is not None and bool(found == value)

    return test


def _field_pattern(attribute: str, pattern: str) -> Test:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise BadRule(f"the pattern {pattern!r} is wrong: {error}") from None

    def test(creds: Creds, target: Target) -> bool:
        found = target.get(attribute)
        return isinstance(found, str) and compiled.match(found) is not None

    return test


_TRUE = ("1", "t", "true", "on", "y", "yes")
_FALSE = ("0", "f", "false", "off", "n", "no")


def _convert(text: str, kind: str) -> object:
    lowered = text.strip().lower()
    if kind == "bool" and lowered in _TRUE + _FALSE:
        return lowered in _TRUE
    if kind == "int" and re.fullmatch(r"-?[0-9]+", lowered):
        return int(lowered)
    if kind != "str":
        raise BadRule(f"{text!r} is not a value of that field; it is a {kind}")
    return text
