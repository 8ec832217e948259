"""POST /os-server-external-events: another service tells of something that happened to a Server.

Our own services need not: they write rows. Whoever else tells makes the Server be looked at.

https://docs.openstack.org/api-ref/compute/#create-external-events-os-server-external-events
"""

from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.api.types import Enum, ListOf, Obj, Str
from hagane.cloud import Cloud
from hagane.compute.base import V21, api, at, need
from hagane.compute.kinds import UUID
from hagane.compute.row import KIND, SERVER
from hagane.errors import NotFound
from hagane.state import work
from hagane.state.database import Row, Tx

NAMES = ("network-changed", "network-vif-plugged", "network-vif-unplugged", "network-vif-deleted")
SINCE = ((51, "volume-extended"), (76, "power-update"), (82, "accelerator-request-bound"), (93, "volume-reimaged"))
STATUS = Enum(values=("failed", "completed", "in-progress"))
GONE, NOWHERE = 404, 422  # said of one event


def _body(request: Request) -> Obj:
    names = (*NAMES, *(name for minor, name in SINCE if at(request, minor)))
    event = Obj(fields={"server_uuid": UUID, "name": Enum(values=names), "status": STATUS, "tag": Str(255)},
                required=("server_uuid", "name"))  # fmt: skip
    return Obj(fields={"events": ListOf(item=event, min=1)}, required=("events",))


def routes(cloud: Cloud) -> list[Route]:
    async def create(request: Request) -> Response:
        need(request, api("os-server-external-events:create"), {})
        events = _body(request).check("", await request.json())["events"]
        codes = await cloud.db.write(lambda tx: _tell(request, tx, events))
        if set(codes) == {GONE}:
            raise NotFound("No instances found for any event")
        told = [event | {"code": code, "status": event.get("status", "completed") if code == 200 else "failed"}
                for event, code in zip(events, codes, strict=True)]  # fmt: skip
        return json_response(200 if set(codes) == {200} else 207, {"events": told})

    rule = api("os-server-external-events:create")
    return [Route("POST", V21 + "/os-server-external-events", create, "external_event:create", rule=rule)]


async def _tell(request: Request, tx: Tx, events: list[dict[str, Any]]) -> list[int]:
    """Wake the Servers; one code for each event."""
    ids = sorted({event["server_uuid"] for event in events})
    rows = {row["id"]: row for row in await SERVER.select(tx, {"id": ids}, columns=("id", "host"))}
    await work.wake_each(tx, KIND, [key for key, row in rows.items() if row["host"]], request_id=request.id)
    return [_code(rows.get(event["server_uuid"])) for event in events]


def _code(row: Row | None) -> int:
    if row is None:
        return GONE
    return 200 if row["host"] else NOWHERE
