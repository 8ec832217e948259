"""What belongs to a process and not to the cloud: look at the rows when they change, and bring this machine to them.

Sockets cannot be keyed work, which one process claims: every process has its own.

    rows change ─▶ gathered ─▶ look() ─▶ what failed is tried again soon; everything is looked at once in a while
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from hagane.cloud import Cloud
from hagane.drivers.metadata.base import Endpoint
from hagane.errors import HaganeError

log = logging.getLogger(__name__)
GATHER = 0.2  # seconds in which changes are gathered before a look
AGAIN, FULL = 2.0, 30.0  # seconds until what failed is tried again; until everything is looked at anyway


async def bring(
    apply: Callable[[Sequence[Endpoint]], Awaitable[dict[str, str]]], those: Sequence[Endpoint],
    before: Mapping[str, str], service: str,
) -> dict[str, str]:  # fmt: skip
    """Serve at all of these: networks that have no service, and why. What was not so `before` is logged."""
    try:
        failed = await apply(those)
    except HaganeError as error:  # the switch does not answer: that concerns all of them
        failed = {one.network_id: error.message for one in those}
    for network_id, why in failed.items():
        if before.get(network_id) != why:
            log.warning("network %s has no %s service: %s", network_id, service, why)
    return failed


class Looker:
    """Runs `look`, which says whether something failed, on changes of work of some kinds."""

    def __init__(self, cloud: Cloud, name: str, kinds: Collection[str], look: Callable[[], Awaitable[bool]]) -> None:
        self._cloud, self._name, self._kinds, self._look = cloud, name, kinds, look
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._cloud.db.listen(self._heard)
        self._task = asyncio.get_running_loop().create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def soon(self) -> None:
        """Something changed that is in no row."""
        self._changed.set()

    def _heard(self, kind: str) -> None:
        if kind in self._kinds:
            self._changed.set()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            started, failed = time.perf_counter(), True
            try:
                failed = await self._look()
            except Exception:
                log.exception("%s: cannot bring this machine to the rows", self._name)
            # A look at a large cloud takes its time; looking must stay a small share of all work.
            await asyncio.sleep(max(GATHER, 10 * (time.perf_counter() - started)))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN if failed else FULL):
                    await self._changed.wait()
