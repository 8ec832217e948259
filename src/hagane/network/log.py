"""Logs over HTTP (/log/logs), and what can be logged (/log/loggable-resources)."""

from hagane.api.http import Request, Response, json_response
from hagane.api.policy import Policy
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.network import log_row
from hagane.network.agent import selected
from hagane.network.attr import ROOT, Given
from hagane.network.base import NetResource
from hagane.network.errors import error
from hagane.network.port_row import PORT
from hagane.network.security_group_row import GROUP
from hagane.state.database import Row, Tx


class Log(NetResource):
    name, plural, missing = "log", "logs", "LogResourceNotFound"
    path, table_name = f"{ROOT}/log/logs", "network_log"
    attrs, indexes = log_row.ATTRS, log_row.INDEXES
    bulk = False

    async def making(self, request: Request, tx: Tx, row: Row, given: Given) -> None:
        """Raises NotAuthorized, ResourceNotFound, TargetResourceNotFound, InvalidResourceConstraint.

        A project's manager hears of the project's own groups and Ports, and of nobody else's.
        """
        group, port_id = row["resource_id"], row["target_id"]
        own = {} if self.sees_all(request) else {"project_id": request.caller.project_id}
        if own and not (group or port_id):
            raise error("NotAuthorized")
        if group and not await GROUP.count(tx, {"id": group} | own):
            raise error("ResourceNotFound", id=group)
        port = await PORT.get(tx, id=port_id, **own) if port_id else None
        if port_id and port is None:
            raise error("TargetResourceNotFound", id=port_id)
        if group and port is not None and group not in port["security_groups"]:
            raise error("InvalidResourceConstraint", id=group, port_id=port_id)
        await log_row.wake(tx, row, request_id=request.id)

    async def changing(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        if changes.get("enabled", old["enabled"]) != old["enabled"]:
            await log_row.wake(tx, old, request_id=request.id)

    async def unmaking(self, request: Request, tx: Tx, row: Row) -> None:
        await log_row.wake(tx, row, request_id=request.id)


class Loggable:
    """/log/loggable-resources."""

    def __init__(self, cloud: Cloud, policy: Policy) -> None:
        self._policy = policy

    def routes(self) -> list[Route]:
        path = f"{ROOT}/log/loggable-resources"
        return [Route("GET", path, self.index, "loggable_resource:list", rule="get_loggable_resource")]

    async def index(self, request: Request) -> Response:
        may = request.allowed("get_loggable_resource", {"project_id": request.caller.project_id})
        views = [{"type": kind} for kind in log_row.TYPES] if may else []
        return json_response(200, {"loggable_resources": selected(request, views, ("type",))})
