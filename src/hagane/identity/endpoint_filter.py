"""Which endpoints a project sees: those that are associated with it, one by one or by groups; all, if none is.

    project ──┬── endpoint                              PUT /OS-EP-FILTER/projects/{}/endpoints/{}
              └── endpoint group ── filters ── endpoints   PUT /OS-EP-FILTER/endpoint_groups/{}/projects/{}

The effect is on the catalog of its tokens (catalog_view.py); a project whose associations lead to no endpoint at all
sees all of them, as the real service does by default (return_all_endpoints_if_no_filter).
"""

from collections.abc import Sequence
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.listing import Page
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.errors import Conflict, NotFound
from hagane.identity.base import CATALOG, V3, IdentityResource, could_not_find, enforce
from hagane.identity.catalog import Endpoint
from hagane.identity.catalog_view import fits
from hagane.identity.endpoint_group import EndpointGroup
from hagane.identity.project import Project
from hagane.state.database import Duplicate, Reader, Row, Tx
from hagane.state.table import Column, Table

PROJECT_ENDPOINT = Table(
    "identity_project_endpoint", (Column("project_id", key=True), Column("endpoint_id", key=True)), ("endpoint_id",)
)
PROJECT_GROUP = Table(
    "identity_project_endpoint_group",
    (Column("project_id", key=True), Column("endpoint_group_id", key=True)),
    ("endpoint_group_id",),
)


