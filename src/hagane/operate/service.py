"""The operator's own routes, under /hagane/v1: explain, status, findings, backup.

`explain` is also for the owner of a thing; the others are for administrators.
"""

import time
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

from hagane.api import faults
from hagane.api.asgi import NoPolicy
from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route, Service
from hagane.baremetal import rack_document
from hagane.baremetal.rack import RACK
from hagane.cloud import Cloud
from hagane.compute.row import SERVER
from hagane.operate import rack
from hagane.operate.explain import explain, find
from hagane.operate.findings import findings
from hagane.operate.kinds import KINDS
from hagane.operate.rack import need_admin
from hagane.placement.host import all_hosts, is_up
from hagane.state.table import Not
from hagane.state.work import WORK

PREFIX = "/hagane/v1"


def service(cloud: Cloud) -> Service:
    routes = [
        Route("GET", f"{PREFIX}/explain/{{kind}}/{{name}}", _explain, "operate:explain"),
        Route("GET", f"{PREFIX}/status", _status, "operate:status"),
        Route("GET", f"{PREFIX}/findings", _findings, "operate:findings"),
        Route("POST", f"{PREFIX}/backup", _backup, "operate:backup"),
        *rack.routes(PREFIX),
    ]
    return Service("hagane", PREFIX, NoPolicy(), faults.plain, routes=routes)


async def _explain(request: Request) -> Response:
    project = None if request.caller.is_admin else request.caller.project_id or ""
    kind, row = await find(request.cloud.db, request.params["kind"], request.params["name"], project)
    return json_response(200, asdict(await explain(request.cloud.db, kind, row, whole=request.caller.is_admin)))


async def _status(request: Request) -> Response:
    need_admin(request)
    db = request.cloud.db
    placed = await db.fetch_tuples("SELECT host, count(*) FROM server WHERE host IS NOT NULL GROUP BY host")
    servers = {row[0]: row[1] for row in placed}
    hosts = [
        {
            "name": host["name"],
            "state": ("up" if is_up(host) else "down") + (", disabled" if host["disabled"] else ""),
            "servers": servers.get(host["name"], 0),
            "vcpus": str((host["facts"] or {}).get("vcpus", "")),
            "memory": f"{(host['facts'] or {}).get('memory_mb', 0) // 1024} GiB",
        }
        for host in await all_hosts(db)
    ]
    counts = {name: await KINDS[name].table.count(db) for name in ("server", "image", "network", "port", "router")}
    now = time.time()
    waiting = [
        {"kind": row["kind"], "key": row["key"], "reason": row["reason"], "seconds": now - row["since"]}
        for row in await WORK.select(db, {"reason": Not([""])}, order="since", limit=100)
    ]
    errors = await SERVER.count(db, {"vm_state": "error"})
    racks = await rack_document.views(db, await RACK.select(db, order="name"))
    facts = {"hosts": hosts, "racks": racks, "counts": counts | {"in error": errors}, "waiting": waiting}
    return json_response(200, facts)


async def _findings(request: Request) -> Response:
    need_admin(request)
    return json_response(200, {"findings": [asdict(finding) for finding in await findings(request.cloud)]})


async def _backup(request: Request) -> Response:
    """Make a copy beside the database and tell where; the command moves it to its place."""
    need_admin(request)
    folder = Path(request.cloud.config.state) / "backup"
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / f"hagane-{uuid4()}.db"
    try:
        await request.cloud.db.backup(str(file))
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return json_response(200, {"file": str(file)})
