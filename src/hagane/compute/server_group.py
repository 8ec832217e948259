"""Server groups: Servers that shall share a Host, or shall not."""

from typing import Any
from uuid import uuid4

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import Enum, ListOf, Obj
from hagane.cloud import Cloud
from hagane.compute import query, quota
from hagane.compute.base import V21, api, at, need
from hagane.compute.kinds import NAME, POSITIVE
from hagane.compute.row import SERVER
from hagane.errors import Invalid, NotFound, QuotaExceeded
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Table

SOFT = ("soft-anti-affinity", "soft-affinity")

GROUP = Table(
    "server_group",
    (
        Column("id", key=True),
        Column("project_id"),
        Column("user_id"),
        Column("name"),
        Column("policy"),  # affinity, anti-affinity, soft-affinity, soft-anti-affinity
        Column("rules", "json"),
        Column("created_at"),
    ),
    ("project_id",),
)


async def join(request: Request, tx: Tx, hints: dict[str, Any], count: int) -> str | None:
    """The group that the hints name, if these Servers may join it. Raises Invalid."""
    hint = hints.get("group")
    group_id = hint[0] if isinstance(hint, list) and hint else hint
    if not group_id:
        return None
    group = await GROUP.get(tx, id=group_id)
    if group is None or not (request.caller.is_admin or group["project_id"] == request.caller.project_id):
        raise Invalid(f"Instance group {group_id} could not be found.")
    limit = await quota.limit_of(tx, request.caller.project_id or "", "server_group_members")
    if 0 <= limit < await SERVER.count(tx, {"group_id": group["id"]}) + count:
        raise QuotaExceeded("Quota exceeded, too many servers in group")
    return str(group["id"])


class ServerGroups:
    """/os-server-groups."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def index(self, request: Request) -> Response:
        need(request, api("os-server-groups:index"))
        everyone = "all_projects" in request.args and request.caller.is_admin
        if everyone:
            need(request, api("os-server-groups:index:all_projects"))
        where = {} if everyone else {"project_id": request.caller.project_id}
        rows = await GROUP.select(self.db, where, order="created_at, id")
        start = query.number(request, "offset", 0)
        rows = rows[start : start + query.limit(request)]
        return json_response(200, {"server_groups": await self._views(request, self.db, rows)})

    async def show(self, request: Request) -> Response:
        row = await self._find(request, self.db)
        need(request, api("os-server-groups:show"), row)
        return json_response(200, {"server_group": (await self._views(request, self.db, [row]))[0]})

    async def create(self, request: Request) -> Response:
        need(request, api("os-server-groups:create"))
        body = _body(request).check("", await request.json())["server_group"]
        policy = body["policy"] if at(request, 64) else body["policies"][0]
        rules = {name: int(value) for name, value in body.get("rules", {}).items()}
        if rules and policy != "anti-affinity":
            raise Invalid("Only anti-affinity policy supports rules.")
        row: Row = {
            "id": str(uuid4()), "project_id": request.caller.project_id, "user_id": request.caller.user_id,
            "name": body["name"], "policy": policy, "rules": rules, "created_at": clock.now(),
        }  # fmt: skip

        async def work(tx: Tx) -> None:
            limit = await quota.limit_of(tx, row["project_id"] or "", "server_groups")
            if 0 <= limit <= await GROUP.count(tx, {"project_id": row["project_id"]}):
                raise QuotaExceeded("Quota exceeded, too many server groups.")
            await GROUP.insert(tx, row)

        await self.db.write(work)
        return json_response(200, {"server_group": (await self._views(request, self.db, [row]))[0]})

    async def delete(self, request: Request) -> Response:
        async def work(tx: Tx) -> None:
            row = await self._find(request, tx)
            need(request, api("os-server-groups:delete"), row)
            await SERVER.update(tx, {"group_id": row["id"]}, {"group_id": None})
            await GROUP.delete(tx, {"id": row["id"]})

        await self.db.write(work)
        return empty(204)

    async def _find(self, request: Request, reader: Reader) -> Row:
        key = request.params["id"]
        row = await GROUP.get(reader, id=key)
        if row is None or not (request.caller.is_admin or row["project_id"] == request.caller.project_id):
            raise NotFound(f"Instance group {key} could not be found.")
        return row

    async def _views(self, request: Request, reader: Reader, rows: list[Row]) -> list[dict[str, Any]]:
        members: dict[str, list[str]] = {row["id"]: [] for row in rows}
        if rows:
            for server in await SERVER.select(reader, {"group_id": list(members)}, order="created_at, id"):
                members[server["group_id"]].append(server["id"])
        return [_view(request, row, members[row["id"]]) for row in rows]

    def routes(self) -> list[Route]:
        path, rule = V21 + "/os-server-groups", "os-server-groups"
        return [
            Route("GET", path, self.index, "server_group:list", rule=api(f"{rule}:index")),
            Route("POST", path, self.create, "server_group:create", rule=api(f"{rule}:create")),
            Route("GET", path + "/{id}", self.show, "server_group:show", rule=api(f"{rule}:show")),
            Route("DELETE", path + "/{id}", self.delete, "server_group:delete", rule=api(f"{rule}:delete"), status=204),
        ]


def _body(request: Request) -> Obj:
    fields: dict[str, Any] = {"name": NAME}
    names: tuple[str, ...] = ("anti-affinity", "affinity")
    if at(request, 15):
        names = (*names, *SOFT)
    if at(request, 64):
        fields |= {"policy": Enum(values=names), "rules": Obj(fields={"max_server_per_host": POSITIVE})}
    else:
        fields["policies"] = ListOf(item=Enum(values=names), min=1, max=1, unique=True)
    required = ("name", "policy" if at(request, 64) else "policies")
    return Obj(fields={"server_group": Obj(fields=fields, required=required)}, required=("server_group",))


def _view(request: Request, row: Row, members: list[str]) -> dict[str, Any]:
    view: dict[str, Any] = {"id": row["id"], "name": row["name"], "members": members}
    if at(request, 64):
        view |= {"policy": row["policy"], "rules": row["rules"]}
    else:
        view |= {"policies": [row["policy"]], "metadata": {}}
    if at(request, 13):
        view |= {"project_id": row["project_id"], "user_id": row["user_id"]}
    return view
