"""A Server's live migrations while they go on: how far they are; to cancel one, and to have one end soon.

accepted ─▶ preparing (it has a Host) ─▶ running ─▶ completed | error | cancelled
"""

from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import Obj
from hagane.cloud import Cloud
from hagane.compute.action import ANYTHING, refuse_state, told
from hagane.compute.base import V21, api, at, need
from hagane.compute.migration_row import LIVE, MIGRATION
from hagane.compute.row import KIND, Task, VmState
from hagane.compute.server import find, refuse_locked
from hagane.errors import HaganeError, Invalid, NotFound
from hagane.state import work
from hagane.state.database import Reader, Row, Tx

UNDER_WAY = ("queued", "preparing", "running", "post-migrating")
HURRY = Obj(fields={"force_complete": ANYTHING}, required=("force_complete",))


def routes(cloud: Cloud) -> list[Route]:
    async def index(request: Request) -> Response:
        row = await find(cloud.db, request)
        need(request, api("servers:migrations:index"), row)
        where: Row = {"server_id": row["id"], "kind": LIVE, "status": UNDER_WAY}
        found = await MIGRATION.select(cloud.db, where, order="number")
        hosts = request.allowed(api("servers:migrations:index:host"), row)
        return json_response(200, {"migrations": [_view(request, one, hosts=hosts) for one in found]})

    async def show(request: Request) -> Response:
        row, key = await find(cloud.db, request), request.params["migration"]
        need(request, api("servers:migrations:show"), row)
        found = await _of(cloud.db, row, key)
        if found is None:
            raise NotFound(f"In-progress live migration {key} is not found for server {row['id']}.")
        if found["kind"] != LIVE:
            raise NotFound(f"Migration {key} for server {row['id']} is not live-migration.")
        if found["status"] not in UNDER_WAY:
            raise NotFound(f"Live migration {key} for server {row['id']} is not in progress.")
        return json_response(200, {"migration": _view(request, found, hosts=True)})

    async def cancel(request: Request) -> Response:
        await cloud.db.write(lambda tx: _cancel(request, tx))
        return empty(202)

    async def hurry(request: Request) -> Response:
        body = await request.json()
        await cloud.db.write(lambda tx: _hurry(request, tx, body))
        return empty(202)

    every, one = V21 + "/servers/{id}/migrations", V21 + "/servers/{id}/migrations/{migration}"
    rule = "servers:migrations:"
    return [
        Route("GET", every, index, "server_migration:list", rule=api(rule + "index"), since="2.23"),
        Route("GET", one, show, "server_migration:show", rule=api(rule + "show"), since="2.23"),
        Route("DELETE", one, cancel, "server_migration:delete", rule=api(rule + "delete"), since="2.24", status=202),
        Route("POST", one + "/action", hurry, "server_migration:action", rule=api(rule + "force_complete"),
              since="2.22", status=202),
    ]  # fmt: skip


async def _cancel(request: Request, tx: Tx) -> None:
    """It is broken off, and the Server stays where it is, unless it has just arrived."""
    states = ("running", "queued", "preparing") if at(request, 65) else ("running",)
    row = await find(tx, request)
    need(request, api("servers:migrations:delete"), row)
    refuse_locked(request, row)
    refuse_state(row, "abort live migration", None, [Task.MIGRATING])
    await _going(request, tx, row, "abort live migration", states, NotFound)
    changes = {"move": row["move"] | {"abort": True}, "generation": row["generation"] + 1}
    await told(request, tx, row, "live_migration_cancel", changes)
    await work.wake(tx, KIND, row["id"], request_id=request.id)


async def _hurry(request: Request, tx: Tx, body: Any) -> None:
    """The Server stands still until it has arrived: so it does."""
    row = await find(tx, request)
    need(request, api("servers:migrations:force_complete"), row)
    HURRY.check("", body)
    refuse_locked(request, row)
    await _going(request, tx, row, "force complete", ("running",), Invalid)
    refuse_state(row, "force_complete", [VmState.ACTIVE], [Task.MIGRATING])
    changes = {"move": row["move"] | {"force": True}}
    await told(request, tx, row, "live_migration_force_complete", changes)


async def _of(reader: Reader, row: Row, key: str) -> Row | None:
    """A Server's migration by its number, or by its uuid."""
    name: Row = {"number": int(key)} if key.isdecimal() else {"uuid": key}
    found = await MIGRATION.select(reader, name | {"server_id": row["id"]})
    return found[0] if found else None


async def _going(
    request: Request, tx: Tx, row: Row, verb: str, states: tuple[str, ...], missing: type[HaganeError]
) -> None:
    """Raises Invalid, or `missing`, unless the migration is in one of these states."""
    key = request.params["migration"]
    found = await _of(tx, row, key)
    if found is None:
        raise missing(f"Migration {key} not found for instance {row['id']}")
    if found["status"] not in states:
        raise Invalid(f"Migration {key} state of instance {row['id']} is {found['status']}. Cannot {verb} while the "
                      "migration is in this state.")  # fmt: skip


def _view(request: Request, row: Row, *, hosts: bool) -> dict[str, Any]:
    """Hosts do not say in bytes how far they are: the Server's own progress and events do, in percent."""
    source, dest = (row["source"], row["dest"]) if hosts else (None, None)
    view: dict[str, Any] = {
        "id": row["number"], "server_uuid": row["server_id"], "status": row["status"], "source_compute": source,
        "source_node": source, "dest_compute": dest, "dest_node": dest, "dest_host": None,
        "created_at": row["created_at"], "updated_at": row["updated_at"],
    }  # fmt: skip
    for name in ("memory", "disk"):
        view |= {f"{name}_{part}_bytes": None for part in ("total", "processed", "remaining")}
    if at(request, 59):
        view["uuid"] = row["uuid"]
    if at(request, 80):
        view |= {"user_id": row["user_id"], "project_id": row["project_id"]}
    return view
