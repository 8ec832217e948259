"""Bytes of a file into a connection of the event loop, by a thread: sendfile(2), so that they never come into Python.
Those of a stream are read and sent on, a block at a time.

The socket stays non-blocking, as the loop needs it; the thread waits for it with poll(2) and looks up now and then
whether it is still wanted. While it sends, nobody else writes into that connection.
"""

import asyncio
import os
import select
import threading
from concurrent.futures import ThreadPoolExecutor

from hagane.drivers.metadata.base import Piece, Stream

AT_ONCE = 32  # further ones wait for their turn
CHUNK = 4 << 20  # bytes of one sendfile at most, so that progress is seen
BLOCK = 256 << 10  # bytes of a stream that are held at a time
STALL = 30.0  # seconds in which a machine takes nothing before it is given up
_threads = ThreadPoolExecutor(AT_ONCE, "send")


async def send(transport: asyncio.Transport, piece: Piece | Stream) -> bool:
    """Whether all of it went out. What was written before goes first."""
    until = asyncio.get_running_loop().time() + STALL
    # A head of a few hundred bytes is almost never still there, and the transport would tell nobody but its protocol.
    while transport.get_write_buffer_size() and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    if transport.is_closing() or transport.get_write_buffer_size():
        if isinstance(piece, Stream):
            piece.source.close()
        return False
    # A copy of its own: the transport may close its socket, and the number be another's, while the thread still runs.
    out, stop = os.dup(transport.get_extra_info("socket").fileno()), threading.Event()
    job = asyncio.get_running_loop().run_in_executor(_threads, _pump, out, piece, stop)
    try:
        return await asyncio.shield(job)
    finally:
        stop.set()
        job.add_done_callback(lambda _: os.close(out))


def _pump(out: int, piece: Piece | Stream, stop: threading.Event) -> bool:
    if isinstance(piece, Stream):
        try:
            return _relay(out, piece, stop)
        except OSError:  # the machine has gone, or where it comes from
            return False
        finally:
            piece.source.close()
    try:
        source = os.open(piece.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _copy(out, source, piece, stop)
    except OSError:  # the machine has gone, or the disk fails
        return False
    finally:
        os.close(source)


def _copy(out: int, source: int, piece: Piece, stop: threading.Event) -> bool:
    ready = select.poll()
    ready.register(out, select.POLLOUT)
    at, end, waited = piece.start, piece.start + piece.length, 0.0
    while at < end and not stop.is_set():
        try:
            count = os.sendfile(out, source, at, min(CHUNK, end - at))
        except BlockingIOError:
            waited = 0.0 if ready.poll(1000) else waited + 1
            if waited >= STALL:
                return False
            continue
        if not count:
            return False  # the file is shorter than it was
        at += count
        piece.sent(count)
    return at == end


def _relay(out: int, stream: Stream, stop: threading.Event) -> bool:
    ready = select.poll()
    ready.register(out, select.POLLOUT)
    left = stream.length
    while left:
        block = stream.source.read(min(BLOCK, left))
        if not block or not _write(out, block, ready, stop):
            return False
        left -= len(block)
        stream.sent(len(block))
    return True


def _write(out: int, block: bytes, ready: select.poll, stop: threading.Event) -> bool:
    """Whether all of the block went out before it was called off, or the machine took nothing for too long."""
    view, waited = memoryview(block), 0.0
    while view and not stop.is_set():
        try:
            view, waited = view[os.write(out, view) :], 0.0
        except BlockingIOError:
            waited = 0.0 if ready.poll(1000) else waited + 1
            if waited >= STALL:
                return False
    return not view
