"""Says, while a Node is being worked on, that it is its BMC that is waited for.

One question to a BMC may take half a minute until it counts as unanswered, and only then does the work's outcome say
why. Whoever asks meanwhile (`hagane explain`) is to know: since when, and until when.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from hagane.drivers.bmc.base import Question
from hagane.errors import HaganeError
from hagane.reconcile.node_tools import Tools
from hagane.state import clock, work
from hagane.state.database import Database
from hagane.state.work import Claim


@contextlib.asynccontextmanager
async def telling(db: Database, claim: Claim, tools: Tools) -> AsyncIterator[None]:
    """While this is open, what the key waits for is written into its work. It costs one timer, mostly never due."""
    loop, tasks = asyncio.get_running_loop(), list[asyncio.Task[None]]()
    timer = loop.call_later(tools.times.silent, lambda: tasks.append(loop.create_task(_tell(db, claim, tools))))
    try:
        yield
    finally:
        timer.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _tell(db: Database, claim: Claim, tools: Tools) -> None:
    told = ""
    while True:
        question = tools.bmcs.open(claim.key)
        late = question is not None and clock.wall() - question.asked >= tools.times.silent
        text = words(question) if question is not None and late else ""
        if text != told:
            with contextlib.suppress(HaganeError):
                await db.write(lambda tx, text=text: work.tell(tx, claim, text))  # type: ignore[misc]
                told = text
        await asyncio.sleep(tools.times.silent / 3)


def words(question: Question) -> str:
    asked, until = (datetime.fromtimestamp(one, UTC).strftime("%H:%M:%S") for one in (question.asked, question.until))
    return f"Its BMC has not answered since {asked} UTC; at {until} the question is given up and asked again."
