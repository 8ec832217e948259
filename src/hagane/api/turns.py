"""Long lists without holding the event loop: after each slice of a list the others have their turn."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
V = TypeVar("V")
SLICE = 200


async def in_turns(items: Sequence[T], make: Callable[[T], V], size: int = SLICE) -> list[V]:
    """[make(item) for item in items]. For readers only: a transaction may not wait."""
    made: list[V] = []
    for start in range(0, len(items), size):
        if start:
            await asyncio.sleep(0)
        made += [make(item) for item in items[start : start + size]]
    return made
