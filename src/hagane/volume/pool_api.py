"""Services, hosts, pools and zones as an administrator sees them: rows that the reconciler keeps (pool.py).

What is one process here is shown as the three services that clients look for.
"""

from collections.abc import Sequence
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import Obj, Str, Type
from hagane.cloud import Cloud
from hagane.errors import NotFound
from hagane.state import clock
from hagane.state.database import Row, Tx
from hagane.volume import base, pool
from hagane.volume.base import at, body_of, both, invalid, need
from hagane.volume.kinds import yes
from hagane.volume.pool import POOL, SERVICE
from hagane.volume.row import SNAPSHOT, VOLUME
from hagane.volume.type_row import find

_RULE = "volume_extension:services:"
BINARIES = ("cinder-scheduler", "cinder-volume", "cinder-backup")
_TOPIC = {"cinder-scheduler": "cinder-scheduler", "cinder-volume": "cinder-volume", "cinder-backup": "cinder-backup"}
_BODY: dict[str, Type] = {"host": Str(255, nullable=True), "service": Str(255), "binary": Str(255)}
HOLD = Obj(fields={"host": Str(255, min=1)}, required=("host",))
FROZEN = "frozen"  # the reason by which a backend is taken out that is looked after
_REASON = _BODY | {"disabled_reason": Str(255, min=1)}


