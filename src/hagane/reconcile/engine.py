"""The one mechanism by which anything changes: keys are woken, claimed, reconciled, and finished or postponed.

A reconciler is told *that* a key may differ from its row, never what happened. It answers with a value:

    Done(again)                    the world matches the row (look again in so many seconds, if at all)
    Wait(seconds, why, deadline)   not yet; look again then, or when woken
    Failed(why)                    it cannot be; the reconciler has written the failure into its row

An exception counts as Wait with growing back-off. Retry, back-off, leases and causes live here alone. Keys of one kind
run in parallel, one key never twice at a time, on any number of processes (state/work.py). `batch` lets a reconciler
take many keys in one call, so that 100 new ports cost one round to OVN. A key whose work takes long is answered with
an awaitable: the others of its batch are settled at once, and the place is free for the next batch.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from hagane.api.http import request_id
from hagane.api.metrics import RETRIES
from hagane.api.metrics import WORK as WORK_SECONDS
from hagane.errors import HaganeError
from hagane.state import work
from hagane.state.database import Database, Tx
from hagane.state.work import Claim

log = logging.getLogger(__name__)

FIRST_RETRY, LAST_RETRY = 0.2, 30.0  # seconds
MOST_HELD = 500  # keys of one kind that a process works on at a time
AGAIN = 1.0  # seconds until the store is asked again when it did not answer
POLL = 5.0  # seconds between looks at the queue when nobody wakes us (another process's lease may have run out)


@dataclass(frozen=True, slots=True)
class Done:
    """The world matches the row. `again`: seconds until it is looked at anew, for what changes without telling."""

    again: float | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet. `why` is shown to people; `deadline` (epoch seconds) is when the reconciler will give up."""

    seconds: float
    why: str
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """It cannot be, and the row says so. Nothing is tried again until somebody wakes the key."""

    why: str


Outcome = Done | Wait | Failed
Answer = Outcome | Awaitable[Outcome]
"""What is known now, or will be."""


class Reconciler(Protocol):
    """One kind of thing that converges. `parallel` calls at a time, each with up to `batch` keys."""

    kind: str
    batch: int
    parallel: int

    async def reconcile(self, keys: Sequence[Claim]) -> Mapping[str, Answer]:
        """Bring each key to its row. A key that the answer lacks is Done."""
        ...


def backoff(attempts: int) -> float:
    """Seconds to wait after so many failed attempts: doubled each time, with a little randomness, at most 30."""
    return float(min(LAST_RETRY, FIRST_RETRY * 2 ** min(attempts - 1, 10)) * (0.8 + 0.4 * random.random()))


def _close(begun: Coroutine[Any, Any, Outcome], _task: "asyncio.Task[None]") -> None:
    begun.close()


