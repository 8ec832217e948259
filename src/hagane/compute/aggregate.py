"""Host aggregates: an administrator's named sets of Hosts. One with an availability zone puts its Hosts into it."""

from typing import Any
from uuid import uuid4

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import MapOf, Obj, Str, Type
from hagane.cloud import Cloud
from hagane.compute import query
from hagane.compute.base import V21, api, at, need
from hagane.compute.kinds import FQDN, NAME, Name
from hagane.compute.row import SERVER
from hagane.errors import Conflict, HaganeError, Invalid, NotFound
from hagane.placement.host import DEFAULT_ZONE, HOST
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Table

AGGREGATE = Table(
    "aggregate",
    (
        Column("number", "int", key=True),
        Column("id"),
        Column("name"),
        Column("zone"),
        Column("hosts", "json"),
        Column("metadata", "json"),
        Column("created_at"),
        Column("updated_at"),
    ),
    ("unique name",),
)
PATH = V21 + "/os-aggregates"
ZONE = Name(255, pattern=r"^[^:]*\Z", nullable=True)
NEW = Obj(fields={"aggregate": Obj(fields={"name": NAME, "availability_zone": ZONE}, required=("name",))},
          required=("aggregate",))  # fmt: skip
CHANGED = Obj(fields={"aggregate": Obj(fields={"name": NAME, "availability_zone": ZONE})}, required=("aggregate",))
META = MapOf(value=Str(255, nullable=True), key=Str(255, min=1, pattern=r"^[a-zA-Z0-9-_:. ]{1,255}\Z"))
VERBS: dict[str, Type] = {
    "add_host": Obj(fields={"host": FQDN}, required=("host",)),
    "remove_host": Obj(fields={"host": FQDN}, required=("host",)),
    "set_metadata": Obj(fields={"metadata": META}, required=("metadata",)),
}


