"""Hosts as the compute API shows them to administrators: hypervisors, and the services that run on them."""

from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import Enum, Obj, Str, is_uuid
from hagane.cloud import Cloud
from hagane.compute import query
from hagane.compute.base import V21, api, at, need
from hagane.compute.kinds import BOOLEAN, FQDN
from hagane.compute.row import SERVER
from hagane.errors import Conflict, Invalid, NotFound, Unsupported
from hagane.placement.host import DEFAULT_ZONE, HOST, all_hosts, is_up
from hagane.placement.inventory import INVENTORY, usages
from hagane.state import clock
from hagane.state.database import Row, Tx

PATH, SERVICES = V21 + "/os-hypervisors", V21 + "/os-services"
COMPUTE = "nova-compute"


class Hypervisors:
    """/os-hypervisors."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def index(self, request: Request) -> Response:
        need(request, api("os-hypervisors:list"), {})
        return await self._list(request, detail=False)

    async def detail(self, request: Request) -> Response:
        need(request, api("os-hypervisors:list-detail"), {})
        return await self._list(request, detail=True)

    async def _list(self, request: Request, *, detail: bool) -> Response:
        pattern, with_servers = None, False
        if at(request, 53):
            pattern = request.args.get("hypervisor_hostname_pattern")
            with_servers = query.flag(request, "with_servers")
        hosts, more = await self._page(request, pattern)
        views = await self._views(request, hosts, detail=detail, with_servers=with_servers)
        answer: dict[str, Any] = {"hypervisors": views}
        if more:
            answer["hypervisors_links"] = [{"rel": "next", "href": request.page_url(marker=views[-1]["id"])}]
        return json_response(200, answer)

    async def _page(self, request: Request, pattern: str | None) -> tuple[list[Row], bool]:
        hosts = await self._hosts()
        if pattern is not None:
            if "limit" in request.args or "marker" in request.args:
                raise Invalid("Paging over hypervisors with the hypervisor_hostname_pattern query parameter is not "
                              "supported.")  # fmt: skip
            return self._matching(hosts, pattern), False
        if not at(request, 33):
            return hosts, False
        limit, marker = query.limit(request), request.args.get("marker")
        if marker is not None:
            ids = [str(_id(request, host)) for host in hosts]
            if marker not in ids:
                raise Invalid(f"marker [{marker}] not found")
            hosts = hosts[ids.index(marker) + 1 :]
        return hosts[:limit], len(hosts) > limit

    async def _hosts(self) -> list[Row]:
        """Those that have ever answered."""
        return [host for host in await all_hosts(self.db) if host["facts"]]

    def _matching(self, hosts: list[Row], pattern: str) -> list[Row]:
        found = [host for host in hosts if pattern in host["facts"]["hostname"]]
        if not found:
            raise NotFound(f"No hypervisor matching '{pattern}' could be found.")
        return found

    async def _views(
        self, request: Request, hosts: list[Row], *, detail: bool, with_servers: bool = False
    ) -> list[dict[str, Any]]:
        used = await usages(self.db) if detail else {}
        names = [host["name"] for host in hosts]
        servers: dict[str, list[dict[str, str]]] = {name: [] for name in names}
        running: dict[str, int] = {}
        if with_servers and names:
            for row in await SERVER.select(self.db, {"host": names}, order="created_at, id"):
                servers[row["host"]].append({"name": row["name"], "uuid": row["id"]})
        if detail and not at(request, 88):
            rows = await self.db.fetch_tuples("SELECT host, count(*) FROM server GROUP BY host")
            running = {row[0]: row[1] for row in rows if row[0]}
        views = []
        for host in hosts:
            view = self._view(request, host)
            if detail:
                view |= self._detail(request, host, used.get(host["id"], {}), running.get(host["name"], 0))
            if with_servers and (servers[host["name"]] or at(request, 75)):
                view["servers"] = servers[host["name"]]
            views.append(view)
        return views

    def _view(self, request: Request, host: Row) -> dict[str, Any]:
        return {
            "id": _id(request, host), "hypervisor_hostname": host["facts"]["hostname"],
            "state": "up" if is_up(host) else "down", "status": "disabled" if host["disabled"] else "enabled",
        }  # fmt: skip

    def _detail(self, request: Request, host: Row, used: dict[str, Row], running: int) -> dict[str, Any]:
        facts = host["facts"]
        view: dict[str, Any] = {
            "hypervisor_type": facts["kind"], "hypervisor_version": facts["version"],
            "host_ip": facts.get("host_ip", "127.0.0.1"),
            "service": {
                "id": host["service_id"] if at(request, 53) else host["number"], "host": host["name"],
                "disabled_reason": host["disabled_reason"],
            },
        }  # fmt: skip
        if at(request, 88):
            return view | {"uptime": facts.get("uptime")}
        view |= _amounts(used)
        cpu = facts["cpu"] or {}
        return view | {
            "current_workload": 0, "running_vms": running, "disk_available_least": None,
            "cpu_info": cpu if at(request, 28) else _text(cpu),
        }  # fmt: skip

    async def show(self, request: Request) -> Response:
        need(request, api("os-hypervisors:show"), {})
        host = await self._find(request)
        with_servers = at(request, 53) and query.flag(request, "with_servers")
        views = await self._views(request, [host], detail=True, with_servers=with_servers)
        return json_response(200, {"hypervisor": views[0]})

    async def _find(self, request: Request) -> Row:
        key = request.params["id"]
        if at(request, 53) and not is_uuid(key):
            raise Invalid(f"Invalid uuid {key}")
        for host in await self._hosts():
            if str(_id(request, host)) == key:
                return host
        raise NotFound(f"Hypervisor with ID '{key}' could not be found.")

    async def statistics(self, request: Request) -> Response:
        need(request, api("os-hypervisors:statistics"), {})
        used = await usages(self.db)
        hosts = [host for host in await self._hosts() if not host["disabled"]]
        sums: dict[str, int] = {"count": len(hosts)}
        for host in hosts:
            for name, amount in _amounts(used.get(host["id"], {})).items():
                sums[name] = sums.get(name, 0) + amount
        counted = await self.db.fetch_tuples("SELECT count(*) FROM server WHERE host IS NOT NULL")
        zero = dict.fromkeys(_amounts({}), 0)
        more = {"current_workload": 0, "running_vms": counted[0][0], "disk_available_least": 0}
        return json_response(200, {"hypervisor_statistics": zero | sums | more})

    async def uptime(self, request: Request) -> Response:
        need(request, api("os-hypervisors:uptime"), {})
        host = await self._find(request)
        if not is_up(host):
            raise Invalid(f"Compute service of {host['name']} is unavailable at this time.")
        uptime = host["facts"].get("uptime")
        if uptime is None:
            raise Unsupported("Virt driver does not implement uptime function.")
        return json_response(200, {"hypervisor": self._view(request, host) | {"uptime": uptime}})

    async def search(self, request: Request) -> Response:
        need(request, api("os-hypervisors:search"), {})
        found = self._matching(await self._hosts(), request.params["id"])
        return json_response(200, {"hypervisors": [self._view(request, host) for host in found]})

    async def servers(self, request: Request) -> Response:
        need(request, api("os-hypervisors:servers"), {})
        found = self._matching(await self._hosts(), request.params["id"])
        views = await self._views(request, found, detail=False, with_servers=True)
        return json_response(200, {"hypervisors": views})

    def routes(self) -> list[Route]:
        one, rule = PATH + "/{id}", "os-hypervisors"
        return [
            Route("GET", PATH, self.index, "hypervisor:list", rule=api(f"{rule}:list")),
            Route("GET", PATH + "/detail", self.detail, "hypervisor:detail", rule=api(f"{rule}:list-detail")),
            Route("GET", PATH + "/statistics", self.statistics, "hypervisor:statistics",
                  rule=api(f"{rule}:statistics"), until="2.87"),
            Route("GET", one, self.show, "hypervisor:show", rule=api(f"{rule}:show")),
            Route("GET", one + "/uptime", self.uptime, "hypervisor:uptime", rule=api(f"{rule}:uptime"), until="2.87"),
            Route("GET", one + "/search", self.search, "hypervisor:search", rule=api(f"{rule}:search"), until="2.52"),
            Route("GET", one + "/servers", self.servers, "hypervisor:servers", rule=api(f"{rule}:servers"),
                  until="2.52"),
        ]  # fmt: skip


def _id(request: Request, host: Row) -> Any:
    return host["id"] if at(request, 53) else host["number"]


def _amounts(used: dict[str, Row]) -> dict[str, int]:
    """What a Host has and how much of it is claimed, under the older names."""

    def both(name: str) -> tuple[int, int]:
        row = used.get(name)
        return (row["total"], row["used"]) if row else (0, 0)

    (vcpus, vcpus_used), (memory, memory_used), (disk, disk_used) = both("VCPU"), both("MEMORY_MB"), both("DISK_GB")
    return {
        "vcpus": vcpus, "vcpus_used": vcpus_used, "memory_mb": memory, "memory_mb_used": memory_used,
        "local_gb": disk, "local_gb_used": disk_used, "free_ram_mb": memory - memory_used,
        "free_disk_gb": disk - disk_used,
    }  # fmt: skip


def _text(cpu: dict[str, Any]) -> str:
    import json

    return json.dumps(cpu) if cpu else ""


class HostServices:
    """/os-services: one nova-compute per Host, which can be disabled (no new Servers) or said to be down."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def index(self, request: Request) -> Response:
        need(request, api("os-services:list"), {})
        hosts, binaries = request.args.get("host"), request.args.get("binary")
        rows = [row for row in await all_hosts(self.db) if not hosts or row["name"] == hosts]
        if binaries and binaries != COMPUTE:
            rows = []
        return json_response(200, {"services": [_service(request, row) for row in rows]})

    async def update(self, request: Request) -> Response:
        need(request, api("os-services:update"), {})
        body = await request.json()
        if at(request, 53):
            return await self._update_by_id(request, body)
        return await self._update_by_verb(request, body)

    async def _update_by_id(self, request: Request, body: Any) -> Response:
        key = request.params["id"]
        if not is_uuid(key):
            raise Invalid(f"Invalid uuid {key}")
        body = _BODY_253.check("", body)
        if "disabled_reason" in body and body.get("status") != "disabled":
            raise Invalid("Specifying disabled_reason requires that status is disabled.")
        if not body:
            raise Invalid("No updates were requested. Fields 'status' or 'forced_down' should be specified.")

        async def write(tx: Tx) -> Row:
            row = await HOST.get(tx, service_id=key)
            if row is None:
                raise NotFound(f"Service {key} could not be found.")
            return await _change(tx, row, _wanted(body))

        return json_response(200, {"service": _service(request, await self.db.write(write))})

    async def _update_by_verb(self, request: Request, body: Any) -> Response:
        verb = request.params["id"]
        kind = _BODIES.get(verb)
        if kind is None or (verb == "force-down" and not at(request, 11)):
            raise NotFound("Unknown action")
        body = kind.check("", body)
        if body["binary"] != COMPUTE:
            raise Invalid(f"Updating a {body['binary']} service is not supported. Only nova-compute services can be "
                          "updated.")  # fmt: skip
        reason = body.get("disabled_reason")
        wanted: dict[str, Any] = {"forced_down": body.get("forced_down")} if verb == "force-down" else {
            "status": "enabled" if verb == "enable" else "disabled", "disabled_reason": reason}  # fmt: skip

        async def write(tx: Tx) -> Row:
            row = await HOST.get(tx, name=body["host"])
            if row is None:
                raise NotFound(f"Could not find binary {body['binary']} on host {body['host']}.")
            return await _change(tx, row, _wanted(wanted))

        row = await self.db.write(write)
        answer = {"host": row["name"], "binary": COMPUTE}
        if verb == "force-down":
            return json_response(200, {"service": answer | {"forced_down": bool(row["forced_down"])}})
        answer["status"] = wanted["status"]
        return json_response(200, {"service": answer | ({"disabled_reason": reason} if reason else {})})

    async def delete(self, request: Request) -> Response:
        need(request, api("os-services:delete"), {})
        key = request.params["id"]
        if at(request, 53) and not is_uuid(key):
            raise Invalid(f"Invalid uuid {key}")
        if not at(request, 53) and query.whole(key) is None:
            raise Invalid(f"Invalid input received: id must be an integer: {key}")

        async def write(tx: Tx) -> None:
            where = {"service_id": key} if at(request, 53) else {"number": query.whole(key)}
            row = await HOST.get(tx, **where)
            if row is None:
                raise NotFound(f"Service {key} not found.")
            if await SERVER.count(tx, {"host": row["name"]}):
                raise Conflict("Unable to delete compute service that is hosting instances. Migrate or delete the "
                               "instances first.")  # fmt: skip
            if row["state"] == "up":
                raise Conflict(f"Host {row['name']} is up: take it out of the configuration first.")
            await INVENTORY.delete(tx, {"provider_id": row["id"]})
            await HOST.delete(tx, {"id": row["id"]})

        await self.db.write(write)
        return empty(204)

    def routes(self) -> list[Route]:
        rule = "os-services"
        return [
            Route("GET", SERVICES, self.index, "service:list", rule=api(f"{rule}:list")),
            Route("PUT", SERVICES + "/{id}", self.update, "service:update", rule=api(f"{rule}:update")),
            Route("DELETE", SERVICES + "/{id}", self.delete, "service:delete", rule=api(f"{rule}:delete"), status=204),
        ]