class Services:
    """/os-services, /os-hosts, /scheduler-stats, /capabilities, /os-availability-zone."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def _rows(self) -> list[Row]:
        """Every service with what is known and what was said of it."""
        pools = await POOL.select(self.db, order="name")
        said = {(row["binary_name"], row["host"]): row for row in await SERVICE.select(self.db)}
        found: list[Row] = []
        for binary in BINARIES:
            places = [(pool.backend(row["name"]), row) for row in pools]
            if binary != "cinder-volume":
                places = [(base.HOST, row) for row in pools[:1]]
            for host, seen in places:
                row = said.get((binary, host)) or {}
                up = pool.is_up(seen) if binary == "cinder-volume" else True
                found.append({"binary": binary, "host": host, "up": up, "seen_at": seen["seen_at"],
                              "disabled": bool(row.get("disabled")), "reason": row.get("reason")})  # fmt: skip
        return found

    async def services(self, request: Request) -> Response:
        need(request, _RULE + "index")
        views = []
        for row in await self._rows():
            if request.args.get("host", row["host"]) not in (row["host"], row["host"].partition("@")[0]):
                continue
            if request.args.get("binary", row["binary"]) == row["binary"]:
                views.append(self._service(request, row))
        return json_response(200, {"services": views})

    def _service(self, request: Request, row: Row) -> dict[str, Any]:
        view = {"binary": row["binary"], "host": row["host"], "zone": base.ZONE, "updated_at": row["seen_at"],
                "status": "disabled" if row["disabled"] else "enabled", "state": "up" if row["up"] else "down",
                "disabled_reason": row["reason"]}  # fmt: skip
        if at(request, 7):
            view["cluster"] = None
        if row["binary"] == "cinder-volume":
            view |= {
                "replication_status": "disabled",
                "active_backend_id": None,
                "frozen": row["disabled"] and row["reason"] == FROZEN,
            }
            if at(request, 49):
                view["backend_state"] = "up" if row["up"] else "down"
        return view

    async def enable(self, request: Request) -> Response:
        return await self._set(request, disabled=False, reasoned=False)

    async def disable(self, request: Request) -> Response:
        return await self._set(request, disabled=True, reasoned=False)

    async def disable_reason(self, request: Request) -> Response:
        return await self._set(request, disabled=True, reasoned=True)

    async def _set(self, request: Request, *, disabled: bool, reasoned: bool) -> Response:
        kind = Obj(fields=_REASON, required=("disabled_reason",)) if reasoned else Obj(fields=_BODY)
        body = await body_of(request, kind)
        need(request, _RULE + "update")
        if not body.get("host"):
            raise invalid("Host field is missing.")
        host, binary = body["host"], body.get("binary") or body.get("service", "")
        if not any(row["host"] == host and row["binary"] == binary for row in await self._rows()):
            raise NotFound(f"Service {binary} could not be found on host {host}.", code="ServiceNotFound")
        reason = body.get("disabled_reason") if reasoned else None
        await self.db.write(lambda tx: _say(tx, binary, host, disabled=disabled, reason=reason))
        answer = {"host": host, "service": body.get("service", ""), "binary": body.get("binary", ""),
                  "status": "disabled" if disabled else "enabled", "disabled": disabled}  # fmt: skip
        return json_response(200, answer | ({"disabled_reason": reason} if reasoned else {}))

    async def freeze(self, request: Request) -> Response:
        """No new volumes there: a backend that is being looked after."""
        return await self._hold(request, "volume:freeze_host", frozen=True)

    async def thaw(self, request: Request) -> Response:
        return await self._hold(request, "volume:thaw_host", frozen=False)

    async def _hold(self, request: Request, rule: str, *, frozen: bool) -> Response:
        body = await body_of(request, HOLD)
        need(request, rule)
        host, binary = body["host"], "cinder-volume"
        if not any(row["host"] == host and row["binary"] == binary for row in await self._rows()):
            raise invalid(f"Service could not be found on host {host}.")
        reason = FROZEN if frozen else None
        await self.db.write(lambda tx: _say(tx, binary, host, disabled=frozen, reason=reason))
        return empty(202)

    # -- hosts -------------------------------------------------------------------------------------------------------

    async def hosts(self, request: Request) -> Response:
        need(request, "volume_extension:hosts")
        rows = [row for row in await self._rows() if not row["disabled"]]
        if request.args.get("zone", base.ZONE) != base.ZONE:
            rows = []
        views = [
            {"host_name": row["host"], "service": _TOPIC[row["binary"]], "zone": base.ZONE,
             "service-status": "available" if row["up"] else "unavailable", "service-state": "enabled",
             "last-update": row["seen_at"]}
            for row in rows
        ]  # fmt: skip
        return json_response(200, {"hosts": views})

    async def host(self, request: Request) -> Response:
        need(request, "volume_extension:hosts")
        name = request.params["id"]
        if not any(row["host"] == name and row["binary"] == "cinder-volume" for row in await self._rows()):
            raise NotFound(f"Host {name} could not be found.", code="HostNotFound")
        counts = "SELECT project_id, count(*), COALESCE(sum(size), 0) FROM {} WHERE {} GROUP BY project_id"
        params = {"host": name + "#%"}
        mine = f"volume_id IN (SELECT id FROM {VOLUME.name} WHERE host LIKE :host)"
        volumes = {row[0]: row[1:] for row in
                   await self.db.fetch_tuples(counts.format(VOLUME.name, "host LIKE :host"), params)}  # fmt: skip
        snapshots = {row[0]: row[1:] for row in
                     await self.db.fetch_tuples(counts.format(SNAPSHOT.name, mine), params)}  # fmt: skip
        projects = sorted({*volumes, *snapshots})
        shown = [_usage(name, project, volumes.get(project, (0, 0)), snapshots.get(project, (0, 0)))
                 for project in projects]  # fmt: skip
        total = [tuple(sum(int(row[i]) for row in rows.values()) for i in (0, 1)) for rows in (volumes, snapshots)]
        return json_response(200, {"host": [_usage(name, "(total)", total[0], total[1]), *shown]})

    # -- pools -------------------------------------------------------------------------------------------------------

    async def pools(self, request: Request) -> Response:
        need(request, "scheduler_extension:scheduler_stats:get_pools")
        rows = await POOL.select(self.db, order="name")
        if at(request, 28) and "name" in request.args:
            rows = [row for row in rows if row["name"] == request.args["name"]]
        if at(request, 35) and "volume_type" in request.args:
            kind = await find(request, self.db, request.args["volume_type"])
            rows = [row for row in rows if pool.fits(kind["extra_specs"] or {}, row)]
        detail = yes(request.args.get("detail"))
        if not detail:
            return json_response(200, {"pools": [{"name": row["name"]} for row in rows]})
        used = await pool.allocated(self.db)
        views = [(row["name"], pool.capabilities(row, used.get(row["name"], 0))) for row in rows]
        return json_response(200, {"pools": [{"name": name, "capabilities": known} for name, known in views]})

    async def capabilities(self, request: Request) -> Response:
        need(request, "volume_extension:capabilities")
        name = request.params["id"]
        rows = await POOL.select(self.db, order="name")
        row = next((row for row in rows if name in (row["name"], pool.backend(row["name"]))), None)
        if row is None:
            raise NotFound(f"Service {name} could not be found.", code="ServiceNotFound")
        return json_response(200, {
            "namespace": f"OS::Storage::Capabilities::{pool.backend(row['name'])}", "vendor_name": "Open Source",
            "volume_backend_name": pool.backend(row["name"]).partition("@")[2], "pool_name": row["name"],
            "driver_version": "1.0", "storage_protocol": row["driver"], "display_name": "", "description": "",
            "visibility": "public", "replication_targets": [], "properties": {},
        })  # fmt: skip

    async def zones(self, request: Request) -> Response:
        up = any(row["up"] and not row["disabled"] for row in await self._rows())
        zone = {"zoneName": base.ZONE, "zoneState": {"available": up}}
        return json_response(200, {"availabilityZoneInfo": [zone]})

    def routes(self) -> Sequence[Route]:
        path, rule = "/os-services", {"rule": _RULE + "update"}
        return [
            *both("GET", path, self.services, "volume_service:list", rule=_RULE + "index"),
            *both("PUT", path + "/enable", self.enable, "volume_service:enable", **rule, body=Obj(fields=_BODY)),
            *both("PUT", path + "/disable", self.disable, "volume_service:disable", **rule, body=Obj(fields=_BODY)),
            *both("PUT", path + "/disable-log-reason", self.disable_reason, "volume_service:disable_reason", **rule,
                  body=Obj(fields=_REASON)),
            *both("PUT", path + "/freeze", self.freeze, "volume_service:freeze", rule="volume:freeze_host", body=HOLD,
                  status=202),
            *both("PUT", path + "/thaw", self.thaw, "volume_service:thaw", rule="volume:thaw_host", body=HOLD,
                  status=202),
            *both("GET", "/os-hosts", self.hosts, "volume_host:list", rule="volume_extension:hosts"),
            *both("GET", "/os-hosts/{id}", self.host, "volume_host:show", rule="volume_extension:hosts"),
            *both("GET", "/scheduler-stats/get_pools", self.pools, "volume_pool:list",
                  rule="scheduler_extension:scheduler_stats:get_pools"),
            *both("GET", "/capabilities/{id}", self.capabilities, "volume_capability:show",
                  rule="volume_extension:capabilities"),
            *both("GET", "/os-availability-zone", self.zones, "volume_zone:list"),
        ]  # fmt: skip


async def _say(tx: Tx, binary: str, host: str, *, disabled: bool, reason: str | None) -> None:
    key = {"binary_name": binary, "host": host}
    changes: Row = {"disabled": disabled, "reason": reason, "updated_at": clock.now()}
    if not await SERVICE.update(tx, key, changes):
        await SERVICE.insert(tx, key | changes)


def _usage(host: str, project: str, volumes: Any, snapshots: Any) -> dict[str, Any]:
    return {"resource": {
        "host": host, "project": project, "volume_count": str(volumes[0]), "total_volume_gb": str(volumes[1]),
        "snapshot_count": str(snapshots[0]), "total_snapshot_gb": str(snapshots[1]),
    }}  # fmt: skip
