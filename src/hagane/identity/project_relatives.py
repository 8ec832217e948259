"""?parents_as_list, ?parents_as_ids, ?subtree_as_list and ?subtree_as_ids of one project."""

from typing import Any

from hagane.api.http import Request
from hagane.errors import Invalid
from hagane.identity.base import IdentityResource
from hagane.identity.tree import above, below, projects_of
from hagane.state.database import Row


async def relatives(projects: IdentityResource, request: Request, key: str) -> dict[str, Any]:
    """What the query asks for. Lists hold only what the caller may enter; ids hold all. Raises Invalid."""
    view: dict[str, Any] = {}
    for word, walk in (("parents", above), ("subtree", below)):
        as_list, as_ids = (is_on(request, f"{word}_as_{form}") for form in ("list", "ids"))
        if as_list and as_ids:
            raise Invalid(f"Cannot use {word}_as_list and {word}_as_ids query params at the same time.")
        if not (as_list or as_ids):
            continue
        ids = await walk(projects.db, key)
        rows = {row["id"]: row for row in await projects.table.select(projects.db, {"id": ids})}
        found = [rows[project_id] for project_id in ids]
        if as_ids:
            view[word] = _line(found) if word == "parents" else _nested(key, found)
        else:
            mine = await projects_of(projects.db, request.caller.user_id)
            shown = await projects.present(request, [row for row in found if row["id"] in mine])
            view[word] = [{"project": entry} for entry in shown]
    return view


def is_on(request: Request, label: str) -> bool:
    """A flag of a query: on when it is there, with any value but 0."""
    return label in request.args and request.args[label] != "0"


def _line(found: list[Row]) -> dict[str, Any] | None:
    line: dict[str, Any] | None = None
    for row in reversed(found):
        line = {row["id"]: line}
    return line


def _nested(parent_id: str, found: list[Row]) -> dict[str, Any] | None:
    children = [row["id"] for row in found if row["parent_id"] == parent_id]
    return {child: _nested(child, found) for child in children} or None