_HOST_BINARY = {"host": FQDN, "binary": Str(255, min=1)}
_BODIES = {
    "enable": Obj(fields=_HOST_BINARY, required=("host", "binary")),
    "disable": Obj(fields=_HOST_BINARY, required=("host", "binary")),
    "disable-log-reason": Obj(fields=_HOST_BINARY | {"disabled_reason": Str(255, min=1)},
                              required=("host", "binary", "disabled_reason")),
    "force-down": Obj(fields=_HOST_BINARY | {"forced_down": BOOLEAN}, required=("host", "binary", "forced_down")),
}  # fmt: skip
_BODY_253 = Obj(
    fields={
        "status": Enum(values=("enabled", "disabled")),
        "disabled_reason": Str(255, min=1),
        "forced_down": BOOLEAN,
    }
)


def _wanted(body: dict[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if "status" in body:
        changes["disabled"] = body["status"] == "disabled"
        changes["disabled_reason"] = body.get("disabled_reason")
    if "forced_down" in body:
        changes["forced_down"] = bool(body["forced_down"])
    return changes


async def _change(tx: Tx, row: Row, changes: dict[str, Any]) -> Row:
    changes["updated_at"] = clock.now()
    await HOST.update(tx, {"id": row["id"]}, changes)
    return row | changes


def _service(request: Request, row: Row) -> dict[str, Any]:
    view = {
        "id": row["service_id"] if at(request, 53) else row["number"], "binary": COMPUTE, "host": row["name"],
        "zone": row["zone"] or DEFAULT_ZONE, "status": "disabled" if row["disabled"] else "enabled",
        "state": "up" if is_up(row) else "down", "updated_at": row["seen_at"] or row["created_at"],
        "disabled_reason": row["disabled_reason"],
    }  # fmt: skip
    return view | ({"forced_down": bool(row["forced_down"])} if at(request, 11) else {})
