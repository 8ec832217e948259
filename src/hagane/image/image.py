"""An image: its attributes, its rules, and the requests that make, show, change and end it.

    queued ──upload──▶ saving ──▶ active ◀──deactivate, reactivate──▶ deactivated
       ▲                  │
       └── failed, refused, process killed (swept)

    queued ──stage──▶ uploading ──import──▶ active      (staging.py)

Whatever is not an attribute of the service is a free property of the image, a piece of text at the top level.
"""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.resource import Attr, Resource
from hagane.api.service import Route
from hagane.api.types import Bool, Custom, Enum, Int, ListOf, Obj, Str, Time, Type
from hagane.errors import Conflict, Forbidden, Invalid, NotFound, TooLarge
from hagane.image import content, patch, query
from hagane.image.base import PREFIX, STORE, SWEEP, enforce, json_body, json_object, no_image, target
from hagane.image.row import MEMBER, PROPERTY, TAG, member_of, store_properties, store_tags, visible_to
from hagane.state import clock
from hagane.state.database import Duplicate, Reader, Row, Tx
from hagane.state.work import wake

UUID = r"^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}\Z"
DISK_FORMATS = ("ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop")
CONTAINER_FORMATS = ("ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed")
VISIBILITIES = ("community", "public", "private", "shared")
STATUSES = ("queued", "saving", "uploading", "active", "deactivated")
IMPORT_METHODS = ("glance-direct",)
MOST_TAGS = MOST_PROPERTIES = 128
_LINKS = frozenset({"self", "file", "schema", "stores", "direct_url"})
_RESERVED = frozenset({"location", "locations", "deleted", "deleted_at"})
_QUEUED_ONLY = ("disk_format", "container_format")


def _not_negative(field: str, value: Any) -> int:
    number = Int(min=None, loose=False).convert(field, value)
    if number < 0:
        raise Invalid(f"Invalid value '{value}' for parameter '{field}': Cannot be a negative value", code="Invalid")
    return int(number)


_SIZE = Custom(rule=_not_negative, kind="int", json_schema={"type": "integer"})
_TAGS = ListOf(item=Str())


