"""The service on each Host, as the compute API shows it to administrators: /os-services.

A Host can be disabled, then it gets no new Servers, or said to be down before anybody notices it.
"""

from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import Enum, Obj, Str, is_uuid
from hagane.cloud import Cloud
from hagane.compute import query
from hagane.compute.base import V21, api, at, need
from hagane.compute.kinds import BOOLEAN, FQDN
from hagane.compute.row import SERVER
from hagane.errors import Conflict, Invalid, NotFound
from hagane.placement.host import DEFAULT_ZONE, HOST, all_hosts, is_up
from hagane.placement.inventory import INVENTORY
from hagane.state import clock
from hagane.state.database import Row, Tx

PATH = V21 + "/os-services"
COMPUTE = "nova-compute"


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
            return await change(tx, row, _wanted(body))

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
            return await change(tx, row, _wanted(wanted))

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
            Route("GET", PATH, self.index, "service:list", rule=api(f"{rule}:list")),
            Route("PUT", PATH + "/{id}", self.update, "service:update", rule=api(f"{rule}:update")),
            Route("DELETE", PATH + "/{id}", self.delete, "service:delete", rule=api(f"{rule}:delete"), status=204),
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


async def change(tx: Tx, row: Row, changes: dict[str, Any]) -> Row:
    """What an administrator says of a Host; its row as it is then."""
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
