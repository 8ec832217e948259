"""Events: every step of every thing's life, with its duration, readable by its owner.

An action (create, reboot, ...) is a row of its own with `step` empty; its steps share the request id. An unfinished row
is what is going on now; `percent` and `message` tell how far it is.
"""

from collections.abc import Iterable

from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Table

EVENT = Table(
    "event",
    (
        Column("id", key=True),
        Column("kind"),  # of the thing: server, node, ...
        Column("key"),  # the thing's id
        Column("request_id"),
        Column("action"),
        Column("step"),
        Column("user_id"),
        Column("project_id"),
        Column("started_at"),
        Column("finished_at"),
        Column("result"),  # Success or Error
        Column("message"),
        Column("percent", "int"),
        Column("host"),
    ),
    ("kind, key, started_at",),
)


_RECORD = f"""INSERT INTO event ({", ".join(EVENT.names)}) VALUES ({", ".join(":" + name for name in EVENT.names)})
ON CONFLICT (id) DO UPDATE SET finished_at = :finished_at, result = :result, message = :message,
percent = :percent, host = :host"""


def identity(key: str, request_id: str, step: str = "") -> str:
    """The id of an action's event, or of a step of it."""
    return f"{key}:{request_id}:{step}"


async def begin(tx: Tx, kind: str, key: str, request_id: str, action: str, step: str = "", **more: object) -> str:
    """Start an action (no step) or a step of it; returns its id. The same step of one request starts only once."""
    event_id = identity(key, request_id, step)
    row: Row = {"id": event_id, "kind": kind, "key": key, "request_id": request_id, "action": action, "step": step}
    if await EVENT.get(tx, id=event_id) is None:
        await EVENT.insert(tx, row | {"started_at": clock.now()} | more)
    return event_id


async def progress(tx: Tx, event_id: str, percent: int, message: str = "") -> None:
    await EVENT.update(tx, {"id": event_id, "finished_at": None}, {"percent": percent, "message": message})


async def end(tx: Tx, event_id: str, *, error: str = "") -> None:
    """Finish an event; finishing twice keeps the first result."""
    changes = {"finished_at": clock.now(), "result": "Error" if error else "Success"}
    await EVENT.update(tx, {"id": event_id, "finished_at": None}, changes | ({"message": error} if error else {}))


async def end_all(tx: Tx, kind: str, key: str, request_id: str, *, error: str = "") -> None:
    """Finish an action with every step of it that still goes on, and earlier ones that it has overtaken."""
    changes = {"finished_at": clock.now(), "result": "Error" if error else "Success"}
    where = {"kind": kind, "key": key, "finished_at": None}
    mine = changes | ({"message": error} if error else {})
    await EVENT.update(tx, where | {"request_id": request_id}, mine)
    await EVENT.update(tx, where, changes | {"result": "Error", "message": "A later action overtook it."})


async def record(tx: Tx, kind: str, key: str, request_id: str, action: str, steps: Iterable[Row]) -> None:
    """Store steps as they are now, each a row of `step`, `started_at` and what else is known; again to bring it up to
    date. One statement a step, for steps that are over as soon as they are told.
    """
    base: Row = dict.fromkeys(EVENT.names) | {"kind": kind, "key": key, "request_id": request_id, "action": action}
    for step in steps:
        await tx.execute(_RECORD, base | {"id": identity(key, request_id, step["step"])} | step)


async def of(reader: Reader, kind: str, key: str) -> list[Row]:
    """All events of a thing, oldest first."""
    return await EVENT.select(reader, {"kind": kind, "key": key}, order="started_at, id")
