"""Tags of projects: the routes below a project, and the filters of the list."""

from collections.abc import Sequence
from typing import Any

import msgspec

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import ListOf, Str
from hagane.errors import Forbidden
from hagane.identity.base import IdentityResource, could_not_find, enforce
from hagane.identity.options import is_immutable
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Sql

TAG = Str(255, min=1, pattern=r"^[^,/]*\Z")
TAGS = ListOf(item=TAG, max=80, unique=True)
_FILTERS = (
    ("tags", " AND ", False),  # all of them
    ("tags-any", " OR ", False),
    ("not-tags", " AND ", True),  # not all of them
    ("not-tags-any", " OR ", True),  # none of them
)


def tag_conditions(request: Request) -> list[Sql]:
    """Conditions of ?tags= and its relatives, each a comma-separated list."""
    conditions: list[Sql] = []
    for label, joint, negated in _FILTERS:
        if not request.args.get(label):
            continue
        params: dict[str, Any] = {}
        parts = []
        for number, tag in enumerate(request.args[label].split(",")):
            slot = f"{label.replace('-', '_')}_{number}"
            # Tags are kept as a JSON list of texts, in which a quoted tag stands for itself only.
            params[slot] = msgspec.json.encode(tag).decode()
            parts.append(f"REPLACE(identity_project.tags, CAST(:{slot} AS TEXT), '') <> identity_project.tags")
        text = joint.join(parts)
        conditions.append(Sql(f"NOT ({text})" if negated else text, params))
    return conditions


class ProjectTags:
    """Handlers of /projects/{id}/tags."""

    def __init__(self, projects: IdentityResource) -> None:
        self.projects, self.db = projects, projects.db

    def routes(self) -> Sequence[Route]:
        many = f"{self.projects.path}/{{id}}/tags"
        one = many + "/{tag}"
        return [
            Route("GET", many, self.list, "project:tags", rule="identity:list_project_tags"),
            Route("PUT", many, self.replace, "project:set_tags", rule="identity:update_project_tags"),
            Route("DELETE", many, self.clear, "project:clear_tags", rule="identity:delete_project_tags", status=204),
            Route("GET", one, self.show, "project:tag", rule="identity:get_project_tag", status=204),
            Route("PUT", one, self.add, "project:add_tag", rule="identity:create_project_tag", status=201),
            Route("DELETE", one, self.remove, "project:remove_tag", rule="identity:delete_project_tag", status=204),
        ]

    async def _find(self, request: Request, reader: Reader, rule: str) -> Row:
        key = request.params["id"]
        row = await self.projects.table.get(reader, id=key)
        enforce(request, rule, self.projects.target(row) if row else None)
        if row is None:
            raise self.projects.not_found(key)
        return row

    async def _store(self, request: Request, rule: str, change: Any) -> list[str]:
        async def work(tx: Tx) -> list[str]:
            row = await self._find(request, tx, rule)
            if is_immutable(row):
                raise Forbidden(
                    f'Cannot update project tags for {row["id"]}, project is immutable. Set "immutable" option to'
                    " false before updating project tags."
                )
            tags: list[str] = change(row["tags"])
            await self.projects.table.update(tx, {"id": row["id"]}, {"tags": tags})
            return tags

        return await self.db.write(work)

    def _answer(self, request: Request, tags: list[str]) -> Response:
        own = {"self": f"{request.base_url}{request.path}"}
        return json_response(200, {"tags": tags, "links": own})

    async def list(self, request: Request) -> Response:
        row = await self._find(request, self.db, "identity:list_project_tags")
        return self._answer(request, row["tags"])

    async def replace(self, request: Request) -> Response:
        body = await request.json()
        tags = TAGS.check("tags", body.get("tags") if isinstance(body, dict) else None)
        stored = await self._store(request, "identity:update_project_tags", lambda old: tags)
        return self._answer(request, stored)

    async def clear(self, request: Request) -> Response:
        await self._store(request, "identity:delete_project_tags", lambda old: [])
        return empty(204)

    async def show(self, request: Request) -> Response:
        row = await self._find(request, self.db, "identity:get_project_tag")
        if request.params["tag"] not in row["tags"]:
            raise could_not_find("project tag", request.params["tag"])
        return empty(204)

    async def add(self, request: Request) -> Response:
        tag = TAG.check("tag", request.params["tag"])
        await self._store(request, "identity:create_project_tag", lambda old: TAGS.check("tags", [*old, tag]))
        return Response(201, b"", {"location": f"{request.base_url}{request.path}"}, media_type="")

    async def remove(self, request: Request) -> Response:
        tag = request.params["tag"]

        def without(old: Any) -> Any:
            if tag not in old:
                raise could_not_find("project tag", tag)
            return [other for other in old if other != tag]

        await self._store(request, "identity:delete_project_tag", without)
        return empty(204)
