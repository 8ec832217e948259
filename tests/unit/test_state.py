"""Both stores, one suite: transactions, group commit, tables, durable work."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest

from hagane.errors import Unavailable
from hagane.state import allocation, work
from hagane.state.allocation import ALLOCATION
from hagane.state.database import Database, Duplicate, Tx, open_database
from hagane.state.postgres import _without_password
from hagane.state.table import Column, Not, Op, Table
from hagane.state.work import WORK

THING = Table(
    "thing",
    (Column("id", key=True), Column("name"), Column("size", "int"), Column("on_", "bool"), Column("tags", "json")),
    ("unique name",),
)


@pytest.fixture(params=["sqlite", "postgresql"])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite:{tmp_path}/t.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    database = await open_database(url)
    for table in (THING, WORK, ALLOCATION):
        await database.script(";\n".join(table.ddl()))
    yield database
    await database.close()


async def put(db: Database, **row: object) -> None:
    await db.write(lambda tx: THING.insert(tx, row))


async def test_a_row_comes_back_as_it_went(db: Database) -> None:
    row = {"id": "1", "name": "a", "size": 5, "on_": True, "tags": ["x", {"y": None}]}
    await put(db, **row)
    assert await THING.get(db, id="1") == row
    await db.write(lambda tx: THING.update(tx, {"id": "1"}, {"on_": False, "tags": None}))
    assert await THING.get(db, id="1") == row | {"on_": False, "tags": None}
    assert await db.write(lambda tx: THING.delete(tx, {"id": "1"})) == 1
    assert await THING.get(db, id="1") is None


async def test_conditions(db: Database) -> None:
    for i in range(7):
        await put(db, id=str(i), name=f"n{i}" if i else None, size=i, on_=i % 2 == 0, tags=[])

    async def ids(**where: object) -> str:
        return "".join(row["id"] for row in await THING.select(db, where, order="id"))

    assert await ids(id=["1", "3", "5"]) == "135"
    assert await ids(id=[]) == ""
    assert await ids(on_=True, size=Op("<", 5)) == "024"
    assert await ids(name=None) == "0"
    assert await ids(name=["n1", None]) == "01"
    assert await ids(id=Not(["1", "2", "3"])) == "0456"
    assert await THING.count(db, {"on_": False}) == 3


async def test_a_list_of_any_length_is_a_condition(db: Database) -> None:
    await put(db, id="7", name="seven")
    await put(db, id="x")
    many: list[str | None] = [str(number) for number in range(40_000)]
    assert [row["name"] for row in await THING.select(db, {"id": many})] == ["seven"]
    assert {row["id"] for row in await THING.select(db, {"name": [*many, "seven", None]})} == {"7", "x"}
    assert [row["id"] for row in await THING.select(db, {"id": Not(many)})] == ["x"]


async def test_a_long_list_is_of_one_moment_and_lets_others_go_on(db: Database) -> None:
    async def many(tx: Tx) -> None:
        for i in range(1500):
            await THING.insert(tx, {"id": f"{i:04}", "name": f"n{i}", "tags": [i]})

    async def move() -> None:
        await db.write(lambda tx: THING.update(tx, {"id": Op(">", "1")}, {"size": 1}))

    await db.write(many)
    rows, _ = await asyncio.gather(THING.select(db, order="id", columns=("id", "size", "tags")), move())
    assert rows == [{"id": f"{i:04}", "size": None, "tags": [i]} for i in range(1500)]
    assert await THING.count(db, {"size": 1}) == 500


async def test_a_failed_work_leaves_nothing_and_fails_alone(db: Database) -> None:
    async def bad(tx: Tx) -> None:
        await THING.insert(tx, {"id": "bad", "name": "bad"})
        raise ValueError("no")

    good = [db.write(lambda tx, i=i: THING.insert(tx, {"id": str(i), "name": str(i)})) for i in range(20)]
    outcomes = await asyncio.gather(*good[:10], db.write(bad), *good[10:], return_exceptions=True)
    assert [type(o) for o in outcomes if o is not None] == [ValueError]
    assert await THING.count(db) == 20


async def test_a_full_disk_is_told_to_everybody_who_lost_by_it(tmp_path: Path) -> None:
    db = await open_database(f"sqlite:{tmp_path}/t.db")
    await db.script(";\n".join(THING.ddl()))

    async def room(pages: int) -> None:
        await db.write(lambda tx: tx.fetch(f"PRAGMA max_page_count = {pages}"))

    await room(20)
    outcomes = await asyncio.gather(*(put(db, id=str(i), tags="x" * 9000) for i in range(12)), return_exceptions=True)
    assert any(isinstance(outcome, Unavailable) for outcome in outcomes)
    kept = {row["id"] for row in await THING.select(db)}
    assert kept == {str(i) for i, outcome in enumerate(outcomes) if outcome is None}
    await room(1_000_000)
    await put(db, id="again", tags="x" * 9000)
    assert await THING.get(db, id="again") is not None
    await db.close()


async def test_a_write_after_the_end_is_refused(tmp_path: Path) -> None:
    """It waited for ever; a machine that outlives the process would never ask again."""
    database = await open_database(f"sqlite:{tmp_path}/t.db")
    await database.close()
    async with asyncio.timeout(10):
        with pytest.raises(Unavailable, match="is closed"):
            await put(database, id="1")


async def test_nobody_else_may_read_the_file(tmp_path: Path) -> None:
    db = await open_database(f"sqlite:{tmp_path}/t.db")
    await db.script(";\n".join(THING.ddl()))
    await db.backup(f"{tmp_path}/copy.db")
    modes = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.glob("*db*") if path.suffix != ".lock"}
    assert modes == dict.fromkeys(modes, 0)
    assert {"t.db", "t.db-wal", "copy.db"} <= set(modes)
    await db.close()


async def test_a_duplicate_is_said(db: Database) -> None:
    await put(db, id="1", name="same")
    with pytest.raises(Duplicate):
        await put(db, id="2", name="same")


async def test_counters_do_not_lose_updates(db: Database) -> None:
    await put(db, id="1", name="n", size=0)

    async def raise_it(tx: Tx) -> None:
        row = await THING.get(tx, id="1")
        assert row is not None
        await THING.update(tx, {"id": "1"}, {"size": row["size"] + 1})

    await asyncio.gather(*(db.write(raise_it) for _ in range(20)))
    assert (await THING.get(db, id="1") or {})["size"] == 20


async def test_after_calls_come_only_with_the_commit(db: Database) -> None:
    calls: list[str] = []
    heard: list[str] = []
    db.listen(heard.append)

    async def good(tx: Tx) -> None:
        tx.after(lambda: calls.append("good"))
        tx.notify("topic")

    async def bad(tx: Tx) -> None:
        tx.after(lambda: calls.append("bad"))
        raise ValueError

    await db.write(good)
    with pytest.raises(ValueError):
        await db.write(bad)
    assert calls == ["good"]
    assert "topic" in heard


async def test_work_is_claimed_once_and_a_wake_is_never_lost(db: Database) -> None:
    await db.write(lambda tx: work.wake(tx, "port", "1", request_id="req-1"))
    first = await work.claim(db, "port", "me", 10, lease=60)
    assert [(c.key, c.attempts, c.request_id) for c in first] == [("1", 1, "req-1")]
    assert await work.claim(db, "port", "you", 10, lease=60) == []
    await db.write(lambda tx: work.wake(tx, "port", "1"))
    await db.write(lambda tx: work.finish(tx, first[0]))
    again = await work.claim(db, "port", "you", 10, lease=60)
    assert [c.key for c in again] == ["1"]
    await db.write(lambda tx: work.finish(tx, again[0]))
    assert await work.next_due(db, "port") is None


async def test_all_that_a_query_finds_is_woken_at_once(db: Database) -> None:
    for i in range(3):
        await put(db, id=str(i), name=f"n{i}", size=i)
    await db.write(lambda tx: work.wake(tx, "port", "1"))
    found = "SELECT id AS key FROM thing WHERE size >= :least"
    for request in ("req-1", None):
        await db.write(lambda tx, r=request: work.wake_all(tx, "port", found, {"least": 1}, request_id=r))
    claims = await work.claim(db, "port", "me", 10, lease=60)
    assert sorted((c.key, c.wakes, c.request_id) for c in claims) == [("1", 3, "req-1"), ("2", 2, "req-1")]


async def test_many_keys_are_woken_at_once(db: Database) -> None:
    await db.write(lambda tx: work.wake(tx, "port", 'a "quoted" one'))
    await db.write(lambda tx: work.wake_each(tx, "port", ["2", 'a "quoted" one', "2"], request_id="req-1"))
    await db.write(lambda tx: work.wake_each(tx, "port", []))
    await db.write(lambda tx: work.wake_things(tx, {("server", "1"), ("node", "2"), ("server", "3")}))
    assert sorted(c.key for c in await work.claim(db, "server", "me", 10, lease=60)) == ["1", "3"]
    claims = await work.claim(db, "port", "me", 10, lease=60)
    assert sorted((c.key, c.wakes, c.request_id) for c in claims) == [("2", 1, "req-1"), ('a "quoted" one', 2, "req-1")]


async def test_a_lease_that_ran_out_is_taken_over_and_its_old_holder_is_fenced(db: Database) -> None:
    await db.write(lambda tx: work.wake(tx, "port", "1"))
    dead = await work.claim(db, "port", "dead", 1, lease=-1)
    live = await work.claim(db, "port", "live", 1, lease=60)
    assert live[0].fence == dead[0].fence + 1
    await db.write(lambda tx: work.finish(tx, dead[0]))
    assert await WORK.count(db) == 1
    await db.write(lambda tx: work.postpone(tx, live[0], 100, "the switch is slow", None))
    assert (await WORK.get(db, kind="port", key="1") or {})["reason"] == "the switch is slow"


async def test_an_item_is_allocated_once(db: Database) -> None:
    def grab(owner: str) -> Awaitable[bool]:
        return db.write(lambda tx: allocation.take(tx, "vlan", "rack1", "7", owner))

    assert sorted(await asyncio.gather(*(grab(f"o{i}") for i in range(7)))) == [False] * 6 + [True]
    await db.write(lambda tx: allocation.release(tx, "vlan", "rack1", "7"))
    assert await grab("late")


async def test_backup_while_writing(db: Database, tmp_path: Path) -> None:
    if db.dialect == "postgresql":
        await db.backup(str(tmp_path / "copy"))
        assert (tmp_path / "copy").stat().st_size > 1000
        return
    await asyncio.gather(db.backup(str(tmp_path / "copy")), *(put(db, id=str(i), name=str(i)) for i in range(50)))
    copy = await open_database(f"sqlite:{tmp_path}/copy")
    assert await THING.count(copy) <= 50
    await copy.close()


async def test_a_copy_that_cannot_be_made_is_said(postgres_url: str, tmp_path: Path) -> None:
    db = await open_database(postgres_url)
    with pytest.raises(Unavailable) as failed:
        await db.backup(str(tmp_path / "nowhere" / "copy"))
    assert "nowhere" in str(failed.value.detail)
    await db.close()


def test_a_password_is_in_no_list_of_processes() -> None:
    url, environment = _without_password("postgresql://cloud:s%40cret@db.example:5432/hagane?sslmode=require")
    assert url == "postgresql://cloud@db.example:5432/hagane?sslmode=require"
    assert environment["PGPASSWORD"] == "s@cret"
