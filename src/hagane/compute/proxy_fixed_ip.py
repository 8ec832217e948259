"""addFixedIp and removeFixedIp (until 2.43): one address more, or less, on a Port that a Server has already.

https://docs.openstack.org/api-ref/compute/#add-associate-fixed-ip-addfixedip-action-deprecated
"""

from typing import Any

from hagane.api.http import Request, Response, empty
from hagane.api.types import Ip, Obj
from hagane.cloud import Cloud
from hagane.compute.action import Action
from hagane.compute.base import api, need
from hagane.compute.kinds import UUID
from hagane.compute.proxy import NETWORK, ask, ports_of
from hagane.compute.server import find, refuse_locked
from hagane.errors import Invalid
from hagane.state.database import Row

LAST = "2.43"
ADD = Obj(fields={"networkId": UUID}, required=("networkId",))
REMOVE = Obj(fields={"address": Ip()}, required=("address",))


def actions(cloud: Cloud) -> dict[str, Action]:
    """name -> Action."""

    async def server(request: Request, verb: str) -> Row:
        row = await find(cloud.db, request)
        need(request, api(f"os-multinic:{verb}"), row)
        refuse_locked(request, row)
        return row

    async def add(request: Request, value: Any) -> Response:
        row = await server(request, "add")
        ports = [port for port in await ports_of(request, row) if port["network_id"] == value["networkId"]]
        subnets = (await ask(request, "GET", f"{NETWORK}/subnets", network_id=value["networkId"]))["subnets"]
        if not ports or not subnets:
            raise Invalid(f"Network {value['networkId']} could not be found for instance {row['id']}.")
        await _store(request, ports[0], [*ports[0]["fixed_ips"], {"subnet_id": subnets[0]["id"]}])
        return empty(202)

    async def remove(request: Request, value: Any) -> Response:
        row = await server(request, "remove")
        for port in await ports_of(request, row):
            kept = [one for one in port["fixed_ips"] if one["ip_address"] != value["address"]]
            if len(kept) < len(port["fixed_ips"]):
                await _store(request, port, kept)
                return empty(202)
        raise Invalid(f"Instance {row['id']} does not have fixed IP '{value['address']}'.")

    return {
        "addFixedIp": Action(add, "os-multinic:add", until=LAST, body=lambda _: ADD),
        "removeFixedIp": Action(remove, "os-multinic:remove", until=LAST, body=lambda _: REMOVE),
    }


async def _store(request: Request, port: dict[str, Any], fixed: list[dict[str, Any]]) -> None:
    await ask(request, "PUT", f"{NETWORK}/ports/{port['id']}", {"port": {"fixed_ips": fixed}})
