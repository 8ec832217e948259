"""Routers: interfaces on inner networks, a gateway to an external one, and extra routes.

A router's interfaces and its gateway are ports (device_id = the router's id), so their addresses, status and binding
are found where all others are. Every change of any of them wakes "router".
"""

from collections.abc import Sequence
from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.network import (
    flavor_row,
    forward_row,
    router_gateway,
    router_interface,
    router_route,
    router_row,
    topology_row,
)
from hagane.network.agent import check_zones
from hagane.network.attr import Given
from hagane.network.base import NetResource
from hagane.network.errors import error
from hagane.network.present import Made
from hagane.state import work
from hagane.state.database import Reader, Row, Tx


class Router(NetResource):
    name, plural, missing, quota = "router", "routers", "RouterNotFound", "router"
    attrs, indexes = router_row.ATTRS, router_row.INDEXES
    marked = True

    async def computed(self, request: Request, reader: Reader, rows: Sequence[Row]) -> list[Made]:
        return [{"availability_zones": []} for _ in rows]

    async def making(self, request: Request, tx: Tx, row: Row, given: Given) -> None:
        router_gateway.check_flags(row)
        check_zones(self.cloud, row["availability_zone_hints"])
        if row["flavor_id"]:
            await flavor_row.check_router(tx, row["flavor_id"])
        row |= {"status": "ACTIVE", "routes": [], "gateway_port_id": None, "enable_snat": True}
        row["ha"] = True
        info = row["external_gateway_info"]
        row["external_gateway_info"] = None
        if info is not None:
            row |= await router_gateway.set_gateway(self, request, tx, row, info)
        await work.wake(tx, "router", row["id"], request_id=request.id)

    async def changing(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        router_gateway.check_flags(changes)
        changes.pop("ha", None)
        if "routes" in changes:
            await router_route.check(tx, old, changes["routes"])
        if "external_gateway_info" in changes:
            changes |= await router_gateway.set_gateway(self, request, tx, old, changes.pop("external_gateway_info"))
        await work.wake(tx, "router", old["id"], request_id=request.id)

    async def unmaking(self, request: Request, tx: Tx, row: Row) -> None:
        if ports := await router_row.interfaces(tx, row["id"]):
            ids = ",".join(port["id"] for port in ports)
            raise error("RouterInUse", id=row["id"], reason=f"has ports still attached: {ids}")
        await router_gateway.set_gateway(self, request, tx, row, None)
        await topology_row.router_gone(tx, row["id"])
        await work.wake(tx, "router", row["id"], request_id=request.id)

    # -- member actions ----------------------------------------------------------------------------------------

    async def add_interface(self, request: Request) -> Response:
        body = await self._action_body(request)

        async def act(tx: Tx) -> Made:
            row = await self._mine(request, tx, "add_router_interface")
            answer = await router_interface.add(self, request, tx, row, body)
            await self._touched(request, tx, row)
            return answer

        return json_response(200, await self.db.write(act))

    async def remove_interface(self, request: Request) -> Response:
        body = await self._action_body(request)

        async def act(tx: Tx) -> Made:
            row = await self._mine(request, tx, "remove_router_interface")
            answer = await router_interface.remove(self, request, tx, row, body)
            await self._touched(request, tx, row)
            return answer

        return json_response(200, await self.db.write(act))

    async def add_routes(self, request: Request) -> Response:
        return await self._extra_routes(request, "add_extraroutes")

    async def remove_routes(self, request: Request) -> Response:
        return await self._extra_routes(request, "remove_extraroutes")

    async def _extra_routes(self, request: Request, verb: str) -> Response:
        """Add or remove some routes in one step, so that two clients do not undo each other's."""
        wanted = router_route.of_body(await request.json())

        async def act(tx: Tx) -> Made:
            row = await self._mine(request, tx, verb)
            kept = [route for route in row["routes"] if route not in wanted]
            new = (
                kept if verb.startswith("remove") else [*row["routes"], *(r for r in wanted if r not in row["routes"])]
            )
            await router_route.check(tx, row, new)
            row = await self.store(tx, row, {"routes": new})
            await work.wake(tx, "router", row["id"], request_id=request.id)
            return await self.view(request, tx, row)

        return json_response(200, {"router": await self.db.write(act)})

    async def _action_body(self, request: Request) -> dict[str, Any]:
        body = await request.json()
        if body is not None and not isinstance(body, dict):
            raise error("HTTPBadRequest", reason="Body contains invalid data")
        return body or {}

    async def _mine(self, request: Request, tx: Tx, rule: str) -> Row:
        """The router of an action's path, if the caller may do it."""
        row = await self.find(request, tx, request.params["id"])
        target = await self.target_of(request, tx, row)
        self.policy(request).enforce(rule, request.caller.creds, target)
        return row

    async def _touched(self, request: Request, tx: Tx, row: Row) -> None:
        await router_row.bump(tx, row)
        await forward_row.router_changed(tx, row["id"], request_id=request.id)
        await work.wake(tx, "router", row["id"], request_id=request.id)

    def routes(self) -> list[Route]:
        return [
            *super().routes(),
            self.action("add_router_interface", "add_router_interface", self.add_interface),
            self.action("remove_router_interface", "remove_router_interface", self.remove_interface),
            self.action("add_extraroutes", "add_extraroutes", self.add_routes),
            self.action("remove_extraroutes", "remove_extraroutes", self.remove_routes),
        ]
