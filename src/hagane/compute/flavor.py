"""Flavors: the sizes of Servers. Public ones are for all, others for the projects that an administrator names."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.listing import Page
from hagane.api.resource import REQUIRED, Attr
from hagane.api.service import Route
from hagane.api.types import BadValue, Custom, MapOf, Number, Str
from hagane.compute import pattern
from hagane.compute.base import MOST, V21, ComputeResource, api, at, links, need, next_link, object_of
from hagane.compute.kinds import BOOLEAN, DESCRIPTION, NAME, NON_NEGATIVE, POSITIVE, printable
from hagane.compute.query import FALSE, TRUE, limit, whole
from hagane.errors import Conflict, HaganeError, Invalid
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Sql, Table

MANAGE = "os-flavor-manage"


def _flavor_id(field: str, value: Any) -> Any:
    """Any printable text, a number, or null for "make one"."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadValue(field, value, f"{value!r} is not of type 'string', 'number', 'null'")
    text = str(value)
    if not 1 <= len(text) <= 255:
        raise BadValue(field, value, f"{value!r} is too {'long' if text else 'short'}")
    if text != text.strip() or not printable(text):
        raise BadValue(field, value, f"{value!r} does not match '^(?! )[a-zA-Z0-9. _-]+(?<! )$'")
    return text


class Flavor(ComputeResource):
    """POST and DELETE are the administrator's; only the description can be changed (2.55)."""

    name, plural, path = "flavor", "flavors", V21 + "/flavors"
    attrs = (
        Attr("id", Custom(rule=_flavor_id, kind="text", nullable=True), write="c", key=True, wire="id"),
        Attr("name", NAME, write="c", default=REQUIRED),
        Attr("ram", POSITIVE, write="c", default=REQUIRED),
        Attr("vcpus", POSITIVE, write="c", default=REQUIRED),
        Attr("disk", NON_NEGATIVE, write="c", default=REQUIRED),
        Attr("ephemeral", NON_NEGATIVE, write="c", default=0, wire="OS-FLV-EXT-DATA:ephemeral"),
        Attr("swap", NON_NEGATIVE, write="c", default=0),
        Attr("rxtx_factor", Number(min=0), write="c", default=1.0, until="2.101"),
        Attr("disabled", BOOLEAN, default=False, wire="OS-FLV-DISABLED:disabled", until="2.101"),
        Attr("is_public", BOOLEAN, write="c", default=True, wire="os-flavor-access:is_public"),
        Attr("description", DESCRIPTION, write="cu", since="2.55"),
        Attr("extra_specs", MapOf(value=Str()), since="2.61", filter=False, sort=False),
        Attr("created_at", Str(), shown=False),
    )
    indexes = ("unique name",)

    async def list(self, request: Request) -> Response:
        return await self._list(request, detail=False)

    async def detail(self, request: Request) -> Response:
        return await self._list(request, detail=True)

    async def _list(self, request: Request, *, detail: bool) -> Response:
        page = Page.of(request, _SORTS, most=MOST, default="id")
        page.limit = limit(request)
        rows = await page.rows(self.db, self.table, {}, (), self._conditions(request))
        if detail:
            views = await self.present(request, rows)
        else:
            views = [self._brief(request, row) for row in rows]
        answer: dict[str, Any] = {"flavors": views}
        if more := next_link(request, page, len(rows)):
            answer["flavors_links"] = more
        return json_response(200, answer)

    def _brief(self, request: Request, row: Row) -> dict[str, Any]:
        view = {"id": row["id"], "name": row["name"], "links": links(request, "flavors", row["id"])}
        return view | ({"description": row["description"]} if at(request, 55) else {})

    def _conditions(self, request: Request) -> Sequence[Sql]:
        conditions = [self._public(request)]
        for name, column in (("minRam", "ram"), ("minDisk", "disk")):
            if (text := request.args.get(name)) is not None:
                least = whole(text.removeprefix("-"))
                if least is None:
                    raise Invalid(f"Invalid {name} filter [{text}]")
                least = -least if text.startswith("-") else least
                conditions.append(Sql(f"flavor.{column} >= :at_least_{column}", {f"at_least_{column}": least}))
        if at(request, 102) and "name" in request.args:
            conditions.append(pattern.condition("flavor", "name", request.args["name"], request.cloud.db.dialect))
        return [c for c in conditions if c.text]

    def _public(self, request: Request) -> Sql:
        """Public ones and those the project has access to; an administrator chooses by `is_public`."""
        word = request.args.get("is_public")
        if request.caller.is_admin and word is not None:
            if word.lower() in ("none", "null"):
                return Sql("")
            if word.lower() not in TRUE | FALSE:
                raise Invalid(f"Invalid is_public filter [{word}]")
            return Sql("flavor.is_public = :public", {"public": int(word.lower() in TRUE)})
        if request.caller.is_admin:
            return Sql("flavor.is_public = 1")
        return Sql(
            "flavor.is_public = 1 OR flavor.id IN (SELECT flavor_id FROM flavor_access WHERE project_id = :project)",
            {"project": request.caller.project_id or ""},
        )

    async def present(self, request: Request, rows: Sequence[Row], reader: Reader | None = None) -> Any:
        views = await super().present(request, list(rows), reader)
        specs = at(request, 61) and request.allowed(
            api("os-flavor-extra-specs:index"), {"project_id": request.caller.project_id}
        )
        for view in views:
            if not specs:
                view.pop("extra_specs", None)
            if not view["swap"] and not at(request, 75):
                view["swap"] = ""
            view["links"] = links(request, "flavors", view["id"])
        return views

    async def show(self, request: Request) -> Response:
        row = await find(self.db, request, request.params["id"])
        return json_response(200, {"flavor": (await self.present(request, [row]))[0]})

    async def create(self, request: Request) -> Response:
        need(request, api(f"{MANAGE}:create"))
        body = object_of(await request.json(), "flavor")

        async def work(tx: Tx) -> Any:
            row = self.parse_create(request, body)
            row["id"] = row["id"] or str(uuid4())
            if row["id"] == "auto":
                row["id"] = str(uuid4())
            row |= {"disabled": False, "extra_specs": {}}
            await self._refuse_taken(tx, row)
            await self.table.insert(tx, row)
            return (await self.present(request, [row], tx))[0]

        return json_response(200, {"flavor": await self.db.write(work)})

    async def _refuse_taken(self, tx: Tx, row: Row) -> None:
        if await self.table.get(tx, name=row["name"]):
            raise Conflict(f"Flavor with name {row['name']} already exists.")
        if await self.table.get(tx, id=row["id"]):
            raise Conflict(f"Flavor with ID {row['id']} already exists.")

    async def update(self, request: Request) -> Response:
        need(request, api(f"{MANAGE}:update"))
        body = object_of(await request.json(), "flavor")
        if "description" not in body:
            raise BadValue("flavor", body, "'description' is a required property")

        async def work(tx: Tx) -> Any:
            row = await find(tx, request, request.params["id"])
            changes = self.parse_update(request, body)
            await self.table.update(tx, {"id": row["id"]}, changes)
            return (await self.present(request, [row | changes], tx))[0]

        return json_response(200, {"flavor": await self.db.write(work)})

    def read_only(self, attr: Attr, letter: str, value: Any) -> None:
        self.unknown({}, attr.label, value)

    async def delete(self, request: Request) -> Response:
        need(request, api(f"{MANAGE}:delete"))

        async def work(tx: Tx) -> None:
            row = await find(tx, request, request.params["id"])
            await ACCESS.delete(tx, {"flavor_id": row["id"]})
            await self.table.delete(tx, {"id": row["id"]})

        await self.db.write(work)
        return empty(202)

    def routes(self) -> Sequence[Route]:
        one = self.path + "/{id}"
        return [
            Route("GET", self.path, self.list, "flavor:list"),
            Route("GET", self.path + "/detail", self.detail, "flavor:detail"),
            Route("GET", one, self.show, "flavor:show", answer=self.answer_type()),
            Route("POST", self.path, self.create, "flavor:create", rule=api(f"{MANAGE}:create"),
                  body=self.body_type("c")),
            Route("PUT", one, self.update, "flavor:update", rule=api(f"{MANAGE}:update"), since="2.55",
                  body=self.body_type("u")),
            Route("DELETE", one, self.delete, "flavor:delete", rule=api(f"{MANAGE}:delete"), status=202),
        ]  # fmt: skip


