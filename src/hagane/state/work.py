"""Durable work: "this key may differ from its row". Written in the transaction that changed the row: neither is lost.

    wake ──▶ due ──claim (lease, fence)──▶ leased ──Done──▶ gone
              ▲                              │  └─ woken meanwhile ─▶ due again at once
              └──── Wait / error: later ◀────┘  lease runs out: due again, and the old holder's fence no longer fits

A row also carries what a person wants to know while it waits: how often it was tried, the last reason in words, since
when, and until when it may take.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec

from hagane.state.database import Database, Tx
from hagane.state.table import UNPACKED, Column, Table

WORK = Table(
    "work",
    (
        Column("kind", key=True),
        Column("key", key=True),
        Column("due", "real"),
        Column("wakes", "int"),
        Column("attempts", "int"),
        Column("lease_owner"),
        Column("lease_until", "real"),
        Column("fence", "int"),
        Column("since", "real"),
        Column("deadline", "real"),
        Column("reason"),
        Column("request_id"),
    ),
    ("kind, due",),
)

_WAKE = """INSERT INTO work
(kind, key, due, wakes, attempts, lease_owner, lease_until, fence, since, deadline, reason, request_id)
VALUES (:kind, :key, :due, 1, 0, NULL, 0, 0, :now, NULL, '', :request_id)
ON CONFLICT (kind, key) DO UPDATE SET due = CASE WHEN work.due < :due THEN work.due ELSE :due END,
wakes = work.wakes + 1, attempts = 0, request_id = COALESCE(:request_id, work.request_id)"""

_WAKE_ALL = _WAKE.replace(
    "VALUES (:kind, :key, :due, 1, 0, NULL, 0, 0, :now, NULL, '', :request_id)",
    # SQLite cannot tell the conflict's ON from a join's without the WHERE.
    "SELECT :kind, found.key, :due, 1, 0, NULL, 0, 0, :now, NULL, '', :request_id FROM ({keys}) AS found WHERE true",
)

_CLAIM = """UPDATE work SET lease_owner = :owner, lease_until = :until, fence = fence + 1, attempts = attempts + 1
WHERE (kind, key) IN (SELECT kind, key FROM work WHERE kind = :kind AND due <= :now AND lease_until <= :now
ORDER BY due LIMIT :limit{lock})
RETURNING kind, key, wakes, attempts, fence, since, deadline, reason, request_id"""


@dataclass(frozen=True, slots=True)
class Claim:
    """One key that this process holds for the time of its lease."""

    kind: str
    key: str
    wakes: int
    attempts: int
    fence: int
    since: float
    deadline: float | None
    reason: str
    request_id: str | None


async def wake(tx: Tx, kind: str, key: str, *, request_id: str | None = None, delay: float = 0.0) -> None:
    """Ask for `key` to be looked at, `delay` seconds from now, when this transaction has been committed."""
    now = time.time()
    await tx.execute(_WAKE, {"kind": kind, "key": key, "due": now + delay, "now": now, "request_id": request_id})
    tx.notify(kind)


async def wake_all(tx: Tx, kind: str, keys: str, params: Mapping[str, Any], *, request_id: str | None = None) -> None:
    """`wake` at once for all that the query `keys` finds, each once, as `key`."""
    now = time.time()
    own = {"kind": kind, "due": now, "now": now, "request_id": request_id}
    await tx.execute(_WAKE_ALL.format(keys=keys), own | dict(params))
    tx.notify(kind)


async def wake_each(tx: Tx, kind: str, keys: Iterable[str], *, request_id: str | None = None) -> None:
    """`wake` at once for all of these."""
    if known := sorted(set(keys)):
        params = {"keys": msgspec.json.encode(known).decode()}
        await wake_all(tx, kind, UNPACKED[tx.dialect].format("keys"), params, request_id=request_id)


async def wake_things(tx: Tx, things: Iterable[tuple[str, str]]) -> None:
    """`wake` at once for all of these, of whatever kinds: (kind, key)."""
    for kind, some in groupby(sorted(things), itemgetter(0)):
        await wake_each(tx, kind, (key for _, key in some))


async def claim(db: Database, kind: str, owner: str, limit: int, lease: float) -> list[Claim]:
    """Take up to `limit` due keys for `lease` seconds. Two processes never hold one key at a time."""
    now = time.time()
    sql = _CLAIM.format(lock=" FOR UPDATE SKIP LOCKED" if db.dialect == "postgresql" else "")
    params = {"owner": owner, "until": now + lease, "kind": kind, "now": now, "limit": limit}

    async def work(tx: Tx) -> list[Claim]:
        return [Claim(*row) for row in await tx.fetch_tuples(sql, params)]

    return await db.write(work)


async def finish(tx: Tx, held: Claim) -> None:
    """The key matches its row: forget the work, unless it was woken again meanwhile."""
    params = {"kind": held.kind, "key": held.key, "fence": held.fence, "wakes": held.wakes}
    gone = await tx.execute(
        "DELETE FROM work WHERE kind = :kind AND key = :key AND fence = :fence AND wakes = :wakes", params
    )
    if not gone:
        params |= {"now": time.time()}
        await tx.execute(
            "UPDATE work SET lease_owner = NULL, lease_until = 0, attempts = 0, since = :now, deadline = NULL,"
            " due = CASE WHEN wakes = :wakes THEN due ELSE CAST(:now AS DOUBLE PRECISION) END, reason = ''"
            " WHERE kind = :kind AND key = :key AND fence = :fence",
            params,
        )
        tx.notify(held.kind)


async def postpone(tx: Tx, held: Claim, delay: float, reason: str, deadline: float | None) -> None:
    """Look again in `delay` seconds, and say why; a wake that came meanwhile makes it at once."""
    now = time.time()
    params: dict[str, Any] = {"kind": held.kind, "key": held.key, "fence": held.fence, "wakes": held.wakes, "now": now}
    params |= {"due": now + delay, "reason": reason, "deadline": deadline}
    await tx.execute(
        "UPDATE work SET lease_owner = NULL, lease_until = 0, reason = :reason, deadline = :deadline,"
        " due = CASE WHEN wakes = :wakes THEN CAST(:due AS DOUBLE PRECISION) ELSE CAST(:now AS DOUBLE PRECISION) END"
        " WHERE kind = :kind AND key = :key AND fence = :fence",
        params,
    )
    tx.notify(held.kind)


async def tell(tx: Tx, held: Claim, reason: str) -> None:
    """Say what a key waits for while it is being worked on."""
    await tx.execute(
        "UPDATE work SET reason = :reason WHERE kind = :kind AND key = :key AND fence = :fence",
        {"kind": held.kind, "key": held.key, "fence": held.fence, "reason": reason},
    )


async def revisit(tx: Tx, held: Claim, delay: float) -> None:
    """The key matches its row, and is to be looked at again in `delay` seconds: nothing that a person waits for."""
    now = time.time()
    params = {"kind": held.kind, "key": held.key, "fence": held.fence, "wakes": held.wakes, "now": now}
    await tx.execute(
        "UPDATE work SET lease_owner = NULL, lease_until = 0, reason = '', deadline = NULL, attempts = 0, since = :due,"
        " due = CASE WHEN wakes = :wakes THEN CAST(:due AS DOUBLE PRECISION) ELSE CAST(:now AS DOUBLE PRECISION) END"
        " WHERE kind = :kind AND key = :key AND fence = :fence",
        params | {"due": now + delay},
    )
    tx.notify(held.kind)


async def extend(db: Database, held: list[Claim], lease: float) -> None:
    """Lengthen the leases of work that takes long."""

    async def work(tx: Tx) -> None:
        for claim_ in held:
            await tx.execute(
                "UPDATE work SET lease_until = :until WHERE kind = :kind AND key = :key AND fence = :fence",
                {"until": time.time() + lease, "kind": claim_.kind, "key": claim_.key, "fence": claim_.fence},
            )

    await db.write(work)


async def release_all(db: Database) -> int:
    """Forget all leases, for a process that knows that those who held them are dead; returns how many there were."""

    async def work(tx: Tx) -> int:
        return await tx.execute("UPDATE work SET lease_owner = NULL, lease_until = 0 WHERE lease_until > 0")

    return await db.write(work)


async def next_due(db: Database, kind: str) -> float | None:
    """When the next key of a kind can be claimed (epoch seconds), or None."""
    rows = await db.fetch_tuples(
        "SELECT min(CASE WHEN due > lease_until THEN due ELSE lease_until END) FROM work WHERE kind = :kind",
        {"kind": kind},
    )
    return rows[0][0] if rows else None
