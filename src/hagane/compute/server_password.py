"""/servers/{id}/os-server-password: the password that a guest made and told (to the metadata service), as it told it.

What Hagane gave a machine is another, and never told again. Who clears it lets the guest tell a new one.
"""

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.compute import metadata_service
from hagane.compute.base import V21, api, need
from hagane.compute.row import SERVER
from hagane.compute.server import find
from hagane.state.database import Tx


def routes(cloud: Cloud) -> list[Route]:
    async def show(request: Request) -> Response:
        row = await find(cloud.db, request)
        need(request, api("os-server-password:show"), row)
        return json_response(200, {"password": metadata_service.told(cloud, row) or ""})

    async def clear(request: Request) -> Response:
        async def work(tx: Tx) -> None:
            row = await find(tx, request)
            need(request, api("os-server-password:clear"), row)
            await SERVER.update(tx, {"id": row["id"]}, {"told": None})

        await cloud.db.write(work)
        return empty(204)

    path = V21 + "/servers/{id}/os-server-password"
    return [
        Route("GET", path, show, "server_password:show", rule=api("os-server-password:show")),
        Route("DELETE", path, clear, "server_password:clear", rule=api("os-server-password:clear"), status=204),
    ]
