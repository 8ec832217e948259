"""What backends share whose volumes are block devices with snapshots of their own (lvm.py, rbd.py).

    create or copy ─▶ temp-<name> ─▶ bytes ─▶ rename ─▶ <name>        out of sight ─▶ purged

Whatever comes to be is made under a temporary name and gets its own when it is whole, as a kill in between would leave
a volume that looks made and is not. A subclass says how a thing is made, copied, renamed and removed; each step may be
asked for again. Different volumes do not wait for each other: bytes may take hours.
"""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from hagane.drivers.volume import qemu
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
    temporary,
)
from hagane.drivers.volume.command import Command
from hagane.errors import DeviceFailed, HaganeError

VOLUME, SNAPSHOT, TEMP, SAVE = "volume-", "snapshot-", "temp-", "temp-save-"
TIDY = 20.0  # seconds in which to remove what is left over, when only a look was asked for
SURE = 5.0  # seconds for which what another process is about to use is nobody's, by the look of it
FILLS = 4  # volumes that get their bytes from elsewhere at a time


class BlockVolumes(ABC):
    """One backend of block devices."""

    family = "block"

    def __init__(self, command: Command | None = None) -> None:
        self._command = command or Command()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._fills = asyncio.Semaphore(FILLS)
        self._making: set[str] = set()  # temporary names that this process works on
        self.holder: Holder | None = None  # of volumes that are open

    async def apply(self, desired: Desired, moved: Moved = quiet) -> None:
        match desired:
            case Volume():
                async with self._turn(VOLUME + desired.id):
                    await self._volume(desired, moved)
            case Snapshot(key, volume_id):
                async with self._turn(SNAPSHOT + key):
                    there = await self._sizes(VOLUME + volume_id, SNAPSHOT + key)
                    self._demand(there, VOLUME, volume_id)
                    if SNAPSHOT + key not in there:
                        await self._copied(VOLUME + volume_id, SNAPSHOT + key)
            case Reverted():
                async with self._turn(VOLUME + desired.volume_id):
                    await self._revert(desired)
            case Absent(kind, key):
                await self._absent((VOLUME if kind == "volume" else SNAPSHOT) + key)
        moved(100)

    async def _absent(self, name: str) -> None:
        """Gone, with what was cut off while it was made."""
        names = (name, TEMP + name, SAVE + name)
        async with self._turn(name):
            for one in await self._sizes(*names):
                await self._end(one)
            await self._purge(*names)

    def _turn(self, name: str) -> asyncio.Lock:
        """Who works on a thing, works on it alone."""
        found = self._turns.get(name)
        if found is None:
            found = self._turns[name] = asyncio.Lock()
        return found

    async def _volume(self, desired: Volume, moved: Moved) -> None:
        name, size = VOLUME + desired.id, desired.size_gb * GIB
        have = (await self._sizes(name)).get(name)
        fresh = have is None or desired.over
        if have is None or desired.over:
            have = await self._make(desired, name, moved, over=have is not None)
        if have < size:
            await self._grow(name, size)
        if not fresh and self.holder is not None:
            await self.holder.resize(desired.id, size)  # also one that has grown already: who did it may have died then

    async def _make(self, desired: Volume, name: str, moved: Moved, *, over: bool) -> int:
        """Returns the new volume's size."""
        size = desired.size_gb * GIB
        match desired.source:
            case FromImage() as image:
                await self._fill(name, size, image.path, image.format, moved, over=over)
            case FromBackup() as saved:
                await self._fill(name, size, saved.path, "qcow2", moved, over=over)
            case FromSnapshot() as snapshot:
                return await self._copied(SNAPSHOT + snapshot.id, name, over=over)
            case FromVolume() as volume:
                return await self._copied(VOLUME + volume.id, name, over=over)
            case None:
                await self._create(name, size)
        return size

    async def _fill(self, name: str, size: int, source: Path, form: str, moved: Moved, *, over: bool) -> None:
        async with self._temporary(TEMP + name) as temp, self._fills:
            await self._create(temp, size)
            await self._convert("convert", "-n", "-f", form, "-O", "raw", source, self._address(temp), moved=moved)
            await self._replace(temp, name, over=over)

    async def _copied(self, source: str, name: str, *, over: bool = False) -> int:
        """A copy of a thing takes a name. Returns its size."""
        there = await self._sizes(source)
        prefix = next(prefix for prefix in (VOLUME, SNAPSHOT) if source.startswith(prefix))
        self._demand(there, prefix, source.removeprefix(prefix))
        async with self._temporary(TEMP + name) as temp:
            await self._copy(source, temp)
            await self._replace(temp, name, over=over)
        return there[source]

    @contextlib.asynccontextmanager
    async def _temporary(self, temp: str) -> AsyncIterator[str]:
        """A name of this process's own, under which nothing is; what a kill left there goes."""
        self._making.add(temp)
        try:
            if await self._sizes(temp):
                await self._remove(temp)
                await self._purge(temp, patient=True)
            yield temp
        finally:
            self._making.discard(temp)

    async def _replace(self, temp: str, name: str, *, over: bool) -> None:
        """What is whole gets its name; `over`: which something else may have."""
        old = over and await self._sizes(name)
        if old:
            await self._remove(name)
        await self._rename(temp, name)
        if old:
            await self._purge(name)

    async def _revert(self, desired: Reverted) -> None:
        """A copy of the snapshot takes the volume's place."""
        name = VOLUME + desired.volume_id
        if await self._copied(SNAPSHOT + desired.snapshot_id, name, over=True) < desired.size_gb * GIB:
            await self._grow(name, desired.size_gb * GIB)

    def _demand(self, there: dict[str, int], prefix: str, key: str) -> None:
        if prefix + key not in there:
            raise DeviceFailed(f"The backend has no {prefix.rstrip('-')} {key}.")

    async def read(self) -> Observed:
        there = await self._all()
        if left := await self._left(name for name in there if name.startswith(TEMP)):
            await asyncio.sleep(SURE)
            for name in await self._left(await self._sizes(*left)):
                await self._remove(name)
        with contextlib.suppress(TimeoutError):  # what is left of it goes the next time
            async with asyncio.timeout(TIDY):
                await self._purge(patient=True)
        volumes = {name.removeprefix(VOLUME): size for name, size in there.items() if name.startswith(VOLUME)}
        shots = {name.removeprefix(SNAPSHOT) for name in there if name.startswith(SNAPSHOT)}
        return Observed(volumes, frozenset(shots))

    async def _left(self, names: Iterable[str]) -> list[str]:
        """Those that nobody works on, as it seems: another process may be between two steps."""
        return [name for name in names if name not in self._making and not await self._is_open(name)]

    async def save(
        self, volume_id: str, path: Path, disk_format: str, *, parent: Path | None = None, moved: Moved = quiet
    ) -> None:
        """From a copy, as a machine may write to the volume meanwhile."""
        name = VOLUME + volume_id
        self._demand(await self._sizes(name), VOLUME, volume_id)
        async with self._turn(SAVE + name), self._temporary(SAVE + name) as temp:
            await self._copy(name, temp)
            try:
                await self._save(temp, path, disk_format, parent, moved)
            finally:
                await self._remove(temp)
                await self._purge(temp)

    async def save_snapshot(
        self, snapshot_id: str, volume_id: str, path: Path, disk_format: str, *, parent: Path | None = None
    ) -> None:
        self._demand(await self._sizes(SNAPSHOT + snapshot_id), SNAPSHOT, snapshot_id)
        await self._save(SNAPSHOT + snapshot_id, path, disk_format, parent, quiet)

    async def _save(self, name: str, path: Path, disk_format: str, parent: Path | None, moved: Moved) -> None:
        source, form = self._address(name), {"vhd": "vpc"}.get(disk_format, disk_format)
        temp = temporary(path)
        try:
            if parent is None:
                await self._convert("convert", "-f", "raw", "-O", form, source, temp, moved=moved)
            else:
                await self._convert("create", "-q", "-f", "qcow2", "-b", source, "-F", "raw", temp)
                await self._convert("rebase", "-f", "qcow2", "-b", parent.name, "-F", "qcow2", temp, moved=moved)
            await asyncio.to_thread(into_place, temp, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                await asyncio.to_thread(temp.unlink)

    async def _convert(self, *words: Any, moved: Moved | None = None) -> None:
        try:
            await qemu.run(*words, moved=moved)
        except DeviceFailed as error:
            raise self._meant(error) from error

    # -- what a backend says -----------------------------------------------------------------------------------------

    @abstractmethod
    async def _sizes(self, *names: str) -> dict[str, int]:
        """name -> bytes of those of these that are there."""

    @abstractmethod
    async def _all(self) -> dict[str, int]:
        """name -> bytes of everything that is ours. What a kill has left with one of them may go now."""

    @abstractmethod
    def _address(self, name: str) -> str:
        """Where the disk image tool finds the bytes."""

    @abstractmethod
    async def _create(self, name: str, size: int) -> None: ...

    @abstractmethod
    async def _copy(self, source: str, name: str) -> None:
        """A copy that shares its bytes and outlives its source."""

    @abstractmethod
    async def _grow(self, name: str, size: int) -> None: ...

    @abstractmethod
    async def _rename(self, name: str, new: str) -> None: ...

    @abstractmethod
    async def _remove(self, name: str) -> None:
        """Nothing has this name any more."""

    async def _end(self, name: str) -> None:
        """The thing and its bytes are gone, or as good as that."""
        await self._remove(name)

    async def _purge(self, *names: str, patient: bool = False) -> None:  # noqa: B027 - some backends forget at once
        """The bytes of what was removed under these names (of all that was) are gone, if nothing needs them. Raises
        Unavailable if somebody still has it open, unless `patient`: then it stays for the next time."""

    async def _is_open(self, name: str) -> bool:
        """Whether somebody has it open, of whom this process does not know."""
        return False

    def _meant(self, error: DeviceFailed) -> HaganeError:
        """What the disk image tool's refusal means of this backend."""
        return error

    @abstractmethod
    async def space(self) -> Space: ...

    @abstractmethod
    async def connection(self, volume_id: str) -> dict[str, Any]: ...
