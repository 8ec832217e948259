"""Numbers handed out in order, from ranges that may be huge, at the same cost however many are taken.

    range: first ... next ........ last       `next` moves up by one per allocation
    freed: items given back, oldest first     used again after they rested a while, or when the ranges are used up

A number is a candidate only; what is taken is a row of state/allocation.py, so an item that a caller chose by name is
skipped when its turn comes. All of it happens in the transaction of the new owner. An address that rested does not
meet its former owner's traffic.
"""

import time
from collections.abc import Callable, Iterable

from hagane.state import allocation
from hagane.state.database import Tx
from hagane.state.table import Column, Table

RANGE = Table(
    "network_range",
    (Column("pool", key=True), Column("first", key=True), Column("size", "int"), Column("next", "int")),
)
"""`first` is a number of 128 bits as 32 hexadecimal digits, so that it sorts and fits both stores."""

FREED = Table(
    "network_freed",
    (Column("pool", key=True), Column("item", key=True), Column("freed_at", "real")),
    ("pool, freed_at",),
)

REST = 60.0  # seconds that a freed item is left alone while there are others
_MOST = 1 << 62

_NEXT = """UPDATE network_range SET next = next + 1 WHERE pool = :pool AND first =
(SELECT min(first) FROM network_range WHERE pool = :pool AND next < size) RETURNING first, next"""
_OLDEST = """DELETE FROM network_freed WHERE pool = :pool AND item = (SELECT item FROM network_freed
WHERE pool = :pool AND freed_at <= :before ORDER BY freed_at LIMIT 1) RETURNING item"""
_FREE = """INSERT INTO network_freed (pool, item, freed_at) SELECT pool, item, :now FROM allocation
WHERE owner = :owner AND kind = :kind ON CONFLICT (pool, item) DO UPDATE SET freed_at = :now"""


async def define(tx: Tx, pool: str, ranges: Iterable[tuple[int, int]]) -> None:
    """(Re)define a pool by its ranges, each from first to last, both included."""
    await RANGE.delete(tx, {"pool": pool})
    for first, last in ranges:
        size = min(last - first + 1, _MOST)
        await RANGE.insert(tx, {"pool": pool, "first": f"{first:032x}", "size": size, "next": 0})


async def forget(tx: Tx, pool: str) -> None:
    """Remove a pool. Its allocations must be gone."""
    await RANGE.delete(tx, {"pool": pool})
    await FREED.delete(tx, {"pool": pool})


async def take_next(
    tx: Tx, kind: str, pool: str, owner: str, name: Callable[[int], str], fits: Callable[[str], bool]
) -> str | None:
    """Allocate an item of the pool for `owner`; None when all are taken.

    `name` turns a number into the item; `fits` says whether a freed item still belongs to the pool.
    """
    while (item := await _oldest(tx, pool, time.time() - REST)) is not None:
        if fits(item) and await allocation.take(tx, kind, pool, item, owner):
            return item
    while (number := await _number(tx, pool)) is not None:
        item = name(number)
        if await allocation.take(tx, kind, pool, item, owner):
            return item
    while (item := await _oldest(tx, pool, time.time() + 1)) is not None:
        if fits(item) and await allocation.take(tx, kind, pool, item, owner):
            return item
    return None


async def give_back(tx: Tx, kind: str, owner: str) -> None:
    """Release all items of a kind that `owner` holds; they rest, then are handed out again."""
    await tx.execute(_FREE, {"owner": owner, "kind": kind, "now": time.time()})
    await allocation.ALLOCATION.delete(tx, {"owner": owner, "kind": kind})


async def give_back_one(tx: Tx, kind: str, pool: str, item: str) -> None:
    await allocation.release(tx, kind, pool, item)
    await FREED.delete(tx, {"pool": pool, "item": item})
    await FREED.insert(tx, {"pool": pool, "item": item, "freed_at": time.time()})


async def _number(tx: Tx, pool: str) -> int | None:
    rows = await tx.fetch_tuples(_NEXT, {"pool": pool})
    return int(rows[0][0], 16) + int(rows[0][1]) - 1 if rows else None


async def _oldest(tx: Tx, pool: str, before: float) -> str | None:
    rows = await tx.fetch_tuples(_OLDEST, {"pool": pool, "before": before})
    return str(rows[0][0]) if rows else None
