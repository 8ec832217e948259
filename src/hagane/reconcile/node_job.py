"""One Node at work: what a phase is given, and how what it did is written down.

A write is made only if the Node is still in the state and at the time at which the job found it: an abort or a deletion
that came meanwhile wins. It is laid over the row as it is then, so that a heartbeat that came meanwhile is not lost.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar

from hagane.baremetal import node_progress
from hagane.baremetal.command import FAILED
from hagane.baremetal.node import NODE
from hagane.baremetal.node_history import record
from hagane.baremetal.node_secret import opened, sealed
from hagane.baremetal.node_state import FAILURE, STABLE, advance
from hagane.drivers.bmc.base import Bmc, BmcDesired, BmcSeen
from hagane.errors import DeviceFailed
from hagane.reconcile import node_plan
from hagane.reconcile.node_tools import Tools
from hagane.state import clock, work
from hagane.state.database import Row, Tx

log = logging.getLogger(__name__)
T = TypeVar("T")
KEPT = ("life", "steps", "inspected")  # parts of `seen` that are not what a BMC shows
ABORTED = {"clean": "By request, the clean operation was aborted", "inspect": "Inspection was aborted by request.",
           "deploy": "The deployment was aborted by request.", "rescue": "The rescue was aborted by request.",
           "service": "The service operation was aborted by request."}  # fmt: skip
LIVE = ("provision_state", "provision_updated_at", "seen", "driver_internal_info", "secrets", "instance_id",
        "maintenance", "wanted", "target_power_state", "generation")  # fmt: skip
"""Columns that others may have written meanwhile, and that count."""
LIVE_SECONDS = 1.0  # how often the progress of something that takes long is written


@dataclass(frozen=True, slots=True)
class Next:
    """The phase is done; `phase`: go on there instead of with the one that follows."""

    phase: str = ""


@dataclass(frozen=True, slots=True)
class Later:
    """Look again in so many seconds, or when woken. The phase's deadline counts."""

    seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Stop here until an operator says `unhold`."""


Turn = Next | Later | Hold


class Overtaken(Exception):
    """Somebody else moved the Node meanwhile."""


class Job:
    """`life`: what must be known to go on (kept in the row's `seen`); `changes`, `internal`, `more`: what to write."""

    def __init__(self, tools: Tools, row: Row, step: node_plan.Step) -> None:
        self.tools, self.row, self.kind, self.phase = tools, row, step.kind, step.phase
        seen: Row = row["seen"] or {}
        self.life: Row = dict(seen.get("life") or {})
        self.steps: node_progress.Steps = [dict(entry) for entry in seen.get("steps") or []]
        if step.fresh:
            self.life = {"kind": step.kind, "phase": step.phase, "since": clock.now(), "began": clock.now()}
            self.steps = []
        elif step.kind == "release" and self.life.get("phase") != "release":
            self.life = {"began": clock.now()} | self.life | {"phase": "release", "since": clock.now()}
        elif step.kind and self.life.get("phase") != step.phase:
            self.life |= {"phase": step.phase, "since": clock.now()}
        self.changes: Row = {}
        self.internal: Row = {}  # of driver_internal_info; None takes a key out
        self.more: dict[str, Any] = {}  # secrets beside the row's; None forgets one
        self._lines: list[tuple[str, bool, float | None]] = []
        self._noted = self._mark()

    # -- what a phase reads --------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        return str(self.row["id"])

    @property
    def bmc(self) -> Bmc:
        return self.tools.bmcs.of(self.row)

    @property
    def info(self) -> Row:
        """driver_internal_info, with what this job has changed in it."""
        merged = (self.row["driver_internal_info"] or {}) | self.internal
        return {key: value for key, value in merged.items() if value is not None}

    def opened(self) -> Row:
        """The row's secrets in the clear."""
        return opened(self.tools.secrets, self.row)

    def elapsed(self) -> float:
        """Seconds since the phase began."""
        return clock.wall() - clock.seconds(self.life["since"])

    def soon(self) -> float:
        """When to look again at what takes a moment, or longer: the longer it has taken, the later."""
        return min(self.tools.times.agent, max(0.05, self.elapsed() / 5))

    # -- what a phase does ---------------------------------------------------------------------------------------

    async def apply(self, desired: BmcDesired) -> BmcSeen:
        """Bring the machine to a state, and note what its BMC then shows."""
        seen = await self.live(self.bmc.apply(desired))
        self.note(seen)
        return seen

    def note(self, seen: BmcSeen) -> None:
        self.changes |= node_plan.seen(self.row | self.changes, seen)

    async def look_closely(self) -> None:
        """Note what else the BMC shows; one that cannot say it shows nothing of it."""
        with contextlib.suppress(DeviceFailed):
            parts = await self.live(self.bmc.parts())
            self.changes |= node_plan.shown(self.row | self.changes, parts, clock.now())

    def begin(self, name: str, message: str = "") -> dict[str, Any]:
        return node_progress.begin(self.steps, name, message)

    def finish(self, name: str, message: str = "", *, result: str = "Success") -> None:
        seconds = node_progress.finish(self.steps, name, message=message, result=result)
        if seconds is not None:
            text = message or ("done" if result == "Success" else "failed")
            self._lines.append((f"{name}: {text}", result == "Error", seconds))

    def spoke(self) -> None:
        """The ramdisk has spoken: what it took until then has ended."""
        self._lines += [(line, False, seconds) for line, seconds in node_progress.spoke(self.steps)]

    async def live(self, doing: Awaitable[T]) -> T:
        """Wait for something, and write every second how far it is. Raises Overtaken when the Node is wanted
        otherwise."""
        task = asyncio.ensure_future(doing)
        try:
            while True:
                done, _ = await asyncio.wait({task}, timeout=LIVE_SECONDS)
                if done:
                    return task.result()
                await self.save()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    # -- writing -------------------------------------------------------------------------------------------------

    async def save(self) -> None:
        """Write what has changed, if anything has. Raises Overtaken."""
        if self._mark() != self._noted or self.changes or self.internal or self.more or self._lines:
            await self._store("", "", error=False, life=self.life)

    async def proceed(self, phase: str) -> Row:
        """The phase is done: the next one, or the end of it all."""
        if phase:
            self.life = self.life | {"phase": phase, "since": clock.now()}
            return await self._store(node_plan.turn(self.row, phase), "", error=False, life=self.life)
        event = node_plan.turn(self.row, "")
        if event:  # the last phase ran in a waiting state
            return await self._store(event, "", error=False, life=self.life | {"phase": "", "since": clock.now()})
        return await self._store(node_plan.done(self.row), f"{self.row['provision_state']} ended", error=False, life={})

    async def move(self, event: str) -> Row:
        return await self._store(event, "", error=False, life=self.life)

    async def forget(self) -> Row:
        """Nothing is left to be done for what was begun. Without an error it was a person who ended it."""
        self.drop_agent()
        self._left(None)
        self.changes |= {"deploy_step": {}, "clean_step": {}, "service_step": {}}
        told = self.row["last_error"] or ABORTED.get(self.life.get("kind", ""), "It was aborted by request.")
        if self.row["provision_state"] in FAILURE:
            self.changes["last_error"] = told
        for name in node_progress.unfinished(self.steps):
            self.finish(name, str(told), result="Error")
        return await self._store("", "", error=False, life={})

    async def fail(self, text: str) -> Row:
        """The documented state of failure; what is still to be released stays noted in `life`."""
        for name in node_progress.unfinished(self.steps):
            self.finish(name, text, result="Error")
        if self.kind == "clean" and (self.row | self.changes)["clean_step"]:
            # As the real service does: a Node whose cleaning broke off in a step is nobody's until a person looks.
            self.changes |= {"maintenance": True, "maintenance_reason": text, "fault": "clean failure"}
        left = self.life | FAILED if self.life.get("ramdisk") else {}
        return await self._store("fail", text, error=True, life=left)

    async def answered(self) -> Row:
        """What the API asked of the BMC has been carried out, or cannot be."""
        asked = self.row["wanted"]

        async def write(tx: Tx) -> Row | None:
            now = await NODE.get(tx, id=self.id)
            if now is None or not _same(now, self.row):
                return None
            if now["wanted"] != asked:  # something else is asked by now: it comes next
                return now
            written = self.changes | {"wanted": {}, "target_power_state": None, "updated_at": clock.now(),
                                      "observed_generation": self.row["generation"]}  # fmt: skip
            if "seen" in written:
                written["seen"] = {**written["seen"], **{k: v for k, v in now["seen"].items() if k in KEPT}}
            await NODE.update(tx, {"id": self.id}, written)
            if written.get("last_error"):
                await record(tx, now | written, written["last_error"], error=True)
            if now["instance_id"]:
                await work.wake(tx, "server", now["instance_id"])
            return now | written

        stored = await self.tools.db.write(write)
        if stored is None:
            raise Overtaken
        return stored

    async def unreleased(self, text: str) -> Row:
        """Something could not be released: a person has to look."""
        for name in node_progress.unfinished(self.steps):
            self.finish(name, text, result="Error")
        before = self.row["last_error"] or ""
        self.changes["last_error"] = f"{before} And it could not be released: {text}".strip()
        self._left(self.row["provision_state"])
        return await self._store("", self.changes["last_error"], error=True, life={})

    def _left(self, state: str | None) -> None:
        """In which state something of a ramdisk stayed behind; it is released once more in another (node_plan.step)."""
        self.changes["seen"] = (self.changes.get("seen") or self.row["seen"] or {}) | {"left": state}

    def _mark(self) -> str:
        return repr((self.life, self.steps))

    def _place(self, event: str, text: str, *, error: bool, life: Row) -> None:
        """The Node's next state by an event, and what changes with it."""
        target = self.row["target_provision_state"] if event in ("fail", "wait", "resume", "hold") else None
        place = advance(self.row["provision_state"], event, target)
        self.changes |= {
            "provision_state": place.state, "target_provision_state": place.target,
            "provision_updated_at": clock.now(), "last_error": text if error else self.row["last_error"],
        }  # fmt: skip
        if place.state in STABLE or place.state in FAILURE or (event == "clean"):
            # A ramdisk's token and address end with the work that it was started for.
            self.drop_agent()
            self.changes |= {"deploy_step": {}, "clean_step": {}, "service_step": {}}

    def drop_agent(self) -> None:
        self.internal |= {key: None for key in self.row["driver_internal_info"] or {} if key.startswith("agent_")}
        self.more["agent_token"] = None

    async def _store(self, event: str, text: str, *, error: bool, life: Row) -> Row:
        if event:
            self._place(event, text, error=error, life=life)
        changes, lines = self.changes, list(self._lines)
        if text:
            lines.append((text, error, clock.wall() - clock.seconds(self.life["began"])))

        async def write(tx: Tx) -> Row | None:
            found = await NODE.select(tx, {"id": self.id}, columns=LIVE)
            if not found or not _same(found[0], self.row):
                return None
            now = self.row | found[0]
            told = {key: value for key, value in (changes.get("seen") or {}).items() if key not in KEPT}
            seen = {**now["seen"], **told, "life": life, "steps": self.steps}
            if not life:
                seen = {key: value for key, value in seen.items() if key not in ("life", "inspected")}
            internal = {**now["driver_internal_info"], **self.internal}
            written = changes | {
                "seen": seen,
                "driver_internal_info": {key: value for key, value in internal.items() if value is not None},
                "observed_generation": self.row["generation"], "updated_at": clock.now(),
            }  # fmt: skip
            sealed(self.tools.secrets, now, written, **self.more)
            await NODE.update(tx, {"id": self.id}, written)
            after = now | written
            for line, bad, seconds in lines:
                await record(tx, after, line, error=bad, duration=seconds)
            if now["instance_id"]:
                await work.wake(tx, "server", now["instance_id"])
            return after

        stored = await self.tools.db.write(write)
        if stored is None:
            raise Overtaken
        self.row, self.changes, self.internal, self.more, self._lines = stored, {}, {}, {}, []
        self._noted = self._mark()
        return stored


def _same(now: Row, then: Row) -> bool:
    return bool(
        now["provision_state"] == then["provision_state"]
        and now["provision_updated_at"] == then["provision_updated_at"]
    )
