"""How full networks are: addresses of the pools and addresses in use, per network and subnet. For administrators."""

from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.policy import Policy
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.network import subnet_row, subnet_rule
from hagane.network.attr import ROOT
from hagane.network.errors import error
from hagane.network.network import Network
from hagane.network.value import Whole
from hagane.state.database import Row

PATH = f"{ROOT}/network-ip-availabilities"
_USED = "SELECT pool, count(*) FROM allocation WHERE kind = 'ip' GROUP BY pool"


class Availability:
    """/network-ip-availabilities."""

    def __init__(self, cloud: Cloud, policy: Policy) -> None:
        self._db, self._policy = cloud.db, policy

    def routes(self) -> list[Route]:
        rule = "get_network_ip_availability"
        return [
            Route("GET", PATH, self.index, "network_ip_availability:list", rule=rule),
            Route("GET", PATH + "/{id}", self.show, "network_ip_availability:show", rule=rule),
        ]

    async def index(self, request: Request) -> Response:
        where: dict[str, Any] = {}
        version = 0
        names = {"network_id": "id", "network_name": "name", "tenant_id": "project_id", "project_id": "project_id"}
        for name, text in request.query:
            if name in names:
                where.setdefault(names[name], []).append(text)
            elif name == "ip_version":
                version = int(Whole(values=(4, 6)).check(name, text))
        if not request.allowed("get_network_ip_availability"):
            return json_response(200, {"network_ip_availabilities": []})
        networks = await Network.table.select(self._db, where, order="created_at, id")
        return json_response(200, {"network_ip_availabilities": await self._views(networks, version)})

    async def show(self, request: Request) -> Response:
        network = await Network.table.get(self._db, id=request.params["id"])
        if network is None or not request.allowed("get_network_ip_availability"):
            raise error("NetworkNotFound", id=request.params["id"])
        return json_response(200, {"network_ip_availability": (await self._views([network], 0))[0]})

    async def _views(self, networks: list[Row], version: int) -> list[dict[str, Any]]:
        ids = [network["id"] for network in networks]
        subnets: dict[str, list[Row]] = {network_id: [] for network_id in ids}
        for subnet in await subnet_row.SUBNET.select(self._db, {"network_id": ids}, order="created_at, id"):
            if not version or subnet["ip_version"] == version:
                subnets[subnet["network_id"]].append(subnet)
        used = {str(pool): int(count) for pool, count in await self._db.fetch_tuples(_USED)}
        return [
            _view(network, [_subnet(s, used.get(s["id"], 0)) for s in subnets[network["id"]]]) for network in networks
        ]


def _subnet(subnet: Row, used: int) -> dict[str, Any]:
    total = sum(last - first + 1 for first, last in subnet_rule.ranges(subnet))
    return {
        "subnet_id": subnet["id"], "subnet_name": subnet["name"], "cidr": subnet["cidr"],
        "ip_version": subnet["ip_version"], "total_ips": total, "used_ips": used,
    }  # fmt: skip


def _view(network: Row, subnets: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "network_id": network["id"], "network_name": network["name"], "project_id": network["project_id"],
        "tenant_id": network["project_id"], "subnet_ip_availability": subnets,
        "total_ips": sum(s["total_ips"] for s in subnets), "used_ips": sum(s["used_ips"] for s in subnets),
    }  # fmt: skip
