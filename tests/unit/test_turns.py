"""Long lists: whole, in order, and not in one go."""

import asyncio

import msgspec
import pytest

from hagane.api.http import json_response
from hagane.api.turns import LONG, in_turns, list_response


async def test_others_have_their_turn() -> None:
    turns: list[int] = []

    async def count() -> None:
        while True:
            turns.append(len(turns))
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    assert await in_turns(range(1000), str, 100) == [str(n) for n in range(1000)]
    counting.cancel()
    assert len(turns) >= 9
    assert await in_turns([], str) == []


@pytest.mark.parametrize("count", [0, 1, LONG, LONG + 1, 3 * LONG])
@pytest.mark.parametrize("more", [{}, {"links": [{"rel": "next"}]}])
async def test_a_list_in_pieces_is_the_same_list(count: int, more: dict[str, object]) -> None:
    answer = {"things": [{"id": n, "name": f"[{n},"} for n in range(count)]} | more
    response = await list_response(answer, "things")
    assert response.status == 200
    body = response.body if isinstance(response.body, bytes) else b"".join([piece async for piece in response.body])
    assert int(response.headers.get("content-length", len(body))) == len(body)
    assert msgspec.json.decode(body) == msgspec.json.decode(json_response(200, answer).body)