class EndpointFilter:
    """The associations, and what they come to."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db
        self.endpoints, self.groups, self.projects = Endpoint(cloud), EndpointGroup(cloud), Project(cloud)

    def routes(self) -> list[Route]:
        top = f"{V3}/OS-EP-FILTER"
        one, group = f"{top}/projects/{{project}}/endpoints/{{endpoint}}", f"{top}/endpoint_groups/{{group}}"
        pair = f"{group}/projects/{{project}}"
        rows = (
            ("GET", f"{top}/projects/{{project}}/endpoints", self.of_project, "list_endpoints_for_project", 200),
            ("GET", f"{top}/projects/{{project}}/endpoint_groups", self.groups_of_project,
             "list_endpoint_groups_for_project", 200),
            ("GET", f"{top}/endpoints/{{endpoint}}/projects", self.projects_of, "list_projects_for_endpoint", 200),
            ("PUT", one, self.add, "add_endpoint_to_project", 204),
            ("GET", one, self.check, "check_endpoint_in_project", 204),
            ("DELETE", one, self.remove, "remove_endpoint_from_project", 204),
            ("GET", f"{group}/endpoints", self.of_group, "list_endpoints_associated_with_endpoint_group", 200),
            ("GET", f"{group}/projects", self.projects_of_group, "list_projects_associated_with_endpoint_group", 200),
            ("PUT", pair, self.add_group, "add_endpoint_group_to_project", 204),
            ("GET", pair, self.show_group, "get_endpoint_group_in_project", 200),
            ("DELETE", pair, self.remove_group, "remove_endpoint_group_from_project", 204),
        )  # fmt: skip
        return [
            Route(method, path, handler, f"endpoint_filter:{rule}", rule=f"identity:{rule}", status=status)
            for method, path, handler, rule, status in rows
        ]

    async def _known(self, request: Request, reader: Reader) -> dict[str, str]:
        """The ids in the path, after the policy has been asked and all of them found. Raises Forbidden, NotFound."""
        enforce(request, request.route.rule)
        found = {}
        for name, resource in (
            ("project", self.projects),
            ("endpoint_group", self.groups),
            ("endpoint", self.endpoints),
        ):
            key = request.params.get(name.removeprefix("endpoint_"))
            if key is not None:
                if await resource.table.get(reader, id=key) is None:
                    raise could_not_find(resource.kind or resource.name, key)
                found[f"{name}_id"] = key
        return found

    # -- changing ----------------------------------------------------------------------------------------------

    async def add(self, request: Request) -> Response:
        return await self._add(request, PROJECT_ENDPOINT)

    async def add_group(self, request: Request) -> Response:
        return await self._add(request, PROJECT_GROUP)

    async def remove(self, request: Request) -> Response:
        return await self._remove(request, PROJECT_ENDPOINT)

    async def remove_group(self, request: Request) -> Response:
        return await self._remove(request, PROJECT_GROUP)

    async def _add(self, request: Request, table: Table) -> Response:
        async def work(tx: Tx) -> None:
            pair = await self._known(request, tx)
            tx.notify(CATALOG)
            try:
                await table.insert(tx, pair)
            except Duplicate as error:
                kind = table.name.removeprefix("identity_")
                raise Conflict(f"Conflict occurred attempting to store {kind} - Duplicate entry.") from error

        await self.db.write(work)
        return empty(204)

    async def _remove(self, request: Request, table: Table) -> Response:
        async def work(tx: Tx) -> None:
            pair = await self._known(request, tx)
            if not await table.delete(tx, pair):
                raise _no_pair(pair)
            tx.notify(CATALOG)

        await self.db.write(work)
        return empty(204)

    # -- reading -----------------------------------------------------------------------------------------------

    async def check(self, request: Request) -> Response:
        pair = await self._known(request, self.db)
        if await PROJECT_ENDPOINT.get(self.db, **pair) is None:
            raise _no_pair(pair)
        return empty(204)

    async def show_group(self, request: Request) -> Response:
        pair = await self._known(request, self.db)
        if await PROJECT_GROUP.get(self.db, **pair) is None:
            raise _no_pair(pair)
        links = {"self": f"{request.base_url}{request.path}"}
        return json_response(200, {"project_endpoint_group": pair | {"links": links}})

    async def of_project(self, request: Request) -> Response:
        project = (await self._known(request, self.db))["project_id"]
        own = {row["endpoint_id"] for row in await PROJECT_ENDPOINT.select(self.db, {"project_id": project})}
        filters = [row["filters"] for row in await self._groups(project)]
        rows = await self._endpoints()
        fitting = [row for row in rows if row["id"] in own or any(fits(each, row) for each in filters)]
        return await _answer(request, self.endpoints, fitting)

    async def groups_of_project(self, request: Request) -> Response:
        project = (await self._known(request, self.db))["project_id"]
        return await _answer(request, self.groups, await self._groups(project))

    async def projects_of(self, request: Request) -> Response:
        return await self._projects(request, PROJECT_ENDPOINT, await self._known(request, self.db))

    async def projects_of_group(self, request: Request) -> Response:
        return await self._projects(request, PROJECT_GROUP, await self._known(request, self.db))

    async def of_group(self, request: Request) -> Response:
        key = (await self._known(request, self.db))["endpoint_group_id"]
        group = await EndpointGroup.table.get(self.db, id=key)
        filters = group["filters"] if group else {}
        return await _answer(request, self.endpoints, [row for row in await self._endpoints() if fits(filters, row)])

    async def _endpoints(self) -> list[Row]:
        return await Endpoint.table.select(self.db, order="id")

    async def _groups(self, project: str) -> list[Row]:
        ids = [row["endpoint_group_id"] for row in await PROJECT_GROUP.select(self.db, {"project_id": project})]
        return await EndpointGroup.table.select(self.db, {"id": ids}, order="name, id")

    async def _projects(self, request: Request, table: Table, where: dict[str, str]) -> Response:
        ids = [row["project_id"] for row in await table.select(self.db, where)]
        return await _answer(request, self.projects, await Project.table.select(self.db, {"id": ids}, order="id"))


async def _answer(request: Request, resource: IdentityResource, rows: Sequence[Row]) -> Response:
    views: list[Any] = await resource.present(request, list(rows))
    return json_response(200, resource.list_answer(request, views, Page(None, None, [])))


def _no_pair(pair: dict[str, str]) -> NotFound:
    if "endpoint_id" in pair:
        return NotFound(f"Endpoint {pair['endpoint_id']} not found in project {pair['project_id']}")
    return NotFound("Endpoint Group Project Association not found")
