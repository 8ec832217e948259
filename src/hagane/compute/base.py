"""What all compute resources share: paths and links, the error envelope and wording, microversion tests, policy.

https://docs.openstack.org/api-ref/compute/
"""

from collections.abc import MutableMapping
from typing import Any

from hagane.api.http import Request
from hagane.api.listing import Page
from hagane.api.resource import Resource
from hagane.errors import Forbidden, HaganeError, Invalid, NotFound
from hagane.state.database import Row

ROOT = "/compute"
V21 = ROOT + "/v2.1"
MOST = 1000  # rows of one page

_FAULTS = {400: "badRequest", 401: "unauthorized", 403: "forbidden", 404: "itemNotFound", 405: "badMethod",
           409: "conflictingRequest", 413: "overLimit", 415: "badMediaType", 429: "overLimit", 501: "notImplemented",
           503: "serviceUnavailable"}  # fmt: skip


def envelope(error: HaganeError, status: int, request: Request) -> tuple[Any, dict[str, str]]:
    """{"itemNotFound": {"code": 404, "message": ...}}; 401 is said in the identity middleware's form."""
    if status == 401:
        return {"error": {"message": error.message, "code": 401, "title": "Unauthorized"}}, {}
    return {_FAULTS.get(status, "computeFault"): {"code": status, "message": error.message}}, {}


def wording(field: str, value: Any, reason: str) -> str:
    """The sentence for a value that does not fit; what has no name of its own is the body itself."""
    if not field:
        return reason
    return f"Invalid input for field/attribute {field.rpartition('.')[2]}. Value: {value}. {reason}"


def at(request: Request, minor: int) -> bool:
    """Whether the request speaks microversion 2.<minor> or a later one."""
    return request.version >= (2, minor)


def links(request: Request, collection: str, key: str) -> list[dict[str, str]]:
    return [
        {"rel": "self", "href": f"{request.url}/v2.1/{collection}/{key}"},
        {"rel": "bookmark", "href": f"{request.url}/{collection}/{key}"},
    ]


def bookmark(request: Request, collection: str, key: str) -> list[dict[str, str]]:
    return [{"rel": "bookmark", "href": f"{request.url}/{collection}/{key}"}]


def own(request: Request) -> dict[str, Any]:
    """The target of rules about the caller's own project."""
    return {"project_id": request.caller.project_id, "user_id": request.caller.user_id}


def need(request: Request, rule: str, target: MutableMapping[str, Any] | None = None) -> None:
    """Ask the policy; without a target, about the caller's own project. Raises Forbidden."""
    if not request.allowed(rule, own(request) if target is None else target):
        raise Forbidden(f"Policy doesn't allow {rule} to be performed.", code="PolicyNotAuthorized", rule=rule)


def api(rest: str) -> str:
    """Name of a policy rule: api("servers:show")."""
    return f"os_compute_api:{rest}"


def object_of(body: Any, name: str) -> dict[str, Any]:
    """The object under `name` in a body. Raises Invalid."""
    if not isinstance(body, dict):
        raise Invalid("Malformed request body", code="MalformedBody")
    if name not in body:
        raise Invalid(f"'{name}' is a required property", code="MalformedBody")
    if not isinstance(body[name], dict):
        raise Invalid(wording(name, body[name], f"{body[name]!r} is not of type 'object'"), code="MalformedBody")
    inner: dict[str, Any] = body[name]
    return inner


def next_link(request: Request, page: Page, found: int) -> list[dict[str, str]]:
    """The link to the next page, which the compute API gives whenever a page is full."""
    if not found or page.limit is None or found < page.limit:
        return []
    return [{"rel": "next", "href": request.page_url(marker=page.last)}]


class ComputeResource(Resource):
    """A compute resource by the generic handlers: rules are named api(<rules>:<verb>), ends of pages have links."""

    rules = ""  # "os-flavor-manage"

    def rule(self, verb: str) -> str:
        return api(f"{self.rules or self.name}:{verb}")

    def target(self, row: Row) -> dict[str, Any]:
        return {"project_id": row.get("project_id"), "user_id": row.get("user_id")}

    def not_found(self, key: str) -> NotFound:
        return NotFound(f"{self.name.capitalize()} {key} could not be found.")
