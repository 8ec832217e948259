"""Auto-allocated topology: a network with subnets of the default pools, and a router to the default external network.

It is made when a project first asks for it, in one transaction: all of it or none. What its maker may not make by hand,
is not made for them either.
"""

from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.policy import Policy
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.errors import HaganeError, Invalid, NotFound
from hagane.network import router_interface, router_row, subnet_row
from hagane.network.attr import ROOT
from hagane.network.errors import error
from hagane.network.network import Network
from hagane.network.router import Router
from hagane.network.subnet import Subnet
from hagane.network.subnetpool import SubnetPool
from hagane.network.topology_row import TOPOLOGY
from hagane.state.database import Duplicate, Reader, Row, Tx

PATH = f"{ROOT}/auto-allocated-topology"
DRY = "dry-run"


def _failure(reason: str) -> HaganeError:
    return error("AutoAllocationFailure", reason=reason)


class Topologies:
    """/auto-allocated-topology/{project}: not a resource with ids of its own, but one object per project."""

    def __init__(self, cloud: Cloud, policy: Policy) -> None:
        self._db, self._policy = cloud.db, policy
        self._networks, self._subnets, self._pools = Network(cloud), Subnet(cloud), SubnetPool(cloud)
        self._routers = Router(cloud)

    def routes(self) -> list[Route]:
        name, one = "auto_allocated_topology", PATH + "/{id}"
        return [
            Route("GET", one, self.show, f"{name}:show", rule=f"get_{name}"),
            Route("DELETE", one, self.delete, f"{name}:delete", rule=f"delete_{name}", status=204),
        ]

    def _project(self, request: Request, rule: str) -> str:
        """The project of the path; "None" is the caller's own. Raises NotAuthorized, PolicyNotAuthorized."""
        project = request.params["id"]
        if project == "None":
            project = request.caller.project_id or ""
        if project != request.caller.project_id and not request.allowed("context_is_admin"):
            raise error("NotAuthorized")
        self._policy.enforce(rule, request.caller.creds, {"project_id": project})
        return project

    async def show(self, request: Request) -> Response:
        project = self._project(request, "get_auto_allocated_topology")
        fields = [value for name, value in request.query if name == "fields" and value]
        if DRY in fields:
            await self._external(self._db)
            if not await self._default_pools(request, self._db):
                raise _failure("No default subnetpools defined")
            return _answer("dry-run=pass", project)
        if set(fields) - {"id", "project_id", "tenant_id"}:
            raise error("BadRequest", resource="auto_allocate", reason="Unrecognized field")
        known = await TOPOLOGY.get(self._db, project_id=project)
        if known is None:
            try:
                known = await self._db.write(lambda tx: self._build(request, tx, project))
            except Duplicate:  # somebody else asked at the same moment
                known = await TOPOLOGY.get(self._db, project_id=project)
        return _answer(known["network_id"] if known else "", project)

    async def _external(self, reader: Reader) -> str:
        found = await Network.table.select(reader, {"is_default": True, "router_external": True})
        if not found:
            raise _failure("No default router:external network")
        return str(found[0]["id"])

    async def _default_pools(self, request: Request, reader: Reader) -> list[Row]:
        seen = self._pools.visible(request)
        return await SubnetPool.table.select(reader, {"is_default": True}, conditions=seen, order="ip_version")

    async def _build(self, request: Request, tx: Tx, project: str) -> Row:
        known = await TOPOLOGY.get(tx, project_id=project)
        if known is not None:
            return known
        external = await self._external(tx)
        try:
            network, subnets = await self._inside(request, tx, project)
        except HaganeError as problem:
            if isinstance(problem, NotFound | Invalid) or problem.code == "SubnetAllocationError":
                raise _failure("Unable to provide project private network") from problem
            raise
        try:
            router = await self._outside(request, tx, project, external, subnets)
        except Invalid as problem:
            raise _failure("Unable to provide external connectivity") from problem
        row = {"project_id": project, "network_id": network["id"], "router_id": router["id"]}
        await TOPOLOGY.insert(tx, row)
        return row

    async def _inside(self, request: Request, tx: Tx, project: str) -> tuple[Row, list[Row]]:
        pools = await self._default_pools(request, tx)
        if not pools:
            raise _failure("Unable to provide project private network")
        body: dict[str, Any] = {"name": "auto_allocated_network", "project_id": project}
        network = await self._networks.make(request, tx, *self._networks.new_row(request, body))
        subnets = []
        for pool in pools:
            version = pool["ip_version"]
            body = {"name": f"auto_allocated_subnet_v{version}", "network_id": network["id"], "project_id": project,
                    "ip_version": version, "subnetpool_id": pool["id"]}  # fmt: skip
            subnets.append(await self._subnets.make(request, tx, *self._subnets.new_row(request, body)))
        return network, subnets

    async def _outside(self, request: Request, tx: Tx, project: str, external: str, subnets: list[Row]) -> Row:
        body = {"name": "auto_allocated_router", "project_id": project,
                "external_gateway_info": {"network_id": external}}  # fmt: skip
        router = await self._routers.make(request, tx, *self._routers.new_row(request, body))
        for subnet in subnets:
            await router_interface.add(self._routers, request, tx, router, {"subnet_id": subnet["id"]})
        return router

    async def delete(self, request: Request) -> Response:
        """What of it is still there goes, if nothing else uses it."""
        project = self._project(request, "delete_auto_allocated_topology")

        async def act(tx: Tx) -> None:
            known = await TOPOLOGY.get(tx, project_id=project)
            if known is None:
                return
            router = await router_row.ROUTER.get(tx, id=known["router_id"]) if known["router_id"] else None
            if router is not None:
                attached = router_row.subnets_of(await router_row.interfaces(tx, router["id"]))
                for subnet in await subnet_row.of_network(tx, known["network_id"]):
                    if subnet["id"] in attached:
                        body = {"subnet_id": subnet["id"]}
                        await router_interface.remove(self._routers, request, tx, router, body)
                await self._routers.unmake(request, tx, router)
            network = await Network.table.get(tx, id=known["network_id"])
            if network is not None:
                await self._networks.unmake(request, tx, network)
            await TOPOLOGY.delete(tx, {"project_id": project})

        await self._db.write(act)
        return empty(204)


def _answer(network_id: str, project: str) -> Response:
    view = {"id": network_id, "tenant_id": project, "project_id": project}
    return json_response(200, {"auto_allocated_topology": view})
