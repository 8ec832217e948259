"""The connection to servers that misbehave, are old, or fall silent: a small server in this process plays them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from hagane.errors import Invalid, Unavailable
from hagane.ovn.connection import Remote, parse_remotes
from hagane.ovn.framing import Framer
from hagane.ovn.peer import Peer
from hagane.ovn.replica import Replica
from hagane.ovn.transaction import Comment

SCHEMA = {
    "name": "Test",
    "version": "1.0.0",
    "tables": {
        "T": {
            "columns": {
                "name": {"type": "string"},
                "tags": {"type": {"key": "string", "min": 0, "max": "unlimited"}},
            }
        }
    },
}


class FakeServer:
    """`methods` are the monitor methods that it knows; `rows` is its content; `silent` ignores every request."""

    def __init__(self, folder: Path, methods: tuple[str, ...]) -> None:
        self.path = folder / "fake.sock"
        self.methods = methods
        self.rows: dict[str, Any] = {"u1": {"name": "one", "tags": ["set", ["a", "b"]]}}
        self.silent = False
        self.calls: list[str] = []
        self.echoes = 0
        self.writers: list[asyncio.StreamWriter] = []
        self.after_monitor: Callable[[], None] = lambda: None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        framer = Framer()
        while data := await reader.read(65536):
            for frame in framer.feed(data):
                self.handle(json.loads(frame))
        writer.close()

    def handle(self, message: dict[str, Any]) -> None:
        if "method" not in message:
            self.echoes += 1
            return
        self.calls.append(message["method"])
        if self.silent:
            return
        known = message["params"][:1] != ["_Server"] and message["method"] in (*self.methods, "get_schema", "transact")
        if message["method"] == "echo" or known:
            self.send({"id": message["id"], "result": self.result(message["method"], message["params"]), "error": None})
        else:
            self.send({"id": message["id"], "result": None, "error": {"error": "unknown method"}})
        if known and message["method"].startswith("monitor"):
            self.after_monitor()

    def result(self, method: str, params: list[Any]) -> Any:
        match method:
            case "get_schema":
                return SCHEMA
            case "monitor":
                return {"T": {row_id: {"new": row} for row_id, row in self.rows.items()}}
            case "monitor_cond":
                return {"T": {row_id: {"initial": row} for row_id, row in self.rows.items()}}
            case "monitor_cond_since":
                return [False, "txn-1", {"T": {row_id: {"initial": row} for row_id, row in self.rows.items()}}]
            case "transact":
                return [{} for _ in params[1:]]
            case _:
                return params

    def send(self, message: dict[str, Any]) -> None:
        self.writers[-1].write(json.dumps(message, indent=1).encode() + b"\n")

    def update(self, method: str, *params: Any) -> None:
        self.send({"id": None, "method": method, "params": ["Test", *params]})


@contextlib.asynccontextmanager
async def serving(folder: Path, methods: tuple[str, ...]) -> AsyncIterator[tuple[FakeServer, Replica]]:
    fake = FakeServer(folder, methods)
    server = await asyncio.start_unix_server(fake.serve, fake.path)
    replica = Replica(f"unix:{fake.path}", "Test", {"T": None, "Missing": ["x"]}, probe=0.1)
    await replica.start()
    try:
        yield fake, replica
    finally:
        await replica.stop()
        server.close()
        await asyncio.sleep(0.01)


def names(replica: Replica) -> dict[str, Any]:
    return {str(row_id): (row["name"], set(row["tags"])) for row_id, row in replica.table("T").items()}


@pytest.mark.parametrize("methods", [("monitor_cond_since",), ("monitor_cond",), ("monitor",)])
async def test_old_servers_are_understood(tmp_path: Path, methods: tuple[str, ...]) -> None:
    async with serving(tmp_path, methods) as (fake, replica):
        await asyncio.wait_for(replica.ready.wait(), 5)
        assert names(replica) == {"u1": ("one", {"a", "b"})}
        assert replica.table("Missing") == {}
        new = {"name": "two", "tags": "c"}
        match methods[0]:
            case "monitor":
                fake.update("update", {"T": {"u1": {"delete": None, "old": fake.rows["u1"]}, "u2": {"new": new}}})
                fake.update(
                    "update", {"T": {"u2": {"new": {**new, "tags": ["set", ["c", "d"]]}, "old": {"tags": "c"}}}}
                )
            case "monitor_cond":
                fake.update("update2", {"T": {"u1": {"delete": None}, "u2": {"insert": new}}})
                fake.update("update2", {"T": {"u2": {"modify": {"tags": "d"}}}})
            case _:
                fake.update("update3", "txn-2", {"T": {"u1": {"delete": None}, "u2": {"insert": new}}})
                fake.update("update3", "txn-3", {"T": {"u2": {"modify": {"tags": "d"}}}})
        await replica.until(lambda: names(replica) == {"u2": ("two", {"c", "d"})}, 5)
        assert await replica.transact([Comment("x")]) == [None]


async def test_a_silent_server_is_left_and_tried_again(tmp_path: Path) -> None:
    async with serving(tmp_path, ("monitor",)) as (fake, replica):
        await asyncio.wait_for(replica.ready.wait(), 5)
        async with asyncio.timeout(10):  # an idle connection is probed
            while "echo" not in fake.calls:
                await asyncio.sleep(0.02)
        await asyncio.wait_for(replica.ready.wait(), 5)
        fake.silent = True
        waiting = asyncio.create_task(replica.transact([Comment("x")]))
        with pytest.raises(Unavailable) as raised:
            await asyncio.wait_for(waiting, 5)
        assert "no answer" in raised.value.detail
        assert not replica.ready.is_set()
        with pytest.raises(Unavailable):
            await replica.transact([Comment("x")])
        fake.silent = False
        await asyncio.wait_for(replica.ready.wait(), 5)


async def test_the_servers_echo_is_answered(tmp_path: Path) -> None:
    async with serving(tmp_path, ("monitor",)) as (fake, replica):
        await asyncio.wait_for(replica.ready.wait(), 5)
        fake.send({"id": "echo", "method": "echo", "params": ["x"]})
        async with asyncio.timeout(5):
            while not fake.echoes:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("garbage", [b'{"a": ]}', b"HTTP/1.1 400 Bad Request\r\n", b"}}", b"[1]"])
async def test_garbage_ends_the_connection_only(tmp_path: Path, garbage: bytes) -> None:
    async with serving(tmp_path, ("monitor",)) as (fake, replica):
        await asyncio.wait_for(replica.ready.wait(), 5)
        fake.writers[-1].write(garbage)
        async with asyncio.timeout(5):
            while replica.ready.is_set():
                await asyncio.sleep(0.01)
        assert "JSON" in replica.connection.reason
        await asyncio.wait_for(replica.ready.wait(), 5)


async def test_a_change_of_an_unknown_row_means_reading_anew(tmp_path: Path) -> None:
    async with serving(tmp_path, ("monitor_cond_since",)) as (fake, replica):
        await asyncio.wait_for(replica.ready.wait(), 5)
        fake.rows["u9"] = {"name": "nine"}
        fake.update("update3", "txn-2", {"T": {"u9": {"modify": {"name": "nine"}}}})
        await replica.until(lambda: "u9" in names(replica), 5)
        assert names(replica)["u9"] == ("nine", set())


async def test_listeners_miss_nothing_when_the_initial_content_has_to_be_read_twice(tmp_path: Path) -> None:
    async with serving(tmp_path, ("monitor_cond_since",)) as (fake, replica):
        heard: list[tuple[str, str]] = []
        replica.on_change("T", lambda kind, old, new: heard.append((kind, (new or old)["name"])))
        await asyncio.wait_for(replica.ready.wait(), 5)
        fake.rows = {f"r{n}": {"name": f"n{n}"} for n in range(1500)}
        fake.after_monitor = lambda: fake.update("update3", "t", {"T": {"unknown": {"modify": {"name": "x"}}}})
        fake.writers[-1].close()
        async with asyncio.timeout(5):
            while "T unknown" not in replica.connection.reason:
                await asyncio.sleep(0.005)
        fake.after_monitor = lambda: None
        await asyncio.wait_for(replica.ready.wait(), 5)
        assert sorted(heard) == sorted(
            [("insert", "one"), ("delete", "one"), *(("insert", f"n{n}") for n in range(1500))]
        )


async def test_updates_during_the_initial_content_are_applied_after_it(tmp_path: Path) -> None:
    async with serving(tmp_path, ("monitor_cond_since",)) as (fake, replica):
        await asyncio.wait_for(replica.ready.wait(), 5)
        fake.rows = {f"r{n}": {"name": f"n{n}"} for n in range(3500)}
        fake.after_monitor = lambda: fake.update("update3", "t", {"T": {"r3499": {"modify": {"name": "later"}}}})
        kinds: list[str] = []
        replica.on_change("T", lambda kind, old, new: kinds.append(kind))
        fake.writers[-1].close()
        await replica.until(lambda: len(replica.table("T")) == 3500, 5)
        await asyncio.wait_for(replica.ready.wait(), 5)
        assert names(replica)["r3499"] == ("later", set())
        assert (kinds.count("insert"), kinds.count("update"), kinds.count("delete")) == (3500, 1, 1)


async def test_a_listener_that_fails_is_logged_and_the_others_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path, ("monitor_cond_since",)) as (_, replica):
        seen: list[Any] = []

        def broken(kind: str, old: Any, new: Any) -> None:
            raise KeyError(kind)

        replica.on_change("T", broken)
        replica.on_change("T", lambda kind, old, new: seen.append((kind, old, new["name"])))
        await asyncio.wait_for(replica.ready.wait(), 5)
        assert seen == [("insert", None, "one")]
        assert "a listener failed" in caplog.text


async def test_until_times_out() -> None:
    replica = Replica("unix:/nonexistent", "Test", {"T": None})
    with pytest.raises(TimeoutError):
        await replica.until(lambda: False, 0.01)
    with pytest.raises(Unavailable):
        _ = replica.schema


@pytest.mark.parametrize(
    ("text", "remotes"),
    [
        ("unix:/run/ovn/ovnnb_db.sock", [Remote("unix", "/run/ovn/ovnnb_db.sock")]),
        ("tcp:[::1]:6641, ssl:10.0.0.1:6642", [Remote("tcp", "::1", 6641), Remote("ssl", "10.0.0.1", 6642)]),
    ],
)
def test_remotes(text: str, remotes: list[Remote]) -> None:
    assert parse_remotes(text) == remotes


@pytest.mark.parametrize(
    "text", ["", "unix:", "tcp:host", "tcp:host:port", "tcp::1", "tcp:h:0", "tcp:h:65536", "udp:h:1"]
)
def test_what_is_no_remote(text: str) -> None:
    with pytest.raises(Invalid):
        parse_remotes(text)


def test_tls_needs_its_files() -> None:
    with pytest.raises(Invalid, match="certificate"):
        Replica("ssl:127.0.0.1:6641", "Test", {})


async def test_only_an_unanswered_question_ends_a_silent_connection() -> None:
    """However late the timer comes: the server must have been asked."""
    peer = Peer(lambda method, params: None, probe=0.05)
    transport = Mock(spec=asyncio.Transport)
    peer.connection_made(transport)
    peer._heard -= 10
    peer._check()
    transport.abort.assert_not_called()
    assert b"echo" in transport.write.call_args[0][0]
    peer.data_received(b'{"id":"echo","result":[],"error":null}')
    await asyncio.sleep(0.02)
    peer._check()
    transport.abort.assert_not_called()
    peer._heard -= 10
    peer._asked = peer._heard + 1  # it was asked nine seconds ago
    peer._check()
    transport.abort.assert_called_once()
    peer.connection_lost(None)
    assert "no answer for 10 s" in await peer.lost
