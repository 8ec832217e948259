"""What is in a namespace of metadata definitions: objects, properties, tags, and resource types that it is for.

All four are made, shown, changed and ended alike; a table of kinds says how they differ.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import Type
from hagane.cloud import Cloud
from hagane.errors import Conflict, Forbidden, NotFound
from hagane.image import metadef_shape as shape
from hagane.image.base import PREFIX, enforce, json_object
from hagane.image.metadef import OBJECTS, PART, PATH, PROPERTIES, TAGS, TYPES, part_view, space_of
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx

KNOWN_TYPES = ("OS::Cinder::Volume", "OS::Glance::Image", "OS::Nova::Aggregate", "OS::Nova::Flavor", "OS::Nova::Server")
"""Resource types that there are without anybody's making them."""


@dataclass(frozen=True)
class Kind:
    """One kind of part. `word` is what rules and messages call one of it; `path` its segment in paths."""

    plural: str
    path: str
    word: str
    add: str
    modify: str
    remove: str
    shape: Type
    wrong: str  # what a namespace lacks when it lacks one of these


_KINDS = (
    Kind(OBJECTS, "objects", "object", "add_metadef_object", "modify_metadef_object", "delete_metadef_object",
         shape.OBJECT, "Could not find metadata object {}"),
    Kind(PROPERTIES, "properties", "property", "add_metadef_property", "modify_metadef_property",
         "remove_metadef_property", shape.PROPERTY,
         "Could not find property {}"),
    Kind(TAGS, "tags", "tag", "add_metadef_tag", "modify_metadef_tag", "delete_metadef_tag", shape.TAG,
         "Could not find metadata tag {}"),
    Kind(TYPES, "resource_types", "resource_type", "add_metadef_resource_type_association", "",
         "remove_metadef_resource_type_association", shape.RESOURCE_TYPE,
         "Failed to find resource type {} to delete"),
)  # fmt: skip
Handler = Callable[[Request, Kind], Awaitable[Response]]


