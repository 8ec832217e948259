"""Volumes as files in a folder: the backend that needs nothing. A copy of any size is two small files.

    base.<image> ◀─ volume.<a>                       each arrow: "is laid over", and holds only what differs
    layer.<snapshot> ◀─ volume.<b>                   layers and bases never change
                     ◀─ volume.<c>                   c was made from the snapshot

A snapshot is a layer: what was the volume's file becomes the layer, and the volume a new file over it. This happens by
one link and one rename, so that at every moment both names stand for the whole data. Who has the volume open (a
machine, an export) must go over to the new file by itself; until QEMU's lock on the old one shows that it has, the new
one has a name of its own (file_names.py). A kill in between leaves that, and whoever comes next goes on there.

A layer that nobody wants any more (its snapshot was deleted, or it came from copying) is marked `.dead`, and goes when
the last file over it is gone; so a snapshot's parent can be deleted at any time.

Files are sparse qcow2; names of files below others are relative, so that the folder may be moved or seen elsewhere.
Everything is made beside and renamed into place: what a kill leaves behind is called temp.*, and a sweep removes it.
The folder's lock keeps several processes from changing one chain at once.
"""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from hagane.drivers.volume import file_names, qemu
from hagane.drivers.volume.base import (
    GIB,
    Absent,
    Desired,
    FromBackup,
    FromImage,
    FromSnapshot,
    FromVolume,
    Holder,
    Moved,
    Observed,
    Reverted,
    Snapshot,
    Space,
    Volume,
    into_place,
    quiet,
    sync,
    temporary,
)
from hagane.errors import DeviceFailed, Unavailable

T = TypeVar("T")
VOLUME, LAYER, BASE, TEMP, DEAD = "volume.", "layer.", "base.", "temp.", ".dead"


