"""/group_types and their group_specs (3.11): what a group asks of its backend. Administrators make them."""

import re
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.listing import Page
from hagane.api.service import Route
from hagane.api.types import BadValue, Custom, Obj, Str, Type
from hagane.cloud import Cloud
from hagane.errors import Conflict, Invalid, NotFound
from hagane.state import clock
from hagane.state.database import Duplicate, Row, Tx
from hagane.state.table import Sql
from hagane.volume import base, query
from hagane.volume.base import body_of, both, is_admin, need, next_links, own
from hagane.volume.group_row import GROUP, GROUP_SNAPSHOT, GROUP_TYPE, find_type
from hagane.volume.kinds import BOOLEAN, PAIRS_OR_NULL, WORD, yes
from hagane.volume.type import NAME

_RULE, SINCE = "group:group_types:", "3.11"
_CREATE: dict[str, Type] = {"name": NAME, "description": WORD, "is_public": BOOLEAN, "group_specs": PAIRS_OR_NULL}
_CHANGE: dict[str, Type] = {"name": WORD, "description": WORD, "is_public": BOOLEAN}
_SAME = {name: name for name in ("id", "name", "description", "is_public", "created_at", "updated_at")}


def view(request: Request, row: Row) -> dict[str, Any]:
    found = {name: row[name] for name in ("id", "name", "description", "is_public")}
    if request.allowed("group:access_group_types_specs", own(request)):
        found["group_specs"] = row["specs"] or {}
    return found


