"""Networks under the compute API (until 2.35): /os-networks and /os-tenant-networks. The network API has them.

https://docs.openstack.org/api-ref/compute/#networks-os-networks-deprecated
"""

from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.compute.base import V21, api, need
from hagane.compute.proxy import LAST, NETWORK, ask, one_of
from hagane.errors import HaganeError, Invalid
from hagane.network import attach

_ALL = ("id", "cidr", "netmask", "gateway", "broadcast", "dns1", "dns2", "cidr_v6", "gateway_v6", "label", "netmask_v6")
_ADMIN = (
    "created_at", "updated_at", "deleted_at", "deleted", "injected", "bridge", "vlan", "vpn_public_address",
    "vpn_public_port", "vpn_private_address", "dhcp_start", "project_id", "host", "bridge_interface", "multi_host",
    "priority", "rxtx_base", "mtu", "dhcp_server", "enable_dhcp", "share_address",
)  # fmt: skip
"""What networks had when the compute service made them itself: null since."""


def _full(request: Request, network: dict[str, Any]) -> dict[str, Any]:
    names = _ALL + _ADMIN if request.allowed("context_is_admin", {}) else _ALL
    return dict.fromkeys(names) | {"id": network["id"], "label": network["name"]}


def _short(request: Request, network: dict[str, Any]) -> dict[str, Any]:
    return {"id": network["id"], "cidr": "None", "label": network["name"]}


async def allocate(request: Request) -> None:
    """A project without a network of its own gets one, by the network API's own means. Raises Invalid."""
    project = request.caller.project_id or ""
    if any(network["subnets"] for network in await attach.networks(request.cloud.db, project)):
        return
    try:
        await ask(request, "GET", f"{NETWORK}/auto-allocated-topology/{project}")
    except HaganeError as error:
        raise Invalid(f"Unable to automatically allocate a network for project {project}") from error


def routes(cloud: Cloud) -> list[Route]:
    """Both, each with its own form."""
    made = []
    for path, view in (("os-networks", _full), ("os-tenant-networks", _short)):

        async def index(request: Request, path: str = path, view: Any = view) -> Response:
            need(request, api(f"{path}:list"))
            found = (await ask(request, "GET", f"{NETWORK}/networks"))["networks"]
            return json_response(200, {"networks": [view(request, network) for network in found]})

        async def show(request: Request, path: str = path, view: Any = view) -> Response:
            need(request, api(f"{path}:show"))
            found = await ask(request, "GET", one_of(f"{NETWORK}/networks", "Network", request.params["id"]))
            return json_response(200, {"network": view(request, found["network"])})

        name = path.replace("os-", "").replace("-", "_")
        made += [
            Route("GET", f"{V21}/{path}", index, f"{name}:list", rule=api(f"{path}:list"), until=LAST),
            Route("GET", f"{V21}/{path}/{{id}}", show, f"{name}:show", rule=api(f"{path}:show"), until=LAST),
        ]
    return made
