"""Sharing commits: fewer of them under load, each submitter gets its own results, and nobody another's error."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hagane.errors import Conflict, DeviceFailed, Invalid, Unavailable
from hagane.ovn.batch import IN_FLIGHT, MOST_OPS, Batcher
from hagane.ovn.schema import parse_schema
from hagane.ovn.transaction import Comment, Delete, Mutate, Txn, Update, Wait
from hagane.ovn.wire import UUID, Named

SCHEMA = parse_schema(json.loads(Path("/usr/share/ovn/ovn-nb.ovsschema").read_text()))
SWITCH = UUID("11111111-1111-4111-8111-111111111111")


class Server:
    """Answers as a server would; refuses commits that hold an operation on a row named "bad"."""

    def __init__(self) -> None:
        self.commits: list[list[Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def send(self, ops: Sequence[Any]) -> list[Any]:
        self.commits.append(list(ops))
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        reply = [self._answer(op, number) for number, op in enumerate(ops)]
        if any(op.get("row", {}).get("name") == "bad" for op in ops):
            reply.append({"error": "constraint violation", "details": "a bad row"})
        if any(op["op"] == "wait" for op in ops):
            return [None] * (len(ops) - 1) + [{"error": "timed out", "details": "wait"}]
        return reply

    def _answer(self, op: Any, number: int) -> Any:
        return {"uuid": ["uuid", f"uuid-of-{op['uuid-name']}"]} if op["op"] == "insert" else {"count": number}


def port(name: str) -> Txn:
    txn = Txn()
    row = txn.insert("Logical_Switch_Port", {"name": name})
    txn.mutate("Logical_Switch", SWITCH, "ports", "insert", {row})
    return txn


async def test_what_is_submitted_together_is_committed_together() -> None:
    server = Server()
    batcher = Batcher(server.send)
    results = await asyncio.gather(*(batcher.submit(port(f"p{n}").ops, SCHEMA) for n in range(3)))
    (commit,) = server.commits
    assert [op["op"] for op in commit] == ["insert", "insert", "insert", "mutate"]
    names = [op["uuid-name"] for op in commit[:3]]
    assert len(set(names)) == 3, "equal names of different submissions must not collide"
    assert commit[3]["mutations"] == [["ports", "insert", ["set", [["named-uuid", name] for name in names]]]]
    assert results == [[f"uuid-of-{name}", 3] for name in names]


async def test_a_bad_one_hurts_nobody_else() -> None:
    server = Server()
    batcher = Batcher(server.send)
    tasks = [batcher.submit(port(name).ops, SCHEMA) for name in ("p1", "bad", "p2")]
    first, bad, second = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(bad, DeviceFailed)
    assert "a bad row" in bad.detail
    assert isinstance(first, list)
    assert isinstance(second, list)
    assert [len(commit) for commit in server.commits] == [4, 2, 2, 2]


async def test_a_failed_wait_is_a_conflict_of_its_submitter_only() -> None:
    server = Server()
    batcher = Batcher(server.send)
    wait = [Wait("Logical_Switch", SWITCH, {"name": "x"})]
    waited, other = await asyncio.gather(
        batcher.submit(wait, SCHEMA), batcher.submit(port("p").ops, SCHEMA), return_exceptions=True
    )
    assert isinstance(waited, Conflict)
    assert isinstance(other, list)


async def test_load_is_gathered_while_the_server_is_busy() -> None:
    server = Server()
    server.gate.clear()
    batcher = Batcher(server.send)
    tasks = []
    for n in range(20):
        tasks.append(asyncio.create_task(batcher.submit(port(f"p{n}").ops, SCHEMA)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert len(server.commits) == IN_FLIGHT
    server.gate.set()
    await asyncio.gather(*tasks)
    assert len(server.commits) == IN_FLIGHT + 1
    assert len(server.commits[-1]) == 20 - IN_FLIGHT + 1


async def test_a_commit_has_a_largest_size() -> None:
    server = Server()
    batcher = Batcher(server.send)
    big = [Comment("x")] * (MOST_OPS - 1)
    await asyncio.gather(*(batcher.submit(big, SCHEMA) for _ in range(3)))
    assert [len(commit) for commit in server.commits] == [MOST_OPS - 1] * 3


async def test_a_lost_connection_is_everybodys() -> None:
    server = Server()
    server.error = Unavailable("lost")
    batcher = Batcher(server.send)
    tasks = [batcher.submit(port(f"p{n}").ops, SCHEMA) for n in range(2)]
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]
    assert len(server.commits) == 1


async def test_a_caller_who_left_is_not_served() -> None:
    server = Server()
    batcher = Batcher(server.send)
    gone = asyncio.create_task(batcher.submit(port("gone").ops, SCHEMA))
    kept = asyncio.create_task(batcher.submit(port("kept").ops, SCHEMA))
    asyncio.get_running_loop().call_soon(gone.cancel)
    await kept
    assert all(op.get("row", {}).get("name") != "gone" for op in server.commits[0])


async def test_wrong_types_are_the_submitters_error_before_anything_is_sent() -> None:
    server = Server()
    batcher = Batcher(server.send)
    with pytest.raises(Invalid):
        await batcher.submit([Update("Logical_Switch", SWITCH, {"name": 7})], SCHEMA)
    assert server.commits == []
    assert await batcher.submit([], SCHEMA) == []
    assert server.commits == []


async def test_the_order_within_a_submission_is_kept() -> None:
    """Only a row that a submission touches once may be merged with others' changes of it."""
    server = Server()
    batcher = Batcher(server.send)
    twice = [
        Mutate("Logical_Switch", SWITCH, (("ports", "insert", frozenset({"a"})),)),
        Update("Logical_Switch", SWITCH, {"ports": frozenset({"b"})}),
    ]
    named = Named("row0")
    other = [Mutate("Logical_Switch", SWITCH, (("ports", "delete", frozenset({"c"})), ("acls", "insert", {named})))]
    map_change = [Mutate("Logical_Switch", SWITCH, (("other_config", "insert", {"a": "b"}),))]
    same = [Mutate("Logical_Switch", SWITCH, (("ports", "delete", frozenset({"c", "d"})),)), Delete("QoS", UUID("q"))]
    submissions = (twice, other, map_change, same)
    results = await asyncio.gather(*(batcher.submit(ops, SCHEMA) for ops in submissions))
    (commit,) = server.commits
    assert [op["op"] for op in commit] == ["mutate", "update", "mutate", "delete", "mutate"]
    (delete, insert) = commit[-1]["mutations"]
    assert delete[:2] == ["ports", "delete"]
    assert sorted(item[1] for item in delete[2][1]) == ["c", "d"], "an element is named once"
    assert insert[:2] == ["acls", "insert"]
    assert results == [[0, 1], [4], [2], [4, 3]]
