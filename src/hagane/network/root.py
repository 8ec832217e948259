"""The service's own documents: its versions, its core resources, its one service provider."""

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.network.agent import selected
from hagane.network.attr import ROOT

CORE = ("network", "subnet", "subnetpool", "port")


async def versions(request: Request) -> Response:
    """The only version there is; clients come here without a token."""
    link = {"rel": "self", "href": f"{request.url}/v2.0/"}
    return json_response(200, {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]})


async def resources(request: Request) -> Response:
    found = [
        {"name": name, "collection": f"{name}s", "links": [{"rel": "self", "href": f"{request.url}/v2.0/{name}s"}]}
        for name in CORE
    ]
    return json_response(200, {"resources": found})


async def providers(request: Request) -> Response:
    """Routers are OVN's."""
    views = [{"service_type": "L3_ROUTER_NAT", "name": "ovn", "default": True}]
    return json_response(
        200, {"service_providers": selected(request, views, ("service_type", "name", "default"), strict=False)}
    )


ROUTES = [
    Route("GET", "/network", versions, "version:list", auth=False),
    Route("GET", "/network/", versions, "version:list", auth=False),
    Route("GET", f"{ROOT}", resources, "version:show"),
    Route("GET", f"{ROOT}/", resources, "version:show"),
    Route("GET", f"{ROOT}/service-providers", providers, "service_provider:list"),
]
