"""The language of policy rules, as oslo.policy defines it, read into a tree.

    rule   = any ;   any = all { "or" all } ;   all = one { "and" one } ;   one = "not" one | "(" any ")" | check
    check  = "@" | "!" | kind ":" match          kind: role, rule, field, is_admin, a literal, or a path into the token

Words are separated by white space, so a check holds none; parentheses stick to words. `match` may hold `%(name)s`,
which stands for an attribute of the target; a target that lacks it fails the check. The old form, a list of lists, is
"or" outside and "and" inside. Where oslo.policy logs an error and denies (a rule it cannot read), we raise: an
operator learns of a typing error at the start and not from a user who is locked out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    kind: str
    match: str


@dataclass(frozen=True)
class Constant:
    value: bool


@dataclass(frozen=True)
class Not:
    part: "Node"


@dataclass(frozen=True)
class All:
    parts: tuple["Node", ...]


@dataclass(frozen=True)
class Some:
    parts: tuple["Node", ...]


Node = Check | Constant | Not | All | Some


class BadRule(ValueError):
    """The rule cannot be read; the text says why."""


def parse(rule: object) -> Node:
    """The tree of a rule as it stands in a policy file: a text, nothing (allow), or a list of lists."""
    if rule is None or rule == "":
        return Constant(True)
    if isinstance(rule, str):
        try:
            return _Parser(rule).parse()
        except RecursionError:
            raise BadRule("it is nested too deeply") from None
    if isinstance(rule, list):
        return _parse_list(rule)
    raise BadRule(f"a rule is a text or a list, not {rule!r}; put it in quotes")


def _parse_list(rule: list[object]) -> Node:
    if not rule:
        return Constant(True)
    choices: list[Node] = []
    for inner in rule:
        words = [inner] if isinstance(inner, str) else inner
        if not words:
            continue
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise BadRule(f"{inner!r} is neither a check nor a list of checks")
        choices.append(_join(All, [_check(word) for word in words]))
    return _join(Some, choices) if choices else Constant(False)


def _join(kind: type[All] | type[Some], parts: Sequence[Node]) -> Node:
    return parts[0] if len(parts) == 1 else kind(tuple(parts))


def _words(rule: str) -> Iterator[str]:
    for chunk in rule.split():
        word = chunk.lstrip("(")
        yield from "(" * (len(chunk) - len(word))
        bare = word.rstrip(")")
        if len(word) > 1 and word[0] == word[-1] and word[0] in "'\"":
            raise BadRule(f"{word} is a text, not a check")
        if bare:
            yield bare
        yield from ")" * (len(word) - len(bare))


class _Parser:
    """Recursive descent; keywords in any case."""

    def __init__(self, rule: str) -> None:
        self.words = [*_words(rule), ""]
        self.at = 0

    def parse(self) -> Node:
        node = self._any()
        if self.words[self.at]:
            raise BadRule(f"unexpected {self.words[self.at]!r}")
        return node

    def _next_is(self, word: str) -> bool:
        if self.words[self.at].lower() != word:
            return False
        self.at += 1
        return True

    def _any(self) -> Node:
        parts = [self._all()]
        while self._next_is("or"):
            parts.append(self._all())
        return _join(Some, parts)

    def _all(self) -> Node:
        parts = [self._one()]
        while self._next_is("and"):
            parts.append(self._one())
        return _join(All, parts)

    def _one(self) -> Node:
        if self._next_is("not"):
            return Not(self._one())
        if self._next_is("("):
            node = self._any()
            if not self._next_is(")"):
                raise BadRule("a parenthesis is not closed")
            return node
        word = self.words[self.at]
        if not word or word == ")" or word.lower() in ("and", "or"):
            raise BadRule(f"a check is missing before {word!r}" if word else "a check is missing at the end")
        self.at += 1
        return _check(word)


def _check(word: str) -> Node:
    if word in ("@", "!"):
        return Constant(word == "@")
    kind, colon, match = word.partition(":")
    if not colon:
        raise BadRule(f"{word!r} is not a check; a check has the form kind:value")
    if kind in ("http", "https"):
        raise BadRule(f"{word!r}: checks that ask a web server are not supported")
    return Check(kind, match)


def references(node: Node) -> Iterator[str]:
    """The names of the rules that a rule refers to."""
    if isinstance(node, Check):
        if node.kind == "rule":
            yield node.match
    elif isinstance(node, Not):
        yield from references(node.part)
    elif isinstance(node, (All, Some)):
        for part in node.parts:
            yield from references(part)
