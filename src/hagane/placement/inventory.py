"""What a Host has to give and what is taken of it.

A claim is a handful of `placement_allocation` rows and, in the same transaction, sums in `placement_inventory.used`. A
sum is raised by one statement that also checks the room, so the same CPU is never sold twice, however many
processes claim at once; a test compares sums and rows.
"""

from collections.abc import Mapping
from typing import Any

from hagane.placement.host import HOST
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Table

INVENTORY = Table(
    "placement_inventory",
    (
        Column("provider_id", key=True),
        Column("resource_class", key=True),
        Column("total", "int"),
        Column("reserved", "int"),
        Column("min_unit", "int"),
        Column("max_unit", "int"),
        Column("step_size", "int"),
        Column("allocation_ratio", "real"),
        Column("capacity", "int"),  # (total - reserved) * ratio
        Column("used", "int"),
    ),
)
ALLOCATION = Table(
    "placement_allocation",
    (
        Column("consumer_id", key=True),
        Column("provider_id", key=True),
        Column("resource_class", key=True),
        Column("used", "int"),
        Column("project_id"),
        Column("user_id"),
        Column("created_at"),
    ),
    ("provider_id", "project_id"),
)

_TAKE = """UPDATE placement_inventory SET used = used + :amount
WHERE provider_id = :provider AND resource_class = :class AND used + :amount <= capacity AND max_unit >= :amount"""
_GIVE = """UPDATE placement_inventory SET used = used - :amount
WHERE provider_id = :provider AND resource_class = :class"""
_TOUCH = "UPDATE host SET generation = generation + 1 WHERE id = :id"


async def usages(reader: Reader) -> dict[str, dict[str, Row]]:
    """provider id -> resource class -> its inventory row, for all Hosts: one query."""
    found: dict[str, dict[str, Row]] = {}
    for row in await INVENTORY.select(reader):
        found.setdefault(row["provider_id"], {})[row["resource_class"]] = row
    return found


async def claim(
    tx: Tx, provider_id: str, consumer_id: str, resources: Mapping[str, int], *, project_id: str, user_id: str
) -> bool:
    """Take `resources` of a Host for a consumer; False, with nothing taken, when one of them does not fit."""
    taken: list[tuple[str, int]] = []
    for resource_class, amount in resources.items():
        if not amount:
            continue
        if not await tx.execute(_TAKE, {"provider": provider_id, "class": resource_class, "amount": amount}):
            for earlier, size in taken:
                await tx.execute(_GIVE, {"provider": provider_id, "class": earlier, "amount": size})
            return False
        taken.append((resource_class, amount))
    row: Row = {"consumer_id": consumer_id, "provider_id": provider_id, "project_id": project_id, "user_id": user_id}
    for resource_class, amount in taken:
        await ALLOCATION.insert(tx, row | {"resource_class": resource_class, "used": amount, "created_at": clock.now()})
    await tx.execute(_TOUCH, {"id": provider_id})
    return True


async def release(tx: Tx, consumer_id: str) -> None:
    """Give back all that a consumer holds. Releasing twice is harmless."""
    held = await ALLOCATION.select(tx, {"consumer_id": consumer_id})
    if not held:
        return
    for row in held:
        give = {"provider": row["provider_id"], "class": row["resource_class"], "amount": row["used"]}
        await tx.execute(_GIVE, give)
    await ALLOCATION.delete(tx, {"consumer_id": consumer_id})
    for provider_id in {row["provider_id"] for row in held}:
        await tx.execute(_TOUCH, {"id": provider_id})


async def rename(tx: Tx, consumer_id: str, other_id: str) -> None:
    """What one consumer holds is another's from now on; no sum changes."""
    await ALLOCATION.update(tx, {"consumer_id": consumer_id}, {"consumer_id": other_id})


async def set_inventory(tx: Tx, provider_id: str, totals: Mapping[str, tuple[int, int, float]]) -> bool:
    """Store what a Host has: class -> (total, reserved, ratio). What is used stays. Returns whether it changed."""
    present = {row["resource_class"]: row for row in await INVENTORY.select(tx, {"provider_id": provider_id})}
    changed = False
    for resource_class, (total, reserved, ratio) in totals.items():
        row: dict[str, Any] = {
            "total": total, "reserved": reserved, "min_unit": 1, "max_unit": total, "step_size": 1,
            "allocation_ratio": ratio, "capacity": int((total - reserved) * ratio),
        }  # fmt: skip
        key = {"provider_id": provider_id, "resource_class": resource_class}
        old = present.get(resource_class)
        if old is None:
            await INVENTORY.insert(tx, key | row | {"used": 0})
        elif all(old[name] == value for name, value in row.items()):
            continue
        else:
            await INVENTORY.update(tx, key, row)
        changed = True
    if changed:
        await HOST.update(tx, {"id": provider_id}, {"updated_at": clock.now()})
        await tx.execute(_TOUCH, {"id": provider_id})
    return changed
