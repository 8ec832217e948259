"""Nodes: bring each to its row. Carry out what the API asked of the BMC, then the phases of its state, one by one.

    row ─node_plan.step─▶ phase ─node_phase─▶ Next: written, the next one   Later: again, until the deadline
                                              Hold: an operator goes on     error: the state of failure, then release

What fails is written down with its cause, in a state that has a way out, and nothing stays behind: no ramdisk's
network, no media, no power.
"""

import logging
from collections.abc import Mapping, Sequence

from hagane.baremetal.agent_gate import AgentGate
from hagane.baremetal.node import NODE
from hagane.baremetal.node_console import NodeConsole
from hagane.baremetal.provision import Provision
from hagane.cloud import Cloud
from hagane.compute import console
from hagane.drivers.bmc.base import Bmc, BmcSeen
from hagane.errors import Conflict, DeviceFailed, HaganeError, Invalid, NotFound, Unavailable
from hagane.reconcile import node_plan, node_volume
from hagane.reconcile.allocation import AllocationReconciler
from hagane.reconcile.devices import Devices
from hagane.reconcile.engine import Answer, Done, Reconciler, Wait
from hagane.reconcile.node_bmc import Bmcs
from hagane.reconcile.node_console import NodeConsoles
from hagane.reconcile.node_hear import Hearing
from hagane.reconcile.node_job import Hold, Job, Later, Next, Overtaken, Turn
from hagane.reconcile.node_patience import telling
from hagane.reconcile.node_phase import PHASES
from hagane.reconcile.node_power import PowerWatch
from hagane.reconcile.node_sim import Fleet
from hagane.reconcile.node_tools import Times, Tools
from hagane.state import clock
from hagane.state.database import Row
from hagane.state.secret import Secrets
from hagane.state.work import Claim

log = logging.getLogger(__name__)
CONSOLE = "The last lines of its console:"
ATTEMPTS = 3  # questions to a BMC that does not answer, before what was asked of it counts as failed
REFUSALS = (DeviceFailed, Invalid, Conflict, NotFound)


