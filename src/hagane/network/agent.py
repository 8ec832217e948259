"""Agents and availability zones: the chassis of OVN, as clients of the agent API know them.

This service has no agents of its own. Who watches the Southbound database provides Chassis; where nobody does, there
are none to tell of. An agent can be described, and a dead one deleted: that is intent, a row, which wakes "chassis".
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import NAMESPACE_URL, uuid5

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.policy import Policy
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.network.attr import ROOT
from hagane.network.errors import bad_request, error
from hagane.network.value import Text, truth
from hagane.state import work
from hagane.state.database import Row, Tx
from hagane.state.table import Column, Table


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


AGENT = Table(
    "network_agent",
    (Column("id", key=True), Column("chassis"), Column("description"), Column("removed", "bool")),
    ("chassis",),
)
"""What administrators say of agents, kept while these are away; and which of them are to be taken out of OVN."""


_SILENT: Row = {"description": "", "removed": False}


def view(each: ChassisInfo, description: str = "") -> dict[str, Any]:
    kind = "OVN Controller Gateway agent" if each.gateway else "OVN Controller agent"
    mappings = ",".join(f"{network}:{bridge}" for network, bridge in sorted(each.mappings.items()))
    seen = each.seen_at[:19].replace("T", " ")
    return {
        "id": agent_id(each), "agent_type": kind, "binary": "ovn-controller", "host": each.host, "topic": "n/a",
        "alive": each.alive, "admin_state_up": True, "availability_zone": ", ".join(each.zones),
        "description": description,
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
    """/agents and /availability_zones."""

    def __init__(self, cloud: Cloud, policy: Policy) -> None:
        self._cloud, self._policy, self._db = cloud, policy, cloud.db

    def routes(self) -> list[Route]:
        return [
            Route("GET", f"{ROOT}/agents", self.index, "agent:list", rule="get_agent"),
            Route("GET", f"{ROOT}/agents/{{id}}", self.show, "agent:show", rule="get_agent"),
            Route("PUT", f"{ROOT}/agents/{{id}}", self.update, "agent:update", rule="update_agent"),
            Route("DELETE", f"{ROOT}/agents/{{id}}", self.delete, "agent:delete", rule="delete_agent", status=204),
            Route("GET", f"{ROOT}/availability_zones", self.zones, "availability_zone:list",
                  rule="get_availability_zone"),
        ]  # fmt: skip

    async def index(self, request: Request) -> Response:
        found = chassis(self._cloud) if request.allowed("get_agent") else ()
        said = {row["id"]: row for row in await AGENT.select(self._db)} if found else {}
        known = [(each, said.get(agent_id(each), _SILENT)) for each in found]
        views = [view(each, row["description"]) for each, row in known if not row["removed"]]
        return json_response(200, {"agents": selected(request, views, _FILTERS)})

    async def show(self, request: Request) -> Response:
        each, row = await self._found(request)
        return json_response(200, {"agent": view(each, row["description"])})

    async def _found(self, request: Request) -> tuple[ChassisInfo, Row]:
        key = request.params["id"]
        for each in chassis(self._cloud):
            if agent_id(each) == key and request.allowed("get_agent"):
                row = await AGENT.get(self._db, id=key) or _SILENT | {"id": key, "chassis": each.name}
                if not row["removed"]:
                    return each, row
        raise error("AgentNotFound", id=key)

    async def update(self, request: Request) -> Response:
        each, row = await self._found(request)
        self._may(request, "update_agent")
        description = _change(await request.json())
        if description is not None:
            row = await self._write(row | {"description": description})
        return json_response(200, {"agent": view(each, row["description"])})

    async def delete(self, request: Request) -> Response:
        """A chassis that lives takes part, whatever its row says, and makes its row anew: only a dead one can go."""
        each, row = await self._found(request)
        self._may(request, "delete_agent")
        if each.alive:
            raise error("AgentInUse", id=agent_id(each), chassis=each.name)
        await self._write(row | {"removed": True}, request_id=request.id)
        return empty(204)

    async def _write(self, row: Row, *, request_id: str | None = None) -> Row:
        async def act(tx: Tx) -> None:
            await AGENT.delete(tx, {"id": row["id"]})
            if row["description"] or row["removed"]:
                await AGENT.insert(tx, row)
            if row["removed"]:
                await work.wake(tx, "chassis", row["chassis"], request_id=request_id)

        await self._db.write(act)
        return row

    def _may(self, request: Request, rule: str) -> None:
        self._policy.enforce(rule, request.caller.creds, {"project_id": request.caller.project_id})

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


def _change(body: Any) -> str | None:
    """The description that a body sets; None: it says none. Raises HTTPBadRequest, BadRequest."""
    if not isinstance(body, dict) or not isinstance(body.get("agent"), dict):
        raise bad_request("Unable to find 'agent' in request body" if body else "Resource body required")
    wanted = body["agent"]
    if unknown := sorted(wanted.keys() - {"admin_state_up", "description"}):
        raise bad_request(f"Cannot update read-only attribute {unknown[0]}")
    if not truth(wanted.get("admin_state_up", True)):
        raise error("BadRequest", resource="agent", reason="OVN agent status cannot be updated")
    text = wanted.get("description", "") or ""
    return str(Text(255).check("description", text)) if "description" in wanted else None


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
