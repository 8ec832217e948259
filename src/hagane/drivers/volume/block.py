"""What backends share whose volumes are block devices with snapshots of their own (lvm.py, rbd.py).

Bytes that come from elsewhere (an image, a backup) are written under a temporary name, which becomes the volume's when
they are whole. A subclass says how a thing is made, copied, renamed and removed; each step may be asked for again.
"""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

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
from hagane.errors import DeviceFailed, Unavailable

VOLUME, SNAPSHOT, TEMP = "volume-", "snapshot-", "temp-"
TIMEOUT = 120.0  # seconds for one command


class Command:
    """Runs a program; tests put an emulator in its place."""

    async def __call__(self, *words: str) -> str:
        """Its output. Raises DeviceFailed with its own words, Unavailable."""
        try:
            child = await asyncio.create_subprocess_exec(
                *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
        except OSError as error:
            raise Unavailable(f"{words[0]} cannot be started: {error.strerror}.") from error
        try:
            async with asyncio.timeout(TIMEOUT):
                out, problem = await child.communicate()
        except TimeoutError:
            child.kill()
            await child.wait()
            raise Unavailable(f"{words[0]} does not end.") from None
        if child.returncode:
            text = problem.decode(errors="replace").strip()
            last = text.splitlines()[-1].strip() if text else "no reason given"
            raise DeviceFailed(f"The storage backend refused: {last}", detail=text)
        return out.decode(errors="replace")


class BlockVolumes(ABC):
    """One backend of block devices."""

    family = "block"

    def __init__(self, command: Command | None = None) -> None:
        self._command = command or Command()
        self._turn = asyncio.Lock()
        self.holder: Holder | None = None  # of volumes that are open

    async def apply(self, desired: Desired, moved: Moved = quiet) -> None:
        async with self._turn:
            there = await self._sizes()
            match desired:
                case Volume():
                    await self._volume(desired, there, moved)
                case Snapshot():
                    self._demand(there, VOLUME, desired.volume_id)
                    if SNAPSHOT + desired.id not in there:
                        await self._copy(VOLUME + desired.volume_id, SNAPSHOT + desired.id)
                case Reverted():
                    await self._revert(desired, there)
                case Absent():
                    name = (VOLUME if desired.kind == "volume" else SNAPSHOT) + desired.id
                    if name in there:
                        await self._remove(name)
        moved(100)

    async def _volume(self, desired: Volume, there: dict[str, int], moved: Moved) -> None:
        name, size = VOLUME + desired.id, desired.size_gb * GIB
        if name not in there or desired.over:
            there[name] = await self._make(desired, name, there, moved)
        if there[name] < size:
            await self._grow(name, size)
            if self.holder is not None:
                await self.holder.resize(desired.id, size)

    async def _make(self, desired: Volume, name: str, there: dict[str, int], moved: Moved) -> int:
        """Returns the new volume's size."""
        size = desired.size_gb * GIB
        match desired.source:
            case FromImage() as image:
                await self._fill(name, size, image.path, image.format, there, moved)
            case FromBackup() as saved:
                await self._fill(name, size, saved.path, "qcow2", there, moved)
            case FromSnapshot() as snapshot:
                self._demand(there, SNAPSHOT, snapshot.id)
                await self._copy(SNAPSHOT + snapshot.id, name)
                return there[SNAPSHOT + snapshot.id]
            case FromVolume() as volume:
                self._demand(there, VOLUME, volume.id)
                await self._copy(VOLUME + volume.id, name)
                return there[VOLUME + volume.id]
            case None:
                await self._create(name, size)
        return size

    async def _fill(self, name: str, size: int, source: Path, form: str, there: dict[str, int], moved: Moved) -> None:
        temp = TEMP + name
        if temp in there:
            await self._remove(temp)
        await self._create(temp, size)
        await qemu.run("convert", "-n", "-f", form, "-O", "raw", source, self._address(temp), moved=moved)
        if name in there:
            await self._remove(name)
        await self._rename(temp, name)

    async def _revert(self, desired: Reverted, there: dict[str, int]) -> None:
        """A copy of the snapshot takes the volume's place; a kill leaves the copy, which the next try begins anew."""
        self._demand(there, SNAPSHOT, desired.snapshot_id)
        name = VOLUME + desired.volume_id
        temp = TEMP + name
        if temp in there:
            await self._remove(temp)
        await self._copy(SNAPSHOT + desired.snapshot_id, temp)
        if name in there:
            await self._remove(name)
        await self._rename(temp, name)
        if there[SNAPSHOT + desired.snapshot_id] < desired.size_gb * GIB:
            await self._grow(name, desired.size_gb * GIB)

    def _demand(self, there: dict[str, int], prefix: str, key: str) -> None:
        if prefix + key not in there:
            raise DeviceFailed(f"The backend has no {prefix.rstrip('-')} {key}.")

    async def read(self) -> Observed:
        async with self._turn:
            there = await self._sizes()
            for name in [name for name in there if name.startswith(TEMP)]:
                await self._remove(name)
        volumes = {name.removeprefix(VOLUME): size for name, size in there.items() if name.startswith(VOLUME)}
        shots = {name.removeprefix(SNAPSHOT) for name in there if name.startswith(SNAPSHOT)}
        return Observed(volumes, frozenset(shots))

    async def save(
        self, volume_id: str, path: Path, disk_format: str, *, parent: Path | None = None, moved: Moved = quiet
    ) -> None:
        await self._save(VOLUME, volume_id, path, disk_format, parent, moved)

    async def save_snapshot(
        self, snapshot_id: str, volume_id: str, path: Path, disk_format: str, *, parent: Path | None = None
    ) -> None:
        await self._save(SNAPSHOT, snapshot_id, path, disk_format, parent, quiet)

    async def _save(
        self, prefix: str, key: str, path: Path, disk_format: str, parent: Path | None, moved: Moved
    ) -> None:
        self._demand(await self._sizes(), prefix, key)
        source, form = self._address(prefix + key), {"vhd": "vpc"}.get(disk_format, disk_format)
        temp = temporary(path)
        try:
            if parent is None:
                await qemu.run("convert", "-f", "raw", "-O", form, source, temp, moved=moved)
            else:
                await qemu.run("create", "-q", "-f", "qcow2", "-b", source, "-F", "raw", temp)
                await qemu.run("rebase", "-f", "qcow2", "-b", parent.name, "-F", "qcow2", temp, moved=moved)
            await asyncio.to_thread(into_place, temp, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                await asyncio.to_thread(temp.unlink)

    # -- what a backend says -----------------------------------------------------------------------------------------

    @abstractmethod
    async def _sizes(self) -> dict[str, int]:
        """name -> bytes of everything that is ours."""

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
    async def _remove(self, name: str) -> None: ...

    @abstractmethod
    async def space(self) -> Space: ...

    @abstractmethod
    async def connection(self, volume_id: str) -> dict[str, Any]: ...
