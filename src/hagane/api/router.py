"""A trie of path segments: finding one of 600 routes costs a few dictionary look-ups.

Slashes are not normalised: a trailing slash is an empty last segment, and an empty segment never fills a parameter. The
real services answer 404 there, and clients rely on it (`GET /images/` is not the list).
"""

from typing import Any
from urllib.parse import unquote

from hagane.api.service import Route


class Router:
    """Add all routes first, then `find`."""

    def __init__(self) -> None:
        self._root: dict[str, Any] = {}

    def add(self, route: Route) -> None:
        node = self._root
        for segment in route.path.split("/")[1:]:
            node = node.setdefault("{}" if segment.startswith("{") else segment, {})
        node.setdefault("/", []).append(route)

    def find(self, raw_path: str) -> tuple[list[Route], list[str]]:
        """All routes of a path (any method) and the values of its parameters, in order. Empty: no such path."""
        segments = [unquote(segment) if "%" in segment else segment for segment in raw_path.split("/")[1:]]
        values: list[str] = []
        return self._walk(self._root, segments, 0, values), values

    def _walk(self, node: dict[str, Any], segments: list[str], at: int, values: list[str]) -> list[Route]:
        if at == len(segments):
            found: list[Route] = node.get("/", [])
            return found
        segment = segments[at]
        # Literal segments come first ("/servers/detail"), a parameter second ("/servers/{id}").
        child = node.get(segment) if segment not in ("{}", "/") else None
        if child is not None and (found := self._walk(child, segments, at + 1, values)):
            return found
        if segment and (child := node.get("{}")) is not None:
            values.append(segment)
            if found := self._walk(child, segments, at + 1, values):
                return found
            values.pop()
        return []
