"""Shares of a Server (2.97): file systems of the shared file system service, of which this cloud has none.

So no Server has one, and none can be given to it: the answer is that of a cloud whose Hosts cannot mount any.
"""

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.api.types import Obj, Str
from hagane.cloud import Cloud
from hagane.compute.action import refuse_state
from hagane.compute.base import V21, api, need
from hagane.compute.kinds import UUID
from hagane.compute.row import VmState
from hagane.compute.server import find
from hagane.errors import Forbidden, NotFound

_SHARE = Obj(fields={"share_id": UUID, "tag": Str(255, min=1, pattern=r"^[a-zA-Z0-9-]*\Z")}, required=("share_id",))
BODY = Obj(fields={"share": _SHARE}, required=("share",))
RULE = "os-server-shares"


def routes(cloud: Cloud) -> list[Route]:
    async def index(request: Request) -> Response:
        need(request, api(f"{RULE}:index"), await find(cloud.db, request))
        return json_response(200, {"shares": []})

    async def create(request: Request) -> Response:
        row, body = await find(cloud.db, request), await request.json()
        need(request, api(f"{RULE}:create"), row)
        BODY.check("", body)
        refuse_state(row, "create share", [VmState.STOPPED], ())
        raise Forbidden("Feature not supported until computes have not been updated.")

    async def show(request: Request) -> Response:
        need(request, api(f"{RULE}:show"), await find(cloud.db, request))
        raise _missing(request)

    async def delete(request: Request) -> Response:
        row = await find(cloud.db, request)
        need(request, api(f"{RULE}:delete"), row)
        refuse_state(row, "delete share", [VmState.STOPPED, VmState.ERROR], ())
        raise _missing(request)

    every, one = V21 + "/servers/{id}/shares", V21 + "/servers/{id}/shares/{share}"
    return [
        Route("GET", every, index, "server_share:list", rule=api(f"{RULE}:index"), since="2.97"),
        Route("POST", every, create, "server_share:create", rule=api(f"{RULE}:create"), body=BODY, since="2.97"),
        Route("GET", one, show, "server_share:show", rule=api(f"{RULE}:show"), since="2.97"),
        Route("DELETE", one, delete, "server_share:delete", rule=api(f"{RULE}:delete"), since="2.97"),
    ]  # fmt: skip


def _missing(request: Request) -> NotFound:
    return NotFound(f"Share {request.params['share']} could not be found.")