class GroupTypes:
    """/group_types."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def index(self, request: Request) -> Response:
        limit, offset = query.limit_of(request), query.offset_of(request)
        page = Page(limit + offset, request.args.get("marker"), query.sorts_of(request, _SAME))
        try:
            rows = (await page.rows(self.db, GROUP_TYPE, {}, _asked(request)))[offset:] if limit else []
        except Invalid as error:
            if error.code == "MarkerNotFound":
                raise NotFound(f"Group type {page.marker} could not be found.", code="GroupTypeNotFound") from error
            raise
        answer: dict[str, Any] = {"group_types": [view(request, row) for row in rows]}
        if links := next_links(request, "group_types", rows[-1]["id"] if rows else None, len(rows), limit):
            answer["group_type_links"] = links
        return json_response(200, answer)

    async def show(self, request: Request) -> Response:
        key = request.params["id"]
        if key == "default":
            raise NotFound("Default group type can not be found.", code="GroupTypeNotFound")
        return json_response(200, {"group_type": view(request, await find_type(request, self.db, key))})

    async def create(self, request: Request) -> Response:
        body = (await body_of(request, base.wrapped("group_type", _CREATE, ("name",))))["group_type"]
        need(request, _RULE + "create")
        row: Row = {
            "id": str(uuid4()), "name": body["name"], "description": body.get("description"),
            "is_public": body.get("is_public", True), "specs": body.get("group_specs") or {},
            "created_at": clock.now(), "updated_at": None,
        }  # fmt: skip

        async def work(tx: Tx) -> None:
            try:
                await GROUP_TYPE.insert(tx, row)
            except Duplicate as error:
                raise Conflict(f"Group Type {row['name']} already exists.", code="GroupTypeExists") from error

        await self.db.write(work)
        return json_response(202, {"group_type": view(request, row)})

    async def update(self, request: Request) -> Response:
        body = (await body_of(request, base.wrapped("group_type", _CHANGE)))["group_type"]
        need(request, _RULE + "update")
        changes = {name: value for name, value in body.items() if value is not None}
        if "name" in changes and not changes["name"].strip():
            raise Invalid("Group type name can not be empty.", code="EmptyName")
        if not changes:
            raise Invalid("Specify group type name, description or a combination thereof.", code="NothingToDo")

        async def work(tx: Tx) -> Row:
            row = await find_type(request, tx, request.params["id"])
            try:
                await GROUP_TYPE.update(tx, {"id": row["id"]}, changes | {"updated_at": clock.now()})
            except Duplicate as error:
                raise Conflict(f"Group Type {changes['name']} already exists.", code="GroupTypeExists") from error
            return row | changes

        return json_response(200, {"group_type": view(request, await self.db.write(work))})

    async def delete(self, request: Request) -> Response:
        need(request, _RULE + "delete")

        async def work(tx: Tx) -> None:
            row = await find_type(request, tx, request.params["id"])
            for table in (GROUP, GROUP_SNAPSHOT):
                if await table.get(tx, type_id=row["id"]) is not None:
                    words = f"Group Type {row['id']} deletion is not allowed with groups present with the type."
                    raise Invalid(f"Target group type is still in use. {words}", code="GroupTypeInUse")
            await GROUP_TYPE.delete(tx, {"id": row["id"]})

        await self.db.write(work)
        return empty(202)

    def routes(self) -> Sequence[Route]:
        one, since = "/group_types/{id}", {"since": SINCE}
        return [
            *both("GET", "/group_types", self.index, "group_type:list", **since),
            *both("POST", "/group_types", self.create, "group_type:create", rule=_RULE + "create", status=202,
                  body=base.wrapped("group_type", _CREATE, ("name",)), **since),
            *both("GET", one, self.show, "group_type:show", **since),
            *both("PUT", one, self.update, "group_type:update", rule=_RULE + "update",
                  body=base.wrapped("group_type", _CHANGE), **since),
            *both("DELETE", one, self.delete, "group_type:delete", rule=_RULE + "delete", status=202, **since),
        ]  # fmt: skip


def _asked(request: Request) -> list[Sql]:
    """Public types; an administrator may ask for private ones, or for all. Raises Invalid."""
    text = request.args.get("is_public") if is_admin(request) else None
    if text is not None and text.lower() == "none":
        return []
    try:
        return [Sql(f"is_public = {int(text is None or yes(text, 'is_public'))}", {})]
    except Invalid as error:
        raise Invalid(f"Invalid is_public filter [{text}]", code="BadFilter") from error


# -- specs -----------------------------------------------------------------------------------------------------------


def _specs(field: str, value: Any) -> dict[str, str | None]:
    """Names without blanks; a value may be null."""
    if not isinstance(value, dict):
        raise BadValue(field, value, f"{value!r} is not of type 'object'")
    for name in value:
        if not _KEY.match(name):
            reason = f"{name!r} does not match any of the regexes: '^[a-zA-Z0-9-_:.]{{1,255}}$'"
            raise BadValue(field, value, reason)
    return {name: _VALUE.check(f"{field}.{name}", text) for name, text in value.items()}


def _one(field: str, value: Any) -> dict[str, str | None]:
    if value == {}:
        raise BadValue(field, value, "{} should be non-empty")
    return _specs(field, value)


def _value(field: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BadValue(field, value, f"{value!r} is not of type 'string', 'null'")
    return str(Str(255).check(field, value))


_KEY, _VALUE = re.compile(r"[a-zA-Z0-9-_:.]{1,255}\Z"), Custom(rule=_value, nullable=True)
_OBJECT = {"type": "object", "additionalProperties": {"type": "string"}}
_SPECS, _ONE = Custom(rule=_specs, json_schema=_OBJECT), Custom(rule=_one, json_schema=_OBJECT)
_SPECS_RULE = "group:group_types_specs:"


class GroupSpecs:
    """/group_types/{id}/group_specs."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def index(self, request: Request) -> Response:
        need(request, _SPECS_RULE + "get_all")
        row = await find_type(request, self.db, request.params["id"])
        return json_response(200, {"group_specs": row["specs"] or {}})

    async def show(self, request: Request) -> Response:
        need(request, _SPECS_RULE + "get")
        row, key = await find_type(request, self.db, request.params["id"]), request.params["key"]
        if key not in (row["specs"] or {}):
            raise NotFound(f"Group Type {row['id']} has no extra spec with key {key}.", code="GroupSpecNotFound")
        return json_response(200, {key: row["specs"][key]})

    async def create(self, request: Request) -> Response:
        body = await body_of(request, Obj(fields={"group_specs": _SPECS}, required=("group_specs",)))
        need(request, _SPECS_RULE + "create")
        await self._write(request, body["group_specs"])
        return json_response(202, body)

    async def update(self, request: Request) -> Response:
        body: dict[str, Any] = await body_of(request, _ONE)
        need(request, _SPECS_RULE + "update")
        base.just_its_key(request, body)
        await self._write(request, body)
        return json_response(200, body)

    async def _write(self, request: Request, more: dict[str, str | None]) -> None:
        async def work(tx: Tx) -> None:
            row = await find_type(request, tx, request.params["id"])
            changes = {"specs": (row["specs"] or {}) | more, "updated_at": clock.now()}
            await GROUP_TYPE.update(tx, {"id": row["id"]}, changes)

        await self.db.write(work)

    async def delete(self, request: Request) -> Response:
        need(request, _SPECS_RULE + "delete")
        key = request.params["key"]

        async def work(tx: Tx) -> None:
            row = await find_type(request, tx, request.params["id"])
            if key not in (row["specs"] or {}):
                raise NotFound(f"Group Type {row['id']} has no specs with key {key}.", code="GroupSpecNotFound")
            specs = {name: text for name, text in row["specs"].items() if name != key}
            await GROUP_TYPE.update(tx, {"id": row["id"]}, {"specs": specs, "updated_at": clock.now()})

        await self.db.write(work)
        return empty(202)

    def routes(self) -> Sequence[Route]:
        many, one, since = "/group_types/{id}/group_specs", "/group_types/{id}/group_specs/{key}", {"since": SINCE}
        body, rule = Obj(fields={"group_specs": _SPECS}, required=("group_specs",)), _SPECS_RULE
        return [
            *both("GET", many, self.index, "group_spec:list", rule=rule + "get_all", **since),
            *both("POST", many, self.create, "group_spec:create", rule=rule + "create", status=202, body=body, **since),
            *both("GET", one, self.show, "group_spec:show", rule=rule + "get", **since),
            *both("PUT", one, self.update, "group_spec:update", rule=rule + "update", body=_ONE, **since),
            *both("DELETE", one, self.delete, "group_spec:delete", rule=rule + "delete", status=202, **since),
        ]
