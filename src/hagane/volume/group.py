"""/groups (3.13): volumes that belong together, all on one backend.

The types of its volumes choose a group's backend when it is made; from then on its volumes are made there, and others
may join if they are there. Joining and leaving changes rows alone and is done at once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import BadValue, Custom, ListOf, Str, Type
from hagane.cloud import Cloud
from hagane.errors import Invalid
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.volume import base, group_end, pool, query, type_row
from hagane.volume.base import at, bad_volume, body_of, both, invalid, need, sees, target
from hagane.volume.group_row import GROUP, bad_group, find, find_type, make, types_of
from hagane.volume.group_source import SOURCE, from_source
from hagane.volume.kinds import BARE, WORD, yes
from hagane.volume.row import VOLUME
from hagane.volume.verb import Answer, Verb, act

SINCE = "3.13"
_TYPES = ListOf(item=Str(255), min=1, max=1000, unique=True)


def _group_type(field: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BadValue(field, value, f"{value!r} is not of type 'string'")
    text = value.strip()
    if not 0 < len(text) < 256:
        raise BadValue(field, value, f"{value!r} is not a 'group_type'")
    return str(Str(255).check(field, text))


def _types(field: str, value: Any) -> list[str]:
    if value == []:
        raise BadValue(field, value, "[] should be non-empty")
    return list(_TYPES.check(field, value))


_CREATE: dict[str, Type] = {
    "name": BARE, "description": BARE, "group_type": Custom(rule=_group_type, json_schema={"type": "string"}),
    "volume_types": Custom(rule=_types, json_schema=_TYPES.schema()), "availability_zone": WORD,
}  # fmt: skip
_CHANGE: dict[str, Type] = dict.fromkeys(("name", "description", "add_volumes", "remove_volumes"), BARE)
_SAME = {name: name for name in ("id", "name", "status", "availability_zone", "created_at", "updated_at",
                                 "project_id", "user_id")}  # fmt: skip
FILTERS = query.Filters(
    "group", GROUP,
    columns=_SAME | {"description": "description", "group_type": "type_id", "group_type_id": "type_id",
                     "group_snapshot_id": "group_snapshot_id", "source_group_id": "source_group_id", "host": "host"},
    usual=("name",), like=("name",), ignored=("list_volume",), sorts=_SAME, noun="Group",
)  # fmt: skip
_MAY_LEAVE, _MAY_JOIN = ("available", "in-use", "error", "error_deleting"), ("available", "in-use")


def summary(row: Row) -> dict[str, Any]:
    return {"id": row["id"], "name": row["name"]}


async def details(request: Request, reader: Reader, rows: list[Row]) -> list[dict[str, Any]]:
    """Types and volumes are one query each for a whole page."""
    types = await types_of(reader, [row["id"] for row in rows])
    volumes: dict[str, list[str]] | None = None
    if at(request, 25) and yes(request.args.get("list_volume"), "list_volume"):
        volumes = await _volumes_of(reader, list(types))
    found = []
    for row in rows:
        view = {name: row[name] for name in ("id", "status", "availability_zone", "created_at", "name", "description")}
        view |= {"group_type": row["type_id"], "volume_types": types[row["id"]]}
        if at(request, 14):
            view |= {name: row[name] for name in ("group_snapshot_id", "source_group_id")}
        if volumes is not None:
            view["volumes"] = volumes[row["id"]]
        if at(request, 38):
            view["replication_status"] = "disabled"
        if at(request, 58) and request.allowed("group:group_project_attribute", target(row)):
            view["project_id"] = row["project_id"]
        found.append(view)
    return found


async def _volumes_of(reader: Reader, groups: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {key: [] for key in groups}
    rows = await VOLUME.select(reader, {"group_id": groups}, columns=("id", "group_id"), order="created_at, id")
    for row in rows:
        found[row["group_id"]].append(row["id"])
    return found


class Groups:
    """/groups."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.db = cloud, cloud.db

    async def index(self, request: Request) -> Response:
        return await self._list(request, detail=False)

    async def detail(self, request: Request) -> Response:
        return await self._list(request, detail=True)

    async def _list(self, request: Request, *, detail: bool) -> Response:
        need(request, "group:get_all")
        found = await query.listed(request, self.db, FILTERS)
        if detail:
            views = await details(request, self.db, found.rows)
        else:
            views = [summary(row) for row in found.rows]
        return query.answer(request, found, "groups", views, links="group_links")

    async def show(self, request: Request) -> Response:
        row = await find(request, self.db, request.params["id"])
        return json_response(200, {"group": (await details(request, self.db, [row]))[0]})

    async def create(self, request: Request) -> Response:
        body = (await body_of(request, base.wrapped("group", _CREATE, ("group_type", "volume_types"))))["group"]
        need(request, "group:create")
        zone = body.get("availability_zone") or base.ZONE
        if zone != base.ZONE:
            raise invalid(f"Availability zone '{zone}' is invalid.")

        async def work(tx: Tx) -> Row:
            kind = await find_type(request, tx, body["group_type"], by_name=True)
            found = [await type_row.find(request, tx, key) for key in body["volume_types"]]
            types = list({row["id"]: row for row in found}.values())
            host, why = await pool.choose_for_all(tx, types)
            if host is None:
                raise bad_group(f"No valid host to create the group: {why}.")
            words = {"status": "available", "type_id": kind["id"], "availability_zone": zone, "host": host}
            return await make(request, tx, body, [one["id"] for one in types], **words)

        return json_response(202, {"group": summary(await self.db.write(work))})

    async def copy(self, request: Request) -> Response:
        """POST /groups/action: from a group snapshot or another group."""
        return await act(request, {"create-from-src": Verb(SOURCE, self._copy)})

    async def _copy(self, request: Request, body: dict[str, Any]) -> Answer:
        need(request, "group:create")
        row = await self.db.write(lambda tx: from_source(request, self.cloud, tx, body))
        return {"group": summary(row)}

    async def update(self, request: Request) -> Response:
        body = (await body_of(request, base.wrapped("group", _CHANGE)))["group"]
        if not body:
            raise Invalid(base.wording("group", body, "{} is not valid under any of the given schemas"), code="Empty")

        async def work(tx: Tx) -> None:
            row = await find(request, tx, request.params["id"])
            need(request, "group:update", target(row))
            adding, leaving = _ids(body.get("add_volumes")), _ids(body.get("remove_volumes"))
            if twice := [key for key in adding if key in leaving]:
                raise bad_volume(f"UUIDs {twice} are in both add and remove volume list.")
            members = {one["id"]: one for one in await VOLUME.select(tx, {"group_id": row["id"]})}
            joining = [key for key in adding if key not in members]
            await _may_join(request, tx, row, joining)
            _may_leave(row, members, leaving)
            changes = {name: body[name] for name in ("name", "description")
                       if body.get(name) is not None and body[name] != row[name]}  # fmt: skip
            if not (changes or joining or leaving):
                raise bad_group(f"Cannot update group {row['id']} because no valid name, description, add_volumes, or"
                                " remove_volumes were provided.")  # fmt: skip
            if (joining or leaving) and row["status"] != "available":
                raise bad_group("Group status must be available.")
            await GROUP.update(tx, {"id": row["id"]}, changes | {"updated_at": clock.now()})
            for ids, group in ((joining, row["id"]), (leaving, None)):
                if ids:
                    await VOLUME.update(tx, {"id": ids}, {"group_id": group, "updated_at": clock.now()})

        await self.db.write(work)
        return empty(202)

    async def action(self, request: Request) -> Response:
        return await group_end.act_on_group(request, self.db)

    def routes(self) -> Sequence[Route]:
        one, since = "/groups/{id}", {"since": SINCE}
        return [
            *both("GET", "/groups", self.index, "volume_group:list", rule="group:get_all", **since),
            *both("GET", "/groups/detail", self.detail, "volume_group:detail", rule="group:get_all", **since),
            *both("POST", "/groups", self.create, "volume_group:create", rule="group:create", status=202, **since,
                  body=base.wrapped("group", _CREATE, ("group_type", "volume_types"))),
            *both("POST", "/groups/action", self.copy, "volume_group:copy", rule="group:create", status=202,
                  since="3.14"),
            *both("GET", one, self.show, "volume_group:show", rule="group:get", **since),
            *both("PUT", one, self.update, "volume_group:update", rule="group:update", status=202, **since,
                  body=base.wrapped("group", _CHANGE)),
            *both("POST", one + "/action", self.action, "volume_group:action", rule="group:delete", status=202,
                  **since),
        ]  # fmt: skip


