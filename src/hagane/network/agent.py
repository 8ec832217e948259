"""Agents and availability zones: the chassis of OVN, as clients of the agent API know them.

This service has no agents of its own. Who watches the Southbound database provides Chassis; where nobody does, there
are none to tell of.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import NAMESPACE_URL, uuid5

from hagane.api.http import Request, Response, json_response
from hagane.api.policy import Policy
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.network.attr import ROOT
from hagane.network.errors import bad_request, error


@dataclass(frozen=True, slots=True)
class ChassisInfo:
    """One chassis as the Southbound database shows it. `seen_at` is in UTC, ISO 8601."""

    name: str  # the chassis' own name, unique
    host: str
    alive: bool
    gateway: bool = False  # it may hold the gateways of routers
    seen_at: str = ""
    zones: tuple[str, ...] = ()
    mappings: dict[str, str] = field(default_factory=dict)  # physical network -> bridge


class Chassis(Protocol):
    """Provided by who watches OVN."""

    def list(self) -> Sequence[ChassisInfo]: ...


def chassis(cloud: Cloud) -> Sequence[ChassisInfo]:
    return cloud.use(Chassis).list() if cloud.has(Chassis) else ()  # type: ignore[type-abstract]


def zones(cloud: Cloud) -> set[str]:
    """All availability zones of the network."""
    return {zone for each in chassis(cloud) for zone in each.zones}


def check_zones(cloud: Cloud, hints: Sequence[str]) -> None:
    """Raises AvailabilityZoneNotFound."""
    known = zones(cloud) if hints else set()
    for zone in hints:
        if zone not in known:
            raise error("AvailabilityZoneNotFound", zone=zone)


def view(each: ChassisInfo) -> dict[str, Any]:
    kind = "OVN Controller Gateway agent" if each.gateway else "OVN Controller agent"
    mappings = ",".join(f"{network}:{bridge}" for network, bridge in sorted(each.mappings.items()))
    seen = each.seen_at[:19].replace("T", " ")
    return {
        "id": agent_id(each), "agent_type": kind, "binary": "ovn-controller", "host": each.host, "topic": "n/a",
        "alive": each.alive, "admin_state_up": True, "availability_zone": ", ".join(each.zones), "description": "",
        "configurations": {"chassis_name": each.name, "bridge-mappings": mappings}, "heartbeat_timestamp": seen,
        "created_at": seen, "started_at": seen, "resources_synced": None,
    }  # fmt: skip


def agent_id(each: ChassisInfo) -> str:
    """A chassis that calls itself by a UUID keeps it; of another name one is made that is always the same."""
    return each.name if len(each.name) == 36 else str(uuid5(NAMESPACE_URL, f"chassis:{each.name}"))


_FILTERS = (
    "id",
    "agent_type",
    "binary",
    "host",
    "topic",
    "alive",
    "admin_state_up",
    "availability_zone",
    "description",
)


class Agents:
    """/agents and /availability_zones: read-only."""

    def __init__(self, cloud: Cloud, policy: Policy) -> None:
        self._cloud, self._policy = cloud, policy

    def routes(self) -> list[Route]:
        return [
            Route("GET", f"{ROOT}/agents", self.index, "agent:list", rule="get_agent"),
            Route("GET", f"{ROOT}/agents/{{id}}", self.show, "agent:show", rule="get_agent"),
            Route("GET", f"{ROOT}/availability_zones", self.zones, "availability_zone:list",
                  rule="get_availability_zone"),
        ]  # fmt: skip

    async def index(self, request: Request) -> Response:
        views = [view(each) for each in chassis(self._cloud)] if request.allowed("get_agent") else []
        return json_response(200, {"agents": selected(request, views, _FILTERS)})

    async def show(self, request: Request) -> Response:
        for each in chassis(self._cloud):
            if agent_id(each) == request.params["id"] and request.allowed("get_agent"):
                return json_response(200, {"agent": view(each)})
        raise error("AgentNotFound", id=request.params["id"])

    async def zones(self, request: Request) -> Response:
        kinds = [("network", False), ("router", True)]
        views = [
            {"name": zone, "resource": kind, "state": "available"}
            for kind, gateways in kinds
            for zone in sorted({z for c in chassis(self._cloud) if c.gateway or not gateways for z in c.zones})
        ]
        if not request.allowed("get_availability_zone"):
            views = []
        return json_response(200, {"availability_zones": selected(request, views, ("name", "resource", "state"))})


def selected(
    request: Request, views: list[dict[str, Any]], filters: tuple[str, ...], *, strict: bool = True
) -> list[dict[str, Any]]:
    """The views that a query asks for, with the fields that it asks for."""
    wanted: dict[str, list[str]] = {}
    for name, text in request.query:
        if name in filters:
            wanted.setdefault(name, []).append(text.lower())
        elif strict and name not in ("fields", "limit", "marker", "sort_key", "sort_dir", "page_reverse"):
            raise bad_request(f"['{name}'] is invalid attribute for filtering")
    fields = [text for name, text in request.query if name == "fields" and text]
    found = [v for v in views if all(str(v[name]).lower() in texts for name, texts in wanted.items())]
    return [{key: v[key] for key in v if not fields or key in fields} for v in found]
