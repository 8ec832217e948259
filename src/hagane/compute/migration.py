"""Migrations: Servers on their way from Host to Host. This cloud moves none yet, so the lists are empty, and true."""

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.compute.base import V21, api, need, own
from hagane.compute.server import find
from hagane.errors import NotFound


def routes(cloud: Cloud) -> list[Route]:
    async def index(request: Request) -> Response:
        need(request, api("os-migrations:index"), own(request))
        return json_response(200, {"migrations": []})

    async def of_server(request: Request) -> Response:
        row = await find(cloud.db, request)
        need(request, api("servers:migrations:index"), row)
        return json_response(200, {"migrations": []})

    async def show(request: Request) -> Response:
        row = await find(cloud.db, request)
        need(request, api("servers:migrations:show"), row)
        raise NotFound(f"In-progress live migration {request.params['migration']} is not found for server {row['id']}.")

    one = V21 + "/servers/{id}/migrations"
    return [
        Route("GET", V21 + "/os-migrations", index, "migration:list", rule=api("os-migrations:index")),
        Route("GET", one, of_server, "server_migration:list", rule=api("servers:migrations:index"), since="2.23"),
        Route(
            "GET",
            one + "/{migration}",
            show,
            "server_migration:show",
            rule=api("servers:migrations:show"),
            since="2.23",
        ),
    ]
