"""Availability zones: names under which Hosts are gathered; "nova" unless an aggregate says another."""

from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.compute.base import V21, api, need
from hagane.placement.host import DEFAULT_ZONE, all_hosts, is_up
from hagane.state.database import Row

PATH = V21 + "/os-availability-zone"


def routes(cloud: Cloud) -> list[Route]:
    async def index(request: Request) -> Response:
        need(request, api("os-availability-zone:list"), {})
        zones = _zones(await all_hosts(cloud.db))
        views = [{"zoneName": name, "zoneState": {"available": any(map(_usable, hosts))}, "hosts": None}
                 for name, hosts in zones.items()]  # fmt: skip
        return json_response(200, {"availabilityZoneInfo": views})

    async def detail(request: Request) -> Response:
        need(request, api("os-availability-zone:detail"), {})
        views = []
        for name, hosts in _zones(await all_hosts(cloud.db)).items():
            told = {host["name"]: {"nova-compute": _state(host)} for host in hosts}
            views.append({"zoneName": name, "zoneState": {"available": any(map(_usable, hosts))}, "hosts": told})
        return json_response(200, {"availabilityZoneInfo": views})

    return [
        Route("GET", PATH, index, "zone:list", rule=api("os-availability-zone:list")),
        Route("GET", PATH + "/detail", detail, "zone:detail", rule=api("os-availability-zone:detail")),
    ]


def _zones(hosts: list[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for host in hosts:
        found.setdefault(host["zone"] or DEFAULT_ZONE, []).append(host)
    return dict(sorted(found.items())) or {DEFAULT_ZONE: []}


def _usable(host: Row) -> bool:
    return not host["disabled"]


def _state(host: Row) -> dict[str, Any]:
    return {"active": not host["disabled"], "available": is_up(host), "updated_at": host["seen_at"]}
