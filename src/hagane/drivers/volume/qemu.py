"""qemu-img as a child process, and the head of a qcow2 file read without one."""

import asyncio
import fcntl
import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hagane.errors import DeviceFailed, Unavailable

_MAGIC = b"QFI\xfb"
_PERCENT = re.compile(rb"\((\d+)\.\d+/100%\)")
_WRITERS, _OFD_GETLK = 101, 36
_FULL = "No space left on device"


@dataclass(frozen=True, slots=True)
class Head:
    """What a qcow2 file says of itself: the file it is laid over ("" for none), and the bytes that it offers."""

    backing: str
    virtual_size: int


def head(path: Path) -> Head:
    """Raises DeviceFailed (it is no qcow2 file), FileNotFoundError."""
    with path.open("rb") as file:
        start = file.read(32)
        if len(start) < 32 or not start.startswith(_MAGIC):
            raise DeviceFailed(f"The file {path.name} is damaged: it does not begin as it should.")
        offset, length = struct.unpack_from(">QI", start, 8)
        (size,) = struct.unpack_from(">Q", start, 24)
        if not offset:
            return Head("", size)
        file.seek(offset)
        return Head(file.read(length).decode(), size)


def is_written(path: Path) -> bool:
    """Whether some QEMU has the file open for writing: it then holds a lock on byte 101 (block/file-posix.c), which
    stays with the file whatever name it gets."""
    with path.open("rb") as file:
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, _WRITERS, 1, 0)
        found: int = struct.unpack_from("h", fcntl.fcntl(file, _OFD_GETLK, asked))[0]
    return found != fcntl.F_UNLCK


async def run(*words: str | os.PathLike[str], moved: Callable[[int], None] | None = None) -> None:
    """Run qemu-img; with `moved`, tell it the percentage of a conversion. Raises DeviceFailed with the program's own
    words, Unavailable if it cannot be started. A cancelled call kills the program."""
    more = ("-p",) if moved else ()
    try:
        child = await asyncio.create_subprocess_exec(
            "qemu-img", words[0], *more, *words[1:], stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except OSError as error:
        raise Unavailable(f"qemu-img cannot be started: {error.strerror}.") from error
    try:
        _, problem = await asyncio.gather(_follow(child, moved), _all(child.stderr))
        code = await child.wait()
    except BaseException:
        if child.returncode is None:
            child.kill()
            await child.wait()
        raise
    if code:
        raise _failure(problem.decode(errors="replace").strip())


def _failure(text: str) -> Exception:
    last = text.splitlines()[-1].removeprefix("qemu-img: ") if text else "no reason given"
    if _FULL in text:
        return DeviceFailed("The storage backend is full.", detail=text)
    if "lock" in text and "another process" in text:
        return DeviceFailed("The volume is open in a running machine.", detail=text)
    return DeviceFailed(f"The disk image tool refused: {last}", detail=text)


async def _all(stream: asyncio.StreamReader | None) -> bytes:
    return await stream.read() if stream else b""


async def _follow(child: asyncio.subprocess.Process, moved: Callable[[int], None] | None) -> None:
    """Read the progress as it comes; it is one line that is written over again and again."""
    while child.stdout and (text := await child.stdout.read(4096)):
        if moved and (found := _PERCENT.findall(text)):
            moved(int(found[-1]))
