"""The bytes of images: one file per attempt to upload, `<image id>.<attempt>`, all in one folder.

Which file is an image's content is said by its row (`upload`), so the commit that makes the image active is also the
atomic switch of its content; no rename is needed, and two attempts never touch each other's bytes. A file is locked
while its writer lives: whoever sweeps can tell the living from what a killed process left behind.

A stream is written, hashed (MD5 and SHA-512) and inspected at once, each in a thread beside the event loop, one block
ahead of the network: memory stays at a few blocks whatever the size, and hashing is the only limit.
"""

import asyncio
import errno
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hagane.config import Config
from hagane.errors import TooLarge, Unavailable
from hagane.image.inspection import Finding, Inspection

BLOCK = 1 << 20
_threads = ThreadPoolExecutor(6, "image")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def folder(config: Config) -> Path:
    """Where the bytes of all images are."""
    return config.state / "images"


def path(config: Config, image_id: str, attempt: str) -> Path:
    return folder(config) / f"{image_id}.{attempt}"


@dataclass(frozen=True, slots=True)
class Written:
    """What a complete stream was."""

    size: int
    md5: str
    sha512: str
    finding: Finding


class Writer:
    """One attempt to store one image's bytes. Ends with `close`; `drop` before it leaves no file behind."""

    def __init__(self, file: Path, inspection: Inspection) -> None:
        self._file = file
        self._inspection = inspection
        self._md5, self._sha512 = hashlib.md5(usedforsecurity=False), hashlib.sha512()
        self._blocks: list[bytes] = []
        self._gathered = 0
        self._jobs: list[asyncio.Future[Any]] = []
        self._fd = -1
        self.size = 0

    async def open(self) -> None:
        """Create the file, locked. Raises Unavailable."""
        await self._away(self._create)

    def _create(self) -> None:
        self._file.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._fd = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes. Raises TooLarge when the disk is full."""
        self.size += len(chunk)
        self._blocks.append(chunk)
        self._gathered += len(chunk)
        if self._gathered >= BLOCK:
            await self._flush()

    async def _flush(self) -> None:
        block = b"".join(self._blocks)
        self._blocks, self._gathered = [], 0
        await self._settle()
        loop = asyncio.get_running_loop()
        calls: tuple[Callable[[bytes], object], ...] = (self._store, self._md5.update, self._sha512.update)
        self._jobs = [loop.run_in_executor(_threads, call, block) for call in calls]

    def _store(self, block: bytes) -> None:
        view = memoryview(block)
        while view:
            view = view[os.write(self._fd, view) :]
        self._inspection.feed(block)

    async def _settle(self) -> None:
        """Wait for the block that is under way, to the end of each of its jobs."""
        jobs, self._jobs = self._jobs, []
        for result in await asyncio.gather(*jobs, return_exceptions=True):
            if isinstance(result, BaseException):
                raise _disk(result)

    async def finish(self) -> Written:
        """All bytes are here: make them durable and say what they are."""
        if self._blocks:
            await self._flush()
        await self._settle()
        finding = await self._away(self._sync)
        return Written(self.size, self._md5.hexdigest(), self._sha512.hexdigest(), finding)

    def _sync(self) -> Finding:
        os.fsync(self._fd)
        _sync_folder(self._file.parent)
        return self._inspection.finish()

    async def drop(self) -> None:
        """Remove the file."""
        await asyncio.gather(*self._jobs, return_exceptions=True)
        self._jobs = []
        if self._fd >= 0:
            await self._away(self._file.unlink, True)

    async def close(self) -> None:
        await asyncio.gather(*self._jobs, return_exceptions=True)
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            await self._away(os.close, fd)

    async def _away(self, call: Callable[..., Any], *args: Any) -> Any:
        try:
            return await asyncio.get_running_loop().run_in_executor(_threads, call, *args)
        except OSError as error:
            raise _disk(error) from error


def _disk(error: BaseException) -> BaseException:
    if not isinstance(error, OSError):
        return error
    if error.errno in _FULL:
        return TooLarge(f"Image storage media is full: {error.strerror}", code="StorageFull")
    return Unavailable("The image store cannot be written.", detail=str(error))


def _sync_folder(place: Path) -> None:
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


async def remove(config: Config, image_id: str, attempt: str) -> None:
    """Remove an image's file, if there is one. Whoever reads it now reads on."""
    file = path(config, image_id, attempt)
    await asyncio.get_running_loop().run_in_executor(_threads, file.unlink, True)


@contextmanager
def abandoned(file: Path) -> Iterator[bool]:
    """Whether no living writer holds the file; while the block runs, nobody becomes one."""
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(fd)


async def read(file: Path, start: int, length: int) -> AsyncIterator[bytes]:
    """Bytes of a file, read one block ahead. The file is opened at once: Unavailable if it is gone."""
    loop = asyncio.get_running_loop()
    try:
        fd = await loop.run_in_executor(_threads, os.open, file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable("The image's data cannot be read.", detail=str(error)) from error
    return _blocks(fd, start, length)


async def _blocks(fd: int, start: int, length: int) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    at, end = start, start + length

    def ahead() -> asyncio.Future[bytes]:
        return loop.run_in_executor(_threads, os.pread, fd, min(BLOCK, end - at), at)

    coming = ahead()
    try:
        while at < end:
            block = await coming
            if not block:
                raise Unavailable("The image's data is shorter than it was.")
            at += len(block)
            if at < end:
                coming = ahead()
            yield block
    finally:
        await asyncio.gather(coming, return_exceptions=True)
        os.close(fd)
