"""The bare-metal API, version 1. https://docs.openstack.org/api-ref/baremetal/"""

from pathlib import Path
from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.policy import Policy
from hagane.api.service import Route, Service
from hagane.baremetal import driver, node, provider, rack, volume
from hagane.baremetal.agent import Agents
from hagane.baremetal.allocation import Allocations
from hagane.baremetal.base import (
    CONDUCTOR,
    NEWEST,
    OLDEST,
    RANGE,
    ROOT,
    V1,
    VERSIONS,
    at,
    boolean,
    envelope,
    links,
    moment,
    need,
    query,
    require,
    spelling,
    status,
    wording,
)
from hagane.baremetal.chassis import Chassis
from hagane.baremetal.deploy_template import DeployTemplates
from hagane.baremetal.inspection_rule import InspectionRules
from hagane.baremetal.nic import Nics
from hagane.baremetal.nic_group import NicGroups
from hagane.baremetal.node import Nodes
from hagane.baremetal.node_console import SOCKET, NodeConsoleSocket
from hagane.baremetal.node_media import NodeMedia
from hagane.baremetal.node_part import NodeParts
from hagane.baremetal.node_verb import NodeVerbs
from hagane.baremetal.runbook import Runbooks
from hagane.cloud import Cloud
from hagane.errors import NotFound
from hagane.placement.outside import Outside
from hagane.state import clock

TABLES = (
    *node.TABLES, Chassis.table, Nics.table, NicGroups.table, Allocations.table, DeployTemplates.table,
    Runbooks.table, InspectionRules.table, volume.Connectors.table, volume.Targets.table, *rack.TABLES,
)  # fmt: skip
_NOUNS = {"chassis": 1, "nodes": 1, "ports": 1, "drivers": 1, "portgroups": 23, "volume": 32,
          "lookup": 22, "heartbeat": 22, "conductors": 49, "allocations": 52, "deploy_templates": 55, "shards": 82,
          "continue_inspection": 84, "runbooks": 92, "inspection_rules": 96}  # fmt: skip
"""What the version document lists, and since when."""


def service(cloud: Cloud) -> Service:
    """The bare-metal service of one cloud."""
    overrides = Path(cloud.config.policy) if cloud.config.policy else None
    made = Service(
        "baremetal", ROOT, Policy.load("baremetal", overrides), envelope, versions=VERSIONS, wording=wording,
        headers=dict(RANGE), id_header="openstack-request-id", title="Bare Metal", spelling=spelling, status=status,
    )  # fmt: skip
    cloud.provide(Outside, Outside(provider.read))
    nodes = Nodes(cloud)
    verbs = NodeVerbs(nodes)
    made.routes += [*_documents(), *_conductors(), *_shards(cloud), *driver.routes()]
    runbooks = Runbooks(cloud)
    verbs.runbook = runbooks.steps_for
    connectors = volume.Connectors(cloud, nodes)
    parts = (nodes, verbs, NodeParts(nodes, verbs), NodeMedia(nodes, verbs), NicGroups(cloud, nodes),
             Nics(cloud, nodes), Chassis(cloud),
             Allocations(cloud, nodes), DeployTemplates(cloud), runbooks, InspectionRules(cloud), connectors,
             volume.Targets(cloud, nodes),
             Agents(nodes, cloud.config.baremetal.heartbeat))  # fmt: skip
    for part in parts:
        made.routes += part.routes()
    made.routes += volume.routes(connectors)
    made.sockets[SOCKET] = NodeConsoleSocket(cloud)
    made.routes += _below(cloud, nodes)
    return made


def _version(request: Request) -> dict[str, Any]:
    href = {"href": f"{request.url}/v1/", "rel": "self"}
    return {"id": "v1", "links": [href], "status": "CURRENT", "min_version": OLDEST, "version": NEWEST}


