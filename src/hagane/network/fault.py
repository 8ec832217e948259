"""The envelope of the network API's errors."""

from typing import Any

from hagane.api.http import Request
from hagane.errors import HaganeError


def envelope(fault: HaganeError, status: int, request: Request) -> tuple[Any, dict[str, str]]:
    """{"NeutronError": {...}}; only the answer to a missing token looks as the identity middleware's."""
    if status == 401:
        return {"error": {"message": fault.message, "code": 401, "title": "Unauthorized"}}, {}
    name, message = _GENERIC.get(fault.code, (fault.code, ""))
    return {"NeutronError": {"type": name, "message": message or fault.message, "detail": ""}}, {}


_GENERIC = {
    "Invalid": ("HTTPBadRequest", ""),
    "MalformedBody": ("HTTPBadRequest", "Body contains invalid data"),
    "NotFound": ("HTTPNotFound", ""),
    "NoRoute": ("HTTPNotFound", "The resource could not be found."),
    "MethodNotAllowed": (
        "HTTPMethodNotAllowed",
        "The server could not comply with the request since it is either malformed or otherwise incorrect.",
    ),
    "Unforeseen": ("HTTPInternalServerError", "Request Failed: internal server error while processing your request."),
    "Unavailable": ("ServiceUnavailable", ""),
}


def wording(field: str, value: Any, reason: str) -> str:
    return f"Invalid input for {field}. Reason: {reason}."
