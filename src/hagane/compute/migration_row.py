"""The rows of migrations: each time that a Server went, or was to go, to another flavor or another Host.

Written with the Server's own row, in one transaction; they outlive the Server.
"""

from typing import Any
from uuid import uuid4

from hagane.state import clock
from hagane.state.database import Row, Tx
from hagane.state.table import Column, Table

LIVE = "live-migration"
MIGRATION = Table(
    "server_migration",
    (
        Column("uuid", key=True),
        Column("number", "int"),
        Column("server_id"),
        Column("user_id"),
        Column("project_id"),
        Column("kind"),  # resize, migration, live-migration, evacuation
        Column("status"),
        Column("source"),
        Column("dest"),
        Column("old_flavor"),
        Column("new_flavor"),
        Column("created_at"),
        Column("updated_at"),
    ),
    ("server_id", "created_at"),
)


async def begin(tx: Tx, server: Row, kind: str, *, new_flavor: str, status: str = "pre-migrating") -> str:
    """A new one; its uuid. It also owns what the Server leaves behind on its old Host until that is over."""
    uuid, moment = str(uuid4()), clock.now()
    number = (await tx.fetch_tuples("SELECT max(number) FROM server_migration"))[0][0] or 0
    row: dict[str, Any] = {
        "uuid": uuid, "number": number + 1, "server_id": server["id"], "user_id": server["user_id"],
        "project_id": server["project_id"], "kind": kind, "status": status, "source": server["host"], "dest": None,
        "old_flavor": server["flavor_id"], "new_flavor": new_flavor, "created_at": moment, "updated_at": moment,
    }  # fmt: skip
    await MIGRATION.insert(tx, row)
    return uuid


async def evacuated(tx: Tx, server: Row, status: str) -> None:
    """An evacuation is over."""
    where = {"server_id": server["id"], "status": "accepted", "kind": "evacuation"}
    await MIGRATION.update(tx, where, {"status": status, "dest": server["host"], "updated_at": clock.now()})


async def tell(tx: Tx, uuid: str, status: str, **more: Any) -> None:
    """It is that far."""
    await MIGRATION.update(tx, {"uuid": uuid}, {"status": status, "updated_at": clock.now()} | more)
