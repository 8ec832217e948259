"""Floating IP pools: the subnets from which floating IPs come, for who wants to choose one."""

from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.policy import Policy
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.network.agent import selected
from hagane.network.attr import ROOT
from hagane.network.network import Network
from hagane.network.subnet_row import SUBNET
from hagane.state.table import Sql

_FILTERS = ("subnet_id", "subnet_name", "network_id", "cidr", "project_id", "tenant_id")


class FloatingPools:
    """/floatingip_pools: a list of what external networks that the caller sees have of IPv4."""

    def __init__(self, cloud: Cloud, policy: Policy) -> None:
        self._db, self._policy, self._networks = cloud.db, policy, Network(cloud)

    def routes(self) -> list[Route]:
        """The path is spelled in both ways by clients; the real service takes either."""
        paths = (f"{ROOT}/floatingip_pools", f"{ROOT}/floatingip-pools")
        return [Route("GET", p, self.index, "floatingip_pool:list", rule="get_floatingip_pool") for p in paths]

    async def index(self, request: Request) -> Response:
        project = request.caller.project_id
        views: list[dict[str, Any]] = []
        if request.allowed("get_floatingip_pool", {"project_id": project}):
            conditions: list[Sql] = self._networks.visible(request)
            networks = await Network.table.select(self._db, {"router_external": True}, conditions=conditions)
            where = {"network_id": [network["id"] for network in networks], "ip_version": 4}
            subnets = await SUBNET.select(self._db, where, order="created_at, id") if networks else []
            views = [
                {"subnet_id": subnet["id"], "subnet_name": subnet["name"], "network_id": subnet["network_id"],
                 "cidr": subnet["cidr"], "project_id": project, "tenant_id": project}
                for subnet in subnets
            ]  # fmt: skip
        return json_response(200, {"floatingip_pools": selected(request, views, _FILTERS)})
