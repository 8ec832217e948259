"""Members and tags of an image: whom it is shared with, and words to find it by.

shared ──owner adds a project──▶ pending ──that project──▶ accepted (listed there) or rejected
"""

from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import Enum, Obj, Str
from hagane.cloud import Cloud
from hagane.errors import Conflict, Forbidden, Invalid, NotFound, TooLarge
from hagane.image.base import PREFIX, enforce, json_body
from hagane.image.image import Image
from hagane.image.row import MEMBER, TAG
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx

STATUSES = ("pending", "accepted", "rejected")
MOST = 128


class Members:
    """Whom a shared image is shared with."""

    def __init__(self, cloud: Cloud, images: Image) -> None:
        self.db, self._images = cloud.db, images

    async def list(self, request: Request) -> Response:
        image = await _image(self._images, request, self.db)
        enforce(request, "get_members", self._images.target(image))
        _shared(image, "list members for image {}: Only shared images have members.")
        rows = await MEMBER.select(self.db, {"image_id": image["id"]}, order="created_at, member_id")
        if not _owns(request, image):  # a member learns of itself alone
            rows = [row for row in rows if row["member_id"] == request.caller.project_id]
        return json_response(200, {"members": [_view(row) for row in rows], "schema": "/v2/schemas/members"})

    async def show(self, request: Request) -> Response:
        image = await _image(self._images, request, self.db)
        row = await self._find(request, self.db, image)
        return json_response(200, _view(row))

    async def create(self, request: Request) -> Response:
        member = _named(await json_body(request))
        moment = clock.now()

        async def work(tx: Tx) -> Row:
            image = await _image(self._images, request, tx)
            enforce(request, "add_member", self._images.target(image))
            _shared(image, "create members for image {}.")
            row = {"image_id": image["id"], "member_id": member, "status": "pending"}
            if await MEMBER.get(tx, image_id=image["id"], member_id=member) is not None:
                raise Conflict(f"Member {member} is duplicated for image {image['id']}", code="Duplicate")
            if await MEMBER.count(tx, {"image_id": image["id"]}) >= MOST:
                raise TooLarge(f"The limit has been exceeded on the number of allowed image members for this image."
                               f" Attempted: {MOST + 1}, Maximum: {MOST}", code="LimitExceeded")  # fmt: skip
            row |= {"created_at": moment, "updated_at": moment}
            await MEMBER.insert(tx, row)
            return row

        return json_response(200, _view(await self.db.write(work)))

    async def update(self, request: Request) -> Response:
        status = _status(await json_body(request))

        async def work(tx: Tx) -> Row:
            image = await _image(self._images, request, tx)
            _shared(image, "update members for image {}.")
            row = await self._find(request, tx, image)
            enforce(request, "modify_member", {"project_id": image["owner"], "member_id": row["member_id"]})
            changes = {"status": status, "updated_at": clock.now()}
            await MEMBER.update(tx, {"image_id": image["id"], "member_id": row["member_id"]}, changes)
            return row | changes

        return json_response(200, _view(await self.db.write(work)))

    async def delete(self, request: Request) -> Response:
        async def work(tx: Tx) -> None:
            image = await _image(self._images, request, tx)
            enforce(request, "delete_member", self._images.target(image))
            _shared(image, "delete members for image {}.")
            row = await self._find(request, tx, image)
            await MEMBER.delete(tx, {"image_id": image["id"], "member_id": row["member_id"]})

        await self.db.write(work)
        return empty()

    async def _find(self, request: Request, reader: Reader, image: Row) -> Row:
        member = request.params["member_id"]
        row = None
        if request.allowed("get_member", {"project_id": image["owner"], "member_id": member}):
            row = await MEMBER.get(reader, image_id=image["id"], member_id=member)
        if row is None:
            raise NotFound(f"{member} not found in the member list of the image {image['id']}.", code="MemberNotFound")
        return row

    def routes(self) -> tuple[Route, ...]:
        many = f"{PREFIX}/v2/images/{{id}}/members"
        one = f"{many}/{{member_id}}"
        return (
            Route("GET", many, self.list, "member:list", rule="get_members"),
            Route("POST", many, self.create, "member:create", rule="add_member",
                  body=Obj(fields={"member": Str()}, required=("member",))),
            Route("GET", one, self.show, "member:show", rule="get_member"),
            Route("PUT", one, self.update, "member:update", rule="modify_member",
                  body=Obj(fields={"status": Enum(values=STATUSES)}, required=("status",))),
            Route("DELETE", one, self.delete, "member:delete", rule="delete_member", status=204),
        )  # fmt: skip