class Aggregates:
    """/os-aggregates."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def index(self, request: Request) -> Response:
        need(request, api("os-aggregates:index"), {})
        rows = await AGGREGATE.select(self.db, order="number")
        return json_response(200, {"aggregates": [_view(request, row) for row in rows]})

    async def show(self, request: Request) -> Response:
        need(request, api("os-aggregates:show"), {})
        return json_response(200, {"aggregate": _view(request, await _find(request, self.db))})

    async def create(self, request: Request) -> Response:
        need(request, api("os-aggregates:create"), {})
        body = NEW.check("", await request.json())["aggregate"]
        zone = body.get("availability_zone")

        async def work(tx: Tx) -> Row:
            await _refuse_name(tx, body["name"])
            last = (await tx.fetch_tuples("SELECT max(number) FROM aggregate"))[0][0] or 0
            row: Row = {
                "number": last + 1, "id": str(uuid4()), "name": body["name"], "zone": zone, "hosts": [],
                "metadata": {"availability_zone": zone} if zone else {}, "created_at": clock.now(), "updated_at": None,
            }  # fmt: skip
            await AGGREGATE.insert(tx, row)
            return row

        view = _view(request, await self.db.write(work))
        return json_response(
            200, {"aggregate": {name: view[name] for name in view if name not in ("hosts", "metadata")}}
        )

    async def update(self, request: Request) -> Response:
        need(request, api("os-aggregates:update"), {})
        body = CHANGED.check("", await request.json())["aggregate"]
        if not body:
            raise Invalid("Invalid input for field/attribute aggregate. Value: {}. {} is not valid under any of the "
                          "given schemas")  # fmt: skip

        async def work(tx: Tx) -> Row:
            row = await _find(request, tx)
            changes: dict[str, Any] = {}
            if "name" in body and body["name"] != row["name"]:
                await _refuse_name(tx, body["name"])
                changes["name"] = body["name"]
            if "availability_zone" in body:
                changes |= _zoned(row, body["availability_zone"])
            return await _store(tx, row, changes)

        return json_response(200, {"aggregate": _view(request, await self.db.write(work))})

    async def delete(self, request: Request) -> Response:
        need(request, api("os-aggregates:delete"), {})

        async def work(tx: Tx) -> None:
            row = await _find(request, tx)
            if row["hosts"]:
                raise Invalid(f"Cannot delete aggregate {row['number']}. Reason: Host aggregate is not empty.")
            await AGGREGATE.delete(tx, {"number": row["number"]})

        await self.db.write(work)
        return empty(200)

    async def action(self, request: Request) -> Response:
        body = await request.json()
        if not isinstance(body, dict) or len(body) != 1:
            raise Invalid("Malformed request body")
        verb, value = next(iter(body.items()))
        if verb not in VERBS:
            raise Invalid(f"There is no such action: {verb}")
        need(request, api(f"os-aggregates:{verb}"), {})
        value = VERBS[verb].check(verb, value)

        async def work(tx: Tx) -> Row:
            row = await _find(request, tx)
            changes = _metadata(row, value["metadata"]) if verb == "set_metadata" else (
                await _hosts(tx, row, value["host"], add=verb == "add_host"))  # fmt: skip
            return await _store(tx, row, changes)

        return json_response(200, {"aggregate": _view(request, await self.db.write(work))})

    def routes(self) -> list[Route]:
        one, rule = PATH + "/{id}", "os-aggregates"
        return [
            Route("GET", PATH, self.index, "aggregate:list", rule=api(f"{rule}:index")),
            Route("POST", PATH, self.create, "aggregate:create", rule=api(f"{rule}:create"), body=NEW),
            Route("GET", one, self.show, "aggregate:show", rule=api(f"{rule}:show")),
            Route("PUT", one, self.update, "aggregate:update", rule=api(f"{rule}:update"), body=CHANGED),
            Route("DELETE", one, self.delete, "aggregate:delete", rule=api(f"{rule}:delete")),
            Route("POST", one + "/action", self.action, "aggregate:action", rule=api(f"{rule}:add_host")),
        ]


async def _find(request: Request, reader: Reader) -> Row:
    key = request.params["id"]
    number = query.whole(key.removeprefix("-"))
    if number is None:
        raise Invalid(f"Invalid input received: id must be an integer: {key}")
    row = await AGGREGATE.get(reader, number=-number if key.startswith("-") else number)
    if row is None:
        raise NotFound(f"Aggregate {key} could not be found.")
    return row


async def _refuse_name(tx: Tx, name: str) -> None:
    if await AGGREGATE.get(tx, name=name):
        raise Conflict(f"Aggregate {name} already exists.")


def _zoned(row: Row, zone: str | None) -> dict[str, Any]:
    metadata = {name: value for name, value in row["metadata"].items() if name != "availability_zone"}
    return {"zone": zone, "metadata": metadata | ({"availability_zone": zone} if zone else {})}


def _metadata(row: Row, given: dict[str, str | None]) -> dict[str, Any]:
    """Keys with null go; `availability_zone` is the zone."""
    merged = {name: value for name, value in (row["metadata"] | given).items() if value is not None}
    return {"metadata": merged, "zone": merged.get("availability_zone")}


async def _hosts(tx: Tx, row: Row, host: str, *, add: bool) -> dict[str, Any]:
    if await HOST.get(tx, name=host) is None:
        raise NotFound(f"Compute host {host} could not be found.")
    if add and host in row["hosts"]:
        raise Conflict(f"Aggregate {row['number']} already has host {host}.")
    if not add and host not in row["hosts"]:
        raise NotFound(f"Cannot remove host {host} in aggregate {row['number']}: not found")
    return {"hosts": sorted([*row["hosts"], host]) if add else [one for one in row["hosts"] if one != host]}


async def _store(tx: Tx, row: Row, changes: dict[str, Any]) -> Row:
    """Store an aggregate and give its Hosts, old and new, the zone that follows from all aggregates."""
    changed = row | changes | {"updated_at": clock.now()}
    await AGGREGATE.update(tx, {"number": row["number"]}, changes | {"updated_at": changed["updated_at"]})
    touched = set(row["hosts"]) | set(changed["hosts"])
    if touched and (changed["zone"] != row["zone"] or changed["hosts"] != row["hosts"]):
        everything = await AGGREGATE.select(tx)
        for name in sorted(touched):
            await _rezone(tx, name, {one["zone"] for one in everything if name in one["hosts"] and one["zone"]})
    return changed


async def _rezone(tx: Tx, name: str, zones: set[str]) -> None:
    if len(zones) > 1:
        raise HaganeError(f"Host {name} would be in several availability zones: {', '.join(sorted(zones))}", status=409)
    host, zone = await HOST.get(tx, name=name), next(iter(zones), DEFAULT_ZONE)
    if host is None or (host["zone"] or DEFAULT_ZONE) == zone:
        return
    if await SERVER.count(tx, {"host": name}):
        raise HaganeError(f"The availability zone of host {name} cannot change while it has servers.", status=409)
    await HOST.update(tx, {"id": host["id"]}, {"zone": zone})


def _view(request: Request, row: Row) -> dict[str, Any]:
    view = {
        "id": row["number"], "name": row["name"], "availability_zone": row["zone"], "hosts": row["hosts"],
        "metadata": row["metadata"], "created_at": row["created_at"], "updated_at": row["updated_at"],
        "deleted": False, "deleted_at": None,
    }  # fmt: skip
    return view | ({"uuid": row["id"]} if at(request, 41) else {})