class Image(Resource):
    """See the module's text."""

    name, plural, path = "image", "images", f"{PREFIX}/v2/images"
    update_method = "PATCH"
    indexes = ("owner, created_at", "visibility, created_at", "created_at, id")
    attrs = (
        Attr("name", Str(nullable=True), write="cu"),
        Attr("disk_format", Enum(values=DISK_FORMATS, nullable=True), write="cu"),
        Attr("container_format", Enum(values=CONTAINER_FORMATS, nullable=True), write="cu"),
        Attr("visibility", Enum(values=VISIBILITIES), write="cu", default="shared"),
        Attr("size", Int(nullable=True)),
        Attr("virtual_size", Int(nullable=True)),
        Attr("status", Enum(values=STATUSES)),
        Attr("checksum", Str(32, nullable=True)),
        Attr("protected", Bool(), write="cu", default=False),
        Attr("min_ram", _SIZE, write="cu", default=0),
        Attr("min_disk", _SIZE, write="cu", default=0),
        Attr("owner", Str(nullable=True), write="cu"),
        Attr("os_hidden", Bool(), write="cu", default=False),
        Attr("os_hash_algo", Str(64, nullable=True)),
        Attr("os_hash_value", Str(128, nullable=True)),
        Attr("id", Str(pattern=UUID), write="c", key=True),
        Attr("created_at", Time()),
        Attr("updated_at", Time()),
        Attr("tags", _TAGS, write="cu", default=list),
        # Columns that are not shown have reserved names outside, so that they take none from the free properties.
        Attr("properties", Type(), shown=False, wire="os_glance_properties"),
        Attr("content_format", Str(), shown=False, wire="os_glance_content"),  # what the bytes are, whatever the label
        Attr("problem", Str(), shown=False, wire="os_glance_problem"),  # why no server can start from it
        Attr("upload", Str(), shown=False, wire="os_glance_upload"),  # the attempt whose bytes are the content
        Attr("staged", Type(), shown=False, wire="os_glance_staged"),  # what staged bytes are, until they are imported
    )

    # -- who may see and do what ---------------------------------------------------------------------------------

    def target(self, row: Row) -> dict[str, Any]:
        return target(row)

    async def find(self, request: Request, reader: Reader, key: str) -> Row:
        """The row, if the caller may know of it. Raises NotFound."""
        row = await self.table.get(reader, id=key)
        if row is None or not await visible_to(reader, request.caller, row):
            raise no_image(key)
        if await member_of(reader, request.caller, row):
            row["member_id"] = request.caller.project_id
        if not request.allowed("get_image", self.target(row)):
            raise no_image(key)
        return row

    # -- bodies --------------------------------------------------------------------------------------------------

    def unknown(self, row: Row, label: str, value: Any) -> None:
        """Anything else is a free property."""
        if label in _LINKS:
            raise Forbidden(f"Attribute '{label}' is read-only.", code="ReadOnly")
        if label in _RESERVED or label.startswith("os_glance"):
            raise Forbidden(f"Attribute '{label}' is reserved.", code="Reserved")
        if len(label) > 255:
            raise Invalid("Custom property should not be greater than 255 characters.", code="Invalid")
        Str(255).check("property", label)
        row.setdefault("properties", {})[label] = Str(max=65535).check(label, value)

    def read_only(self, attr: Attr, letter: str, value: Any) -> None:
        if not attr.shown:
            raise Forbidden(f"Attribute '{attr.label}' is reserved.", code="Reserved")
        raise Forbidden(f"Attribute '{attr.label}' is read-only.", code="ReadOnly")

    async def create(self, request: Request) -> Response:
        body = await json_object(request, "Body expected in request.")

        async def work(tx: Tx) -> Row:
            return await self.create_row(request, tx, body)

        row = await self.db.write(work)
        headers = {"location": f"{request.base_url}{self.path}/{row['id']}", "openstack-image-store-ids": STORE}
        headers["openstack-image-import-methods"] = ",".join(IMPORT_METHODS)
        return json_response(201, view(row), headers)

    async def create_row(self, request: Request, tx: Tx, body: dict[str, Any]) -> Row:
        row = self.parse_create(request, body)
        row = dict.fromkeys(self.table.names) | {"properties": {}} | row
        if "owner" not in body:
            row["owner"] = request.caller.project_id
        row |= {"status": "queued", "tags": sorted(set(row["tags"]))}
        self._may_create(request, row)
        _limits(row)
        try:
            await self.table.insert(tx, row)
        except Duplicate as error:
            raise Conflict(f"Image ID {row['id']} already exists!", code="Duplicate") from error
        await store_tags(tx, row["id"], (), row["tags"])
        await store_properties(tx, row["id"], {}, row["properties"])
        return row

    def _may_create(self, request: Request, row: Row) -> None:
        own = self.target(row | {"owner": request.caller.project_id})
        enforce(request, "add_image", own)
        if row["owner"] != request.caller.project_id and not request.allowed("add_image", self.target(row)):
            raise Forbidden(f"You are not permitted to create images owned by '{row['owner']}'", code="Forbidden")
        self._may_show(request, row["visibility"], own)

    def _may_show(self, request: Request, visibility: str, target: dict[str, Any]) -> None:
        """Making an image visible to others is a right of its own."""
        if visibility in ("public", "community"):
            enforce(request, "publicize_image" if visibility == "public" else "communitize_image", target)

    # -- list ----------------------------------------------------------------------------------------------------

    async def list(self, request: Request) -> Response:
        enforce(request, "get_images", {"project_id": request.caller.project_id})
        page = query.page(request)
        conditions = query.conditions(request, self)
        if page.marker is not None:
            await self._marker(request, page.marker)
        rows = await page.rows(self.db, self.table, {}, conditions) if page.limit else []
        answer = {"images": [view(row) for row in rows]} | query.links(request, page)
        return json_response(200, answer)

    async def _marker(self, request: Request, marker: str) -> None:
        try:
            await self.find(request, self.db, marker)
        except NotFound as error:
            raise Invalid(error.message, code="MarkerNotFound") from error

    async def show(self, request: Request) -> Response:
        return json_response(200, view(await self.find(request, self.db, request.params["id"])))

    # -- change --------------------------------------------------------------------------------------------------

    async def update(self, request: Request) -> Response:
        style = patch.style(request)
        changes = patch.parse(style, await json_body(request))
        for change in changes:
            self._well_formed(request, change)

        async def work(tx: Tx) -> Row:
            old = await self.find(request, tx, request.params["id"])
            enforce(request, "modify_image", self.target(old))
            new = self._apply(request, old, changes)
            return await self._store(request, tx, old, new)

        return json_response(200, view(await self.db.write(work)))

    def _well_formed(self, request: Request, change: patch.Change) -> None:
        """What can be said of a change without knowing the image."""
        if change.op == "remove":
            attr = self.by_label.get(change.name)
            if attr is not None and "u" in attr.write:
                raise Forbidden(f"Property {change.name} may not be removed.", code="Forbidden")
            self._checked(request, {change.name: ""}, "u")
        else:
            self._checked(request, {change.name: change.value}, "u")

    def _apply(self, request: Request, old: Row, changes: Sequence[patch.Change]) -> Row:
        """The row with all changes, in their order. Raises Conflict for a property that is not there."""
        new = old | {"properties": dict(old["properties"])}
        for change in changes:
            if change.name in self.by_label:
                new |= self._checked(request, {change.name: change.value}, "u")
            elif change.op != "add" and change.name not in new["properties"]:
                raise Conflict(f"Property {change.name} does not exist.", code="Conflict")
            elif change.op == "remove":
                del new["properties"][change.name]
            else:
                new["properties"][change.name] = change.value
        new["tags"] = sorted(set(new["tags"]))
        return new

    async def _store(self, request: Request, tx: Tx, old: Row, new: Row) -> Row:
        self._may_change(request, old, new)
        _limits(new)
        new["updated_at"] = clock.now()
        changed = {name: new[name] for name in self.table.names if new[name] != old[name]}
        await self.table.update(tx, {"id": old["id"]}, changed)
        await store_tags(tx, old["id"], old["tags"], new["tags"])
        await store_properties(tx, old["id"], old["properties"], new["properties"])
        return new

    def _may_change(self, request: Request, old: Row, new: Row) -> None:
        if new["owner"] != old["owner"] and not request.allowed("context_is_admin"):
            raise Forbidden("Owner can't be updated by non admin.", code="Forbidden")
        if new["visibility"] != old["visibility"]:
            self._may_show(request, new["visibility"], self.target(old))
        for name in _QUEUED_ONLY:
            if new[name] != old[name] and old["status"] != "queued":
                raise Forbidden(f"Attribute {name} can be only replaced for a queued image.", code="Forbidden")

    # -- end and pause -------------------------------------------------------------------------------------------

    async def delete(self, request: Request) -> Response:
        image_id = request.params["id"]

        async def work(tx: Tx) -> Row:
            try:
                row = await self.find(request, tx, image_id)
            except NotFound as error:
                raise NotFound(f"Failed to find image {image_id} to delete", code="ImageNotFound") from error
            enforce(request, "delete_image", self.target(row))
            if row["protected"]:
                raise Forbidden(f"Image {image_id} is protected and cannot be deleted.", code="Protected")
            await forget(tx, image_id)
            return row

        row = await self.db.write(work)
        if row["upload"]:
            await content.remove(self.cloud.config, image_id, row["upload"])
        return empty()

    async def deactivate(self, request: Request) -> Response:
        return await self._switch(request, "deactivate", "deactivated")

    async def reactivate(self, request: Request) -> Response:
        return await self._switch(request, "reactivate", "active")

    async def _switch(self, request: Request, verb: str, status: str) -> Response:
        async def work(tx: Tx) -> None:
            row = await self.find(request, tx, request.params["id"])
            enforce(request, verb, self.target(row))
            if row["status"] not in ("active", "deactivated"):
                raise Forbidden(f"Not allowed to {verb} image in status '{row['status']}'", code="Forbidden")
            await self.table.update(tx, {"id": row["id"]}, {"status": status, "updated_at": clock.now()})

        await self.db.write(work)
        return empty()

    # -- routes --------------------------------------------------------------------------------------------------

    def routes(self) -> Sequence[Route]:
        one = f"{self.path}/{{id}}"
        return [
            Route("GET", self.path, self.list, "image:list", rule="get_images", query=query.NAMES),
            Route("POST", self.path, self.create, "image:create", rule="add_image", status=201,
                  body=self._body("c"), answer=self.answer_type()),
            Route("GET", one, self.show, "image:show", rule="get_image", answer=self.answer_type()),
            Route("PATCH", one, self.update, "image:update", rule="modify_image", body=patch.BODY, media=(patch.V21,),
                  answer=self.answer_type()),
            Route("DELETE", one, self.delete, "image:delete", rule="delete_image", status=204),
            Route("POST", f"{one}/actions/deactivate", self.deactivate, "image:deactivate", rule="deactivate",
                  status=204),
            Route("POST", f"{one}/actions/reactivate", self.reactivate, "image:reactivate", rule="reactivate",
                  status=204),
        ]  # fmt: skip

    def _body(self, letter: str) -> Type:
        return Obj(fields={a.label: a.type for a in self.attrs if letter in a.write}, open=True)

    def answer_type(self) -> Type:
        fields: dict[str, Type] = {a.label: a.type for a in self.attrs if a.shown}
        return Obj(fields=fields | {name: Str() for name in ("self", "file", "schema", "stores")}, open=True)


