"""Paths with `*` (within a segment), `**` (across segments) and `{name}` (one segment).

Whoever has an application credential writes such patterns, and every request with it is held against them. A regular
expression could take for ever, so all that a pattern may still become is followed at once, as one number: bit n says
that the path so far fits the first n parts of the pattern.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

LONGEST = 4096  # characters of a path that are looked at; a longer one fits nothing
_PART = re.compile(r"(?P<name>\{[^}]*\})|(?P<deep>\*\*)|(?P<star>\*)|(?P<plain>.)", re.DOTALL)
_MANY = ("star", "deep")


def fits(pattern: str, path: str) -> bool:
    return len(path) <= LONGEST and _compiled(pattern).fits(path)


@dataclass(frozen=True, slots=True)
class _Glob:
    plain: dict[str, int]  # character -> the parts that are this character
    one: int  # the parts that are any character but a slash
    star: int  # the parts that are any number of these
    deep: int  # the parts that are any number of any characters
    end: int

    def fits(self, path: str) -> bool:
        now = self._passed(1)
        for character in path:
            after = (now & self.plain.get(character, 0)) << 1 | (now & self.deep)
            if character != "/":
                after |= (now & self.one) << 1 | (now & self.star)
            now = self._passed(after)
            if not now:
                return False
        return bool(now & self.end)

    def _passed(self, now: int) -> int:
        """Any number may be none; there are no two such parts in a row."""
        return now | (now & (self.star | self.deep)) << 1


@lru_cache(1000)
def _compiled(pattern: str) -> _Glob:
    parts: list[str] = []  # characters, and the names of the other kinds
    for match in _PART.finditer(pattern):
        words = {"name": ("one", "star"), "deep": ("deep",), "star": ("star",)}.get(match.lastgroup or "", (match[0],))
        for word in words:
            if word in _MANY and parts and parts[-1] in _MANY:
                parts[-1] = max(word, parts[-1], key=_MANY.index)
            else:
                parts.append(word)
    plain: dict[str, int] = {}
    masks = dict.fromkeys(("one", "star", "deep"), 0)
    for number, word in enumerate(parts):
        if word in masks:
            masks[word] |= 1 << number
        else:
            plain[word] = plain.get(word, 0) | 1 << number
    return _Glob(plain, masks["one"], masks["star"], masks["deep"], 1 << len(parts))
