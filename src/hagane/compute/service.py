"""The compute API: its routes, tables, microversions and version documents.

https://docs.openstack.org/nova/latest/reference/api-microversion-history.html
"""

from pathlib import Path
from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.policy import Policy
from hagane.api.service import Microversions, Route, Service
from hagane.cloud import Cloud
from hagane.compute import (
    action_admin,
    action_evacuate,
    action_image,
    action_live,
    action_other,
    action_rebuild,
    action_rescue,
    action_resize,
    action_shelve,
    console,
    diagnostics,
    extension,
    external_event,
    flavor_access,
    migration,
    migration_live,
    proxy_fixed_ip,
    proxy_floating_ip,
    proxy_network,
    proxy_volume,
    server_parts,
    server_password,
    share,
    strict_query,
    usage_audit,
    zone,
)
from hagane.compute.action import Actions, power_actions
from hagane.compute.aggregate import AGGREGATE, Aggregates
from hagane.compute.attachment import Attachments
from hagane.compute.base import ROOT, V21, envelope, wording
from hagane.compute.console_socket import ConsoleSocket
from hagane.compute.flavor import ACCESS, FLAVOR, Flavor
from hagane.compute.flavor_specs import FlavorSpecs
from hagane.compute.host_older import OlderHosts
from hagane.compute.host_service import HostServices
from hagane.compute.hypervisor import Hypervisors
from hagane.compute.image_proxy import ImageProxy
from hagane.compute.instance_action import InstanceActions
from hagane.compute.interface import Interfaces
from hagane.compute.keypair import KEYPAIR, Keypairs
from hagane.compute.migration_row import MIGRATION
from hagane.compute.past import PAST
from hagane.compute.proxy_floating_ip import FloatingIps
from hagane.compute.proxy_image_metadata import ImageMetadata
from hagane.compute.proxy_security_group import SecurityGroups
from hagane.compute.quota import LIMIT, USAGE
from hagane.compute.quota_set import QuotaSets
from hagane.compute.row import SERVER
from hagane.compute.server import Servers
from hagane.compute.server_group import GROUP, ServerGroups
from hagane.compute.tenant_usage import TenantUsage

OLDEST, NEWEST = "2.1", "2.104"
TABLES = (FLAVOR, ACCESS, KEYPAIR, LIMIT, USAGE, SERVER, GROUP, AGGREGATE, MIGRATION, PAST, console.TOKEN)
RESOURCES = (
    Flavor, FlavorSpecs, Keypairs, Servers, server_parts.Metadata, server_parts.Tags, Interfaces, InstanceActions,
    Attachments, Hypervisors, HostServices, QuotaSets, ServerGroups, Aggregates, ImageProxy, TenantUsage,
    SecurityGroups, FloatingIps, ImageMetadata, OlderHosts,
)  # fmt: skip
V20_UPDATED, V21_UPDATED = "2011-01-21T11:33:21Z", "2013-07-23T11:33:21Z"


def service(cloud: Cloud) -> Service:
    """The compute service of one cloud."""
    overrides = Path(cloud.config.policy) if cloud.config.policy else None
    made = Service(
        "compute", ROOT, Policy.load("compute", overrides), envelope,
        versions=Microversions("compute", OLDEST, NEWEST, "X-OpenStack-Nova-API-Version"),
        wording=wording, id_header="x-compute-request-id", title="Compute",
    )  # fmt: skip
    made.routes += _documents()
    for kind in RESOURCES:
        made.routes += kind(cloud).routes()
    modules = (
        flavor_access, zone, migration, migration_live, extension, console, server_password, proxy_network,
        proxy_volume, diagnostics, external_event, usage_audit, share,
    )  # fmt: skip
    for module in modules:
        made.routes += module.routes(cloud)
    made.routes += server_parts.addresses(cloud)
    verbs = (
        action_admin,
        action_other,
        action_evacuate,
        action_live,
        action_rebuild,
        action_rescue,
        action_resize,
        action_shelve,
        action_image,
        console,
        proxy_fixed_ip,
        proxy_floating_ip,
    )
    made.routes += Actions(cloud, [power_actions(cloud), *(module.actions(cloud) for module in verbs)]).routes()
    made.routes = [strict_query.guard(route) for route in made.routes]
    made.sockets[console.SOCKET] = ConsoleSocket(cloud)
    return made


def _documents() -> list[Route]:
    """The version documents, which need no token. v2.0 is listed first, as clients expect."""

    async def root(request: Request) -> Response:
        return json_response(200, {"versions": [_v20(request), _v21(request)]})

    async def one(request: Request) -> Response:
        more = {"media-types": [{"base": "application/json",
                                 "type": "application/vnd.openstack.compute+json;version=2.1"}]}  # fmt: skip
        document = _v21(request)
        document["links"].append({"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"})
        return json_response(200, {"version": document | more})

    async def older(request: Request) -> Response:
        return json_response(200, {"version": _v20(request)})

    return [
        Route("GET", ROOT + "/v2/", older, "compute:version:v2", auth=False),
        Route("GET", ROOT, root, "compute:versions", auth=False),
        Route("GET", ROOT + "/", root, "compute:versions:slash", auth=False),
        Route("GET", V21, one, "compute:version", auth=False),
        Route("GET", V21 + "/", one, "compute:version:slash", auth=False),
    ]


def _v20(request: Request) -> dict[str, Any]:
    return {
        "id": "v2.0", "status": "SUPPORTED", "version": "", "min_version": "", "updated": V20_UPDATED,
        "links": [{"rel": "self", "href": f"{request.url}/v2/"}],
    }  # fmt: skip


def _v21(request: Request) -> dict[str, Any]:
    return {
        "id": "v2.1", "status": "CURRENT", "version": NEWEST, "min_version": OLDEST, "updated": V21_UPDATED,
        "links": [{"rel": "self", "href": f"{request.url}/v2.1/"}],
    }  # fmt: skip
