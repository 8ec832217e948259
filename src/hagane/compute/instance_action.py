"""What was done with a Server, and each step of it with its duration: /servers/{id}/os-instance-actions."""

from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.compute import query
from hagane.compute.base import V21, api, at, need
from hagane.compute.row import KIND, SERVER, host_id
from hagane.compute.server import find, may_see_all, no_server
from hagane.errors import Invalid, NotFound
from hagane.state import event
from hagane.state.database import Row

PATH = V21 + "/servers/{id}/os-instance-actions"

KNOWN = {
    ("attach_interface", "plug"): "compute_attach_interface",
    ("detach_interface", "unplug"): "compute_detach_interface",
    ("extend_volume", "grow"): "compute_extend_volume",
}
"""Steps that clients wait for, by the name that the real service gives them."""


class InstanceActions:
    """The handlers."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def index(self, request: Request) -> Response:
        server, rows = await self._rows(request, "list")
        actions = sorted((row for row in rows if not row["step"]), key=lambda row: row["started_at"], reverse=True)
        answer: dict[str, Any] = {}
        if at(request, 58):
            actions = self._filtered(request, actions, _last(rows))
            actions, more = self._page(request, actions)
            if more:
                answer["links"] = [{"rel": "next", "href": request.page_url(marker=actions[-1]["request_id"])}]
        last = _last(rows)
        answer["instanceActions"] = [self._view(request, server, row, last[row["request_id"]]) for row in actions]
        return json_response(200, answer)

    async def show(self, request: Request) -> Response:
        server, rows = await self._rows(request, "show")
        key = request.params["request"]
        mine = [row for row in rows if row["request_id"] == key]
        action = next((row for row in mine if not row["step"]), None)
        if action is None:
            raise NotFound(f"Action {key} not found")
        view = self._view(request, server, action, _last(rows)[key])
        full = request.allowed(api("os-instance-actions:events"), server)
        if full or at(request, 51):
            detail = at(request, 84) and request.allowed(api("os-instance-actions:events:details"), server)
            view["events"] = [
                self._event(request, server, row, full=full, detail=detail) for row in reversed(mine) if row["step"]
            ]
        return json_response(200, {"instanceAction": view})

    async def _rows(self, request: Request, verb: str) -> tuple[Row, list[Row]]:
        """The Server, or from 2.21 on what is remembered of one that is gone, and its events, oldest first."""
        key = request.params["id"]
        rows = await event.of(self.db, KIND, key)
        if await SERVER.get(self.db, id=key) is None and at(request, 21) and rows:
            server: Row = {"id": key, "project_id": rows[0]["project_id"], "user_id": rows[0]["user_id"], "host": None}
            if server["project_id"] != request.caller.project_id and not may_see_all(request):
                raise no_server(key)
        else:
            server = await find(self.db, request)
        need(request, api(f"os-instance-actions:{verb}"), server)
        return server, rows

    def _view(self, request: Request, server: Row, row: Row, last: str) -> dict[str, Any]:
        view = {
            "action": row["action"], "instance_uuid": server["id"], "request_id": row["request_id"],
            "user_id": row["user_id"], "project_id": row["project_id"], "start_time": row["started_at"],
            "message": "Error" if row["result"] == "Error" else None,
        }  # fmt: skip
        return view | ({"updated_at": last} if at(request, 58) else {})

    def _event(self, request: Request, server: Row, row: Row, *, full: bool, detail: bool) -> dict[str, Any]:
        view = {
            "event": KNOWN.get((row["action"], row["step"]), row["step"]), "start_time": row["started_at"],
            "finish_time": row["finished_at"], "result": row["result"],
        }  # fmt: skip
        if full:
            view["traceback"] = None
        if at(request, 62):
            if full:
                view["host"] = row["host"] or ""
            view["hostId"] = host_id(server | {"host": row["host"]})
        if detail:
            view["details"] = row["message"] or None
        return view

    def _filtered(self, request: Request, actions: list[Row], last: dict[str, str]) -> list[Row]:
        since, before = query.between(request)
        before = before if at(request, 66) else None
        return [
            row
            for row in actions
            if (not since or last[row["request_id"]] >= since) and (not before or last[row["request_id"]] <= before)
        ]

    def _page(self, request: Request, actions: list[Row]) -> tuple[list[Row], bool]:
        limit, marker = query.limit(request), request.args.get("marker")
        if marker is not None:
            ids = [row["request_id"] for row in actions]
            if marker not in ids:
                raise Invalid(f"marker [{marker}] not found")
            actions = actions[ids.index(marker) + 1 :]
        return actions[:limit], len(actions) > limit

    def routes(self) -> list[Route]:
        rule = "os-instance-actions"
        return [
            Route("GET", PATH, self.index, "instance_action:list", rule=api(f"{rule}:list")),
            Route("GET", PATH + "/{request}", self.show, "instance_action:show", rule=api(f"{rule}:show")),
        ]


def _last(rows: list[Row]) -> dict[str, str]:
    """request id -> when anything of it was last heard of."""
    found: dict[str, str] = {}
    for row in rows:
        moment = row["finished_at"] or row["started_at"]
        found[row["request_id"]] = max(moment, found.get(row["request_id"], ""))
    return found
