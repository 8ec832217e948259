"""Commits many small transactions as few: what is submitted in the same turn of the event loop, or while the server is
still busy with the last commits, goes out together.

                 ┌──── fewer than IN_FLIGHT commits under way ────┐
    submit ─▶ pending ────────────────────────────────────────────▶ one commit ─▶ each gets its own part of the results
                                                                       └ refused ─▶ each is committed by itself

A commit costs the server far more than an operation: it looks at whole rows, writes a log record, tells all monitors.
Names of inserted rows get a prefix of their submission, so they cannot collide.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hagane.errors import Conflict, DeviceFailed
from hagane.ovn.merge import Merger, Place, results_at
from hagane.ovn.schema import Schema
from hagane.ovn.transaction import Op, Wait, encode, error_of, outcome

IN_FLIGHT = 2  # one commit that the server works on, and one that waits on its socket
MOST_OPS = 2000  # operations in one commit: bounds how long the server is deaf to others


@dataclass(slots=True)
class _Submission:
    ops: Sequence[Op]
    encoded: list[dict[str, Any]]
    schema: Schema
    done: asyncio.Future[list[Any]]


class Batcher:
    """`send` commits encoded operations and returns the server's reply."""

    def __init__(self, send: Callable[[Sequence[Any]], Awaitable[list[Any]]]) -> None:
        self._send = send
        self._names = itertools.count(1)
        self._pending: list[_Submission] = []
        self._scheduled = False
        self._running: set[asyncio.Task[None]] = set()

    async def alone(self, ops: Sequence[Op], schema: Schema) -> list[Any]:
        """One commit for these operations only."""
        if not ops:
            return []
        reply = await self._send(self._encode(ops, schema))
        failed = error_of(reply)
        if failed is not None:
            raise failed
        return outcome(ops, reply, schema)

    async def submit(self, ops: Sequence[Op], schema: Schema) -> list[Any]:
        """A commit that others may share; results and errors as if it were alone."""
        if not ops:
            return []
        if any(isinstance(op, Wait) and op.timeout for op in ops):  # others need not wait for what this one awaits
            return await self.alone(ops, schema)
        loop = asyncio.get_running_loop()
        submission = _Submission(ops, self._encode(ops, schema), schema, loop.create_future())
        self._pending.append(submission)
        self._schedule(loop)
        return await submission.done

    def _encode(self, ops: Sequence[Op], schema: Schema) -> list[dict[str, Any]]:
        return encode(ops, schema, f"t{next(self._names)}_")

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._pending and not self._scheduled and len(self._running) < IN_FLIGHT:
            self._scheduled = True
            loop.call_soon(self._flush, loop)

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = False
        batch = self._next_batch()
        if batch:
            task = loop.create_task(self._commit(batch))
            self._running.add(task)
            task.add_done_callback(lambda task: self._finished(task, loop))

    def _finished(self, task: asyncio.Task[None], loop: asyncio.AbstractEventLoop) -> None:
        self._running.discard(task)
        self._schedule(loop)

    def _next_batch(self) -> list[_Submission]:
        """Drops those whose caller has gone meanwhile."""
        batch: list[_Submission] = []
        room = MOST_OPS
        taken = 0
        for submission in self._pending:
            if batch and len(submission.encoded) > room:
                break
            taken += 1
            if not submission.done.done():
                batch.append(submission)
                room -= len(submission.encoded)
        del self._pending[:taken]
        return batch

    async def _commit(self, batch: list[_Submission]) -> None:
        try:
            merger = Merger()
            places = [merger.add(submission.ops, submission.encoded) for submission in batch]
            reply = await self._send(merger.wire())
            failed = error_of(reply)
            if failed is None:
                return _settle(batch, places, reply)
        except Exception as error:  # it is the submitters' to handle
            return _fail(batch, error)
        if len(batch) > 1 and isinstance(failed, DeviceFailed | Conflict):
            await asyncio.gather(*(self._commit([submission]) for submission in batch))
            return None
        return _fail(batch, failed)


def _fail(batch: list[_Submission], error: Exception) -> None:
    for submission in batch:
        if not submission.done.done():
            submission.done.set_exception(error)


def _settle(batch: list[_Submission], places: list[list[Place]], reply: list[Any]) -> None:
    """Gives each submission its part of the reply."""
    for submission, its_places in zip(batch, places, strict=True):
        if not submission.done.done():
            part = results_at(its_places, reply)
            submission.done.set_result(outcome(submission.ops, part, submission.schema))
