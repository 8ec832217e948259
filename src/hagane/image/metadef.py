"""Metadata definitions: which properties images, flavors and volumes may have, and what they mean, for dashboards.

    namespace ─┬─ properties, objects (groups of properties), tags       (metadef_part.py)
               └─ resource types that they are for, each with a prefix

They are words only: nothing here checks an image against them. Administrators write them; a namespace that is private
is seen by its owner alone.
"""

from collections import Counter
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.listing import Page
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.errors import Conflict, Forbidden, Invalid, NotFound
from hagane.image import query
from hagane.image.base import PREFIX, enforce, json_object
from hagane.image.metadef_shape import NAMESPACE, checked
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Sql, Table, listed

PATH = f"{PREFIX}/v2/metadefs/namespaces"
SPACE = Table(
    "image_metadef_namespace",
    (
        Column("namespace", key=True), Column("display_name"), Column("description"), Column("visibility"),
        Column("protected", "bool"), Column("owner"), Column("created_at"), Column("updated_at"),
    ),
    ("created_at, namespace",),
)  # fmt: skip
PART = Table(
    "image_metadef_part",
    (
        Column("namespace", key=True), Column("kind", key=True), Column("name", key=True), Column("body", "json"),
        Column("created_at"), Column("updated_at"),
    ),
    ("kind, name",),
)  # fmt: skip
OBJECTS, PROPERTIES, TAGS, TYPES = "objects", "properties", "tags", "resource_type_associations"
_SORTS = ("namespace", "created_at", "updated_at", "display_name", "visibility", "owner", "protected")
_BODY = "Body expected in request."


def target(row: Row) -> dict[str, Any]:
    return {"project_id": row["owner"], "owner": row["owner"], "visibility": row["visibility"]}


async def space_of(request: Request, reader: Reader, rule: str) -> Row:
    """The namespace that a path names, after the rule was asked. Raises NotFound where the caller may not see it."""
    name = request.params["namespace"]
    row = await SPACE.get(reader, namespace=name)
    if row is None or not request.allowed("get_metadef_namespace", target(row)):
        # The real service has two sentences for it.
        long = rule == "get_metadef_namespace" or "object" in rule
        text = f"Metadata definition namespace={name} was not found." if long else f"Namespace {name} not found"
        raise NotFound(text, code="MetadefNamespaceNotFound")
    enforce(request, rule, target(row))
    return row


def view(row: Row) -> dict[str, Any]:
    """A namespace without what is in it."""
    shown = {name: row[name] for name in SPACE.names if row[name] is not None}
    times = {name: clock.iso_z(row[name]) for name in ("created_at", "updated_at")}
    own = {"self": f"/v2/metadefs/namespaces/{row['namespace']}", "schema": "/v2/schemas/metadefs/namespace"}
    return shown | times | own


def part_view(row: Row, *, whole: bool = True) -> dict[str, Any]:
    """A part as it is shown by itself and in its namespace; not `whole`: in the answer to what wrote it."""
    shown: dict[str, Any] = {"name": row["name"]} | row["body"]
    if row["kind"] != PROPERTIES:
        shown |= {name: clock.iso_z(row[name]) for name in ("created_at", "updated_at")}
    if row["kind"] == OBJECTS:
        own = f"/v2/metadefs/namespaces/{row['namespace']}/objects/{row['name']}"
        shown = ({"required": []} if whole else {}) | shown
        shown |= {"self": own, "schema": "/v2/schemas/metadefs/object"}
    return shown


