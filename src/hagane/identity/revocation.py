"""What ends tokens before their time: a row says "all tokens of this subject issued until then are over".

A subject is the id of a user, project, domain or application credential, or an audit id (a token, or with "chain:"
before it a token and all that were made from it). One row per subject, the latest moment wins.
"""

import time

from hagane.identity.base import CHANGED
from hagane.state.database import Reader, Tx
from hagane.state.table import Column, Table

REVOCATION = Table(
    "identity_revocation", (Column("subject", key=True), Column("until", "real"), Column("kind")), ("until",)
)

_UPSERT = """INSERT INTO identity_revocation (subject, until, kind) VALUES (:subject, :until, :kind)
ON CONFLICT (subject) DO UPDATE SET until = excluded.until"""


async def revoke(tx: Tx, *subjects: str, kind: str = "user_id") -> None:
    """End every token of these subjects that has been issued by now, in all processes.

    `kind` says what they are, as the list of events calls it (revoke_event.py); empty: the list has no word for it.
    """
    for subject in subjects:
        await tx.execute(_UPSERT, {"subject": subject, "until": time.time(), "kind": kind})
        tx.notify(f"{CHANGED}:{subject}")


async def is_revoked(reader: Reader, subjects: list[str], issued_at: float) -> bool:
    rows = await REVOCATION.select(reader, {"subject": subjects})
    return any(row["until"] >= issued_at for row in rows)


async def purge(tx: Tx, longest: float) -> int:
    """Forget what no living token can be older than; `longest` is a token's life in seconds."""
    return await tx.execute("DELETE FROM identity_revocation WHERE until < :past", {"past": time.time() - longest})
