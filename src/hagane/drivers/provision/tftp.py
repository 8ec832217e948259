"""A small TFTP server for boot loaders (RFC 1350), reading only, with the options of RFC 2347 to 2349 and RFC 7440.

    RRQ ──▶ :69 ──answer()──▶ a socket of its own: OACK ─▶ window of DATA ─▶ ACK ─▶ ... ─▶ the last, short DATA

Nothing on the package index does it in an event loop, with sockets made in another namespace, for callers known by
their address: tftpy blocks, py3tftp and fbtftp are no longer kept. Whoever asks is a stranger: transfers and their
time are bounded, and a name is never a path on this machine, but a question to `answer`.
"""

import asyncio
import logging
import os
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from hagane.drivers.metadata.base import Answer, Question, Reply
from hagane.drivers.provision.base import TFTP

log = logging.getLogger(__name__)
RRQ, DATA, ACK, ERROR, OACK = 1, 3, 4, 5, 6
UNDEFINED, MISSING, ILLEGAL, REFUSED = 0, 1, 4, 8
MOST_OF_CLIENT, MOST = 8, 128  # transfers at once
RETRY, TRIES = 1.0, 6  # seconds until a window is sent again; how often
READ = 1 << 20  # bytes of a file that are read at once
LARGEST_BLOCK, LARGEST_WINDOW = 65464, 64

MakeSocket = Callable[[], Awaitable[socket.socket]]


@dataclass(frozen=True, slots=True)
class Request:
    """A read request. `options` in lower case, as far as they are known and sane."""

    name: str
    options: dict[str, int] = field(default_factory=dict)


def parse(packet: bytes) -> Request | None:
    """A read request, or None for what is none. Modes are not told apart: boot files are bytes."""
    if len(packet) < 6 or packet[:2] != b"\0\1" or packet[-1]:
        return None
    words = packet[2:-1].decode("utf-8", "replace").split("\0")
    pairs = zip(words[2::2], words[3::2], strict=False)
    # A number of thousands of digits would be an error of int().
    numbers = ((name.lower(), value) for name, value in pairs if value.isascii() and len(value) < 20)
    known = {name: int(value) for name, value in numbers if value.isdecimal()}
    return Request(words[0], {name: value for name, value in known.items() if _sane(name, value)})


def _sane(name: str, value: int) -> bool:
    bounds = {"blksize": (8, 1 << 16), "windowsize": (1, 1 << 16), "timeout": (1, 255), "tsize": (0, 1 << 62)}
    low, high = bounds.get(name, (1, 0))
    return low <= value <= high


def granted(wanted: dict[str, int], size: int) -> dict[str, int]:
    """What of the wanted options is granted (RFC 2347: never more than was asked for)."""
    found = dict(wanted)
    if "blksize" in found:
        found["blksize"] = min(found["blksize"], LARGEST_BLOCK)
    if "windowsize" in found:
        found["windowsize"] = min(found["windowsize"], LARGEST_WINDOW)
    if "tsize" in found:
        found["tsize"] = size
    return found


def error(code: int, text: str) -> bytes:
    return struct.pack("!HH", ERROR, code) + text.encode() + b"\0"


class Server(asyncio.DatagramProtocol):
    """Serves one network. `make` makes a socket for a transfer, in the network's namespace."""

    def __init__(self, network_id: str, answer: Answer, make: MakeSocket) -> None:
        self.network_id, self._answer, self._make = network_id, answer, make
        self._transport: asyncio.DatagramTransport | None = None
        self._running: dict[asyncio.Task[None], tuple[str, int]] = {}

    async def open(self, one: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=one)

    async def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        request = parse(data)
        peer = (addr[0], addr[1])
        if request is None:
            self._refuse(data, addr)
            return
        clients = Counter(address for address, _ in self._running.values())
        # Firmware that saw no answer asks again from the same port: one transfer is enough.
        if peer in self._running.values() or len(clients) >= MOST or clients[addr[0]] >= MOST_OF_CLIENT:
            return
        task = asyncio.get_running_loop().create_task(self._transfer(request, peer))
        self._running[task] = peer
        task.add_done_callback(self._running.pop)

    def _refuse(self, data: bytes, addr: tuple[str, int]) -> None:
        if data[:2] == b"\0\2" and self._transport is not None:
            self._transport.sendto(error(ILLEGAL, "read only"), addr)

    async def _transfer(self, request: Request, peer: tuple[str, int]) -> None:
        whole, ended = False, None
        try:
            question = Question(self.network_id, peer[0], TFTP, request.name.lstrip("/"))
            reply = await self._answer(question)
            ended = reply.ended
            with await self._make() as one:
                one.connect(peer)
                whole = await _Transfer(one, reply, request).run()
        except OSError as problem:
            log.info("TFTP to %s broke off: %s", peer[0], problem)
        except Exception:
            log.exception("cannot answer TFTP %s of network %s", request.name, self.network_id)
        finally:
            if ended is not None:
                ended(whole)