class FileVolumes:
    """`folder` is where this process sees the files, `seen` where the Host's machines do."""

    family = "file"

    def __init__(self, folder: Path, seen: Path | None = None) -> None:
        self._folder, self._seen = folder, seen or folder
        self._images: dict[str, asyncio.Lock] = {}
        self.holder: Holder | None = None  # of volumes that are open
        self._turn = asyncio.Lock()  # one change at a time in this process; the file lock is for others

    # -- what shall be -----------------------------------------------------------------------------------------------

    async def apply(self, desired: Desired, moved: Moved = quiet) -> None:
        await self._away(self._ready)
        match desired:
            case Volume(over=True):
                await self._fill(desired, moved)
            case Volume():
                await self._volume(desired, moved)
            case Snapshot():
                async with self._locked():
                    await self._freeze(desired.volume_id, desired.id, dead=False)
            case Reverted():
                async with self._locked():
                    layer = await self._known(LAYER + desired.snapshot_id, "snapshot", desired.snapshot_id)
                    await self._closed(VOLUME + desired.volume_id)
                    await self._overlay(VOLUME + desired.volume_id, layer, desired.size_gb * GIB)
            case Absent(kind="volume"):
                async with self._locked():
                    await self._away(self._remove, VOLUME + desired.id)
            case Absent():
                async with self._locked():
                    await self._away(self._drop_layer, LAYER + desired.id)
        moved(100)

    async def _volume(self, desired: Volume, moved: Moved) -> None:
        """Make a volume that is not there, or make it larger."""
        name, size = VOLUME + desired.id, desired.size_gb * GIB
        if not await self._away(self._path(name).exists):
            await self._make(desired, name, size, moved)
        async with self._locked():
            await self._finish(name)
            known = await self._away(qemu.head, self._path(name))
            if known.virtual_size < size and not await self._grown_open(desired.id, size):
                await qemu.run("resize", "-f", "qcow2", self._path(name), str(size))

    async def _grown_open(self, volume_id: str, size: int) -> bool:
        """Whether somebody who has the volume open made it larger. Raises DeviceFailed."""
        if not await self._away(qemu.is_written, self._path(VOLUME + volume_id)):
            return False
        return await self._held().resize(volume_id, size)

    async def _make(self, desired: Volume, name: str, size: int, moved: Moved) -> None:
        match desired.source:
            case FromImage():
                await self._over_image(desired.source, name, size, moved)
            case FromBackup():
                await self._convert(desired.source.path, "qcow2", name, size, moved)
            case FromSnapshot():
                async with self._locked():
                    layer = await self._known(LAYER + desired.source.id, "snapshot", desired.source.id)
                    await self._overlay(name, layer, size)
            case FromVolume():
                async with self._locked():
                    layer = await self._freeze(desired.source.id, desired.id, dead=True)
                    await self._overlay(name, layer, size)
            case None:
                async with self._locked():
                    await self._overlay(name, "", size)

    async def _fill(self, desired: Volume, moved: Moved) -> None:
        """Bring bytes into a volume that is there: a new file takes its place when it is whole."""
        name, size = VOLUME + desired.id, desired.size_gb * GIB
        await self._known(name, "volume", desired.id)
        await self._closed(name)
        if isinstance(desired.source, FromImage):
            await self._over_image(desired.source, name, size, moved)
        elif isinstance(desired.source, FromBackup):
            await self._convert(desired.source.path, "qcow2", name, size, moved)
        await self._collect_now()

    async def _over_image(self, image: FromImage, name: str, size: int, moved: Moved) -> None:
        """A file over a copy of an image, which is made once for all. The copy is nobody's own: it goes with the last
        file over it, and maybe before the first."""
        async with self._images.setdefault(image.id, asyncio.Lock()):
            for _ in range(3):
                if not await self._away(self._path(BASE + image.id).exists):
                    if not await self._away(image.path.exists):
                        raise DeviceFailed("The image's data are gone.")
                    await self._convert(image.path, image.format, BASE + image.id, 0, moved)
                async with self._locked():
                    if await self._away(self._path(BASE + image.id).exists):
                        await self._overlay(name, BASE + image.id, size)
                        return
        raise Unavailable("The copy of the image was removed again and again.")

    async def _convert(self, source: Path, form: str, name: str, size: int, moved: Moved) -> None:
        temp = self._temp()
        try:
            await qemu.run("convert", "-f", form, "-O", "qcow2", source, temp, moved=moved)
            if size and (await self._away(qemu.head, temp)).virtual_size < size:
                await qemu.run("resize", "-f", "qcow2", temp, str(size))
            await self._away(into_place, temp, self._path(name))
        finally:
            await self._away(temp.unlink, True)

    async def _overlay(self, name: str, below: str, size: int) -> None:
        """A new file over another ("": over nothing), in the place of one that is there."""
        temp = self._temp()
        more = ["-u", "-b", below, "-F", "qcow2"] if below else []  # -u: not opened, as somebody may have it open
        try:
            await qemu.run("create", "-q", "-f", "qcow2", *more, temp, str(size))
            await self._away(into_place, temp, self._path(name))
        finally:
            await self._away(temp.unlink, True)

    async def _freeze(self, volume_id: str, layer_id: str, *, dead: bool) -> str:
        """What the volume holds now becomes a layer, the volume a new file over it; returns the layer's name."""
        name, layer = VOLUME + volume_id, LAYER + layer_id
        await self._known(name, "volume", volume_id)
        await self._finish(name)
        written = await self._away(qemu.is_written, self._path(name))
        if written:
            self._held()
        if dead:
            await self._away(self._mark_dead, layer)
        whole = await self._away(self._link, name, layer)
        if whole:  # both names are still one file
            size = (await self._away(qemu.head, self._path(layer))).virtual_size
            others = await self._away(file_names.further, self._path(name))
            new = file_names.new(self._path(name)) if written else next(iter(others), name)
            await self._overlay(new, layer, size)
            await self._finish(name)
        return layer

    async def _finish(self, name: str) -> None:
        """The volume's name stands for the newest file, and who has it open writes there. Raises Unavailable,
        DeviceFailed."""
        for other in await self._away(file_names.unfinished, self._path(name)):
            for _ in range(3):
                if await self._away(qemu.is_written, self._path(name)):
                    await self._held().new_layer(name.removeprefix(VOLUME), other)
                    if await self._away(qemu.is_written, self._path(name)):
                        raise Unavailable("The machine that has the volume open still writes into its snapshot.")
                if await self._away(file_names.take_over, self._path(name), other, self._temp(), self._temp()):
                    await self._away(sync, self._folder)
                    break
            else:
                raise Unavailable("The volume is opened again and again.")

    def _held(self) -> Holder:
        """Raises DeviceFailed."""
        if self.holder is None:
            raise DeviceFailed("The volume is open in a running machine.")
        return self.holder

    def _link(self, name: str, layer: str) -> bool:
        """Give the volume's file the layer's name as well; whether the two are still the same file."""
        with contextlib.suppress(FileExistsError):
            os.link(self._path(name), self._path(layer))
        return self._path(name).samefile(self._path(layer))

    async def _closed(self, name: str) -> None:
        """No machine may have a file open that is about to be replaced. Raises DeviceFailed."""
        if await self._away(self._path(name).exists):
            await self._finish(name)
            if await self._away(qemu.is_written, self._path(name)):
                raise DeviceFailed("The volume is open in a running machine.")

    async def _known(self, name: str, noun: str, key: str) -> str:
        if not await self._away(self._path(name).exists):
            raise DeviceFailed(f"The backend has no {noun} {key}: its file is gone.")
        return name

    # -- what goes ---------------------------------------------------------------------------------------------------

    def _remove(self, name: str) -> None:
        for known in (*file_names.further(self._path(name)), name):
            self._path(known).unlink(missing_ok=True)
        self._collect()

    def _drop_layer(self, layer: str) -> None:
        if self._path(layer).exists():
            self._mark_dead(layer)
        self._collect()

    def _mark_dead(self, name: str) -> None:
        self._path(name + DEAD).touch(mode=0o600)

    def _collect(self) -> None:
        """Remove what nobody wants and nothing is laid over, again and again, as each may have held the next: layers
        that are dead, and all copies of images. The lock is held."""
        while True:
            names = self._names()
            below = {qemu.head(self._path(name)).backing for name in names if _is_data(name)}
            dead = {name.removesuffix(DEAD) for name in names if name.endswith(DEAD)}
            gone = (dead | {name for name in names if name.startswith(BASE)}) - below
            for name in gone:
                self._path(name).unlink(missing_ok=True)
                self._path(name + DEAD).unlink(missing_ok=True)
            if not gone:
                return

    async def _collect_now(self) -> None:
        async with self._locked():
            await self._away(self._collect)

    # -- what is -----------------------------------------------------------------------------------------------------

    async def read(self) -> Observed:
        async with self._locked():
            for name in await self._away(self._names):
                if name.startswith(VOLUME) and file_names.is_further(name):
                    with contextlib.suppress(DeviceFailed, Unavailable):
                        await self._finish(name[: name.rindex(".")])
            return await self._away(self._read)

    def _read(self) -> Observed:
        volumes, layers = {}, set()
        names = self._names()
        for name in names:
            path = self._path(name)
            if name.startswith(VOLUME) and not file_names.is_further(name):
                with contextlib.suppress(DeviceFailed):
                    volumes[name.removeprefix(VOLUME)] = qemu.head(path).virtual_size
            elif name.startswith(LAYER) and not name.endswith(DEAD) and name + DEAD not in names:
                layers.add(name.removeprefix(LAYER))
            elif name.startswith(TEMP) and not _held(path):
                path.unlink(missing_ok=True)
        self._collect()
        return Observed(volumes, frozenset(layers))

    async def space(self) -> Space:
        def look() -> Space:
            self._ready()
            found = os.statvfs(self._folder)
            total, free = found.f_blocks * found.f_frsize / GIB, found.f_bavail * found.f_frsize / GIB
            return Space(round(total, 2), round(free, 2), {"thin_provisioning_support": True, "multiattach": False})

        return await self._away(look)

    async def connection(self, volume_id: str) -> dict[str, Any]:
        name = await self._known(VOLUME + volume_id, "volume", volume_id)
        if await self._away(file_names.further, self._path(name)):
            async with self._locked():
                await self._finish(name)
                await self._away(file_names.forget, self._path(name))
        data = {"device_path": str(self._seen / name), "format": "qcow2"}
        return {"driver_volume_type": "local", "data": data}

    async def save(
        self, volume_id: str, path: Path, disk_format: str, *, parent: Path | None = None, moved: Moved = quiet
    ) -> None:
        name = await self._known(VOLUME + volume_id, "volume", volume_id)
        async with self._locked():
            await self._finish(name)
            if await self._away(qemu.is_written, self._path(name)):  # what is read does not change meanwhile
                name = await self._freeze(volume_id, str(uuid4()), dead=True)
        await self._save(name, path, disk_format, parent, moved)

    async def save_snapshot(
        self, snapshot_id: str, volume_id: str, path: Path, disk_format: str, *, parent: Path | None = None
    ) -> None:
        await self._known(LAYER + snapshot_id, "snapshot", snapshot_id)
        await self._save(LAYER + snapshot_id, path, disk_format, parent, quiet)

    async def _save(self, name: str, path: Path, disk_format: str, parent: Path | None, moved: Moved) -> None:
        """With a parent: an empty file over the source, whose ground is then exchanged for the parent, which copies
        what differs."""
        form, source = {"vhd": "vpc"}.get(disk_format, disk_format), self._path(name).absolute()
        temp = temporary(path)
        try:
            if parent is not None:
                await qemu.run("create", "-q", "-f", "qcow2", "-b", source, "-F", "qcow2", temp)
                await qemu.run("rebase", "-f", "qcow2", "-b", parent.name, "-F", "qcow2", temp, moved=moved)
            else:
                await qemu.run("convert", "-f", "qcow2", "-O", form, source, temp, moved=moved)
            await self._away(into_place, temp, path)
        finally:
            await self._away(temp.unlink, True)

    # -- mechanics ---------------------------------------------------------------------------------------------------

    def _names(self) -> set[str]:
        return {path.name for path in self._folder.iterdir()}

    def _path(self, name: str) -> Path:
        return self._folder / name

    def _temp(self) -> Path:
        """A name for a file in the making; it says whose, so that a sweep leaves those of living processes alone."""
        return self._folder / f"{TEMP}{os.getpid()}.{uuid4().hex}"

    @contextlib.asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        async with self._turn:
            fd = await self._away(self._lock)
            try:
                yield
            finally:
                os.close(fd)

    def _ready(self) -> None:
        self._folder.mkdir(mode=0o711, parents=True, exist_ok=True)

    def _lock(self) -> int:
        self._ready()
        fd = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        return fd

    async def _away(self, call: Callable[..., T], *args: Any) -> T:
        """Run what blocks in a thread. Raises Unavailable for what the folder refuses."""
        try:
            return await asyncio.to_thread(call, *args)
        except OSError as error:
            problem = f"The volumes' folder does not answer: {error.strerror}."
            raise Unavailable(problem, detail=str(error)) from error


def _is_data(name: str) -> bool:
    return name.startswith((VOLUME, LAYER, BASE)) and not name.endswith(DEAD)


def _held(path: Path) -> bool:
    """Whether the process that makes a temporary file is alive."""
    owner = path.name.removeprefix(TEMP).partition(".")[0]
    return owner.isdecimal() and Path("/proc", owner).exists()
