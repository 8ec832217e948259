"""Long lists without holding the event loop: after each slice of a list the others have their turn."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

import msgspec

from hagane.api.http import Response, json_response

T = TypeVar("T")
V = TypeVar("V")
SLICE = 200
LONG = 1000  # entries of a list that are encoded at once
_encode = msgspec.json.Encoder().encode


async def in_turns(items: Sequence[T], make: Callable[[T], V], size: int = SLICE) -> list[V]:
    """[make(item) for item in items]. For readers only: a transaction may not wait."""
    made: list[V] = []
    for start in range(0, len(items), size):
        if start:
            await asyncio.sleep(0)
        made += [make(item) for item in items[start : start + size]]
    return made


async def list_response(answer: dict[str, Any], name: str) -> Response:
    """The response with the list `name` and whatever else `answer` holds."""
    entries = answer[name]
    if len(entries) <= LONG:
        return json_response(200, answer)
    slices = [entries[start : start + LONG] for start in range(0, len(entries), LONG)]
    pieces = await in_turns(slices, lambda slice_: _encode(slice_)[1:-1], 1)
    rest = _encode({key: value for key, value in answer.items() if key != name})[1:]
    body = [b"{" + _encode(name) + b":["]
    for number, piece in enumerate(pieces):
        body += [b","] * (number > 0) + [piece]
    body.append(b"]" + b"," * (rest != b"}") + rest)
    return Response(200, _each(body), {"content-length": str(sum(map(len, body)))})


async def _each(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
