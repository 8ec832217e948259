"""Floating IPs under the compute API: /os-floating-ips and /os-floating-ip-pools (until 2.35), and two verbs of Servers
(until 2.43). The network API has them; a pool is an external network.

https://docs.openstack.org/api-ref/compute/#floating-ips-os-floating-ips-deprecated
"""

from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import Ip, Obj
from hagane.cloud import Cloud
from hagane.compute.action import Action
from hagane.compute.base import V21, api, need
from hagane.compute.proxy import LAST, NETWORK, ask, one_of, ports_of
from hagane.compute.server import find, refuse_locked
from hagane.errors import Conflict, Forbidden, Invalid, NotFound
from hagane.state.database import Row

PATH, POOLS = V21 + "/os-floating-ips", V21 + "/os-floating-ip-pools"
_THEIRS = f"{NETWORK}/floatingips"
ADD = Obj(fields={"address": Ip(), "fixed_address": Ip()}, required=("address",))
REMOVE = Obj(fields={"address": Ip()}, required=("address",))
VERBS_LAST = "2.43"


class FloatingIps:
    """The handlers."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def index(self, request: Request) -> Response:
        need(request, api("os-floating-ips:list"))
        found = await ask(request, "GET", _THEIRS, project_id=request.caller.project_id or "")
        pools = await _pools(request)
        return json_response(200, {"floating_ips": [_view(one, pools) for one in found["floatingips"]]})

    async def show(self, request: Request) -> Response:
        need(request, api("os-floating-ips:show"))
        found = await ask(request, "GET", _path(request))
        return json_response(200, {"floating_ip": _view(found["floatingip"], await _pools(request))})

    async def create(self, request: Request) -> Response:
        need(request, api("os-floating-ips:create"))
        body = await request.json()
        wanted = body.get("pool") if isinstance(body, dict) else None
        pools = await _pools(request)
        pool = _pool(pools, wanted)
        try:
            made = await ask(request, "POST", _THEIRS, {"floatingip": {"floating_network_id": pool["id"]}})
        except Forbidden as error:
            raise Forbidden(f"IP allocation over quota in pool {pool['name']}.") from error
        return json_response(200, {"floating_ip": _view(made["floatingip"], pools)})

    async def delete(self, request: Request) -> Response:
        need(request, api("os-floating-ips:delete"))
        await ask(request, "DELETE", _path(request))
        return empty(202)

    async def pools(self, request: Request) -> Response:
        need(request, api("os-floating-ip-pools"))
        names = sorted(pool["name"] for pool in (await _pools(request)).values())
        return json_response(200, {"floating_ip_pools": [{"name": name} for name in names]})

    # -- verbs of Servers --------------------------------------------------------------------------------------------

    async def add(self, request: Request, value: Any) -> Response:
        row = await self._server(request, "add")
        floating = await _named(request, value["address"])
        ports = await ports_of(request, row)
        if not ports:
            raise Invalid("No fixed IPs associated to instance")
        port, fixed = _end(ports, value.get("fixed_address"))
        change = {"port_id": port, "fixed_ip_address": fixed}
        await ask(request, "PUT", f"{_THEIRS}/{floating['id']}", {"floatingip": change})
        return empty(202)

    async def remove(self, request: Request, value: Any) -> Response:
        row = await self._server(request, "remove")
        floating = await _named(request, value["address"])
        if _server_of(floating) != row["id"]:
            raise Conflict(f"Floating IP {value['address']} is not associated with instance {row['id']}.")
        await ask(request, "PUT", f"{_THEIRS}/{floating['id']}", {"floatingip": {"port_id": None}})
        return empty(202)

    async def _server(self, request: Request, verb: str) -> Row:
        row = await find(self.db, request)
        need(request, api(f"os-floating-ips:{verb}"), row)
        refuse_locked(request, row)
        return row

    def routes(self) -> list[Route]:
        one, rule = PATH + "/{id}", "os-floating-ips"
        return [
            Route("GET", PATH, self.index, "floating_ip:list", rule=api(f"{rule}:list"), until=LAST),
            Route("POST", PATH, self.create, "floating_ip:create", rule=api(f"{rule}:create"), until=LAST),
            Route("GET", one, self.show, "floating_ip:show", rule=api(f"{rule}:show"), until=LAST),
            Route("DELETE", one, self.delete, "floating_ip:delete", rule=api(f"{rule}:delete"), status=202, until=LAST),
            Route("GET", POOLS, self.pools, "floating_ip_pool:list", rule=api("os-floating-ip-pools"), until=LAST),
        ]


def actions(cloud: Cloud) -> dict[str, Action]:
    """name -> Action."""
    verbs = FloatingIps(cloud)
    return {
        "addFloatingIp": Action(verbs.add, "os-floating-ips:add", until=VERBS_LAST, body=lambda _: ADD),
        "removeFloatingIp": Action(verbs.remove, "os-floating-ips:remove", until=VERBS_LAST, body=lambda _: REMOVE),
    }


def _path(request: Request) -> str:
    return one_of(_THEIRS, "Floating IP", request.params["id"])


async def _pools(request: Request) -> dict[str, dict[str, Any]]:
    """id -> external network."""
    found = await ask(request, "GET", f"{NETWORK}/networks", **{"router:external": "true"})
    return {network["id"]: network for network in found["networks"]}


def _pool(pools: dict[str, dict[str, Any]], wanted: Any) -> dict[str, Any]:
    """The network of this name or id; without one the default one, or the only one. Raises NotFound."""
    fit = [pool for pool in pools.values() if wanted in (pool["id"], pool["name"])] if wanted else [
        pool for pool in pools.values() if pool["is_default"] or len(pools) == 1]  # fmt: skip
    if not fit:
        raise NotFound("Floating IP pool not found.", code="FloatingIpPoolNotFound")
    return fit[0]


async def _named(request: Request, address: str) -> dict[str, Any]:
    """The caller's floating IP of this address. Raises NotFound."""
    mine = request.caller.project_id or ""
    found = await ask(request, "GET", _THEIRS, floating_ip_address=address, project_id=mine)
    if not found["floatingips"]:
        raise NotFound("floating IP not found")
    one: dict[str, Any] = found["floatingips"][0]
    return one


def _end(ports: list[dict[str, Any]], wanted: str | None) -> tuple[str, str]:
    """Port and IPv4 address that a floating IP is to lead to: the first ones, unless it is said. Raises Invalid."""
    addresses = [(port["id"], one["ip_address"]) for port in ports for one in port["fixed_ips"]]
    fit = [(port, address) for port, address in addresses if (address == wanted if wanted else ":" not in address)]
    if not fit:
        raise Invalid("Specified fixed address not assigned to instance" if wanted else (
            "Unable to associate floating IP: instance has no IPv4 address."))  # fmt: skip
    return fit[0]


def _server_of(floating: dict[str, Any]) -> str | None:
    """The Server that it leads to, if any."""
    details = floating.get("port_details") or {}
    return details.get("device_id") or None


def _view(floating: dict[str, Any], pools: dict[str, dict[str, Any]]) -> dict[str, Any]:
    pool = pools.get(floating["floating_network_id"])
    return {"id": floating["id"], "ip": floating["floating_ip_address"], "fixed_ip": floating["fixed_ip_address"],
            "instance_id": _server_of(floating), "pool": pool["name"] if pool else None}  # fmt: skip