class NodeReconciler:
    kind, batch, parallel = "node", 100, 4

    def __init__(self, tools: Tools) -> None:
        self._tools, self._db = tools, tools.db

    async def reconcile(self, keys: Sequence[Claim]) -> Mapping[str, Answer]:
        rows = {row["id"]: row for row in await NODE.select(self._db, {"id": [claim.key for claim in keys]})}
        answers: dict[str, Answer] = {}
        for claim in keys:
            row = rows.get(claim.key)
            answers[claim.key] = self._told_of(row, claim) if row is not None else self._gone(claim.key)
        return answers

    async def _told_of(self, row: Row, claim: Claim) -> Done | Wait:
        async with telling(self._db, claim, self._tools):
            return await self._one(row, claim)

    async def _gone(self, key: str) -> Done:
        await self._tools.consoles.drop(key)
        await self._tools.bmcs.forget(key)
        await node_volume.end(self._tools.cloud, key)  # its machine may run on; nobody here knows it any more
        return Done()

    async def _one(self, row: Row, claim: Claim) -> Done | Wait:
        try:
            if row["wanted"]:
                try:
                    row = await self._told(row)
                except (Unavailable, DeviceFailed) as error:
                    return await self._untold(row, claim, error)
            return await self._walk(row, claim)
        except Overtaken:
            return Done(0.05)

    # -- what the API asked of the BMC ---------------------------------------------------------------------------

    async def _told(self, row: Row) -> Row:
        """Carry it out, and write what the BMC then shows. Raises Unavailable, DeviceFailed."""
        bmc = self._tools.bmcs.of(row)
        if refused := node_plan.unknown(row):
            raise DeviceFailed(refused)
        for desired in node_plan.desired(row):
            await bmc.apply(desired)
        changes = await self._parts(row, bmc)
        return await self._answered(row, await bmc.read(), changes)

    async def _parts(self, row: Row, bmc: Bmc) -> Row:
        """Secure boot, indicators, an interrupt: what was asked, and what is shown then."""
        wanted = row["wanted"]
        if wanted.get("secure_boot") is not None:
            await bmc.set_secure_boot(on=bool(wanted["secure_boot"]))
        for name, state in (wanted.get("indicators") or {}).items():
            await bmc.set_indicator(name, state)
        if wanted.get("nmi"):
            await bmc.interrupt()
        if not wanted.keys() & {"secure_boot", "indicators"}:
            return {}
        return node_plan.shown(row, await bmc.parts(), clock.now())

    async def _untold(self, row: Row, claim: Claim, error: HaganeError) -> Done | Wait:
        """Wait for a BMC that may come back; then, or if it refuses, say so in the row."""
        if isinstance(error, Unavailable) and claim.attempts < ATTEMPTS:
            return Wait(min(self._tools.times.retry * 2.0**claim.attempts, self._tools.times.first), error.message)
        await self._answered(row, None, {"last_error": error.message})
        return Done(self._tools.times.retry)

    async def _answered(self, row: Row, seen: BmcSeen | None, changes: Row) -> Row:
        job = Job(self._tools, row, node_plan.Step("", (row["seen"] or {}).get("life", {}).get("phase", "")))
        job.changes |= changes
        if seen is not None:
            job.note(seen)
        return await job.answered()

    # -- the phases of a state -----------------------------------------------------------------------------------

    async def _walk(self, row: Row, claim: Claim) -> Done | Wait:
        """One phase after another, as long as the state asks for one."""
        while (step := node_plan.step(row)) is not None:
            job = Job(self._tools, row, step)
            if step.event:
                row = await job.move(step.event)
                continue
            if not step.phase:
                row = await job.proceed("")
                continue
            try:
                turn = await self._phase(job)
            except (Unavailable, *REFUSALS) as error:
                after = await self._refused(job, claim, error)
                if isinstance(after, Wait):
                    return after
                row = after
                continue
            ended = await self._turned(job, turn)
            if not isinstance(ended, dict):
                return ended
            row = ended
        await self._tools.consoles.settle(row)
        return Done()

    async def _phase(self, job: Job) -> Turn:
        """Carry a phase out. What nobody foresaw (an odd answer of a ramdisk, an odd value in a row) may be over later,
        and ends with the phase's deadline like any other wait: no Node hangs for ever. Raises what phases raise."""
        try:
            return await PHASES[job.phase](job)
        except (HaganeError, Overtaken):
            raise
        except Exception as error:
            log.exception("node %s: the phase %s went wrong", job.id, job.phase)
            name = type(error).__name__
            raise Unavailable(f"An unforeseen error ({name}) in the phase {job.phase}; the log tells more.") from error

    async def _turned(self, job: Job, turn: Turn) -> Row | Done | Wait:
        match turn:
            case Next(phase):
                if job.kind == "release":
                    return await job.forget()
                return await job.proceed(phase or node_plan.after(job.row, job.phase))
            case Hold():
                return await job.move("hold")
            case Later(seconds, why):
                return await self._later(job, seconds, why)

    async def _later(self, job: Job, seconds: float, why: str) -> Row | Wait:
        until = self._deadline(job)
        if until is not None and clock.wall() >= until:
            return await job.fail(self._overdue(job, why))
        await job.save()
        return Wait(seconds if until is None else max(0.01, min(seconds, until - clock.wall())), why, until)

    def _deadline(self, job: Job) -> float | None:
        """When a phase has taken too long, in epoch seconds. The time in which no process looked does not count: after
        an outage all that waits would fail at the first thing that is not up again."""
        times, began = self._tools.times, self._tools.began
        since = max(began, clock.seconds(job.life["since"]))
        match job.phase:
            case "callback" | "data":
                return since + times.callback[job.kind]
            case "network" | "switch" | "open" | "adopt":
                return since + times.network
            case "steps":  # each step by itself; the list of them is one, too
                begun = job.life.get("step_since") or (clock.wall() if job.life.get("listed") else since)
                return max(began, float(begun)) + times.step[job.kind]
        return since + times.device

    def _overdue(self, job: Job, why: str) -> str:
        seconds = job.elapsed()
        if job.phase == "steps":
            return f"A step of node {job.id} did not end within {self._tools.times.step[job.kind]:.0f} s. {why}"
        what = {"callback": "callback", "data": "what the ramdisk found"}.get(job.phase, job.phase)
        said = self._tools.consoles.last(job.id)
        told = f" {CONSOLE} {said}" if said else ""
        return f"Timeout reached while waiting for {what} for node {job.id} ({seconds:.0f} s). {why}{told}"

    async def _refused(self, job: Job, claim: Claim, error: HaganeError) -> Row | Wait:
        """A device that does not answer is asked again until the phase's deadline; one that refuses ends the work."""
        if isinstance(error, Unavailable) and not self._given_up(job, claim):
            await job.save()
            pause = min(self._tools.times.retry * 2.0 ** min(claim.attempts, 6), self._tools.times.first)
            return Wait(pause, error.message, self._deadline(job))
        if job.kind == "release":
            return await job.unreleased(error.message)
        if job.kind == "verify":
            return await job.fail(f"Failed to verify the BMC of node {job.id}. Error: {error.message}")
        return await job.fail(error.message)

    def _given_up(self, job: Job, claim: Claim) -> bool:
        if job.kind == "verify":
            return claim.attempts >= ATTEMPTS
        until = self._deadline(job)
        return until is not None and clock.wall() >= until


class NodePart:
    """A part of the process (see app.py)."""

    def __init__(self, cloud: Cloud) -> None:
        secrets = cloud.use(Secrets)
        self._cloud, devices = cloud, cloud.use(Devices)
        self._own = devices.fleet is None
        self.fleet: Fleet = devices.fleet or Fleet()
        self.fleet.gate = AgentGate(cloud.db, secrets)
        times = self.fleet.paces or Times.of(cloud.config.baremetal)
        bmcs = Bmcs(secrets, self.fleet)
        self.consoles = NodeConsoles(cloud.db, bmcs)
        self.tools = Tools(cloud, bmcs, self.fleet, secrets, self.consoles, times)
        cloud.provide(NodeConsole, self.consoles)  # type: ignore[type-abstract]
        cloud.provide(console.NodeConsoles, console.NodeConsoles(self.consoles.log, self.consoles.live))
        self.hearing = Hearing(cloud.db)
        self.power = PowerWatch(cloud.db, self.tools.bmcs, cloud.config.baremetal)
        self.reconcilers: Sequence[Reconciler] = (
            NodeReconciler(self.tools),
            self.power,
            AllocationReconciler(cloud.db),
        )
        cloud.provide(NodePart, self)

    async def start(self) -> None:
        await self.power.begin()
        if self._cloud.has(Provision):
            self.tools.provision.listen(self.hearing.heard)

    async def stop(self) -> None:
        await self.hearing.stop()
        await self.consoles.close()
        if self._own:  # machines of others run on, as real ones do
            await self.fleet.close()
        await self.tools.bmcs.close()
