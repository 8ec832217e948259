"""Bytes into and out of a volume on a Host: libvirt's streams, which call back for what a file's read and seek tell.

Holes of a file stay holes on the way: an image of 2 TB with 300 MB in it moves 300 MB. All functions here block.
"""

import contextlib
import os
from collections.abc import Callable
from typing import Any

import libvirt

Moved = Callable[[int], None]
"""Told the bytes moved so far; raising ends the transfer."""


class Bytes:
    """Bytes in memory with the three calls of a file that an upload needs."""

    def __init__(self, content: bytes) -> None:
        self._rest = memoryview(content)

    def read(self, count: int) -> bytes:
        part, self._rest = self._rest[:count], self._rest[count:]
        return bytes(part)


def upload(connection: Any, volume: Any, source: Any, size: int, *, sparse: bool, moved: Moved | None = None) -> None:
    """Send `size` bytes, holes of a file as holes."""
    stream = connection.newStream()
    volume.upload(stream, 0, size, libvirt.VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM if sparse else 0)
    total = 0

    def read(_stream: Any, count: int, _opaque: Any) -> bytes:
        nonlocal total
        data: bytes = source.read(count)
        total += len(data)
        if moved:
            moved(total)
        return data

    def section(_stream: Any, _opaque: Any) -> list[Any]:
        return _section(source.fileno(), size)

    def skip(_stream: Any, count: int, _opaque: Any) -> int:
        nonlocal total
        total += count
        return os.lseek(source.fileno(), count, os.SEEK_CUR)

    try:
        if sparse:
            stream.sparseSendAll(read, section, skip, None)
        else:
            stream.sendAll(read, None)
        stream.finish()
    except BaseException:
        with contextlib.suppress(libvirt.libvirtError):
            stream.abort()
        raise


def _section(descriptor: int, size: int) -> list[Any]:
    """[is data?, its length] at the present offset of a file, which stays where it is."""
    here = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        data = os.lseek(descriptor, here, os.SEEK_DATA)
    except OSError:  # ENXIO: nothing but a hole up to the end
        return [False, size - here]
    end = data if data > here else os.lseek(descriptor, here, os.SEEK_HOLE)
    os.lseek(descriptor, here, os.SEEK_SET)
    return [data == here, end - here]


def tail(connection: Any, volume: Any, limit: int) -> bytes:
    """The last `limit` bytes."""
    size = volume.info()[1]
    content = bytearray()
    stream = connection.newStream()
    volume.download(stream, max(0, size - limit), 0)
    stream.recvAll(lambda _stream, data, _opaque: content.extend(data), None)
    stream.finish()
    return bytes(content)
