"""Actions: POST .../{id}/action with a body of one key, which names the verb."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.types import Obj, Type
from hagane.errors import Invalid, NotFound
from hagane.volume.base import body_of

Answer = dict[str, Any] | None


@dataclass(frozen=True)
class Verb:
    """What an action takes and does; `status` is that of its answer. `since`: its first microversion, 3.<since>."""

    body: Type
    run: Callable[[Request, Any], Awaitable[Answer]]
    status: int = 202
    since: int = 0


async def act(request: Request, verbs: Mapping[str, Verb]) -> Response:
    """Find the verb of a request and run it. Raises Invalid, NotFound (the microversion does not have it yet)."""
    body = await body_of(request, Type())
    if len(body) != 1:
        raise Invalid("Malformed request body", code="MalformedBody")
    name = next(iter(body))
    verb = verbs.get(name)
    if verb is not None and request.version < (3, verb.since):
        raise NotFound("The resource could not be found.", code="NoRoute")
    if verb is None:
        raise Invalid(
            f"There is no such action: {name}. Verify the request body and Content-Type header and try again.",
            code="NoAction",
        )
    inner = Obj(fields={name: verb.body}, required=(name,)).check("", body)[name]
    answer = await verb.run(request, inner)
    return empty(verb.status) if answer is None else json_response(verb.status, answer)