class _Transfer:
    """One file to one machine over a connected socket."""

    def __init__(self, one: socket.socket, reply: Reply, request: Request) -> None:
        self._socket, self._reply = one, reply
        self._options = granted(request.options, reply.length)
        self._block = self._options.get("blksize", 512)
        self._window = self._options.get("windowsize", 1)
        self._timeout = float(self._options.get("timeout", RETRY))
        self._fd, self._read, self._read_from = -1, b"", 0

    async def run(self) -> bool:
        if self._reply.status != 200:
            self._socket.send(error(MISSING, "file not found"))
            return False
        if self._reply.piece is not None:
            self._fd = await asyncio.to_thread(os.open, self._reply.piece.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return await self._greet() and await self._send_all()
        finally:
            if self._fd >= 0:
                os.close(self._fd)

    async def _greet(self) -> bool:
        """Tell the options, if any were asked for, until they are acknowledged."""
        if not self._options:
            return True
        text = "".join(f"{name}\0{value}\0" for name, value in self._options.items())
        packet = struct.pack("!H", OACK) + text.encode()
        for _ in range(TRIES):
            self._socket.send(packet)
            if (number := await self._heard()) is not None:
                return number == 0
        return False

    async def _send_all(self) -> bool:
        """Windows of blocks; after each the machine says the last one that it got in order."""
        last = self._reply.length // self._block + 1  # the short one, empty if need be
        done, tries = 0, 0
        while done < last:
            end = min(done + self._window, last)
            for number, content in enumerate(await self._blocks(done, end), done + 1):
                packet = struct.pack("!HH", DATA, number & 0xFFFF) + content
                await asyncio.get_running_loop().sock_sendall(self._socket, packet)
            heard = await self._heard()
            if heard == -1:
                return False
            ahead = 0 if heard is None else (heard - done) & 0xFFFF
            if not 0 < ahead <= end - done:
                tries += 1
                if tries >= TRIES:
                    return False
                continue
            done, tries = done + ahead, 0
        return True

    async def _blocks(self, first: int, end: int) -> list[bytes]:
        start, stop = first * self._block, min(end * self._block, self._reply.length)
        piece = self._reply.piece
        if piece is None:
            content = self._reply.body[start:stop]
        else:
            if not (self._read_from <= start and stop <= self._read_from + len(self._read)):
                wanted = min(max(READ, stop - start), self._reply.length - start)
                self._read = await asyncio.to_thread(os.pread, self._fd, wanted, piece.start + start)
                self._read_from = start
                if len(self._read) < wanted:
                    raise OSError(f"{piece.path} is shorter than it was")
            content = self._read[start - self._read_from : stop - self._read_from]
            piece.sent(len(content))
        return [content[at : at + self._block] for at in range(0, (end - first) * self._block, self._block)]

    async def _heard(self) -> int | None:
        """The number of the next ACK; None: nothing came in time; -1: the machine does not want any more."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                while True:
                    packet = await loop.sock_recv(self._socket, 2048)
                    if packet[:2] == b"\0\4" and len(packet) >= 4:
                        return int.from_bytes(packet[2:4])
                    if packet[:2] == b"\0\5":
                        return -1
        except TimeoutError:
            return None
