"""/types: volume types, their extra specs, who may use a private one, and defaults of projects (/default-types)."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.listing import Page
from hagane.api.service import Route
from hagane.api.types import BadValue, Custom, Obj, Str, Type
from hagane.cloud import Cloud
from hagane.errors import Conflict, Forbidden, Invalid, NotFound
from hagane.identity.project import Project
from hagane.state import clock
from hagane.state.database import Duplicate, Row, Tx
from hagane.state.table import Sql
from hagane.volume import base, query
from hagane.volume.base import at, body_of, both, is_admin, need, next_links, target
from hagane.volume.group_row import VOLUME_TYPE as GROUP_TAKES
from hagane.volume.kinds import BOOLEAN, WORD
from hagane.volume.row import VOLUME
from hagane.volume.type_row import ACCESS, DEFAULT, PROJECT_DEFAULT, TYPE, by_id, default_of, find
from hagane.volume.verb import Answer, Verb, act

_RULE = "volume_extension:"
_VISIBLE = ("multiattach", "RESKEY:availability_zones", "replication_enabled")  # specs that everybody may know


def _name(field: str, value: Any) -> str:
    text = str(Str(255).check(field, value))
    if not text.strip():
        if not text:
            raise BadValue(field, value, "'' should be non-empty")
        raise Invalid("An invalid 'name' value was provided. The 'name' can not be empty.", code="InvalidName")
    return text


def _specs(field: str, value: Any) -> dict[str, str]:
    """Extra specs: names without blanks."""
    if not isinstance(value, dict):
        raise BadValue(field, value, f"{value!r} is not of type 'object'")
    found = {}
    for key, text in value.items():
        Str(255, min=1, pattern=r"^[a-zA-Z0-9-_:. /]{1,255}\Z").check(field, key)
        found[key] = "" if text is None else Str(255).check(f"{field}.{key}", text)
    return found


SPECS = Custom(rule=_specs, json_schema={"type": "object", "additionalProperties": {"type": "string"}})
NAME = Custom(rule=_name, kind="text", json_schema={"type": "string", "minLength": 1, "maxLength": 255})
_CREATE: dict[str, Type] = {
    "name": NAME,
    "description": WORD, "extra_specs": SPECS, "os-volume-type-access:is_public": BOOLEAN,
}  # fmt: skip
_CHANGE: dict[str, Type] = {"name": Str(255, min=1, nullable=True), "description": WORD, "is_public": BOOLEAN}
_SAME = {name: name for name in ("id", "name", "created_at", "updated_at", "is_public")}
_PROJECT: dict[str, Type] = {"project": Str(255, min=1)}


def view(request: Request, row: Row, *, qos: bool = True, access: bool = True) -> dict[str, Any]:
    """A new type is shown without its QoS, a changed one without who may use it as well: as the real service does."""
    found = {name: row[name] for name in ("id", "name", "is_public", "description")}
    if request.allowed(_RULE + "access_types_extra_specs", base.own(request)):
        found["extra_specs"] = shown_specs(request, row)
    if qos and request.allowed(_RULE + "access_types_qos_specs_id", base.own(request)):
        found["qos_specs_id"] = row["qos_specs_id"]
    if access and request.allowed(_RULE + "volume_type_access", base.own(request)):
        found["os-volume-type-access:is_public"] = row["is_public"]
    return found


def shown_specs(request: Request, row: Row) -> dict[str, str]:
    specs: dict[str, str] = row["extra_specs"] or {}
    if request.allowed(_RULE + "types_extra_specs:read_sensitive", base.own(request)):
        return specs
    return {name: specs[name] for name in _VISIBLE if name in specs}


class Types:
    """/types."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db
        project = Obj(fields=_PROJECT, required=("project",))
        self._verbs: Mapping[str, Verb] = {
            "addProjectAccess": Verb(project, self.add_project),
            "removeProjectAccess": Verb(project, self.remove_project),
        }

    # -- list and show -----------------------------------------------------------------------------------------------

    async def index(self, request: Request) -> Response:
        need(request, _RULE + "type_get_all")
        limit, offset = query.limit_of(request), query.offset_of(request)
        page = Page(limit + offset, request.args.get("marker"), query.sorts_of(request, _SAME))
        conditions = [*self._public(request), *self._asked(request)]
        try:
            rows = (await page.rows(self.db, TYPE, {}, conditions))[offset:] if limit else []
        except Invalid as error:
            if error.code == "MarkerNotFound":
                raise NotFound(f"Volume type {page.marker} could not be found.", code="VolumeTypeNotFound") from error
            raise
        wanted = (
            query.literal(request.args["extra_specs"]) if at(request, 52) and "extra_specs" in request.args else None
        )
        if isinstance(wanted, dict):
            rows = [row for row in rows if wanted.items() <= shown_specs(request, row).items()]
        answer: dict[str, Any] = {"volume_types": [view(request, row) for row in rows]}
        if links := next_links(request, "types", rows[-1]["id"] if rows else None, len(rows), limit):
            answer["volume_type_links"] = links
        return json_response(200, answer)

    def _public(self, request: Request) -> list[Sql]:
        """Public types, and private ones of the caller's project; an administrator may ask for either."""
        if not is_admin(request):
            shared = "SELECT 1 FROM volume_type_access a WHERE a.type_id = volume_type.id AND a.project_id = :mine"
            return [Sql(f"is_public = 1 OR EXISTS ({shared})", {"mine": request.caller.project_id})]
        text = request.args.get("is_public")
        if text is not None and text.lower() == "none":
            return []
        word = "true" if text is None else text.strip().lower()
        if word not in ("1", "t", "true", "on", "y", "yes", "0", "f", "false", "off", "n", "no"):
            raise Invalid(f"Invalid is_public filter [{text}]", code="BadFilter")
        return [Sql(f"is_public = {int(word in ('1', 't', 'true', 'on', 'y', 'yes'))}", {})]

    def _asked(self, request: Request) -> list[Sql]:
        if is_admin(request) and "name" in request.args:
            return [Sql("name = :asked_name", {"asked_name": request.args["name"]})]
        return []

    async def show(self, request: Request) -> Response:
        key = request.params["id"]
        row = await default_of(request, self.db) if key == "default" else await by_id(request, self.db, key)
        need(request, _RULE + "type_get", target(row) if row.get("project_id") else None)
        return json_response(200, {"volume_type": view(request, row, access=key != "default")})

    # -- make, change, end -------------------------------------------------------------------------------------------

    async def create(self, request: Request) -> Response:
        body = (await body_of(request, base.wrapped("volume_type", _CREATE, ("name",))))["volume_type"]
        need(request, _RULE + "type_create")

        async def work(tx: Tx) -> Row:
            row: Row = {
                "id": str(uuid4()), "name": body["name"], "description": body.get("description"),
                "is_public": body.get("os-volume-type-access:is_public", True), "qos_specs_id": None,
                "extra_specs": body.get("extra_specs") or {}, "created_at": clock.now(), "updated_at": None,
            }  # fmt: skip
            try:
                await TYPE.insert(tx, row)
            except Duplicate as error:
                raise Conflict(f"Volume Type {body['name']} already exists.", code="VolumeTypeExists") from error
            return row

        return json_response(200, {"volume_type": view(request, await self.db.write(work), qos=False)})

    async def update(self, request: Request) -> Response:
        body = (await body_of(request, base.wrapped("volume_type", _CHANGE)))["volume_type"]
        need(request, _RULE + "type_update")
        changes = {name: value for name, value in body.items() if value is not None}
        if "name" in changes and not changes["name"].strip():
            raise Invalid("Volume type name can not be empty.", code="EmptyName")
        if not changes:
            text = "Specify volume type name, description, is_public or a combination thereof."
            raise Invalid(text, code="NothingToDo")

        async def work(tx: Tx) -> Row:
            row = await by_id(request, tx, request.params["id"])
            try:
                await TYPE.update(tx, {"id": row["id"]}, changes | {"updated_at": clock.now()})
            except Duplicate as error:
                raise Conflict(f"Volume Type {changes['name']} already exists.", code="VolumeTypeExists") from error
            return row | changes

        shown = view(request, await self.db.write(work), qos=False, access=False)
        return json_response(200, {"volume_type": shown})

    async def delete(self, request: Request) -> Response:
        need(request, _RULE + "type_delete")

        async def work(tx: Tx) -> None:
            row = await by_id(request, tx, request.params["id"])
            if row["name"] == DEFAULT or await PROJECT_DEFAULT.get(tx, type_id=row["id"]) is not None:
                raise Invalid(f"The volume type {row['id']} is a default volume type and cannot be deleted.",
                              code="VolumeTypeDefaultDeletionError")  # fmt: skip
            if await VOLUME.get(tx, type_id=row["id"]) or await GROUP_TAKES.get(tx, type_id=row["id"]):
                raise Invalid("Target volume type is still in use.", code="VolumeTypeInUse")
            await ACCESS.delete(tx, {"type_id": row["id"]})
            await TYPE.delete(tx, {"id": row["id"]})

        await self.db.write(work)
        return empty(202)

    # -- access ------------------------------------------------------------------------------------------------------

    async def access(self, request: Request) -> Response:
        need(request, _RULE + "volume_type_access:get_all_for_type")
        row = await by_id(request, self.db, request.params["id"])
        if row["is_public"]:
            raise NotFound("Access list not available for public volume types.", code="VolumeTypeAccessNotFound")
        rows = await ACCESS.select(self.db, {"type_id": row["id"]}, order="project_id")
        views = [{"volume_type_id": one["type_id"], "project_id": one["project_id"]} for one in rows]
        return json_response(200, {"volume_type_access": views})

    async def action(self, request: Request) -> Response:
        return await act(request, self._verbs)

    async def add_project(self, request: Request, body: dict[str, str]) -> Answer:
        need(request, _RULE + "volume_type_access:addProjectAccess")

        async def work(tx: Tx) -> None:
            row = await by_id(request, tx, request.params["id"])
            if row["is_public"]:
                raise Invalid("Invalid volume type: Type access modification is not applicable to public volume type.",
                              code="InvalidVolumeType")  # fmt: skip
            if await ACCESS.get(tx, type_id=row["id"], project_id=body["project"]) is not None:
                raise Conflict(f"Volume type access for {row['id']} / {body['project']} combination already exists.",
                               code="VolumeTypeAccessExists")  # fmt: skip
            await ACCESS.insert(tx, {"type_id": row["id"], "project_id": body["project"]})

        await self.db.write(work)
        return None

    async def remove_project(self, request: Request, body: dict[str, str]) -> Answer:
        need(request, _RULE + "volume_type_access:removeProjectAccess")

        async def work(tx: Tx) -> None:
            row = await by_id(request, tx, request.params["id"])
            if row["is_public"]:
                raise Invalid("Invalid volume type: Type access modification is not applicable to public volume type.",
                              code="InvalidVolumeType")  # fmt: skip
            if not await ACCESS.delete(tx, {"type_id": row["id"], "project_id": body["project"]}):
                raise NotFound(f"Volume type access not found for {row['id']} / {body['project']} combination.",
                               code="VolumeTypeAccessNotFound")  # fmt: skip

        await self.db.write(work)
        return None

    def routes(self) -> Sequence[Route]:
        one = "/types/{id}"
        return [
            *both("GET", "/types", self.index, "volume_type:list", rule=_RULE + "type_get_all"),
            *both("POST", "/types", self.create, "volume_type:create", rule=_RULE + "type_create",
                  body=base.wrapped("volume_type", _CREATE, ("name",))),
            *both("GET", one, self.show, "volume_type:show", rule=_RULE + "type_get"),
            *both("PUT", one, self.update, "volume_type:update", rule=_RULE + "type_update",
                  body=base.wrapped("volume_type", _CHANGE)),
            *both("DELETE", one, self.delete, "volume_type:delete", rule=_RULE + "type_delete", status=202),
            *both("GET", one + "/os-volume-type-access", self.access, "volume_type:access",
                  rule=_RULE + "volume_type_access:get_all_for_type"),
            *both("POST", one + "/action", self.action, "volume_type:action",
                  rule=_RULE + "volume_type_access:addProjectAccess", status=202),
        ]  # fmt: skip


