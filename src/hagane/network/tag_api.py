"""Tags of a resource, one by one or all at once: GET, PUT, POST and DELETE under /<resource>/<id>/tags."""

from collections.abc import Sequence
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.network import tag
from hagane.network.attr import ROOT
from hagane.network.base import NetResource
from hagane.network.errors import error
from hagane.state.database import Row, Tx


class Tags:
    """The tag routes of one resource."""

    def __init__(self, resource: NetResource) -> None:
        self._resource = resource

    def routes(self) -> list[Route]:
        return [route for path in self._paths() for route in self._routes(path)]

    def _paths(self) -> list[str]:
        """The real service has all tags right under its root; clients ask for those of QoS policies here or there."""
        return list(dict.fromkeys((self._resource.path, f"{ROOT}/{self._resource.path.rpartition('/')[2]}")))

    def _routes(self, path: str) -> list[Route]:
        all_of = f"{path}/{{id}}/tags"
        one, name = all_of + "/{tag}", self._resource.name
        known = [
            ("GET", all_of, self.index, "get", 200),
            ("POST", all_of, self.add_all, "create", 200),
            ("PUT", all_of, self.replace, "update", 200),
            ("DELETE", all_of, self.clear, "delete", 204),
            ("GET", one, self.has, "get", 204),
            ("PUT", one, self.add, "update", 201),
            ("DELETE", one, self.drop, "delete", 204),
        ]
        return [
            Route(method, path, handler, f"{name}:tags", rule=self._resource.tag_rule(verb), status=status)
            for method, path, handler, verb, status in known
        ]

    async def index(self, request: Request) -> Response:
        row = await self._found(request, self._resource.db, "get")
        return json_response(200, {"tags": row["tags"]})

    async def has(self, request: Request) -> Response:
        row = await self._found(request, self._resource.db, "get")
        if request.params["tag"] not in row["tags"]:
            raise error("TagNotFound", tag=request.params["tag"])
        return empty(204)

    async def replace(self, request: Request) -> Response:
        wanted = tag.of_body(await request.json())
        return json_response(200, {"tags": await self._write(request, "update", lambda have: wanted)})

    async def add_all(self, request: Request) -> Response:
        wanted = tag.of_body(await request.json())
        await self._write(request, "create", lambda have: [*have, *wanted])
        return json_response(200, {"tags": wanted})

    async def add(self, request: Request) -> Response:
        name = tag.check(request.params["tag"])
        await self._write(request, "update", lambda have: [*have, name])
        return empty(201)

    async def clear(self, request: Request) -> Response:
        await self._write(request, "delete", lambda have: [])
        return empty(204)

    async def drop(self, request: Request) -> Response:
        name = tag.check(request.params["tag"])

        def without(have: list[str]) -> list[str]:
            if name not in have:
                raise error("TagNotFound", tag=name)
            return [each for each in have if each != name]

        await self._write(request, "delete", without)
        return empty(204)

    async def _write(self, request: Request, verb: str, change: Any) -> list[str]:
        resource = self._resource

        async def act(tx: Tx) -> list[str]:
            row = await self._found(request, tx, verb)
            tags = list(dict.fromkeys(change(row["tags"])))
            if len(tags) > tag.MOST:
                reason = f"The number of tags exceed the per-resource limit of {tag.MOST}"
                raise error("BadRequest", resource=resource.plural, reason=reason)
            await tag.store(tx, resource.plural, row["id"], tags)
            await resource.store(tx, row, {"tags": tags})
            return tags

        return await resource.db.write(act)

    async def _found(self, request: Request, reader: Any, verb: str) -> Row:
        resource, key = self._resource, request.params["id"]
        rows = await resource.table.select(reader, {"id": key}, conditions=resource.visible(request))
        if not rows:
            raise error("TagResourceNotFound", resource=resource.plural, id=key)
        target = await resource.target_of(request, reader, rows[0])
        resource.policy(request).enforce(resource.tag_rule(verb), request.caller.creds, target)
        return rows[0]


def routes_of(resources: Sequence[NetResource]) -> list[Route]:
    return [route for resource in resources if "tags" in resource.by_label for route in Tags(resource).routes()]