def _documents() -> list[Route]:
    async def root(request: Request) -> Response:
        text = "Ironic is an OpenStack project which enables the provision and management of baremetal machines."
        version = _version(request)
        return json_response(200, {"name": "OpenStack Ironic API", "description": text, "default_version": version,
                                   "versions": [version]})  # fmt: skip

    async def v1(request: Request) -> Response:
        document: dict[str, Any] = {
            "id": "v1",
            "links": [
                {"href": f"{request.url}/v1/", "rel": "self"},
                {"href": "https://docs.openstack.org//ironic/latest/contributor//webapi.html", "rel": "describedby",
                 "type": "text/html"},
            ],
            "media_types": {"base": "application/json", "type": "application/vnd.openstack.ironic.v1+json"},
            "version": _version(request),
        }  # fmt: skip
        document |= {noun: links(request, noun + "/") for noun, since in _NOUNS.items() if at(request, since)}
        return json_response(200, document)

    return [
        *(Route("GET", path, root, f"baremetal:versions:{path}", auth=False) for path in (ROOT, ROOT + "/")),
        *(Route("GET", path, v1, f"baremetal:v1:{path}", auth=False) for path in (V1, V1 + "/")),
    ]


def _conductors() -> list[Route]:
    """One conductor stands for all processes of the cloud."""
    started = clock.now()

    def view(request: Request, *, detail: bool) -> dict[str, Any]:
        found: dict[str, Any] = {"hostname": CONDUCTOR, "conductor_group": "", "alive": True,
                                 "links": links(request, f"conductors/{CONDUCTOR}")}  # fmt: skip
        times = {"created_at": moment(started), "updated_at": moment(clock.now())}
        return found | (times | {"drivers": list(driver.DRIVERS)} if detail else {})

    async def listed(request: Request) -> Response:
        need(request, "baremetal:conductor:get")
        args = query(request, ("detail", "fields", "limit", "marker", "sort_key", "sort_dir"))
        return json_response(200, {"conductors": [view(request, detail=bool(boolean("detail", args.get("detail"))))]})

    async def show(request: Request) -> Response:
        need(request, "baremetal:conductor:get")
        if request.params["name"] != CONDUCTOR:
            raise NotFound(f"Conductor {request.params['name']} could not be found.")
        return json_response(200, view(request, detail=True))

    rule, path = "baremetal:conductor:get", V1 + "/conductors"
    return [
        Route(
            "GET",
            path,
            listed,
            "conductor:list",
            rule=rule,
            since="1.49",
            query=("detail", "fields", "limit", "marker"),
        ),
        Route("GET", path + "/{name}", show, "conductor:show", rule=rule, since="1.49"),
    ]


def _shards(cloud: Cloud) -> list[Route]:
    async def listed(request: Request) -> Response:
        need(request, "baremetal:shards:get")
        rows = await cloud.db.fetch_tuples("SELECT shard, count(*) FROM node GROUP BY shard ORDER BY shard")
        return json_response(200, {"shards": [{"name": str(name), "count": count} for name, count in rows]})

    return [Route("GET", V1 + "/shards", listed, "shard:list", rule="baremetal:shards:get", since="1.82")]


def _below(cloud: Cloud, nodes: Nodes) -> list[Route]:
    """Lists below other things: a chassis's Nodes, a group's Nics."""
    chassis, nics, groups = Chassis(cloud), Nics(cloud, nodes), NicGroups(cloud, nodes)

    async def of_chassis(request: Request) -> Response:
        row = await chassis.find(request, cloud.db, request.params["id"])
        detail = bool(boolean("detail", request.args.get("detail")))
        return await nodes.listed(request, {"chassis_id": row["id"]}, nodes.chosen(request, detail=detail))

    async def of_group(request: Request) -> Response:
        require(request, 24)
        row = await groups.find(request, cloud.db, request.params["id"])
        detail = bool(boolean("detail", request.args.get("detail")))
        return await nics.listed(request, {"group_id": row["id"]}, nics.chosen(request, detail=detail))

    return [
        Route("GET", V1 + "/chassis/{id}/nodes", of_chassis, "chassis:nodes", rule="baremetal:node:list",
              query=nodes.query_names()),
        Route("GET", V1 + "/portgroups/{id}/ports", of_group, "portgroup:ports", rule="baremetal:port:list",
              since="1.24", query=nics.query_names()),
    ]  # fmt: skip
