"""Allocations: scarce things (an address, a VLAN, a share of a Host) as rows with an owner.

A thing is (`kind`, `pool`, `item`), unique; it is taken in the transaction that creates its owner and given back when
the owner ends. Nothing is ever allocated in memory, so a crash leaks nothing, and a test can count what is left.
"""

from hagane.state.database import Reader, Tx
from hagane.state.table import Column, Table

ALLOCATION = Table(
    "allocation",
    (Column("kind", key=True), Column("pool", key=True), Column("item", key=True), Column("owner")),
    ("owner",),
)

_TAKE = """INSERT INTO allocation (kind, pool, item, owner) VALUES (:kind, :pool, :item, :owner)
ON CONFLICT (kind, pool, item) DO NOTHING"""


async def take(tx: Tx, kind: str, pool: str, item: str, owner: str) -> bool:
    """Take one named item; False when somebody has it."""
    return await tx.execute(_TAKE, {"kind": kind, "pool": pool, "item": item, "owner": owner}) > 0


async def release(tx: Tx, kind: str, pool: str, item: str) -> None:
    await ALLOCATION.delete(tx, {"kind": kind, "pool": pool, "item": item})


async def held(reader: Reader, kind: str, pool: str) -> dict[str, str]:
    """item -> owner of everything taken from a pool."""
    rows = await reader.fetch_tuples(
        "SELECT item, owner FROM allocation WHERE kind = :kind AND pool = :pool", {"kind": kind, "pool": pool}
    )
    return {row[0]: row[1] for row in rows}
