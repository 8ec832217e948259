"""Cleans up after uploads that a killed process left half-made: once at the start, then every hour.

Another process on the same store may be uploading: its files are locked, so a sweep passes them by.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from hagane.cloud import Cloud
from hagane.image import store
from hagane.reconcile.engine import Reconciler

log = logging.getLogger(__name__)
EVERY = 3600.0  # seconds


class ImageSweeper:
    """A part of the process (see app.py)."""

    reconcilers: Sequence[Reconciler] = ()

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="image-sweep")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                for line in await store.sweep(self._cloud):
                    log.info("%s", line)
            except Exception:
                log.exception("cannot sweep the image store")
            await asyncio.sleep(EVERY)
