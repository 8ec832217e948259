"""Hosts as older clients of the compute API administrate them (until 2.42): /os-hosts. Services and
hypervisors tell it since.

https://docs.openstack.org/api-ref/compute/#hosts-os-hosts-deprecated
"""

from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.compute.base import V21, api, need
from hagane.compute.host_service import change
from hagane.compute.row import SERVER
from hagane.errors import Invalid, NotFound, Unsupported
from hagane.placement.host import DEFAULT_ZONE, HOST, all_hosts
from hagane.placement.inventory import usages
from hagane.state.database import Row

PATH, LAST = V21 + "/os-hosts", "2.42"
ON = {"enable": True, "disable": False}


class OlderHosts:
    """The handlers."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def index(self, request: Request) -> Response:
        need(request, api("os-hosts:list"), {})
        hosts = [{"host_name": row["name"], "service": "compute", "zone": row["zone"] or DEFAULT_ZONE}
                 for row in await all_hosts(self.db)]  # fmt: skip
        zone = request.args.get("zone")
        return json_response(200, {"hosts": [one for one in hosts if not zone or one["zone"] == zone]})

    async def show(self, request: Request) -> Response:
        """What the Host has, what is used of it, what its Servers may use, and that again by project."""
        need(request, api("os-hosts:show"), {})
        row = await self._find(request)
        held = (await usages(self.db)).get(row["id"], {})
        total = _amounts(row, "(total)", *(_of(held, name, "total") for name in RESOURCES))
        now = _amounts(row, "(used_now)", *(_of(held, name, "used") for name in RESOURCES))
        servers = await SERVER.select(self.db, {"host": row["name"]}, columns=("project_id", "flavor"))
        ordered = [_sum(row, "(used_max)", servers)] + [
            _sum(row, project, [server for server in servers if server["project_id"] == project])
            for project in sorted({server["project_id"] for server in servers})
        ]
        return json_response(200, {"host": [{"resource": one} for one in (total, now, *ordered)]})

    async def update(self, request: Request) -> Response:
        need(request, api("os-hosts:update"), {})
        given = await request.json()
        if not isinstance(given, dict) or not given or set(given) - {"status", "maintenance_mode"}:
            raise Invalid("Invalid update setting: status or maintenance_mode must be given.")
        for name, value in given.items():
            if not isinstance(value, str) or value.lower() not in ON:
                raise Invalid(f"Invalid {name}: '{value}'")
        row = await self._find(request)
        if "maintenance_mode" in given:
            raise Unsupported("Virt driver does not implement host maintenance mode.")
        enabled = ON[given["status"].lower()]
        await self.db.write(lambda tx: change(tx, row, {"disabled": not enabled, "disabled_reason": None}))
        status = "enabled" if enabled else "disabled"
        return json_response(200, {"host": request.params["id"], "status": status})

    async def power(self, request: Request) -> Response:
        """Machines that run libvirt are switched by their own administrators."""
        verb = request.path.rpartition("/")[2]
        need(request, api(f"os-hosts:{'start' if verb == 'startup' else verb}"), {})
        await self._find(request)
        raise Unsupported("Virt driver does not implement host power management.")

    async def _find(self, request: Request) -> Row:
        row = await HOST.get(self.db, name=request.params["id"])
        if row is None:
            raise NotFound(f"Compute host {request.params['id']} could not be found.")
        return row

    def routes(self) -> list[Route]:
        one = PATH + "/{id}"
        verbs = {"startup": "start", "shutdown": "shutdown", "reboot": "reboot"}
        return [
            Route("GET", PATH, self.index, "host:list", rule=api("os-hosts:list"), until=LAST),
            Route("GET", one, self.show, "host:show", rule=api("os-hosts:show"), until=LAST),
            Route("PUT", one, self.update, "host:update", rule=api("os-hosts:update"), until=LAST),
            *(Route("GET", f"{one}/{verb}", self.power, f"host:{verb}", rule=api(f"os-hosts:{rule}"), until=LAST)
              for verb, rule in verbs.items()),
        ]  # fmt: skip


RESOURCES = ("VCPU", "MEMORY_MB", "DISK_GB")


def _of(held: dict[str, Row], name: str, what: str) -> int:
    return int(held[name][what]) if name in held else 0


def _sum(row: Row, project: str, servers: list[Row]) -> dict[str, Any]:
    """What the flavors of these Servers say."""
    flavors = [server["flavor"] for server in servers]
    return _amounts(row, project, sum(flavor["vcpus"] for flavor in flavors), sum(flavor["ram"] for flavor in flavors),
                    sum(flavor["disk"] + flavor.get("ephemeral", 0) for flavor in flavors))  # fmt: skip


def _amounts(row: Row, project: str, cpu: int, memory: int, disk: int) -> dict[str, Any]:
    return {"host": row["name"], "project": project, "cpu": cpu, "memory_mb": memory, "disk_gb": disk}