_SHOWN = tuple(attr.name for attr in Image.attrs if attr.shown)
_shown = itemgetter(*_SHOWN)


def view(row: Row) -> dict[str, Any]:
    """A row as the API shows it. Links are relative to the service, as the real one gives them."""
    link = f"/v2/images/{row['id']}"
    answer: dict[str, Any] = row["properties"] | dict(zip(_SHOWN, _shown(row), strict=True))
    answer["created_at"], answer["updated_at"] = clock.iso_z(row["created_at"]), clock.iso_z(row["updated_at"])
    answer["self"], answer["file"], answer["schema"] = link, f"{link}/file", "/v2/schemas/image"
    if row["status"] in ("active", "deactivated"):
        answer["stores"] = STORE
    return answer


def _limits(row: Row) -> None:
    for word, number, most in (("properties", len(row["properties"]), MOST_PROPERTIES),
                               ("tags", len(row["tags"]), MOST_TAGS)):  # fmt: skip
        if number > most:
            raise TooLarge(f"The limit has been exceeded on the number of allowed image {word}. Attempted: {number},"
                           f" Maximum: {most}", code="LimitExceeded")  # fmt: skip


async def forget(tx: Tx, image_id: str) -> None:
    """Delete an image's rows; its file is the caller's."""
    for table in (TAG, PROPERTY, MEMBER):
        await table.delete(tx, {"image_id": image_id})
    await Image.table.delete(tx, {"id": image_id})
    await wake(tx, SWEEP, image_id)