def _ids(text: str | None) -> list[str]:
    """Ids between commas, each once."""
    return list(dict.fromkeys(text.strip(",").split(","))) if text else []


async def _may_join(request: Request, reader: Reader, row: Row, ids: list[str]) -> None:
    """Raises Invalid."""
    found = {one["id"]: one for one in await VOLUME.select(reader, {"id": ids})} if ids else {}
    types = (await types_of(reader, [row["id"]]))[row["id"]]
    for key in ids:
        start = f"Cannot add volume {key} to group {row['id']}"
        volume = found.get(key)
        if volume is None or not sees(request, volume):
            raise bad_volume(f"{start} because volume cannot be found.")
        if volume["group_id"]:
            raise bad_volume(f"{start} because it is already in group {volume['group_id']}.")
        if volume["project_id"] != row["project_id"]:
            raise bad_volume(f"{start} as they belong to different projects.")
        if volume["type_id"] not in types:
            raise bad_volume(f"{start} because volume type {volume['type_id']} is not supported by the group.")
        if volume["status"] not in _MAY_JOIN:
            raise bad_volume(f"{start} because volume is in an invalid state: {volume['status']}. Valid states are:"
                             f" {_MAY_JOIN}.")  # fmt: skip
        if volume["host"] != row["host"]:
            raise bad_volume("Volume is not local to this node.")


def _may_leave(row: Row, members: Mapping[str, Row], ids: list[str]) -> None:
    """Raises Invalid."""
    for key in ids:
        start = f"Cannot remove volume {key} from group {row['id']} because"
        if key not in members:
            raise bad_volume(f"{start} it is not in the group.")
        if members[key]["status"] not in _MAY_LEAVE:
            raise bad_volume(f"{start} volume is in an invalid state: {members[key]['status']}. Valid states are:"
                             f" {_MAY_LEAVE}.")  # fmt: skip