class Engine:
    """Runs reconcilers over the work rows of one store."""

    def __init__(self, db: Database, reconcilers: Sequence[Reconciler], *, name: str, lease: float = 15.0) -> None:
        self._db, self._name, self._lease = db, name, lease
        self._reconcilers = {r.kind: r for r in reconcilers}
        self._woken = {r.kind: asyncio.Event() for r in reconcilers}
        self._held: dict[str, dict[str, Claim]] = {r.kind: {} for r in reconcilers}
        self._tasks: list[asyncio.Task[None]] = []
        self._running: set[asyncio.Task[None]] = set()
        db.listen(self.poke)

    def poke(self, kind: str) -> None:
        """There is work of this kind ("*": look at all)."""
        for name, event in self._woken.items():
            if kind in ("*", name):
                event.set()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._feed(r), name=f"engine-{r.kind}") for r in self._reconcilers.values()]
        self._tasks.append(loop.create_task(self._keep_leases(), name="engine-leases"))

    async def stop(self) -> None:
        """Claim nothing more, give running work a moment, then let the leases speak for it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._running:
            _, pending = await asyncio.wait(self._running, timeout=5)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def settled(self, *, timeout: float = 30.0) -> None:
        """Wait until no work is due or running; for tests and for `hagane doctor`. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while self._running or await self._backlog():  # noqa: ASYNC110 - it may happen in another process
                await asyncio.sleep(0.02)

    async def _backlog(self) -> int:
        due = "SELECT count(*) FROM work WHERE reason = '' AND due <= :now"
        rows = await self._db.fetch_tuples(due, {"now": time.time()})
        return int(rows[0][0])

    async def _feed(self, reconciler: Reconciler) -> None:
        """Claim what is due, in batches, while there is a free place; sleep until woken or until the next is due."""
        kind, woken = reconciler.kind, self._woken[reconciler.kind]
        places = asyncio.Semaphore(reconciler.parallel)
        while True:
            await places.acquire()
            try:
                woken.clear()
                while len(self._held[kind]) >= MOST_HELD:  # noqa: ASYNC110 - anything that ends makes room
                    await asyncio.sleep(0.01)
                claims = await work.claim(self._db, kind, self._name, reconciler.batch, self._lease)
                due = None if claims else await work.next_due(self._db, kind)
            except Exception as error:
                log.warning("cannot claim work of kind %s: %s", kind, error,
                            exc_info=None if isinstance(error, HaganeError) else error)  # fmt: skip
                claims, due = [], time.time() + AGAIN
            if claims:
                self._spawn(self._run(reconciler, claims, places))
            else:
                places.release()
                await self._sleep(woken, due)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _sleep(self, woken: asyncio.Event, due: float | None) -> None:
        pause = POLL if due is None else min(POLL, max(0.001, due - time.time()))
        # Not `wait_for`: in Python 3.11 it swallows a cancellation that comes together with the event.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await woken.wait()

    async def _run(self, reconciler: Reconciler, claims: list[Claim], places: asyncio.Semaphore) -> None:
        kind = reconciler.kind
        self._held[kind].update({claim.key: claim for claim in claims})
        started = time.perf_counter()
        causes = {claim.request_id for claim in claims}
        request_id.set((causes.pop() or "") if len(causes) == 1 else "")
        answers: Mapping[str, Answer]
        try:
            answers = await reconciler.reconcile(claims)
        except Exception as error:
            answers = {claim.key: self._retry(claim, error) for claim in claims}
        except BaseException:
            self._let_go(claims)
            raise
        finally:
            places.release()
        ready: dict[str, Outcome] = {}
        for claim in claims:
            answer = answers.get(claim.key, Done())
            if isinstance(answer, Done | Wait | Failed):
                ready[claim.key] = answer
            else:
                task = self._spawn(self._later(claim, answer, started))
                if asyncio.iscoroutine(answer):
                    # Closing is for one that a stop cancelled before it ran; otherwise it does nothing.
                    task.add_done_callback(partial(_close, answer))
        await self._settle([claim for claim in claims if claim.key in ready], ready, started)

    async def _later(self, claim: Claim, answer: Awaitable[Outcome], started: float) -> None:
        """Settle a key whose work takes long when it ends."""
        request_id.set(claim.request_id or "")
        try:
            outcome = await answer
        except Exception as error:
            outcome = self._retry(claim, error)
        except BaseException:
            self._let_go([claim])
            raise
        await self._settle([claim], {claim.key: outcome}, started)

    def _let_go(self, claims: list[Claim]) -> None:
        """Lengthen these leases no more: they run out, and whoever comes next goes on."""
        for claim in claims:
            self._held[claim.kind].pop(claim.key, None)

    def _retry(self, claim: Claim, error: Exception) -> Wait:
        """An exception is a cause and a later try. Only what nobody foresaw gets a traceback."""
        RETRIES.labels(claim.kind).inc()
        pause = backoff(claim.attempts)
        where = {"request_id": claim.request_id, "kind": claim.kind, "key": claim.key}
        if isinstance(error, HaganeError):
            log.warning("%s %s: %s %s; again in %.1f s", claim.kind, claim.key, error.message, error.detail, pause,
                        extra=where)  # fmt: skip
            return Wait(pause, error.message, claim.deadline)
        log.error("%s %s failed; again in %.1f s", claim.kind, claim.key, pause, exc_info=error, extra=where)
        return Wait(pause, f"An unforeseen error: {type(error).__name__}.", claim.deadline)

    async def _settle(self, claims: list[Claim], outcomes: Mapping[str, Outcome], started: float) -> None:
        """Write outcomes in one transaction. If that fails, the leases run out and others go on."""
        if not claims:
            return
        kind = claims[0].kind

        async def write(tx: Tx) -> None:
            for claim in claims:
                match outcomes[claim.key]:
                    case Wait(seconds, why, deadline):
                        await work.postpone(tx, claim, seconds, why or "waiting", deadline)
                    case Done(again) if again is not None:
                        await work.revisit(tx, claim, again)
                    case Done() | Failed():
                        await work.finish(tx, claim)

        self._let_go(claims)
        word = type(outcomes[claims[0].key]).__name__.lower()
        WORK_SECONDS.labels(kind, word).observe(time.perf_counter() - started)
        try:
            await self._db.write(write)
        except Exception:
            log.exception("cannot write the outcome of %d keys of kind %s", len(claims), kind)

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            held = [claim for claims in self._held.values() for claim in claims.values()]
            if held:
                try:
                    await work.extend(self._db, held, self._lease)
                except Exception:
                    log.exception("cannot extend the leases of %d keys", len(held))
