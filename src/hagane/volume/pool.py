"""Storage pools as the reconciler last saw them, and which of them suits a type.

A pool is called host@backend#pool. The API answers from these rows and never asks a device.
"""

import re
from collections.abc import Sequence
from typing import Any

from hagane.state import clock
from hagane.state.database import Reader, Row
from hagane.state.table import Column, Table

POOL = Table(
    "volume_pool",
    (
        Column("name", key=True),
        Column("driver"),
        Column("total_gb", "real"),
        Column("free_gb", "real"),
        Column("capabilities", "json"),
        Column("reason"),  # why it does not answer; empty: it does
        Column("seen_at"),
    ),
)
SERVICE = Table(
    "volume_service",  # what an administrator said of a service
    (Column("binary_name", key=True), Column("host", key=True), Column("disabled", "bool"), Column("reason"),
     Column("updated_at")),
)  # fmt: skip
FRESH = 60.0  # seconds


def is_up(row: Row) -> bool:
    return not row["reason"] and clock.wall() - clock.seconds(row["seen_at"]) < FRESH


def backend(name: str) -> str:
    """host@backend of a pool's name."""
    return name.partition("#")[0]


async def disabled(reader: Reader) -> set[str]:
    """Backends that take no new volumes."""
    rows = await SERVICE.select(reader, {"binary_name": "cinder-volume", "disabled": True})
    return {row["host"] for row in rows}


async def suits(reader: Reader, kind: Row, name: str | None) -> bool:
    """Whether a pool can have volumes of a type."""
    row = await POOL.get(reader, name=name)
    return row is None or fits(kind["extra_specs"] or {}, row)


async def allocated(reader: Reader) -> dict[str, int]:
    """GiB of volumes that there are in each pool, however few of them have been written."""
    text = "SELECT host, sum(size) AS gb FROM volume WHERE host IS NOT NULL GROUP BY host"
    return {row["host"]: int(row["gb"]) for row in await reader.fetch(text)}


def capabilities(row: Row, allocated_gb: int = 0) -> dict[str, Any]:
    """What a pool has and can, in the service's words."""
    return {
        "pool_name": row["name"].partition("#")[2], "total_capacity_gb": row["total_gb"],
        "allocated_capacity_gb": allocated_gb,
        "free_capacity_gb": row["free_gb"], "volume_backend_name": backend(row["name"]).partition("@")[2],
        "storage_protocol": row["driver"], "vendor_name": "Open Source", "driver_version": "1.0",
        "reserved_percentage": 0, "timestamp": row["seen_at"], "QoS_support": False,
        "backend_state": "down" if row["reason"] else "up",
    } | (row["capabilities"] or {})  # fmt: skip


def fits(specs: dict[str, str], row: Row) -> bool:
    """Extra specs against capabilities: names without a scope, or scoped `capabilities:`; others are for drivers."""
    known = capabilities(row)
    for name, wanted in specs.items():
        scope, _, rest = name.rpartition(":")
        if scope not in ("", "capabilities") or (rest in ("multiattach",) and wanted != "<is> True"):
            continue
        if not _matches(known.get(rest), wanted):
            return False
    return True


def _matches(value: Any, wanted: str) -> bool:
    if match := re.fullmatch(r"\s*<is>\s+(\S+)\s*", wanted):
        return bool(value) == (match[1].lower() == "true")
    if match := re.fullmatch(r"\s*<in>\s+(.+)", wanted):
        return match[1].strip() in str(value)
    return str(value).lower() == wanted.strip().lower()


async def choose(reader: Reader, kind: Row) -> tuple[str | None, str]:
    """The emptiest pool that suits, or none and the reason in words."""
    return await choose_for_all(reader, [kind])


async def choose_for_all(reader: Reader, kinds: Sequence[Row]) -> tuple[str | None, str]:
    """The emptiest pool that suits several types at once, or none and the reason in words."""
    rows = await POOL.select(reader, order="name")
    refused = await disabled(reader)
    up = [row for row in rows if is_up(row)]
    open_ = [row for row in up if backend(row["name"]) not in refused]
    if not open_:
        return None, "every storage backend that answers is disabled" if up else "no storage backend answers"
    suitable = [row for row in open_ if all(fits(kind["extra_specs"] or {}, row) for kind in kinds)]
    if not suitable:
        names = ", ".join(kind["name"] for kind in kinds)
        nouns = "type" if len(kinds) == 1 else "types"
        verb = "asks" if len(kinds) == 1 else "together ask"
        return None, f"no storage backend offers what the volume {nouns} {names} {verb} for"
    best = max(suitable, key=lambda row: row["free_gb"])
    return best["name"], ""
