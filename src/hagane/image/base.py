"""The image API's conventions: errors as the real service words and wraps them, and sentences used in many places.

The service answers errors as HTML, as plain text or as JSON, by the client's Accept header; clients cut the sentence
out of whichever comes, so the sentence itself is what has to be right.
"""

from html import escape
from typing import Any

from hagane.api.faults import REASON
from hagane.api.http import Caller, Request
from hagane.api.policy import Policy
from hagane.errors import Forbidden, HaganeError, Invalid, NotFound
from hagane.state.database import Row

PREFIX = "/image"
STORE = "file"  # the one store there is: files in the state folder
SWEEP = "image"  # the work that an image's end wakes: copies of it may be elsewhere

_PAGE = """<html>
 <head>
  <title>{title}</title>
 </head>
 <body>
  <h1>{title}</h1>
  {text}<br /><br />



 </body>
</html>"""


def envelope(error: HaganeError, status: int, request: Request) -> tuple[Any, dict[str, str]]:
    """An error's body in the form that the client accepts."""
    reason = REASON.get(status, "Error")
    title, accept = f"{status} {reason}", request.headers.get("accept", "*/*")
    headers = {"allow": error.extra["allow"]} if "allow" in error.extra else {}
    if "application/json" in accept and "text/html" not in accept:
        return {"message": error.message, "code": title, "title": reason}, headers
    if "text/plain" in accept and "text/html" not in accept:
        return f"{title}\n\n{error.message}\n".encode(), headers | {"content-type": "text/plain; charset=UTF-8"}
    page = _PAGE.format(title=title, text=escape(error.message))
    return page.encode(), headers | {"content-type": "text/html; charset=UTF-8"}


def wording(field: str, value: Any, reason: str) -> str:
    return f"Provided object does not match schema 'image': {reason}"


def enforce(request: Request, rule: str, target: dict[str, Any]) -> None:
    """Raises Forbidden in the service's words unless the policy allows it."""
    if not request.allowed(rule, target):
        raise Forbidden(f"You are not authorized to complete {rule} action.", code="Forbidden")


def target(row: Row) -> dict[str, Any]:
    """An image as policy rules know it."""
    known = {"project_id": row["owner"], "owner": row["owner"], "visibility": row["visibility"]}
    return known | ({"member_id": row["member_id"]} if "member_id" in row else {})


class ImagePolicy:
    """The image service's rules, for other services that touch images in a caller's name."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def allows(self, caller: Caller, rule: str, image: Row) -> bool:
        return self._policy.check(rule, caller.creds, target(image))


def no_image(image_id: str) -> NotFound:
    return NotFound(f"No image found with ID {image_id}", code="ImageNotFound")


async def json_object(request: Request, wrong: str) -> dict[str, Any]:
    """The body, which must be a JSON object. Raises Invalid."""
    body = await json_body(request)
    if not isinstance(body, dict):
        raise Invalid(wrong, code="MalformedBody")
    return body


async def json_body(request: Request) -> Any:
    """The body as JSON, with the service's own sentences. Raises Invalid."""
    try:
        body = await request.json()
    except Invalid as error:
        raise Invalid("Malformed JSON in request body.", code="MalformedBody", detail=error.detail) from error
    if body is None:
        raise Invalid("Body expected in request.", code="MalformedBody")
    return body
