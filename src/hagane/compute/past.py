"""Servers that are gone, as far as usage is asked for afterwards: who had how much, from when until when."""

from hagane.state import clock
from hagane.state.database import Row, Tx
from hagane.state.table import Column, Table

PAST = Table(
    "server_past",
    (
        Column("id", key=True),
        Column("project_id"),
        Column("name"),
        Column("flavor", "json"),
        Column("started_at"),
        Column("ended_at"),
    ),
    ("project_id, ended_at", "ended_at"),
)


async def keep(tx: Tx, row: Row) -> None:
    """A Server ends; one that never ran leaves nothing."""
    if row["launched_at"]:
        past = {name: row[name] for name in ("id", "project_id", "name", "flavor")}
        await PAST.insert(tx, past | {"started_at": row["launched_at"], "ended_at": clock.now()})
