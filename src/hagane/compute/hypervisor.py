"""Hosts as the compute API shows them to administrators: hypervisors."""

from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.api.types import is_uuid
from hagane.cloud import Cloud
from hagane.compute import query
from hagane.compute.base import V21, api, at, need
from hagane.compute.row import SERVER
from hagane.errors import Invalid, NotFound, Unsupported
from hagane.placement.host import is_up
from hagane.placement.outside import Inventories, all_providers
from hagane.state.database import Row
from hagane.state.table import Sql

PATH = V21 + "/os-hypervisors"


class Hypervisors:
    """/os-hypervisors."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.db = cloud, cloud.db

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
        return [host for host in (await self._providers())[0] if host["facts"]]

    async def _providers(self) -> tuple[list[Row], Inventories]:
        """Hosts and bare-metal Nodes, and what they have."""
        return await all_providers(self.cloud, self.db)

    def _matching(self, hosts: list[Row], pattern: str) -> list[Row]:
        found = [host for host in hosts if pattern in host["facts"]["hostname"]]
        if not found:
            raise NotFound(f"No hypervisor matching '{pattern}' could be found.")
        return found

    async def _views(
        self, request: Request, hosts: list[Row], *, detail: bool, with_servers: bool = False
    ) -> list[dict[str, Any]]:
        used = (await self._providers())[1] if detail else {}
        names = [host["name"] for host in hosts]
        servers: dict[str, list[dict[str, str]]] = {name: [] for name in names}
        running: dict[str, int] = {}
        if with_servers and names:
            theirs = Sql("host IN (SELECT name FROM host) OR node_id IS NOT NULL")
            for row in await SERVER.select(self.db, conditions=[theirs], order="created_at, id"):
                if (place := row["node_id"] or row["host"]) in servers:
                    servers[place].append({"name": row["name"], "uuid": row["id"]})
        if detail and not at(request, 88):
            sql = "SELECT COALESCE(node_id, host), count(*) FROM server GROUP BY COALESCE(node_id, host)"
            rows = await self.db.fetch_tuples(sql)
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
                "id": host["service_id"] if at(request, 53) else host["number"],
                "host": host.get("service_host", host["name"]),
                "disabled_reason": host["disabled_reason"],
            },
        }  # fmt: skip
        if at(request, 88):
            return view | {"uptime": facts.get("uptime") if is_up(host) else None}
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
        used = (await self._providers())[1]
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
