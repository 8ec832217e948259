"""The TFTP server on loopback, asked by real clients (tftp-hpa, curl) and by packets that no client would send."""

import asyncio
import hashlib
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hagane.drivers.metadata.base import Piece, Question, Reply
from hagane.drivers.provision import tftp
from hagane.drivers.provision.tftp import granted, parse


class Place:
    """A server that gives a text and a file; what it was asked and how each ended."""

    def __init__(self, file: Path) -> None:
        self.file, self.port = file, 0
        self.asked: list[str] = []
        self.ended: list[bool] = []
        self.clients: list[Client] = []

    def client(self) -> "Client":
        self.clients.append(Client(self.port))
        return self.clients[-1]

    async def answer(self, question: Question) -> Reply:
        self.asked.append(f"{question.method} {question.client} {question.target}")
        if question.target == "text":
            return Reply(200, b"hello", ended=self.ended.append)
        if question.target == "empty":
            return Reply(200, b"")
        if question.target == "file":
            return Reply(200, piece=Piece(self.file, 0, self.file.stat().st_size), ended=self.ended.append)
        return Reply(404)


def datagram() -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    one.bind(("127.0.0.1", 0))
    return one


async def fresh() -> socket.socket:
    return datagram()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 4096 + b"end")
    made = Place(file)
    server = tftp.Server("net", made.answer, fresh)
    one = datagram()
    made.port = one.getsockname()[1]
    await server.open(one)
    yield made
    await server.close()
    for client in made.clients:
        client.socket.close()


async def run(*argv: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(20):
        said, _ = await process.communicate()
    return said


@pytest.mark.parametrize("options", [(), ("--tftp-blksize", "1400"), ("--tftp-no-options",)])
async def test_curl(place: Place, options: tuple[str, ...]) -> None:
    url = f"tftp://127.0.0.1:{place.port}"
    assert await run("curl", "-sS", *options, f"{url}/text") == b"hello"
    got = await run("curl", "-sS", *options, f"{url}/file")
    assert hashlib.sha256(got).digest() == hashlib.sha256(place.file.read_bytes()).digest()
    assert place.asked[:2] == ["TFTP 127.0.0.1 text", "TFTP 127.0.0.1 file"]
    assert place.ended == [True, True]


async def test_tftp_hpa(place: Place, tmp_path: Path) -> None:
    assert b"file not found" in await run("tftp", "127.0.0.1", str(place.port), "-c", "get", "other", "/dev/null")
    for name in ("text", "empty", "file"):
        out = tmp_path / f"{name}.out"
        await run("tftp", "-m", "binary", "127.0.0.1", str(place.port), "-c", "get", name, str(out))
        wanted = {"text": b"hello", "empty": b"", "file": place.file.read_bytes()}[name]
        assert out.read_bytes() == wanted


class Client:
    """Packets by hand."""

    def __init__(self, port: int) -> None:
        self.socket, self.port, self.peer = datagram(), port, ("", 0)

    def request(self, *words: str) -> None:
        packet = b"\0\1" + b"".join(word.encode() + b"\0" for word in words)
        self.socket.sendto(packet, ("127.0.0.1", self.port))

    async def receive(self) -> bytes:
        async with asyncio.timeout(5):
            data, self.peer = await asyncio.get_running_loop().sock_recvfrom(self.socket, 70000)
        return data

    def ack(self, number: int) -> None:
        self.socket.sendto(struct.pack("!HH", tftp.ACK, number), self.peer)


async def test_a_window_of_which_a_block_was_lost(place: Place) -> None:
    client = place.client()
    client.request("file", "octet", "blksize", "1000", "windowsize", "4", "tsize", "0")
    offer = await client.receive()
    assert offer == b"\0\6blksize\x001000\0windowsize\x004\0tsize\x001048579\0"
    client.ack(0)
    first = [await client.receive() for _ in range(4)]
    assert [packet[:4] for packet in first] == [struct.pack("!HH", tftp.DATA, n) for n in (1, 2, 3, 4)]
    client.ack(2)  # the third was lost
    again = [await client.receive() for _ in range(4)]
    assert [packet[:4] for packet in again] == [struct.pack("!HH", tftp.DATA, n) for n in (3, 4, 5, 6)]
    assert b"".join(packet[4:] for packet in (*first[:2], *again)) == place.file.read_bytes()[:6000]
    client.socket.sendto(tftp.error(0, "enough"), client.peer)
    for _ in range(100):
        if place.ended:
            break
        await asyncio.sleep(0.01)
    assert place.ended == [False]


async def test_a_request_that_is_repeated_is_one(place: Place) -> None:
    client = place.client()
    for _ in range(3):
        client.request("text", "octet")
    assert await client.receive() == b"\0\3\0\1hello"
    client.ack(1)
    await asyncio.sleep(0.05)
    assert place.asked == ["TFTP 127.0.0.1 text"]


async def test_nothing_is_written(place: Place) -> None:
    client = place.client()
    client.socket.sendto(b"\0\2file\0octet\0", ("127.0.0.1", place.port))
    assert (await client.receive())[:4] == struct.pack("!HH", tftp.ERROR, tftp.ILLEGAL)
    assert place.asked == []


async def test_a_stranger_cannot_take_all_transfers(place: Place) -> None:
    clients = [place.client() for _ in range(tftp.MOST_OF_CLIENT + 4)]
    for client in clients:
        client.request("file", "octet")
    await asyncio.sleep(0.1)
    assert len(place.asked) == tftp.MOST_OF_CLIENT


@pytest.mark.parametrize(
    ("packet", "name", "options"),
    [
        (b"\0\1a/b.0\0octet\0", "a/b.0", {}),
        (b"\0\1x\0netascii\0BlkSize\x001468\0tsize\x000\0", "x", {"blksize": 1468, "tsize": 0}),
        (b"\0\1x\0octet\0blksize\x004\0windowsize\x00-1\0multicast\0\0", "x", {}),
        (b"\0\1x\0octet\0blksize\0", "x", {}),
        (b"\0\1x\0octet\0tsize\0" + b"9" * 5000 + b"\0", "x", {}),
    ],
)
def test_requests(packet: bytes, name: str, options: dict[str, int]) -> None:
    request = parse(packet)
    assert request is not None
    assert (request.name, request.options) == (name, options)


@pytest.mark.parametrize("packet", [b"", b"\0\1", b"\0\1x\0octet", b"\0\4\0\1", b"\0\3\0\1data\0"])
def test_what_is_no_request(packet: bytes) -> None:
    assert parse(packet) is None


def test_options_are_granted_up_to_our_bounds() -> None:
    wanted = {"blksize": 65535, "windowsize": 65535, "tsize": 0, "timeout": 3}
    assert granted(wanted, 77) == {"blksize": 65464, "windowsize": 64, "tsize": 77, "timeout": 3}
