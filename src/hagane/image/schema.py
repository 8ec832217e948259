"""The JSON schema documents that image clients read before they write: image(s), member(s), task(s)."""

from collections.abc import Callable
from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.image.base import PREFIX
from hagane.image.image import CONTAINER_FORMATS, DISK_FORMATS, UUID, VISIBILITIES
from hagane.image.member import STATUSES

_ID = UUID.replace(r"\Z", "$")


def _text(words: str, longest: int = 0, *, null: bool = False, read_only: bool = False) -> dict[str, Any]:
    kind: dict[str, Any] = {"type": ["null", "string"] if null else "string"}
    return kind | _more(words, longest, read_only=read_only)


def _more(words: str, longest: int = 0, *, read_only: bool = False) -> dict[str, Any]:
    more: dict[str, Any] = {"description": words}
    more |= {"maxLength": longest} if longest else {}
    return more | ({"readOnly": True} if read_only else {})


def _number(words: str, *, null: bool = False) -> dict[str, Any]:
    if null:
        return {"type": ["null", "integer"], "readOnly": True, "description": words}
    return {"type": "integer", "description": words}


_STATES = ("queued", "saving", "active", "killed", "deleted", "uploading", "importing", "pending_delete", "deactivated")
_IMAGE: dict[str, Any] = {
    "id": _text("An identifier for the image") | {"pattern": _ID},
    "name": _text("Descriptive name for the image", 255, null=True),
    "status": _text("Status of the image", read_only=True) | {"enum": list(_STATES)},
    "visibility": _text("Scope of image accessibility") | {"enum": list(VISIBILITIES)},
    "protected": {"type": "boolean", "description": "If true, image will not be deletable."},
    "os_hidden": {
        "type": "boolean",
        "description": "If true, image will not appear in default image list response.",
    },
    "checksum": _text("md5 hash of image contents.", 32, null=True, read_only=True),
    "os_hash_algo": _text("Algorithm to calculate the os_hash_value", 64, null=True, read_only=True),
    "os_hash_value": _text("Hexdigest of the image contents using the algorithm specified by the os_hash_algo", 128,
                           null=True, read_only=True),
    "owner": _text("Owner of the image", 255, null=True),
    "size": _number("Size of image file in bytes", null=True),
    "virtual_size": _number("Virtual size of image in bytes", null=True),
    "container_format": _text("Format of the container", null=True) | {"enum": [None, *CONTAINER_FORMATS]},
    "disk_format": _text("Format of the disk", null=True) | {"enum": [None, *DISK_FORMATS]},
    "created_at": _text("Date and time of image registration", read_only=True),
    "updated_at": _text("Date and time of the last image modification", read_only=True),
    "tags": {
        "type": "array",
        "description": "List of strings related to the image",
        "items": {"type": "string", "maxLength": 255},
    },
    "min_ram": _number("Amount of ram (in MB) required to boot image."),
    "min_disk": _number("Amount of disk space (in GB) required to boot image."),
    "self": _text("An image self url", read_only=True),
    "file": _text("An image file url", read_only=True),
    "stores": _text("Store in which image data resides.", read_only=True),
    "schema": _text("An image schema url", read_only=True),
}  # fmt: skip
_MEMBER: dict[str, Any] = {
    "member_id": _text("An identifier for the image member (tenantId)"),
    "image_id": _text("An identifier for the image") | {"pattern": _ID},
    "created_at": _text("Date and time of image member creation"),
    "updated_at": _text("Date and time of last modification of image member"),
    "status": _text("The status of this image member") | {"enum": list(STATUSES)},
    "schema": {"readOnly": True, "type": "string"},
}


_TASK: dict[str, Any] = {
    "id": _text("An identifier for the task") | {"pattern": _ID},
    "type": _text("The type of task represented by this content")
            | {"enum": ["import", "api_image_import", "location_import"]},
    "status": _text("The current status of this task") | {"enum": ["pending", "processing", "success", "failure"]},
    "input": {"description": "The parameters required by task, JSON blob", "type": ["null", "object"]},
    "result": {"description": "The result of current task, JSON blob", "type": ["null", "object"]},
    "owner": _text("An identifier for the owner of this task"),
    "message": _text("Human-readable informative message only included when appropriate (usually on failure)"),
    "image_id": _text("Image associated with the task"),
    "request_id": _text("Human-readable informative request-id"),
    "user_id": _text("User associated with the task"),
    "expires_at": {"description": "Datetime when this resource would be subject to removal",
                   "type": ["null", "string"]},
    "created_at": _text("Datetime when this resource was created"),
    "updated_at": _text("Datetime when this resource was updated"),
    "self": {"readOnly": True, "type": "string"},
    "schema": {"readOnly": True, "type": "string"},
}  # fmt: skip
_BRIEF_TASK = {name: kind for name, kind in _TASK.items() if name not in ("input", "result", "message")}


def _link(rel: str, href: str) -> dict[str, str]:
    return {"rel": rel, "href": href}


def _document(name: str) -> dict[str, Any]:
    described = _link("describedby", "{schema}")
    string = {"type": "string"}
    match name:
        case "image":
            links = [_link("self", "{self}"), _link("enclosure", "{file}"), described]
            return {"name": name, "properties": _IMAGE, "additionalProperties": string, "links": links}
        case "member":
            return {"name": name, "properties": _MEMBER}
        case "task":
            return {"name": name, "properties": _TASK}
        case "tasks":
            many = {"type": "array", "items": {"name": "task", "properties": _BRIEF_TASK}}
            return {"name": name, "properties": {name: many, "schema": string}, "links": [described]}
        case "images":
            many = {"type": "array", "items": _document("image")}
            links = [_link("first", "{first}"), _link("next", "{next}"), described]
            return {"name": name, "properties": {name: many, "first": string, "next": string, "schema": string},
                    "links": links}  # fmt: skip
    many = {"type": "array", "items": _document("member")}
    return {"name": name, "properties": {name: many, "schema": string}, "links": [described]}


def routes() -> list[Route]:
    def handler(name: str) -> Callable[[Request], Any]:
        document = _document(name)

        async def answer(request: Request) -> Response:
            return json_response(200, document)

        return answer

    names = ("image", "images", "member", "members", "task", "tasks")
    return [Route("GET", f"{PREFIX}/v2/schemas/{name}", handler(name), f"schema:{name}") for name in names]
