"""The metadata service's HTTP server, on loopback: real requests, and what strangers may try."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import httpx
import pytest

from hagane.drivers.metadata import http
from hagane.drivers.metadata.base import Question, Reply
from hagane.drivers.metadata.http import Listener


async def echo(question: Question) -> Reply:
    if question.target == "/slow":
        await asyncio.sleep(0.2)
    if question.target == "/broken":
        raise RuntimeError("a bug")
    words = f"{question.network_id} {question.client} {question.method} {question.target} {len(question.body)}"
    return Reply(200, words.encode(), {"content-type": "text/plain"})


@pytest.fixture
async def place() -> AsyncIterator[tuple[Listener, int]]:
    listener = Listener("net", echo)
    one = socket.create_server(("127.0.0.1", 0))
    one.setblocking(False)
    await listener.open([one])
    yield listener, one.getsockname()[1]
    await listener.close()
    await asyncio.sleep(0.01)


async def talk(port: int, data: bytes, *, answers: int = 1) -> bytes:
    """Send bytes as they are; what comes back until so many answers are there or the other end closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    got = b""
    try:
        async with asyncio.timeout(5):
            while got.count(b"HTTP/1.1 ") < answers or not got.endswith((b"0", b"3", b"5")):
                chunk = await reader.read(65536)
                if not chunk:
                    break
                got += chunk
    finally:
        writer.close()
    return got


async def test_requests_on_one_connection(place: tuple[Listener, int]) -> None:
    listener, port = place
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(3):
            answer = await client.get("/openstack/latest?x=1", headers={"X-Forwarded-For": "10.9.9.9"})
            assert answer.text == "net 127.0.0.1 GET /openstack/latest?x=1 0"
        posted = await client.post("/openstack/latest/password", content=b"12345")
        assert posted.text.endswith("POST /openstack/latest/password 5")
        head = await client.head("/x")
        assert (head.text, head.headers["content-length"]) == ("", str(len("net 127.0.0.1 HEAD /x 0")))
        assert len(listener.connections) == 1


async def test_pipelined_requests_are_answered_in_order(place: tuple[Listener, int]) -> None:
    got = await talk(place[1], b"GET /slow HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n", answers=3)
    assert got.index(b"/slow") < got.index(b"/2") < got.index(b"/3")


async def test_old_clients_are_closed_upon(place: tuple[Listener, int]) -> None:
    got = await talk(place[1], b"GET /x HTTP/1.0\r\n\r\n", answers=9)
    assert b"connection: close" in got
    assert got.endswith(b"/x 0")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"a%d: b\r\n" % n for n in range(200)) + b"\r\n", 431),
        (b"PUT / HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + b"x" * 70_000, 413),
        (b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 400),
    ],
)
async def test_bad_requests_are_refused(place: tuple[Listener, int], data: bytes, status: int) -> None:
    listener, port = place
    got = await talk(port, data, answers=9)
    assert got.startswith(b"HTTP/1.1 %d " % status)
    assert not listener.connections


async def test_a_bug_is_a_500_without_words(place: tuple[Listener, int]) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{place[1]}") as client:
        answer = await client.get("/broken")
        assert answer.status_code == 500
        assert "a bug" not in answer.text


async def test_one_machine_cannot_take_all_connections(place: tuple[Listener, int]) -> None:
    listener, port = place
    writers = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(http.MOST_OF_CLIENT + 5)]
    await asyncio.sleep(0.05)
    assert len(listener.connections) == listener.clients["127.0.0.1"] == http.MOST_OF_CLIENT
    for writer in writers:
        writer.close()
    await asyncio.sleep(0.05)
    assert not listener.connections
    assert not listener.clients


async def test_the_slow_are_cut_off(place: tuple[Listener, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "IDLE", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", place[1])
    writer.write(b"GET / HT")
    async with asyncio.timeout(2):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.close()
