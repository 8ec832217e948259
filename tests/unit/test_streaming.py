"""Files over the bounded HTTP server: whole and in ranges, to many at once, to those that go away or stand still."""

import asyncio
import contextlib
import hashlib
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from hagane.drivers.metadata import sending
from hagane.drivers.metadata.base import Question, Reply, Stream
from hagane.drivers.metadata.http import Listener
from hagane.reconcile.provision_answer import bounds, piece

SIZE = 48 << 20


class Place:
    def __init__(self, file: Path) -> None:
        self.file, self.port = file, 0
        self.sent: list[int] = []
        self.ended: list[bool] = []

    async def answer(self, question: Question) -> Reply:
        return piece(self.file, question.headers.get("range", ""), self.ended.append, self.sent.append)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path / "file")
    with made.file.open("wb") as file:
        for number in range(SIZE >> 20):
            file.write(bytes([number]) * (1 << 20))
    listener = Listener("net", made.answer)
    one = socket.create_server(("127.0.0.1", 0))
    one.setblocking(False)
    made.port = one.getsockname()[1]
    await listener.open([one])
    yield made
    await listener.close()
    await asyncio.sleep(0.05)


async def test_whole_and_in_ranges_on_one_connection(place: Place) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{place.port}") as client:
        head = await client.head("/")
        assert (head.headers["content-length"], head.headers["accept-ranges"]) == (str(SIZE), "bytes")
        whole = await client.get("/")
        assert hashlib.sha256(whole.content).digest() == hashlib.sha256(place.file.read_bytes()).digest()
        part = await client.get("/", headers={"range": f"bytes={(3 << 20) - 2}-{(3 << 20) + 1}"})
        assert (part.status_code, part.content) == (206, b"\x02\x02\x03\x03")
        beyond = await client.get("/", headers={"range": f"bytes={SIZE}-"})
        assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{SIZE}")
    assert sum(place.sent) == SIZE + 4
    assert place.ended == [True, True]


async def test_the_event_loop_is_free_while_eight_read(place: Place) -> None:
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before)

    async def read() -> int:
        process = await asyncio.create_subprocess_exec(
            "curl", "-sS", f"http://127.0.0.1:{place.port}/", "-o", "/dev/null", "-w", "%{size_download}",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        return int((await process.communicate())[0])

    beating = asyncio.create_task(beat())
    assert await asyncio.gather(*(read() for _ in range(8))) == [SIZE] * 8
    beating.cancel()
    assert longest < 0.25  # of a loaded machine; one chunk by the loop itself would be no problem, a whole file would


async def test_who_goes_away_ends_the_stream(place: Place) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await reader.readexactly(100_000)
    writer.close()
    async with asyncio.timeout(5):
        while not place.ended:
            await asyncio.sleep(0.01)
    assert place.ended == [False]


async def test_who_takes_nothing_is_given_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "STALL", 1.0)
    _, writer = await asyncio.open_connection("127.0.0.1", place.port, limit=1 << 10)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    async with asyncio.timeout(10):
        while not place.ended:
            await asyncio.sleep(0.05)
    assert place.ended == [False]
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_a_file_that_is_cut_short_breaks_the_connection(place: Place) -> None:
    reply = await place.answer(Question("net", "127.0.0.1", "GET", "/"))
    assert reply.piece is not None
    place.file.write_bytes(b"short")

    async def stale(question: Question) -> Reply:
        return reply

    listener = Listener("net", stale)
    one = socket.create_server(("127.0.0.1", 0))
    one.setblocking(False)
    await listener.open([one])
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.TransportError):
            await client.get(f"http://127.0.0.1:{one.getsockname()[1]}/")
    await listener.close()


@pytest.mark.parametrize(
    ("ranges", "wanted"),
    [
        ("", (0, 100)),
        ("bytes=0-9", (0, 10)),
        ("bytes=90-", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("bytes=50-1000", (50, 100)),
        ("bytes=0-1,5-6", (0, 100)),
        ("items=0-1", (0, 100)),
        ("bytes=-", (0, 100)),
        ("bytes=9-3", (9, 4)),
        (f"bytes={'9' * 5000}-", (0, 100)),
        ("bytes=100-", (100, 100)),
    ],
)
def test_ranges(ranges: str, wanted: tuple[int, int]) -> None:
    assert bounds(ranges, 100) == wanted


class _Source:
    """Bytes from elsewhere: so many, then nothing, or an error."""

    def __init__(self, count: int, *, breaks: bool = False) -> None:
        self.left, self.breaks, self.closed = count, breaks, False

    def read(self, count: int) -> bytes:
        if not self.left and self.breaks:
            raise OSError("the other side is gone")
        block = b"s" * min(count, self.left)
        self.left -= len(block)
        return block

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("has", "breaks", "reads"),
    [(3 << 20, False, True), (1 << 20, False, True), (1 << 20, True, True), (64 << 20, False, False)],
)
async def test_a_stream_is_sent_on_and_always_closed(*, has: int, breaks: bool, reads: bool) -> None:
    size = max(has, 3 << 20)
    whole = reads and has == size
    source, ended, sent = _Source(has, breaks=breaks), list[bool](), list[int]()

    async def answer(question: Question) -> Reply:
        return Reply(200, ended=ended.append, stream=Stream(source, size, sent.append))

    listener, one = Listener("net", answer), socket.create_server(("127.0.0.1", 0))
    one.setblocking(False)
    port = one.getsockname()[1]
    await listener.open([one])
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert f"content-length: {size}".encode() in head
        if reads:
            body = await reader.read() if not whole else await reader.readexactly(size)
            assert body == b"s" * has and sum(sent) == has
        writer.transport.abort()
        async with asyncio.timeout(10):
            while not (source.closed and ended):
                await asyncio.sleep(0.01)
        assert ended == [whole]
    finally:
        await listener.close()
        await asyncio.sleep(0.05)