FLAVOR = Flavor.table
ACCESS = Table("flavor_access", (Column("flavor_id", key=True), Column("project_id", key=True)), ("project_id",))
"""Which projects may use a flavor that is not public."""


class _Sorts:
    """The names under which the compute API sorts flavors, which are those of the older database columns."""

    table = FLAVOR
    by_label = {
        name: Flavor.by_name[column]
        for name, column in {
            "flavorid": "id", "id": "id", "name": "name", "memory_mb": "ram", "vcpus": "vcpus", "root_gb": "disk",
            "ephemeral_gb": "ephemeral", "swap": "swap", "rxtx_factor": "rxtx_factor", "disabled": "disabled",
            "is_public": "is_public", "created_at": "created_at", "updated_at": "created_at",
            "vcpu_weight": "vcpus", "description": "description",
        }.items()
    }  # fmt: skip


_SORTS: Any = _Sorts


def missing(flavor_id: str) -> HaganeError:
    return HaganeError(f"Flavor {flavor_id} could not be found.", code="FlavorNotFound", status=404)


async def find(reader: Reader, request: Request, flavor_id: str) -> Row:
    """A flavor by id. A private one can be looked up by id only by administrators and by projects with access."""
    row = await FLAVOR.get(reader, id=flavor_id)
    if row is None:
        raise missing(flavor_id)
    if not row["is_public"] and not request.caller.is_admin:
        project = request.caller.project_id or ""
        if await ACCESS.get(reader, flavor_id=flavor_id, project_id=project) is None:
            raise missing(flavor_id)
    return row


def snapshot(row: Row) -> dict[str, Any]:
    """What a Server keeps of its flavor, which may be deleted before the Server is."""
    names = ("id", "name", "ram", "vcpus", "disk", "ephemeral", "swap", "rxtx_factor", "extra_specs")
    return {name: row[name] for name in names}
