"""What all block storage resources share: paths with and without a project, links, errors, bodies, policy.

Every path exists twice, as in the real service: `/volume/v3/volumes` and `/volume/v3/{project_id}/volumes`, where the
project must be the token's own; an administrator sees others by `all_tenants`.

https://docs.openstack.org/api-ref/block-storage/v3/
"""

import re
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import urlencode

from hagane.api.http import Request, Response
from hagane.api.service import Handler, Route
from hagane.api.types import Obj, Type
from hagane.errors import Conflict, Forbidden, HaganeError, Invalid, NotFound, TooLarge
from hagane.state.database import Row

ROOT = "/volume"
V3 = ROOT + "/v3"
MOST = 1000  # rows of one page
ZONE = "nova"  # the one availability zone, called as a fresh installation calls it
HOST = "hagane"
VOLUME, SNAPSHOT, BACKUP, SWEEP = "volume", "snapshot", "backup", "volume_sweep"  # kinds of work
GROUP, GROUP_SNAPSHOT = "volume_group", "volume_group_snapshot"
EXPORT = "volume_export"  # all of them are one key

_FAULTS = {400: "badRequest", 401: "unauthorized", 403: "forbidden", 404: "itemNotFound", 405: "badMethod",
           409: "conflictingRequest", 413: "overLimit", 415: "badMediaType", 501: "notImplemented",
           503: "serviceUnavailable"}  # fmt: skip
_PROJECT = re.compile(r"[0-9a-f-]+\Z")


def envelope(error: HaganeError, status: int, request: Request) -> tuple[Any, dict[str, str]]:
    """{"itemNotFound": {"code": 404, "message": ...}}; an exceeded quota says when to try again: at once."""
    fault: dict[str, Any] = {"code": status, "message": error.message}
    if status == 413 and "retry" in error.extra:
        return {"overLimit": fault | {"retryAfter": "0"}}, {"retry-after": "0"}
    return {_FAULTS.get(status, "computeFault"): fault}, {}


def status(error: HaganeError) -> int | None:
    """The service knows no 405: a method that a path lacks is a path that is not there."""
    return 404 if error.code == "MethodNotAllowed" else None


def wording(field: str, value: Any, reason: str) -> str:
    """The sentence for a value that does not fit; what has no name of its own is the body itself."""
    if not field:
        return reason
    return f"Invalid input for field/attribute {field.rpartition('.')[2]}. Value: {value}. {reason}"


def invalid(reason: str) -> Invalid:
    return Invalid(f"Invalid input received: {reason}", code="InvalidInput")


def bad_volume(reason: str) -> Invalid:
    return Invalid(f"Invalid volume: {reason}", code="InvalidVolume")


def over(name: str, reason: str) -> TooLarge:
    """A quota is used up; `name` is the real service's error class, which is part of its sentence."""
    return TooLarge(f"{name}: {reason}", code=name, retry=True)


def conflict(reason: str) -> Conflict:
    return Conflict(reason, code="Conflict")


def missing(kind: str, key: str) -> NotFound:
    return NotFound(f"{kind} {key} could not be found.", code=f"{kind.replace(' ', '')}NotFound")


def at(request: Request, minor: int) -> bool:
    """Whether the request speaks microversion 3.<minor> or a later one."""
    return request.version >= (3, minor)


def own(request: Request) -> dict[str, Any]:
    """The target of rules about the caller's own project."""
    return {"project_id": request.caller.project_id, "user_id": request.caller.user_id}


def target(row: Row) -> dict[str, Any]:
    return {"project_id": row.get("project_id"), "user_id": row.get("user_id")}


def need(request: Request, rule: str, on: MutableMapping[str, Any] | None = None) -> None:
    """Ask the policy; without a target, about the caller's own project. Raises Forbidden."""
    if not request.allowed(rule, own(request) if on is None else on):
        raise Forbidden(f"Policy doesn't allow {rule} to be performed.", code="PolicyNotAuthorized", rule=rule)


def is_admin(request: Request) -> bool:
    return request.allowed("context_is_admin", {})


def sees(request: Request, row: Row | None) -> bool:
    """Whether the row exists for this caller: others' things do not, but for administrators."""
    return row is not None and (row["project_id"] == request.caller.project_id or is_admin(request))


def both(method: str, path: str, handler: Handler, name: str, **more: Any) -> list[Route]:
    """A route without and with the project in its path."""

    async def in_project(request: Request) -> Response:
        project = request.params.pop("project_id")
        if not _PROJECT.match(project):
            raise NotFound("The resource could not be found.", code="NoRoute")
        if request.caller.project_id and project != request.caller.project_id:
            raise Invalid("Malformed request url", code="MalformedUrl")
        return await handler(request)

    return [
        Route(method, V3 + path, handler, name, **more),
        Route(method, V3 + "/{project_id}" + path, in_project, name, **more),
    ]


def prefix(request: Request) -> str:
    """The project in links, where the request's path has it."""
    project = request.caller.project_id
    return f"/{project}" if project and request.path.startswith(f"{V3}/{project}") else ""


def links(request: Request, collection: str, key: str) -> list[dict[str, str]]:
    rest = f"{prefix(request)}/{collection}/{key}"
    return [
        {"rel": "self", "href": f"{request.url}/v3{rest}"},
        {"rel": "bookmark", "href": f"{request.url}{rest}"},
    ]


def next_links(request: Request, collection: str, last: str | None, found: int, limit: int) -> list[dict[str, str]]:
    """The link to the next page, which there is whenever a page is full."""
    if last is None or found < limit:
        return []
    kept = [(name, value) for name, value in request.query if name != "marker"] + [("marker", last)]
    return [{"rel": "next", "href": f"{request.url}/v3{prefix(request)}/{collection}?{urlencode(kept)}"}]


# -- bodies --------------------------------------------------------------------------------------------------------


def just_its_key(request: Request, body: Mapping[str, Any]) -> None:
    """A body of one pair, whose key is in the path, too. Raises Invalid."""
    if len(body) > 1:
        raise Invalid(f"{body} has too many properties", code="TooMany")
    if request.params["key"] not in body:
        raise Invalid("Request body and URI mismatch", code="Mismatch")


async def body_of(request: Request, kind: Type) -> Any:
    """The body, checked. Raises Invalid."""
    try:
        body = await request.json()
    except Invalid as error:
        raise Invalid("Malformed request body", code="MalformedBody", detail=error.detail) from error
    if body is None:
        body = {}
    if not isinstance(body, dict):
        raise Invalid("Malformed request body", code="MalformedBody")
    return kind.check("", body)


def wrapped(name: str, fields: MutableMapping[str, Type], required: Iterable[str] = (), *, open: bool = False) -> Obj:
    """A body that holds one object under a name."""
    return Obj(fields={name: Obj(fields=fields, required=tuple(required), open=open)}, required=(name,))
