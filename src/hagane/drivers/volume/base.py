"""What a storage backend can do: it is told what shall be (`apply`), says what is (`read`), and takes repetition.

    apply(Volume)    make it from its source, or make it larger        apply(Snapshot)   freeze a volume as it is now
    apply(Reverted)  a volume is as it was in a snapshot               apply(Absent)     the thing is gone

A backend names all that it keeps after our ids, so whatever it keeps for an id that nobody knows can be found and
removed. A snapshot outlives what was made of it and the other way round: the backend keeps shared bytes as long as
anybody needs them. Errors: DeviceFailed (it cannot be; say why in words), Unavailable (not now).
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

GIB = 1 << 30
Moved = Callable[[int], None]
"""Told how many percent of the bytes are there; may raise to end it."""


@dataclass(frozen=True, slots=True)
class FromImage:
    """An image's content: `id` names these very bytes for ever, so that a backend may keep a copy for the next one."""

    id: str
    path: Path
    format: str
    virtual_size: int


@dataclass(frozen=True, slots=True)
class FromSnapshot:
    id: str
    volume_id: str


@dataclass(frozen=True, slots=True)
class FromVolume:
    id: str


@dataclass(frozen=True, slots=True)
class FromBackup:
    """A file that `save` wrote."""

    path: Path


Source = FromImage | FromSnapshot | FromVolume | FromBackup


@dataclass(frozen=True, slots=True)
class Volume:
    """`size_gb` is at least this; a volume never shrinks. `over`: bring the source's bytes into a volume that is."""

    id: str
    size_gb: int
    source: Source | None = None
    over: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    id: str
    volume_id: str


@dataclass(frozen=True, slots=True)
class Reverted:
    volume_id: str
    snapshot_id: str
    size_gb: int


@dataclass(frozen=True, slots=True)
class Absent:
    """`kind` is "volume" or "snapshot"."""

    kind: str
    id: str


Desired = Volume | Snapshot | Reverted | Absent


@dataclass(frozen=True, slots=True)
class Observed:
    """All that the backend keeps for us."""

    volumes: Mapping[str, int] = field(default_factory=dict)  # id -> bytes that it offers
    snapshots: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Space:
    """The room of a backend, and what it can do, in the words that extra specs ask for."""

    total_gb: float
    free_gb: float
    capabilities: Mapping[str, Any] = field(default_factory=dict)


class Holder(Protocol):
    """Whoever has a volume open now: a machine on a Host, or an export. It alone may change what it writes to."""

    async def new_layer(self, volume_id: str, file: str) -> None:
        """It goes on in the file of this name, beside the one that it has open, and laid over it. Raises Unavailable
        (nobody who has it can be reached), DeviceFailed."""
        ...

    async def resize(self, volume_id: str, size: int) -> bool:
        """It makes the volume so many bytes large, or notices that it is; False: nobody has it open. Raises
        Unavailable, DeviceFailed."""
        ...


class VolumeDriver(Protocol):
    """One backend. `family` is the kind of driver ("file")."""

    family: str

    async def apply(self, desired: Desired, moved: Moved = ...) -> None: ...

    async def read(self) -> Observed: ...

    async def space(self) -> Space: ...

    async def connection(self, volume_id: str) -> dict[str, Any]:
        """How a machine on the backend's own Host reaches the volume: {"driver_volume_type": ..., "data": {...}}."""
        ...

    async def save(
        self, volume_id: str, path: Path, disk_format: str, *, parent: Path | None = None, moved: Moved = ...
    ) -> None:
        """Write a volume's bytes into a new file, in an image format; with `parent` (a file that an earlier call wrote
        into the same folder) only what differs from it. A file that is there is replaced."""
        ...

    async def save_snapshot(
        self, snapshot_id: str, volume_id: str, path: Path, disk_format: str, *, parent: Path | None = None
    ) -> None:
        """The same of a snapshot."""
        ...


def quiet(percent: int) -> None:
    """For who does not want to know."""


def temporary(path: Path) -> Path:
    """A name beside `path` for a file in the making, which says whose it is."""
    return path.with_name(f"{path.name}.part-{os.getpid()}-{uuid4().hex[:8]}")


def into_place(temp: Path, path: Path) -> None:
    """A file that is whole gets its name; when this returns, a power failure takes neither away. Blocks."""
    fd = os.open(temp, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    temp.rename(path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Names that were given in a folder are kept. Blocks."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def clean(folder: Path) -> list[Path]:
    """Remove files in the making whose process is dead; says which."""
    gone = []
    for path in folder.rglob("*.part-*") if folder.is_dir() else ():
        owner = path.name.rpartition(".part-")[2].partition("-")[0]
        if not (owner.isdecimal() and Path("/proc", owner).exists()):
            path.unlink(missing_ok=True)
            gone.append(path)
    return gone


async def chunks(path: Path, size: int = 1 << 20) -> AsyncIterator[bytes]:
    """A file's bytes, read in a thread beside the event loop."""
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while block := await asyncio.to_thread(file.read, size):
            yield block
    finally:
        await asyncio.to_thread(file.close)


def daemon_pid(pid_file: Path) -> int | None:
    """The daemon that was started with this pid file, and no other process that has got its number since. Blocks."""
    try:
        pid = int(pid_file.read_text())
        words = Path("/proc", str(pid), "cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if str(pid_file).encode() in words else None
