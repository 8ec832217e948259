"""Waiting for a Host, and telling the Server's owner meanwhile how far it is."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from hagane.compute.row import SERVER
from hagane.reconcile import server_end
from hagane.reconcile.server_steps import Overtaken, Steps
from hagane.state.database import Database, Row

T = TypeVar("T")
LOOK_SECONDS = 1.0  # between looks at what is wanted meanwhile


async def telling(db: Database, row: Row, steps: Steps, work: Coroutine[Any, Any, T]) -> T:
    """Wait for the Host. While it takes long, write every second how far it is, and give up when the Server is wanted
    otherwise: a delete does not wait for the end of an upload. Raises Overtaken.
    """
    task = asyncio.ensure_future(work)
    try:
        while True:
            done, _ = await asyncio.wait({task}, timeout=LOOK_SECONDS)
            if done:
                return task.result()
            if steps.changed:
                await db.write(lambda tx: server_end.progress(tx, row, steps))
            if await SERVER.count(db, {"id": row["id"], "generation": row["generation"]}) == 0:
                raise Overtaken
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