class Metadefs:
    """The namespaces."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    def routes(self) -> list[Route]:
        one, names = (
            f"{PATH}/{{namespace}}",
            ("visibility", "resource_types", "limit", "marker", "sort_key", "sort_dir"),
        )
        return [
            Route("GET", PATH, self.list, "metadef:list", rule="get_metadef_namespaces", query=names),
            Route("POST", PATH, self.create, "metadef:create", rule="add_metadef_namespace", status=201,
                  body=NAMESPACE),
            Route("GET", one, self.show, "metadef:show", rule="get_metadef_namespace", query=("resource_type",)),
            Route("PUT", one, self.update, "metadef:update", rule="modify_metadef_namespace", body=NAMESPACE),
            Route("DELETE", one, self.delete, "metadef:delete", rule="delete_metadef_namespace", status=204),
        ]  # fmt: skip

    async def list(self, request: Request) -> Response:
        enforce(request, "get_metadef_namespaces", {"project_id": request.caller.project_id})
        page = _page(request)
        conditions = _conditions(request)
        if page.marker is not None and await SPACE.get(self.db, namespace=page.marker) is None:
            raise NotFound(
                f"Metadata definition namespace={page.marker} was not found.", code="MetadefNamespaceNotFound"
            )
        rows = await page.rows(self.db, SPACE, {}, conditions) if page.limit else []
        views = {row["namespace"]: view(row) for row in rows}
        for part in await PART.select(self.db, {"namespace": list(views), "kind": TYPES}, order="name"):
            views[part["namespace"]].setdefault(TYPES, []).append(part_view(part))
        answer = query.links(request, page, "metadefs/namespaces")
        return json_response(200, {"namespaces": list(views.values())} | answer)

    async def show(self, request: Request) -> Response:
        row = await space_of(request, self.db, "get_metadef_namespace")
        wanted = request.args.get("resource_type")
        return json_response(200, await self._whole(self.db, row, wanted))

    async def _whole(self, reader: Reader, row: Row, wanted: str | None = None) -> dict[str, Any]:
        """The namespace with all that is in it; for a resource type, with its prefix before every property."""
        shown = view(row)
        parts = await PART.select(reader, {"namespace": row["namespace"]}, order="name")
        types = [part for part in parts if part["kind"] == TYPES and part["name"] == wanted]
        prefix = str(types[0]["body"].get("prefix") or "") if types else ""
        for part in parts:
            if part["kind"] == PROPERTIES:
                shown.setdefault(PROPERTIES, {})[prefix + part["name"]] = part["body"]
            elif part["kind"] == TAGS:
                shown.setdefault(TAGS, []).append({"name": part["name"]})
            else:
                shown.setdefault(part["kind"], []).append(_prefixed(part_view(part), prefix))
        return shown

    async def create(self, request: Request) -> Response:
        enforce(request, "add_metadef_namespace", {})
        body = checked("namespace", NAMESPACE, await json_object(request, _BODY))
        moment = clock.now()
        row = {"display_name": None, "description": None, "visibility": "private", "protected": False}
        row |= {"owner": request.caller.project_id, "created_at": moment, "updated_at": moment}
        row |= {name: body[name] for name in SPACE.names if name in body}
        parts = _parts(body)

        async def work(tx: Tx) -> dict[str, Any]:
            if await SPACE.get(tx, namespace=row["namespace"]):
                raise _taken(str(row["namespace"]))
            for (_, name), count in Counter((kind, name) for kind, name, _ in parts).items():
                if count > 1:
                    raise Conflict(f"{name} is there twice in namespace={row['namespace']}.", code="MetadefDuplicate")
            await SPACE.insert(tx, row)
            for kind, name, inner in parts:
                key = {"namespace": row["namespace"], "kind": kind, "name": name}
                await PART.insert(tx, key | {"body": inner, "created_at": moment, "updated_at": moment})
            return await self._whole(tx, row)

        shown = await self.db.write(work)
        return json_response(201, shown, {"location": f"{request.base_url}{PATH}/{row['namespace']}"})

    async def update(self, request: Request) -> Response:
        body = await json_object(request, _BODY)

        async def work(tx: Tx) -> Row:
            old = await space_of(request, tx, "modify_metadef_namespace")
            given = checked("namespace", NAMESPACE, body)
            new = old | {"display_name": None, "description": None, "visibility": "private", "protected": False}
            new |= {"owner": old["owner"]} | {name: given[name] for name in SPACE.names if name in given}
            new["updated_at"] = clock.now()
            if new["namespace"] != old["namespace"]:
                if await SPACE.get(tx, namespace=new["namespace"]):
                    raise _taken(new["namespace"])
                await PART.update(tx, {"namespace": old["namespace"]}, {"namespace": new["namespace"]})
            await SPACE.update(tx, {"namespace": old["namespace"]}, new)
            return new

        return json_response(200, view(await self.db.write(work)))

    async def delete(self, request: Request) -> Response:
        async def work(tx: Tx) -> None:
            row = await space_of(request, tx, "delete_metadef_namespace")
            if row["protected"]:
                raise Forbidden(f"Metadata definition namespace {row['namespace']} is protected and cannot be deleted.",
                                code="Protected")  # fmt: skip
            await PART.delete(tx, {"namespace": row["namespace"]})
            await SPACE.delete(tx, {"namespace": row["namespace"]})

        await self.db.write(work)
        return empty()


def _taken(name: str) -> Conflict:
    return Conflict(f"The metadata definition namespace={name} already exists.", code="MetadefDuplicateNamespace")


def _parts(body: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """(kind, name, body) of everything that comes with a namespace."""
    found = [(PROPERTIES, name, inner) for name, inner in body.get(PROPERTIES, {}).items()]
    for kind in (OBJECTS, TAGS, TYPES):
        found += [
            (kind, inner["name"], {k: v for k, v in inner.items() if k != "name"}) for inner in body.get(kind, [])
        ]
    return found


def _prefixed(shown: dict[str, Any], prefix: str) -> dict[str, Any]:
    if prefix and "properties" in shown:
        shown["properties"] = {prefix + name: inner for name, inner in shown["properties"].items()}
    if prefix and shown.get("required"):
        shown["required"] = [prefix + name for name in shown["required"]]
    return shown


def _page(request: Request) -> Page:
    """Order and extent. Raises Invalid."""
    way, key = request.args.get("sort_dir", "desc"), request.args.get("sort_key", "created_at")
    if way not in ("asc", "desc"):
        raise Invalid(f"Invalid sort direction: {way}", code="BadSort")
    if key not in _SORTS:
        raise Invalid(f"Invalid sort key: {key}", code="BadSort")
    down = way == "desc"
    return Page(query.limit(request.args.get("limit")), request.args.get("marker") or None,
                [(key, down), ("namespace", down)])  # fmt: skip


def _conditions(request: Request) -> list[Sql]:
    """What the caller may see and asks for. Raises Invalid."""
    found = []
    if not request.allowed("context_is_admin"):
        own = "image_metadef_namespace.owner = :me OR image_metadef_namespace.visibility = 'public'"
        found.append(Sql(own, {"me": request.caller.project_id or ""}))
    if visibility := request.args.get("visibility"):
        if visibility not in ("public", "private"):
            raise Invalid(f"Invalid visibility value: {visibility}", code="BadFilter")
        found.append(Sql("image_metadef_namespace.visibility = :visibility", {"visibility": visibility}))
    if types := request.args.get("resource_types"):
        among = listed("type", types.split(","))
        inside = f"SELECT namespace FROM image_metadef_part WHERE kind = '{TYPES}' AND name IN {among.text}"
        found.append(Sql(f"image_metadef_namespace.namespace IN ({inside})", among.params))
    return found
