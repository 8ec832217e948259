"""What is exported: one row for each machine that reaches a volume over the network, with a password of its own.

    connect ──▶ row ──▶ target (reconcile/volume_export.py) ──▶ the attachment notes it
    disconnect, or the attachment's end ──▶ no row ──▶ no target

The row comes before the target and goes before it. One that no attachment notes within a minute belongs to a caller
that died, and goes as well; a volume that somebody has taken in the older way, without an attachment's connection,
keeps it. So does the Host to which a Server goes while it runs: that may take hours, and the attachment notes where
the Server is; whoever leads the way ends it, or whoever takes the volume from the Server.
"""

import secrets as random
from collections.abc import Sequence
from typing import Any

from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.secret import Secrets
from hagane.state.table import Column, Table
from hagane.state.work import wake
from hagane.volume.base import EXPORT as KIND
from hagane.volume.row import ATTACHMENT, VOLUME

OURS = "hagane"
GOING = {"going": True}  # what OURS says of the Host to which a Server is on its way
KEY = "all"
NOTED_SECONDS = 60.0
EXPORT = Table(
    "volume_export",
    (
        Column("id", key=True),  # the CHAP user
        Column("volume_id"),
        Column("machine"),  # who it is for, as one text
        Column("connector", "json"),
        Column("secret"),  # the password, sealed
        Column("made_at", "real"),  # epoch seconds
    ),
    ("volume_id, machine",),
)


def place(connector: Row) -> tuple[str, str] | None:
    """The namespace and address of the portal that this machine needs; None: the usual one."""
    ours = connector.get(OURS)
    if not isinstance(ours, dict) or "netns" not in ours:
        return None
    return str(ours["netns"]), str(ours["address"])


def machine_of(connector: Row) -> str:
    """Who it is, as one text; nobody from outside is ever one of ours."""
    words = [connector.get(name) or "" for name in ("host", "initiator", "instance")]
    return "|".join(str(word) for word in (OURS in connector, *words, *(place(connector) or ())))


async def take(tx: Tx, secrets: Secrets, volume_id: str, connector: dict[str, Any]) -> Row:
    """The row for this machine, made the first time. Its minute to be noted starts anew."""
    where = {"volume_id": volume_id, "machine": machine_of(connector)}
    await wake(tx, KIND, KEY, delay=NOTED_SECONDS + 1)
    known = await EXPORT.get(tx, **where)
    now: Row = {"made_at": clock.wall()}
    now |= {"connector": connector} if connector.get(OURS) == GOING else {}
    if known is not None and await EXPORT.update(tx, {"id": known["id"]}, now):
        return known | now
    user, password = f"hagane-{random.token_hex(6)}", random.token_hex(16)
    row = where | {"id": user, "connector": connector, "secret": secrets.encrypt(password)} | now
    await EXPORT.insert(tx, row)
    return row


async def give_back(tx: Tx, where: Row) -> None:
    """These are over. Nothing happens the second time."""
    if await EXPORT.delete(tx, where):
        await wake(tx, KIND, KEY)


async def ended(tx: Tx, attachment: Row) -> None:
    """An attachment is over."""
    user = ((attachment["connection"] or {}).get("data") or {}).get("auth_username")
    if user and attachment["secret"]:
        await give_back(tx, {"id": user, "volume_id": attachment["volume_id"]})


async def sweep(tx: Tx) -> float | None:
    """End what nobody noted; says after how many seconds to look again, if anything is younger."""
    rows = await EXPORT.select(tx)
    if gone := await _forgotten(tx, rows):
        # Whoever wants it in this moment has given it a new time, and keeps it.
        times = [row["made_at"] for row in rows if row["id"] in gone]
        await EXPORT.delete(tx, {"id": gone, "made_at": times})
    youngest = max((row["made_at"] for row in rows), default=0.0)
    left = youngest + NOTED_SECONDS - clock.wall()
    return left + 1 if left > 0 else None


async def _forgotten(reader: Reader, rows: Sequence[Row]) -> list[str]:
    """Ids of those that nobody noted."""
    old = [row for row in rows if clock.wall() - row["made_at"] > NOTED_SECONDS]
    if not old:
        return []
    volumes = sorted({row["volume_id"] for row in old})
    columns = ("volume_id", "instance_uuid", "connection")
    attachments = await ATTACHMENT.select(reader, {"volume_id": volumes}, columns=columns)
    noted = {((row["connection"] or {}).get("data") or {}).get("auth_username") for row in attachments}
    having = {(row["volume_id"], row["instance_uuid"]) for row in attachments}
    old = [row for row in old if row["connector"].get(OURS) != GOING
           or (row["volume_id"], row["connector"].get("instance")) not in having]  # fmt: skip
    status = {
        row["id"]: row["status"] for row in await VOLUME.select(reader, {"id": volumes}, columns=("id", "status"))
    }
    taken = ("attaching", "in-use", "detaching", "reserved")
    return [
        row["id"]
        for row in old
        if row["id"] not in noted and (OURS in row["connector"] or status.get(row["volume_id"]) not in taken)
    ]
