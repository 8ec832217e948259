"""Base images on Hosts: one that is gone from the image API goes from every Host once no disk is made of it.

image deleted ─▶ woken ─▶ every Host that answers sweeps at once;  the others, and what a disk still needed then,
                          are swept by the Host's own pass (host.py), which comes by every minute
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from hagane.errors import HaganeError
from hagane.image.base import SWEEP
from hagane.reconcile.engine import Answer
from hagane.reconcile.host_registry import Registry, Station
from hagane.state.database import Database, Reader
from hagane.state.work import Claim

log = logging.getLogger(__name__)


class HostImageReconciler:
    """See the module's text. All images that were woken at one time are one sweep."""

    kind, batch, parallel = SWEEP, 500, 1

    def __init__(self, db: Database, registry: Registry) -> None:
        self._db, self._registry = db, registry

    async def reconcile(self, keys: Sequence[Claim]) -> Mapping[str, Answer]:
        await asyncio.gather(*(sweep(self._db, station) for station in self._registry.stations.values()))
        return {}


async def sweep(reader: Reader, station: Station) -> None:
    """Remove from a Host what is no image any more and has no disk made of it."""
    keep = {row[0] for row in await reader.fetch_tuples("SELECT id FROM image")}
    try:
        gone = await station.driver.sweep_images(keep)
    except HaganeError as error:
        log.warning("cannot sweep the images of %s: %s", station.name, error.message)
        return
    if gone:
        log.info("removed %d images from %s that were deleted", len(gone), station.name)
