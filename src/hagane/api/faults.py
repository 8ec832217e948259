"""The only place that turns an error into a status code and a body, in each service's own envelope."""

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from hagane import errors
from hagane.api.http import Request, Response
from hagane.api.types import BadValue
from hagane.state.database import Duplicate

if TYPE_CHECKING:
    from hagane.errors import HaganeError

log = logging.getLogger("hagane.fault")

STATUS: dict[type[errors.HaganeError], int] = {
    errors.Invalid: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.QuotaExceeded: 403,
    errors.NotFound: 404,
    errors.NotAcceptable: 406,
    errors.Conflict: 409,
    errors.Precondition: 412,
    errors.TooLarge: 413,
    errors.Unsupported: 501,
    errors.Unavailable: 503,
    errors.DeviceFailed: 500,
}
REASON = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
          406: "Not Acceptable", 409: "Conflict", 410: "Gone", 412: "Precondition Failed",
          413: "Request Entity Too Large", 415: "Unsupported Media Type", 416: "Range Not Satisfiable",
          422: "Unprocessable Entity", 500: "Internal Server Error", 501: "Not Implemented",
          503: "Service Unavailable"}  # fmt: skip
UNFORESEEN = "An unexpected error prevented the server from fulfilling your request."


def answer(request: Request, error: BaseException) -> Response:
    """The response to a failed request. What is not foreseen becomes a generic 500; its traceback goes to the log."""
    if isinstance(error, BadValue):
        error.message = request.service.wording(error.field, error.value, error.reason)
    if not isinstance(error, errors.HaganeError):
        if isinstance(error, Duplicate):
            log.warning("unhandled duplicate: %s", error)
            error = errors.Conflict("The request conflicts with another one that came first; try again.")
        else:
            log.error("unforeseen error", exc_info=error, extra={"path": request.path})
            error = errors.HaganeError(UNFORESEEN, code="Unforeseen")
    status = request.service.status(error) or error.extra.get("status") or _status(error)
    if status >= 500:
        log.warning("%s %s -> %d: %s %s", request.method, request.path, status, error.message, error.detail)
    # Every service leaves refusing a token to the same middleware, which answers alike everywhere.
    envelope = plain if isinstance(error, errors.Unauthenticated) else request.service.envelope
    body, headers = envelope(error, status, request)
    if status == 401:
        headers.setdefault("www-authenticate", f'Keystone uri="{request.base_url}/identity"')
    if isinstance(error, errors.Unavailable):
        headers.setdefault("retry-after", "2")
    return Response(status, body if isinstance(body, bytes) else msgspec.json.encode(body), headers)


def _status(error: "HaganeError") -> int:
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return 500


def plain(error: "HaganeError", status: int, request: Request) -> tuple[Any, dict[str, str]]:
    """The envelope of paths that belong to no service."""
    return {"error": {"code": status, "title": REASON.get(status, "Error"), "message": error.message}}, {}
