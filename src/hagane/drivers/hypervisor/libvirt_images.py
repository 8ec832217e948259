"""Base images on one Host: brought once, whoever asks and how often, and known from then on."""

import asyncio
from collections.abc import Callable
from typing import Any

from hagane.drivers.hypervisor.base import BaseImage
from hagane.drivers.hypervisor.libvirt_link import Link
from hagane.drivers.hypervisor.libvirt_storage import Base, Sweeper, bring_image, find_image

UPLOAD_SECONDS = 4 * 3600.0


class Images:
    """What is known of one Host's base images."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._ready: dict[str, Base] = {}
        self._coming: dict[str, asyncio.Task[Base]] = {}
        self._watchers: dict[str, set[Callable[[int], None]]] = {}
        self._used: dict[str, int] = {}  # by disks being made now, which a sweep cannot see on the Host yet
        self._sweeper = Sweeper()

    def forget(self, image_id: str | None = None) -> None:
        """Look again, at one image or (the Host came back) at all."""
        if image_id is None:
            self._ready.clear()
        else:
            self._ready.pop(image_id, None)

    async def base(self, image: BaseImage, percent: Callable[[int], None]) -> Base:
        """The image on the Host; requests at the same time share one upload. Must be called inside `using`."""
        if image.id in self._ready:
            return self._ready[image.id]
        watchers = self._watchers.setdefault(image.id, set())
        watchers.add(percent)
        try:
            if image.id not in self._coming:
                self._coming[image.id] = asyncio.create_task(self._bring(image), name=f"image {image.id}")
            # Shielded: when one of those who wait is cancelled, the others still get their image.
            return await asyncio.shield(self._coming[image.id])
        finally:
            watchers.discard(percent)

    def using(self, image_id: str) -> "_Use":
        """`with images.using(id)`: no sweep takes the image away meanwhile."""
        return _Use(self._used, image_id)

    async def sweep(self, keep: set[str]) -> set[str]:
        """Remove base images not in `keep` that no disk needs. Ids removed."""
        busy = keep | set(self._used)
        for image_id in set(self._ready) - busy:
            del self._ready[image_id]
        return await self._link.run(self._sweeper.sweep, busy, bulk=True)

    async def _bring(self, image: BaseImage) -> Base:
        try:
            base = await self._link.run(find_image, image)
            if base is None:
                moved = self._progress(image)
                base = await self._link.run(bring_image, image, moved, bulk=True, seconds=UPLOAD_SECONDS)
            self._ready[image.id] = base
            return base
        finally:
            del self._coming[image.id]
            self._watchers.pop(image.id, None)

    def _progress(self, image: BaseImage) -> Callable[[int], None]:
        """A function for the thread that uploads: it tells the loop each new percent."""
        loop, last = asyncio.get_running_loop(), -1

        def tell(percent: int) -> None:
            for watcher in tuple(self._watchers.get(image.id, ())):
                watcher(percent)

        def moved(total: int) -> None:
            nonlocal last
            percent = total * 100 // max(1, image.size)
            if percent != last:
                last = percent
                loop.call_soon_threadsafe(tell, percent)

        return moved


class _Use:
    def __init__(self, used: dict[str, int], image_id: str) -> None:
        self._used, self._id = used, image_id

    def __enter__(self) -> None:
        self._used[self._id] = self._used.get(self._id, 0) + 1

    def __exit__(self, *_error: Any) -> None:
        self._used[self._id] -= 1
        if not self._used[self._id]:
            del self._used[self._id]
