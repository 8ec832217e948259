"""What all placement resources share: paths, the error envelope, microversion tests, policy."""

from collections.abc import MutableMapping
from typing import Any

from hagane.api.faults import REASON
from hagane.api.http import Request
from hagane.errors import Forbidden, HaganeError

ROOT = "/placement"


def envelope(error: HaganeError, status: int, request: Request) -> tuple[Any, dict[str, str]]:
    """{"errors": [{"status", "title", "detail", "request_id"}]}; a `code` from 1.23 on."""
    one: dict[str, Any] = {
        "status": status, "title": REASON.get(status, "Error"), "detail": f"{error.message}\n\n   ",
        "request_id": request.id,
    }  # fmt: skip
    if at(request, 23):
        one["code"] = error.extra.get("placement_code", "placement.undefined_code")
    if status == 406 and "maximum" in error.extra:
        one |= {"max_version": error.extra["maximum"], "min_version": error.extra["minimum"]}
    return {"errors": [one]}, {}


def at(request: Request, minor: int) -> bool:
    """Whether the request speaks microversion 1.<minor> or a later one."""
    return request.version >= (1, minor)


def need(request: Request, rule: str, target: MutableMapping[str, Any] | None = None) -> None:
    """Ask the policy. Raises Forbidden."""
    if not request.allowed(
        f"placement:{rule}", {"project_id": request.caller.project_id} if target is None else target
    ):
        raise Forbidden(f"Policy does not allow placement:{rule} to be performed.", code="PolicyNotAuthorized")
