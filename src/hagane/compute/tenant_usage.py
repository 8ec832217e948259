"""What projects had of CPUs, memory and disks over a time: /os-simple-tenant-usage. Servers that are gone count too."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.compute import query
from hagane.compute.base import V21, api, at, need
from hagane.compute.past import PAST
from hagane.compute.row import SERVER
from hagane.errors import Invalid
from hagane.state import clock
from hagane.state.database import Row
from hagane.state.table import Sql

PATH = V21 + "/os-simple-tenant-usage"
WEEKS = 4  # back from now, where nothing else is asked for
TOTALS = {"total_memory_mb_usage": "memory_mb", "total_local_gb_usage": "local_gb", "total_vcpus_usage": "vcpus"}


class TenantUsage:
    """The handlers."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def index(self, request: Request) -> Response:
        need(request, api("os-simple-tenant-usage:list"))
        start, stop, now = _period(request)
        rows, more = self._page(request, await self._rows(start, stop, {}))
        detailed = request.args.get("detailed", "0") == "1"
        projects = dict.fromkeys(row["project_id"] for row in rows)
        usages = [_usage(project, [row for row in rows if row["project_id"] == project], start, stop, now,
                         detailed=detailed) for project in projects]  # fmt: skip
        return json_response(200, {"tenant_usages": usages} | _links(request, "tenant_usages_links", rows, more=more))

    async def show(self, request: Request) -> Response:
        project = request.params["id"]
        need(request, api("os-simple-tenant-usage:show"), {"project_id": project})
        start, stop, now = _period(request)
        rows, more = self._page(request, await self._rows(start, stop, {"project_id": project}))
        usage = _usage(project, rows, start, stop, now, detailed=True) if rows else {}
        return json_response(200, {"tenant_usage": usage} | _links(request, "tenant_usage_links", rows, more=more))

    async def _rows(self, start: datetime, stop: datetime, where: Row) -> list[Row]:
        """The Servers that ran at some time between, those of one project behind another."""
        since, until = (moment.isoformat(timespec="microseconds") for moment in (start, stop))
        launched = [Sql("launched_at IS NOT NULL AND launched_at < :until", {"until": until})]
        ended = [Sql("ended_at > :since AND started_at < :until", {"since": since, "until": until})]
        live = await SERVER.select(self.db, where, conditions=launched)
        rows = [row | {"started_at": row["launched_at"], "ended_at": None} for row in live]
        rows += [row | {"vm_state": "terminated"} for row in await PAST.select(self.db, where, conditions=ended)]
        return sorted(rows, key=lambda row: (row["project_id"], row["started_at"], row["id"]))

    def _page(self, request: Request, rows: list[Row]) -> tuple[list[Row], bool]:
        if not at(request, 40):
            return rows, False
        limit, marker = query.limit(request), request.args.get("marker")
        if marker is not None:
            known = [row["id"] for row in rows]
            if marker not in known:
                raise Invalid(f"marker [{marker}] not found")
            rows = rows[known.index(marker) + 1 :]
        return rows[:limit], 0 < limit < len(rows)

    def routes(self) -> list[Route]:
        rule = "os-simple-tenant-usage"
        return [
            Route("GET", PATH, self.index, "tenant_usage:list", rule=api(f"{rule}:list")),
            Route("GET", PATH + "/{id}", self.show, "tenant_usage:show", rule=api(f"{rule}:show")),
        ]


def _links(request: Request, name: str, rows: list[Row], *, more: bool) -> dict[str, Any]:
    return {name: [{"rel": "next", "href": request.page_url(marker=rows[-1]["id"])}]} if more else {}


def _period(request: Request) -> tuple[datetime, datetime, datetime]:
    """start, stop and now. Raises Invalid."""
    now = clock.utc(clock.now())
    start = _moment(request, "start", now - timedelta(weeks=WEEKS))
    stop = _moment(request, "end", now)
    if start > stop:
        raise Invalid("Invalid start time. The start time cannot occur after the end time.")
    return start, stop, now


def _moment(request: Request, name: str, default: datetime) -> datetime:
    text = request.args.get(name)
    if not text:
        return default
    try:
        return clock.utc(text)
    except ValueError as error:
        raise Invalid(f"Invalid time: '{text}'. Please specify time in a format like '2012-01-31T12:00:00.123456'."
                      ) from error  # fmt: skip


def _usage(
    project: str, rows: Iterable[Row], start: datetime, stop: datetime, now: datetime, *, detailed: bool
) -> dict[str, Any]:
    """What one project had."""
    servers = [_server(row, start, stop, now) for row in rows]
    usage: dict[str, Any] = {
        "tenant_id": project, "start": start.isoformat(timespec="microseconds"),
        "stop": stop.isoformat(timespec="microseconds"), "total_hours": sum(one["hours"] for one in servers),
    }  # fmt: skip
    for total, name in TOTALS.items():
        usage[total] = sum(one[name] * one["hours"] for one in servers)
    return usage | ({"server_usages": servers} if detailed else {})


def _server(row: Row, start: datetime, stop: datetime, now: datetime) -> dict[str, Any]:
    flavor, began = row["flavor"], clock.utc(row["started_at"])
    ended = clock.utc(row["ended_at"]) if row["ended_at"] else None
    seconds = (min(stop, ended or stop) - max(start, began)).total_seconds()
    return {
        "instance_id": row["id"], "name": row["name"], "tenant_id": row["project_id"], "flavor": flavor["name"],
        "hours": max(0.0, seconds) / 3600, "memory_mb": flavor["ram"], "vcpus": flavor["vcpus"],
        "local_gb": flavor["disk"] + flavor["ephemeral"], "started_at": row["started_at"], "ended_at": row["ended_at"],
        "state": row["vm_state"], "uptime": int(((ended or now) - began).total_seconds()),
    }  # fmt: skip
