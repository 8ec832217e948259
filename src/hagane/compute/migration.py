"""Migrations: Servers on their way to another flavor or another Host, and what came of it (os-migrations)."""

import zlib
from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.compute import query
from hagane.compute.base import V21, api, at, need, own
from hagane.compute.migration_row import MIGRATION
from hagane.errors import Invalid
from hagane.state.database import Database, Row
from hagane.state.table import Sql

_FILTERS = {"source_compute": "source", "status": "status", "migration_type": "kind", "instance_uuid": "server_id"}


def routes(cloud: Cloud) -> list[Route]:
    async def index(request: Request) -> Response:
        need(request, api("os-migrations:index"), own(request))
        rows = await _rows(request, cloud.db)
        answer: dict[str, Any] = {}
        if at(request, 59):
            rows, more = _page(request, rows)
            if more:
                answer["migrations_links"] = [{"rel": "next", "href": request.page_url(marker=rows[-1]["uuid"])}]
        seen = request.allowed(api("os-migrations:index:host"), own(request))
        return json_response(200, {"migrations": [_view(request, row, hosts=seen) for row in rows]} | answer)

    return [Route("GET", V21 + "/os-migrations", index, "migration:list", rule=api("os-migrations:index"))]


async def _rows(request: Request, db: Database) -> list[Row]:
    """What the query asks for, the newest first."""
    args = request.args
    where: dict[str, Any] = {}
    for name, column in _FILTERS.items():
        if name in args:
            where[column] = args[name]
    conditions: list[Sql] = []
    if "host" in args:
        conditions.append(Sql("(source = :host OR dest = :host)", {"host": args["host"]}))
    if at(request, 80):
        where |= {name: args[name] for name in ("user_id", "project_id") if name in args}
    if not request.allowed(api("os-migrations:index:all_projects"), own(request)):
        where["project_id"] = request.caller.project_id
    if at(request, 59):
        since, before = query.between(request)
        if since:
            conditions.append(Sql("updated_at >= :since", {"since": since}))
        if before and at(request, 66):
            conditions.append(Sql("updated_at <= :before", {"before": before}))
    return await MIGRATION.select(db, where, conditions=conditions, order="created_at DESC, number DESC")


def _page(request: Request, rows: list[Row]) -> tuple[list[Row], bool]:
    limit, marker = query.limit(request), request.args.get("marker")
    if marker is not None:
        known = [row["uuid"] for row in rows]
        if marker not in known:
            raise Invalid(f"Marker {marker} could not be found.")
        rows = rows[known.index(marker) + 1 :]
    return rows[:limit], 0 < limit < len(rows)


def _view(request: Request, row: Row, *, hosts: bool) -> dict[str, Any]:
    source, dest = (row["source"], row["dest"]) if hosts else (None, None)
    view: dict[str, Any] = {
        "id": row["number"], "source_compute": source, "source_node": source, "dest_compute": dest, "dest_node": dest,
        "dest_host": None, "old_instance_type_id": _number(row["old_flavor"]),
        "new_instance_type_id": _number(row["new_flavor"]), "instance_uuid": row["server_id"],
        "status": row["status"], "created_at": row["created_at"], "updated_at": row["updated_at"],
    }  # fmt: skip
    if at(request, 23):
        view["migration_type"] = row["kind"]
    if at(request, 59):
        view["uuid"] = row["uuid"]
    if at(request, 80):
        view |= {"user_id": row["user_id"], "project_id": row["project_id"]}
    return view


def _number(flavor_id: str) -> int:
    """Flavors have a number in this view only: the same for the same flavor, that is all it tells."""
    return zlib.crc32(flavor_id.encode()) >> 1
