"""The engine: nothing woken is lost, nothing runs twice at a time, causes are kept, dead processes are replaced."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from hagane.errors import Unavailable
from hagane.reconcile import engine as module
from hagane.reconcile.engine import Done, Engine, Failed, Outcome, Wait
from hagane.state import work
from hagane.state.database import Database, open_database
from hagane.state.work import WORK, Claim


class Probe:
    """A reconciler that does what the test says and remembers what it saw."""

    def __init__(self, act: Callable[[Claim], Awaitable[Outcome]], *, batch: int = 1, parallel: int = 8) -> None:
        self.kind, self.batch, self.parallel = "thing", batch, parallel
        self._act = act
        self.seen: list[str] = []
        self.sizes: list[int] = []
        self.running: set[str] = set()

    async def reconcile(self, keys: Sequence[Claim]) -> dict[str, Outcome]:
        self.sizes.append(len(keys))
        outcomes: dict[str, Outcome] = {}
        for claim in keys:
            assert claim.key not in self.running, "one key ran twice at a time"
            self.running.add(claim.key)
            self.seen.append(claim.key)
            try:
                outcomes[claim.key] = await self._act(claim)
            finally:
                self.running.discard(claim.key)
        return outcomes


async def done(claim: Claim) -> Outcome:
    return Done()


@pytest.fixture(params=["sqlite", "postgresql"])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite:{tmp_path}/t.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    database = await open_database(url)
    await database.script(";\n".join(WORK.ddl()))
    yield database
    await database.close()


async def wake(db: Database, *keys: str) -> None:
    for key in keys:
        await db.write(lambda tx, key=key: work.wake(tx, "thing", key))


async def running(db: Database, probe: Probe, *, lease: float = 15.0) -> Engine:
    engine = Engine(db, [probe], name="test", lease=lease)
    await engine.start()
    return engine


async def test_all_that_is_woken_is_reconciled_once_and_forgotten(db: Database) -> None:
    probe = Probe(done)
    engine = await running(db, probe)
    await wake(db, *map(str, range(50)))
    await engine.settled()
    assert sorted(probe.seen, key=int) == [str(n) for n in range(50)]
    assert await WORK.count(db) == 0
    await engine.stop()


async def test_a_wake_during_the_work_makes_it_run_again(db: Database) -> None:
    async def act(claim: Claim) -> Outcome:
        if len(probe.seen) == 1:
            await wake(db, "1")
        return Done()

    probe = Probe(act)
    engine = await running(db, probe)
    await wake(db, "1")
    await engine.settled()
    assert probe.seen == ["1", "1"]
    await engine.stop()


async def test_keys_are_taken_in_batches(db: Database) -> None:
    probe = Probe(done, batch=40)
    await wake(db, *map(str, range(100)))
    engine = await running(db, probe)
    await engine.settled()
    assert max(probe.sizes) == 40
    await engine.stop()


async def test_an_error_is_a_cause_and_a_later_try(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY", 0.01)
    reasons: list[str] = []

    async def act(claim: Claim) -> Outcome:
        reasons.append(claim.reason)
        if claim.attempts < 3:
            raise Unavailable("The switch does not answer.")
        return Done()

    probe = Probe(act)
    engine = await running(db, probe)
    await wake(db, "1")
    async with asyncio.timeout(5):
        while await WORK.count(db):
            await asyncio.sleep(0.01)
    assert reasons == ["", "The switch does not answer.", "The switch does not answer."]
    await engine.stop()


async def test_waiting_says_why_and_until_when(db: Database) -> None:
    deadline = time.time() + 300

    async def act(claim: Claim) -> Outcome:
        return Wait(60, "The guest has not answered yet.", deadline)

    engine = await running(db, Probe(act))
    await wake(db, "1")
    await engine.settled()
    row = await WORK.get(db, kind="thing", key="1")
    assert row is not None
    assert (row["reason"], row["deadline"]) == ("The guest has not answered yet.", deadline)
    await engine.stop()


async def test_failed_is_not_tried_again_until_woken(db: Database) -> None:
    async def act(claim: Claim) -> Outcome:
        return Failed("no such image")

    probe = Probe(act)
    engine = await running(db, probe)
    await wake(db, "1")
    await engine.settled()
    assert await WORK.count(db) == 0
    await wake(db, "1")
    await engine.settled()
    assert probe.seen == ["1", "1"]
    await engine.stop()


async def test_long_work_keeps_its_lease(db: Database) -> None:
    async def act(claim: Claim) -> Outcome:
        await asyncio.sleep(0.8)
        return Done()

    probe = Probe(act)
    one, two = await running(db, probe, lease=0.3), Engine(db, [probe], name="other", lease=0.3)
    await two.start()
    await wake(db, "1")
    await asyncio.sleep(1.2)
    assert probe.seen == ["1"]
    await one.stop()
    await two.stop()


async def test_work_of_a_dead_process_is_taken_over_within_its_lease(db: Database) -> None:
    await wake(db, "1")
    assert len(await work.claim(db, "thing", "dead process", 1, lease=0.5)) == 1
    probe = Probe(done)
    engine = await running(db, probe)
    started = time.monotonic()
    async with asyncio.timeout(5):
        while not probe.seen:
            await asyncio.sleep(0.01)
    assert 0.2 < time.monotonic() - started < 2
    await engine.stop()


async def test_a_store_that_is_away_for_a_while_stops_nothing_for_good(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.01)
    probe = Probe(done)
    engine = await running(db, probe)
    await asyncio.sleep(0.05)
    asked = 0

    async def away(*_: object) -> None:
        nonlocal asked
        asked += 1
        raise Unavailable("The database does not answer.")

    with monkeypatch.context() as without:
        without.setattr(work, "claim", away)
        without.setattr(work, "next_due", away)
        engine.poke("*")
        while asked < 3:
            await asyncio.sleep(0.01)
    await wake(db, "1")
    await engine.settled()
    assert probe.seen == ["1"]
    await engine.stop()


async def test_who_knows_that_all_others_are_dead_takes_their_work_at_once(db: Database) -> None:
    await wake(db, "1")
    dead = await work.claim(db, "thing", "dead", 10, lease=60)
    assert await work.release_all(db) == 1
    assert await work.release_all(db) == 0
    probe = Probe(done)
    engine = await running(db, probe)
    await engine.settled()
    await engine.stop()
    assert probe.seen == ["1"]
    await db.write(lambda tx: work.finish(tx, dead[0]))
    assert await WORK.count(db) == 0
