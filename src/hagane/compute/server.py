"""Servers over HTTP: list, show, create, update, delete. Actions are in action.py, filters in server_filter.py."""

from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.listing import Page
from hagane.api.service import Route
from hagane.api.turns import in_turns
from hagane.cloud import Cloud
from hagane.compute import proxy_network, server_create, server_filter
from hagane.compute.base import V21, api, at, links, need, next_link
from hagane.compute.row import KIND, SERVER, Task
from hagane.compute.server_body import create_type, update_type
from hagane.compute.server_view import View, brief, gather, zone_of
from hagane.errors import Conflict, NotFound
from hagane.placement.host import HOST
from hagane.state import clock, event, work
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Sql

PATH = V21 + "/servers"
_UPDATE = {"name": "name", "OS-DCF:diskConfig": "disk_config", "accessIPv4": "access_ipv4", "accessIPv6": "access_ipv6",
           "description": "description", "hostname": "hostname", "pinned_availability_zone": "zone"}  # fmt: skip


class Servers:
    """The handlers."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.db = cloud, cloud.db

    async def index(self, request: Request) -> Response:
        need(request, api("servers:index"))
        rows, page = await self._rows(request, "index")
        return self._listed(request, [brief(request, row) for row in rows], page)

    async def detail(self, request: Request) -> Response:
        need(request, api("servers:detail"))
        rows, page = await self._rows(request, "detail")
        around, view = await gather(self.db, rows), View(request)
        return self._listed(request, await in_turns(rows, lambda row: view.full(row, around, one=False)), page)

    async def _rows(self, request: Request, verb: str) -> tuple[Any, Page]:
        where, conditions = server_filter.conditions(request, verb)
        page, seen = server_filter.page(request), []
        if not may_see_all(request):
            seen.append(Sql("server.project_id = :seen_by", {"seen_by": request.caller.project_id}))
        return await page.rows(self.db, SERVER, where, conditions, seen), page

    def _listed(self, request: Request, views: Any, page: Page) -> Response:
        answer: dict[str, Any] = {"servers": views}
        if more := next_link(request, page, len(views)):
            answer["servers_links"] = more
        return json_response(200, answer)

    async def show(self, request: Request) -> Response:
        row = await find(self.db, request)
        need(request, api("servers:show"), row)
        return json_response(200, {"server": View(request).full(row, await gather(self.db, [row]))})

    async def create(self, request: Request) -> Response:
        body = create_type(request.version).check("", await request.json())
        order = server_create.order_of(request, body)
        if order.server.get("networks") == "auto":
            await proxy_network.allocate(request)
        rows = await self.db.write(lambda tx: server_create.create(request, tx, order))
        if order.server.get("return_reservation_id"):
            return json_response(202, {"reservation_id": order.reservation})
        made = links(request, "servers", rows[0]["id"])
        view = {
            "id": rows[0]["id"], "links": made, "OS-DCF:diskConfig": rows[0]["disk_config"],
            "security_groups": order.server.get("security_groups", [{"name": "default"}]),
            "adminPass": order.password,
        }  # fmt: skip
        return json_response(202, {"server": view}, {"location": made[0]["href"]})

    async def update(self, request: Request) -> Response:
        body = update_type(request.version).check("", await request.json())["server"]

        async def change(tx: Tx) -> Row:
            row = await find(tx, request)
            need(request, api("servers:update"), row)
            if body.get("pinned_availability_zone") is not None:
                await _check_pin(tx, row, body["pinned_availability_zone"])
            changes = {_UPDATE[label]: value for label, value in body.items()}
            changes["updated_at"] = clock.now()
            await SERVER.update(tx, {"id": row["id"]}, changes)
            return row | changes

        row = await self.db.write(change)
        return json_response(200, {"server": await changed_view(request, self.db, row)})

    async def delete(self, request: Request) -> Response:
        async def end(tx: Tx) -> None:
            row = await find(tx, request)
            need(request, api("servers:delete"), row)
            await terminate(request, tx, row)

        await self.db.write(end)
        return empty(204)

    def routes(self) -> list[Route]:
        one = PATH + "/{id}"
        return [
            Route("GET", PATH, self.index, "server:list", rule=api("servers:index")),
            Route("POST", PATH, self.create, "server:create", rule=api("servers:create"), status=202,
                  body=create_type((2, 96))),
            Route("GET", PATH + "/detail", self.detail, "server:detail", rule=api("servers:detail")),
            Route("GET", one, self.show, "server:show", rule=api("servers:show")),
            Route("PUT", one, self.update, "server:update", rule=api("servers:update"), body=update_type((2, 96))),
            Route("DELETE", one, self.delete, "server:delete", rule=api("servers:delete"), status=204),
        ]  # fmt: skip


def no_server(key: str) -> NotFound:
    return NotFound(f"Instance {key} could not be found.", code="InstanceNotFound")


async def find(reader: Reader, request: Request) -> Row:
    """The Server that the path names. Raises NotFound, also for other projects' Servers."""
    key = request.params["id"]
    row = await SERVER.get(reader, id=key)
    if row is None or not (row["project_id"] == request.caller.project_id or may_see_all(request)):
        raise no_server(key)
    return row


def may_see_all(request: Request) -> bool:
    """Whether the caller sees the Servers of other projects: the policy's administrator does."""
    return request.allowed("context_is_admin", {})


async def _check_pin(reader: Reader, row: Row, zone: str) -> None:
    """A Server is pinned to the zone where it is. Raises Conflict."""
    if row["zone"] not in (None, zone):
        raise Conflict("Cannot change pinned availability zone directly. Unpin first by setting "
                       "pinned_availability_zone to null.")  # fmt: skip
    host = await HOST.get(reader, name=row["host"]) if row["host"] else None
    if row["zone"] is None and zone != (here := zone_of(row, host)):
        raise Conflict(f"Server can only be pinned to its current availability zone '{here}', but '{zone}' was "
                       "requested.")  # fmt: skip


async def changed_view(request: Request, reader: Reader, row: Row, *, rebuilt: bool = False) -> dict[str, Any]:
    """The answer to PUT and rebuild: short before 2.75, whole from then on."""
    around, view = await gather(reader, [row], groups=at(request, 75)), View(request)
    if at(request, 75):
        return view.full(row, around, rebuilt=rebuilt)
    short = view.common(row, around, macs=False)
    if at(request, 71):
        short["server_groups"] = [row["group_id"]] if row["group_id"] else []
    if rebuilt and at(request, 54):
        short["key_name"] = row["key_name"]
    return short


async def terminate(request: Request, tx: Tx, row: Row) -> None:
    """Want a Server gone; reconcile/server.py takes it apart. Raises Conflict when it is locked."""
    refuse_locked(request, row)
    moment = clock.now()
    changes = {
        "terminate": True, "task_state": Task.DELETING, "action": "delete", "request_id": request.id,
        "acted_at": moment, "updated_at": moment, "generation": row["generation"] + 1,
    }  # fmt: skip
    await SERVER.update(tx, {"id": row["id"]}, changes)
    await event.begin(tx, KIND, row["id"], request.id, "delete", user_id=request.caller.user_id,
                      project_id=row["project_id"])  # fmt: skip
    await work.wake(tx, KIND, row["id"], request_id=request.id)


def refuse_locked(request: Request, row: Row) -> None:
    """A locked Server is changed by administrators only. Raises Conflict."""
    if row["locked_by"] and not request.caller.is_admin:
        raise Conflict(f"Instance {row['id']} is locked", code="InstanceIsLocked")