class MetadefParts:
    """The handlers of all kinds."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    def routes(self) -> Sequence[Route]:
        types = Route("GET", f"{PREFIX}/v2/metadefs/resource_types", self.types, "metadef_resource_type:known",
                      rule="list_metadef_resource_types")  # fmt: skip
        return [types, *(route for kind in _KINDS for route in self._routes(kind))]

    def _routes(self, kind: Kind) -> list[Route]:
        many, name = f"{PATH}/{{namespace}}/{kind.path}", f"metadef_{kind.word}"
        one = f"{many}/{{name}}"
        plural = "list_metadef_resource_types" if kind.plural == TYPES else f"get_metadef_{kind.path}"
        found = [
            Route("GET", many, self._of(kind, self.list), f"{name}:list", rule=plural),
            Route("DELETE", one, self._of(kind, self.delete), f"{name}:delete", rule=kind.remove, status=204),
        ]
        if kind.plural == TAGS:
            found.append(Route("POST", one, self._of(kind, self.create_tag), f"{name}:create_one", rule=kind.add,
                               status=201))  # fmt: skip
            found.append(Route("POST", many, self._of(kind, self.create_tags), f"{name}:create", status=201,
                               rule="add_metadef_tags", body=shape.TAGS))  # fmt: skip
        else:
            found.append(Route("POST", many, self._of(kind, self.create), f"{name}:create", rule=kind.add, status=201,
                               body=kind.shape))  # fmt: skip
        if kind.plural != TYPES:
            found += [
                Route("GET", one, self._of(kind, self.show), f"{name}:show", rule=f"get_metadef_{kind.word}"),
                Route("PUT", one, self._of(kind, self.update), f"{name}:update", rule=kind.modify, body=kind.shape),
                Route("DELETE", many, self._of(kind, self.clear), f"{name}:clear", rule="delete_metadef_namespace",
                      status=204),
            ]  # fmt: skip
        return found

    def _of(self, kind: Kind, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def bound(request: Request) -> Response:
            return await handler(request, kind)

        return bound

    # -- reading -----------------------------------------------------------------------------------------------

    async def types(self, request: Request) -> Response:
        """All resource types: the usual ones, and those that some namespace names."""
        enforce(request, "list_metadef_resource_types", {"project_id": request.caller.project_id})
        named = {row["name"] for row in await PART.select(self.db, {"kind": TYPES}, columns=("name",))}
        if not request.allowed("context_is_admin"):
            named = set()
        return json_response(200, {"resource_types": [{"name": name} for name in sorted({*named, *KNOWN_TYPES})]})

    async def list(self, request: Request, kind: Kind) -> Response:
        row = await space_of(request, self.db, request.route.rule)
        order = "created_at DESC, name DESC" if kind.plural in (OBJECTS, TAGS) else "name"
        parts = await PART.select(self.db, {"namespace": row["namespace"], "kind": kind.plural}, order=order)
        if kind.plural == PROPERTIES:
            return json_response(200, {PROPERTIES: {part["name"]: part_view(part) for part in parts}})
        if kind.plural == TAGS:
            return json_response(200, {TAGS: [{"name": part["name"]} for part in parts]})
        more = {"schema": "v2/schemas/metadefs/objects"} if kind.plural == OBJECTS else {}
        return json_response(200, {kind.plural: [part_view(part) for part in parts]} | more)

    async def show(self, request: Request, kind: Kind) -> Response:
        space = await space_of(request, self.db, request.route.rule)
        name, wanted = request.params["name"], request.args.get("resource_type")
        if kind.plural == PROPERTIES and wanted:
            name = await self._bare(space["namespace"], name, wanted)
        return json_response(200, part_view(await self._find(request, self.db, kind, name)))

    async def _bare(self, space: str, name: str, wanted: str) -> str:
        """The name of a property without the prefix that it has on a resource type. Raises NotFound."""
        row = await PART.get(self.db, namespace=space, kind=TYPES, name=wanted)
        if row is None:
            raise NotFound(f"The metadata definition resource-type with name={wanted}, was not found.",
                           code="MetadefResourceTypeNotFound")  # fmt: skip
        prefix = str(row["body"].get("prefix") or "")
        if not prefix or not name.startswith(prefix):
            raise NotFound(f"Property {name} does not start with the expected resource type association prefix of"
                           f" '{prefix}'.", code="MetadefPropertyNotFound")  # fmt: skip
        return name.removeprefix(prefix)

    async def _find(self, request: Request, reader: Reader, kind: Kind, name: str) -> Row:
        space = request.params["namespace"]
        row = await PART.get(reader, namespace=space, kind=kind.plural, name=name)
        if row is None:
            raise NotFound(kind.wrong.format(name), code="MetadefNotFound")
        return row

    # -- writing -----------------------------------------------------------------------------------------------

    async def create(self, request: Request, kind: Kind) -> Response:
        body = await json_object(request, "Body expected in request.")
        return json_response(201, part_view((await self._make(request, kind, [body]))[0], whole=False))

    async def create_tag(self, request: Request, kind: Kind) -> Response:
        return json_response(201, part_view((await self._make(request, kind, [{"name": request.params["name"]}]))[0]))

    async def create_tags(self, request: Request, kind: Kind) -> Response:
        """Tags instead of those that there are, or, if the client says so, besides them."""
        body = await json_object(request, "Body expected in request.")
        tags = shape.checked("tags", shape.TAGS, body)["tags"]
        besides = request.headers.get("x-openstack-append", "").lower() in ("1", "true", "t", "on", "yes", "y")
        made = await self._make(request, kind, tags, clear=not besides)
        return json_response(201, {TAGS: [{"name": row["name"]} for row in made]})

    async def _make(self, request: Request, kind: Kind, bodies: Any, *, clear: bool = False) -> Sequence[Row]:
        moment = clock.now()

        async def work(tx: Tx) -> Sequence[Row]:
            space = await space_of(request, tx, request.route.rule)
            rows = []
            if clear:
                await PART.delete(tx, {"namespace": space["namespace"], "kind": kind.plural})
            for body in bodies:
                inner = dict(shape.checked(kind.word, kind.shape, body))
                row = {"namespace": space["namespace"], "kind": kind.plural, "name": inner.pop("name")}
                if await PART.get(tx, **row):
                    raise _taken(kind, row)
                row |= {"body": inner, "created_at": moment, "updated_at": moment}
                await PART.insert(tx, row)
                rows.append(row)
            return rows

        return await self.db.write(work)

    async def update(self, request: Request, kind: Kind) -> Response:
        body = await json_object(request, "Body expected in request.")

        async def work(tx: Tx) -> Row:
            await space_of(request, tx, kind.modify)
            old = await self._find(request, tx, kind, request.params["name"])
            inner = dict(shape.checked(kind.word, kind.shape, body))
            key = {name: old[name] for name in PART.keys}
            new = old | {"name": inner.pop("name"), "body": inner, "updated_at": clock.now()}
            if new["name"] != old["name"] and await PART.get(tx, **(key | {"name": new["name"]})):
                raise _taken(kind, new)
            await PART.update(tx, key, new)
            return new

        return json_response(200, part_view(await self.db.write(work), whole=False))

    async def delete(self, request: Request, kind: Kind) -> Response:
        async def work(tx: Tx) -> None:
            space = await space_of(request, tx, kind.remove)
            row = await self._find(request, tx, kind, request.params["name"])
            if space["protected"]:
                raise Forbidden(f"Metadata definition {kind.word} {row['name']} is protected and cannot be deleted.",
                                code="Protected")  # fmt: skip
            await PART.delete(tx, {name: row[name] for name in PART.keys})

        await self.db.write(work)
        return empty()

    async def clear(self, request: Request, kind: Kind) -> Response:
        """End all of a kind."""

        async def work(tx: Tx) -> None:
            space = await space_of(request, tx, "delete_metadef_namespace")
            if space["protected"]:
                text = f"Metadata definition namespace {space['namespace']} is protected and cannot be deleted."
                raise Forbidden(text, code="Protected")
            await PART.delete(tx, {"namespace": space["namespace"], "kind": kind.plural})

        await self.db.write(work)
        return empty()


def _taken(kind: Kind, row: Row) -> Conflict:
    name, space = row["name"], row["namespace"]
    texts = {
        TYPES: f"The metadata definition resource-type association of resource-type={name} to namespace={space} already"
               " exists.",
        TAGS: f"A metadata tag with name={name} already exists in namespace={space}. (Please note that metadata tag"
              " names are case insensitive).",
    }  # fmt: skip
    usual = f"A metadata definition {kind.word} with name={name} already exists in namespace={space}."
    return Conflict(texts.get(kind.plural, usual), code="MetadefDuplicate")