class Tags:
    """Words on an image."""

    def __init__(self, cloud: Cloud, images: Image) -> None:
        self.db, self._images = cloud.db, images

    async def add(self, request: Request) -> Response:
        tag = Str().check("tags", request.params["tag"])

        async def work(tx: Tx) -> None:
            image = await self._changing(request, tx)
            if tag in image["tags"]:
                return
            tags = sorted([*image["tags"], tag])
            if len(image["tags"]) >= MOST:
                raise TooLarge(f"The limit has been exceeded on the number of allowed image tags."
                               f" Attempted: {MOST + 1}, Maximum: {MOST}", code="LimitExceeded")  # fmt: skip
            await TAG.insert(tx, {"image_id": image["id"], "tag": tag})
            await _tag(tx, image, tags)

        await self.db.write(work)
        return empty()

    async def remove(self, request: Request) -> Response:
        async def work(tx: Tx) -> None:
            image = await self._changing(request, tx)
            if not await TAG.delete(tx, {"image_id": image["id"], "tag": request.params["tag"]}):
                raise NotFound("The resource could not be found.", code="TagNotFound")
            await _tag(tx, image, [tag for tag in image["tags"] if tag != request.params["tag"]])

        await self.db.write(work)
        return empty()

    async def _changing(self, request: Request, tx: Tx) -> Row:
        image = await _image(self._images, request, tx)
        enforce(request, "modify_image", self._images.target(image))
        return image

    def routes(self) -> tuple[Route, ...]:
        path = f"{PREFIX}/v2/images/{{id}}/tags/{{tag}}"
        return (
            Route("PUT", path, self.add, "tag:add", rule="modify_image", status=204),
            Route("DELETE", path, self.remove, "tag:remove", rule="modify_image", status=204),
        )


async def _tag(tx: Tx, image: Row, tags: list[str]) -> None:
    await Image.table.update(tx, {"id": image["id"]}, {"tags": tags, "updated_at": clock.now()})


async def _image(images: Image, request: Request, reader: Reader) -> Row:
    image_id = request.params["id"]
    try:
        return await images.find(request, reader, image_id)
    except NotFound as error:
        raise NotFound(f"Image {image_id} not found.", code="ImageNotFound") from error


def _owns(request: Request, image: Row) -> bool:
    return request.allowed("context_is_admin") or image["owner"] == request.caller.project_id


def _shared(image: Row, refusal: str) -> None:
    if image["visibility"] != "shared":
        raise Forbidden(f"Not allowed to {refusal.format(image['id'])}", code="Forbidden")


def _named(body: Any) -> str:
    if not isinstance(body, dict):
        raise Invalid('Expected a member in the form: {"member": "image_id"}', code="MalformedBody")
    if "member" not in body:
        raise Invalid("Member to be added not specified", code="MalformedBody")
    if not body["member"]:
        raise Invalid("Member can't be empty", code="MalformedBody")
    return str(Str().check("member", body["member"]))


def _status(body: Any) -> str:
    if not isinstance(body, dict):
        raise Invalid('Expected a status in the form: {"status": "status"}', code="MalformedBody")
    if "status" not in body:
        raise Invalid("Status not specified", code="MalformedBody")
    if body["status"] not in STATUSES:
        raise Invalid('Incorrect request: Status must be "pending", "accepted" or "rejected".', code="BadStatus")
    return str(body["status"])


def _view(row: Row) -> dict[str, Any]:
    times = {name: clock.iso_z(row[name]) for name in ("created_at", "updated_at")}
    return {name: row[name] for name in ("member_id", "image_id", "status")} | times | {"schema": "/v2/schemas/member"}