class DefaultTypes:
    """/default-types (3.62): the type that a project's volumes have if they name none."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def _project(self, request: Request, rule: str) -> str:
        project = request.params["id"]
        if await Project.table.get(self.db, id=project) is None:
            raise NotFound(f"Project with id {project} not found.", code="ProjectNotFound")
        if not request.allowed(rule, {"project_id": project}):
            raise Forbidden("You are not authorized to perform this operation.", code="Forbidden")
        return project

    async def index(self, request: Request) -> Response:
        if not request.allowed(_RULE + "default_get_all", base.own(request)):
            raise Forbidden("You are not authorized to perform this operation.", code="Forbidden")
        rows = await PROJECT_DEFAULT.select(self.db, order="project_id")
        return json_response(200, {"default_types": [_default(row) for row in rows]})

    async def show(self, request: Request) -> Response:
        project = await self._project(request, _RULE + "default_get")
        row = await PROJECT_DEFAULT.get(self.db, project_id=project)
        if row is None:
            raise NotFound(f"Default type for project {project} not found.", code="DefaultTypeNotFound")
        return json_response(200, {"default_type": _default(row)})

    async def put(self, request: Request) -> Response:
        body = await body_of(request, base.wrapped("default_type", {"volume_type": Str(255, min=1)}, ("volume_type",)))
        project = await self._project(request, _RULE + "default_set_or_update")

        async def work(tx: Tx) -> Row:
            try:
                kind = await find(request, tx, body["default_type"]["volume_type"])
            except NotFound as error:
                raise Invalid(error.message, code="VolumeTypeNotFound") from error
            row = {"project_id": project, "type_id": kind["id"]}
            await PROJECT_DEFAULT.delete(tx, {"project_id": project})
            await PROJECT_DEFAULT.insert(tx, row)
            return row

        return json_response(200, {"default_type": _default(await self.db.write(work))})

    async def delete(self, request: Request) -> Response:
        need(request, _RULE + "default_unset", {"project_id": request.params["id"]})
        where = {"project_id": request.params["id"]}
        await self.db.write(lambda tx: PROJECT_DEFAULT.delete(tx, where))
        return empty(204)

    def routes(self) -> Sequence[Route]:
        since, one = {"since": "3.62"}, "/default-types/{id}"
        body = base.wrapped("default_type", {"volume_type": Str(255, min=1)}, ("volume_type",))
        return [
            *both("GET", "/default-types", self.index, "default_type:list", rule=_RULE + "default_get_all", **since),
            *both("GET", one, self.show, "default_type:show", rule=_RULE + "default_get", **since),
            *both(
                "PUT", one, self.put, "default_type:update", rule=_RULE + "default_set_or_update", body=body, **since
            ),
            *both("DELETE", one, self.delete, "default_type:delete", rule=_RULE + "default_unset", status=204, **since),
        ]


def _default(row: Row) -> dict[str, Any]:
    return {"project_id": row["project_id"], "volume_type_id": row["type_id"]}
