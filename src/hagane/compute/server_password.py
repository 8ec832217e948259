"""/servers/{id}/os-server-password: the password that a guest made and told.

Guests of this cloud have nobody to tell it to (the metadata service takes none), so it is empty, as with the real
service for such guests, and clearing it is fine.
"""

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.compute.base import V21, api, need
from hagane.compute.server import find


def routes(cloud: Cloud) -> list[Route]:
    async def show(request: Request) -> Response:
        need(request, api("os-server-password:show"), await find(cloud.db, request))
        return json_response(200, {"password": ""})

    async def clear(request: Request) -> Response:
        need(request, api("os-server-password:clear"), await find(cloud.db, request))
        return empty(204)

    path = V21 + "/servers/{id}/os-server-password"
    return [
        Route("GET", path, show, "server_password:show", rule=api("os-server-password:show")),
        Route("DELETE", path, clear, "server_password:clear", rule=api("os-server-password:clear"), status=204),
    ]
