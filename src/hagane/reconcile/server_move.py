"""Resizes: a Server goes to another flavor, on its own Host where that has room, or else on another.

    resize_prep       ─▶ a Host, claimed while the old place is kept ─▶ own Host: flavor changed ─▶ resize_finish
    resize_migrating  ─▶ stopped ─▶ its disks copied to this process's disk ─▶ bound there ─▶ resize_finish
    resize_finish     ─▶ applied like any change; the new disks are made of the copies      ─▶ RESIZED
    confirming        ─▶ the old machine removed ─▶ the old place given back                ─▶ ACTIVE or SHUTOFF
    reverting         ─▶ the new machine removed ─▶ the row as it was, applied              ─▶ ACTIVE or SHUTOFF

The Hosts share no storage and are not asked to talk to each other: a disk goes through here. Its copy is a file that
gets its name when it is complete, so a killed process goes on with the disk that is still missing. Until a resize is
confirmed the machine of before is left on the old Host, switched off (`old_host`).

On the same Host the disk stays where it is and grows; reverting gives back the flavor, and the disk stays large, as
what was written since is on it.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

from hagane.cloud import Cloud
from hagane.compute import device, migration_row, nic, quota
from hagane.compute.row import KIND, SERVER, Task, VmState, disk_key, fault
from hagane.drivers.hypervisor.base import BaseImage, Hypervisor
from hagane.errors import DeviceFailed, HaganeError, Unavailable
from hagane.placement.choose import choose, resources_of
from hagane.placement.host import all_hosts
from hagane.placement.inventory import claim, release, rename, usages
from hagane.reconcile import server_place
from hagane.reconcile.engine import Outcome, Wait
from hagane.reconcile.host_registry import Registry
from hagane.reconcile.server_end import observed, store_row
from hagane.reconcile.server_steps import Steps
from hagane.state import clock, work
from hagane.state.database import Row, Tx

PHASES = (Task.RESIZE_PREP, Task.RESIZE_MIGRATING, Task.RESIZE_CONFIRMING, Task.RESIZE_REVERTING)


def is_here(row: Row) -> bool:
    """Whether the next step of a Server is one of this file's, and not to be applied like any other change."""
    return bool(row["move"]) and row["task_state"] in PHASES


def is_going(row: Row) -> bool:
    """Whether a Server is on its way, and can be brought back."""
    return bool(row["move"]) and row["task_state"] in (Task.RESIZE_PREP, Task.RESIZE_MIGRATING, Task.RESIZE_FINISH)


class Moves:
    """The steps; each returns when the next one may begin."""

    def __init__(self, cloud: Cloud, registry: Registry) -> None:
        self._cloud, self._db, self._registry = cloud, cloud.db, registry
        self._folder = cloud.config.state / "moves"

    async def step(self, row: Row) -> Outcome:
        match row["task_state"]:
            case Task.RESIZE_PREP:
                return await self._prepare(row)
            case Task.RESIZE_CONFIRMING:
                return await self._confirm(row)
        return await self._revert(row)

    async def _prepare(self, row: Row) -> Outcome:
        why = await self._db.write(lambda tx: _place(tx, row))
        return await self.undo(row, Steps(row), DeviceFailed(server_place.NOWHERE, detail=why)) if why else _next()

    async def carry(self, row: Row, steps: Steps) -> None:
        """Copy the disks of the machine, which is off, to here; then the Server is on its new Host."""
        driver = self._registry.station(row["host"]).driver
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        for name, key in _copies(row, row["disk_version"] + 1).items():
            path = self._folder / f"{name}.qcow2"
            if not path.exists():
                steps.progress("copy", 0)
                await _store(driver, row["id"], key, path)
        await self._db.write(lambda tx: _switch(tx, row))

    def bases(self, row: Row) -> dict[str, BaseImage]:
        """The copies that the disks of a Server on its new Host are made of."""
        if row["task_state"] != Task.RESIZE_FINISH or row["old_host"] is None:
            return {}
        paths = {name: self._folder / f"{name}.qcow2" for name in _copies(row, row["disk_version"])}
        return {name: _base(name, path) for name, path in paths.items() if path.exists()}

    async def done(self, row: Row) -> None:
        """The new machine has its disks, or the Server is gone: the copies are needed no more."""
        for version in (row["disk_version"], row["disk_version"] + 1):
            for name in _copies(row, version):
                for suffix in (".qcow2", ".part"):
                    await asyncio.to_thread((self._folder / f"{name}{suffix}").unlink, missing_ok=True)

    async def forget(self, row: Row) -> None:
        """The Server is deleted: what is left of it on its old Host, now or with that Host's own pass."""
        await self.done(row)
        await self._clear(row["old_host"], row["id"])

    async def undo(self, row: Row, steps: Steps, error: HaganeError) -> Outcome:
        """It came to nothing: the Server is what it was, and says why. Its machine of before starts only when the new
        Host has none: one that does not answer may be running it."""
        if row["old_host"]:
            station = self._registry.station(row["host"])
            try:
                await station.driver.remove(row["id"])
            except HaganeError as refusal:
                return Wait(10.0, f"{error.message} It goes back when {row['host']} has no machine: {refusal.message}")
            station.forgot(row["id"])
        await self.done(row)
        await self._db.write(lambda tx: _undo(tx, row, steps, error))
        return Wait(0.0, error.message)  # the machine of before is started again

    async def _clear(self, host: str | None, server_id: str) -> None:
        """What cannot be removed now has no owner any more, and is swept by the Host's own pass."""
        if host:
            with contextlib.suppress(HaganeError):
                station = self._registry.station(host)
                await station.driver.remove(server_id)
                station.forgot(server_id)

    async def _confirm(self, row: Row) -> Outcome:
        steps = Steps(row)
        if row["old_host"]:
            steps.progress("remove", 0)
            await self._clear(row["old_host"], row["id"])
        await self._db.write(lambda tx: _confirmed(tx, row, steps))
        return _next()

    async def _revert(self, row: Row) -> Outcome:
        """The new machine has to be gone before the old one starts: both have the same addresses and think that they
        are the same."""
        steps = Steps(row)
        if row["old_host"]:
            steps.progress("remove", 0)
            station = self._registry.station(row["host"])
            try:
                await station.driver.remove(row["id"])
            except DeviceFailed as error:
                refusal = error
                return await self._db.write(lambda tx: _stays(tx, row, steps, refusal))
            station.forgot(row["id"])
        await self._db.write(lambda tx: _reverted(tx, row, steps))
        return _next()


def _next() -> Outcome:
    return Wait(0.0, "The next step.")


def _copies(row: Row, version: int) -> dict[str, str]:
    """Name of a copy, which is the id of the base image that it becomes -> key of the disk that it is one of."""
    old = row["move"]["old"]
    key, name = disk_key(row | {"disk_version": old["disk_version"]}), f"move-{row['id']}-{version}"
    copies = {} if device.root(row) else {name: key}
    before = device.ephemerals(row | {"flavor": old["flavor"]})
    return copies | {name + suffix: key + suffix for suffix in before}


async def _store(driver: Hypervisor, server_id: str, key: str, path: Path) -> None:
    """The disk's content into a file, which has its name when it is complete."""
    stream: AsyncGenerator[bytes, None] = driver.snapshot(server_id, key)
    part = path.with_suffix(".part")
    try:
        with await asyncio.to_thread(part.open, "wb") as file:
            async for data in stream:
                await asyncio.to_thread(file.write, data)
    except OSError as error:
        raise Unavailable(f"The copy of a disk cannot be kept: {error.strerror}.") from error
    finally:
        await stream.aclose()
    await asyncio.to_thread(part.replace, path)


def _base(name: str, path: Path) -> BaseImage:
    with path.open("rb") as file:
        header = file.read(32)
    return BaseImage(name, path, "qcow2", path.stat().st_size, int.from_bytes(header[24:32], "big"))


# -- rows; each a transaction of its own ------------------------------------------------------------------------------


async def _place(tx: Tx, row: Row) -> str:
    """Claim a Host for the new flavor, the own one first; what is held so far is the migration's now. Returns why
    there is none."""
    if await SERVER.count(tx, {"id": row["id"], "generation": row["generation"], "task_state": Task.RESIZE_PREP}) == 0:
        return ""
    move, source = row["move"], row["host"]
    flavor = move["new"]["flavor"]
    small = flavor["ephemeral"] < row["flavor"]["ephemeral"]
    small = small or (device.root(row) is None and flavor["disk"] < row["flavor"]["disk"])
    if small:
        return "Resize error: Unable to resize disk down."
    wanted = await server_place.wanted(tx, row | {"flavor": flavor, "tried": []})
    wanted = replace(wanted, host=move["host"], forced=False, burden=dict(wanted.burden) | {source: -1000})
    if move["kind"] == "migration":
        wanted = replace(wanted, apart=wanted.apart | {source})
    choice = choose(await all_hosts(tx), await usages(tx), wanted)
    await rename(tx, row["id"], move["uuid"])
    who = {"project_id": row["project_id"], "user_id": row["user_id"]}
    for host in choice.hosts:
        if await claim(tx, host["id"], row["id"], resources_of(device.on_host(row | {"flavor": flavor})), **who):
            await _placed(tx, row, host["name"])
            return ""
    await rename(tx, move["uuid"], row["id"])
    return choice.why()


async def _placed(tx: Tx, row: Row, host: str) -> None:
    move = row["move"] | {"to": host}
    changes: dict[str, Any] = {"move": move, "acted_at": clock.now()}
    if host == row["host"]:
        changes |= _new(row) | {"task_state": Task.RESIZE_FINISH}
    else:
        changes["task_state"] = Task.RESIZE_MIGRATING
    await store_row(tx, row, changes)
    await migration_row.tell(tx, move["uuid"], "migrating", dest=host)


def _new(row: Row) -> dict[str, Any]:
    flavor = row["move"]["new"]["flavor"]
    return {"flavor": flavor, "flavor_id": flavor["id"], "boots": row["boots"] + 1, "soft": True}


async def _switch(tx: Tx, row: Row) -> None:
    """All its disks are here: from now on the Server is on its new Host."""
    version = row["disk_version"] + 1
    changes = _new(row) | {
        "host": row["move"]["to"], "old_host": row["host"], "disk_version": version,
        "disk_image": f"move-{row['id']}-{version}", "task_state": Task.RESIZE_FINISH, "acted_at": clock.now(),
    }  # fmt: skip
    if await store_row(tx, row, changes):
        await nic.bind(tx, row, row["move"]["to"])
        await migration_row.tell(tx, row["move"]["uuid"], "post-migrating")


def _old(row: Row) -> dict[str, Any]:
    """The row as it was, and a boot."""
    old = row["move"]["old"]
    kept = {name: old[name] for name in ("host", "flavor", "flavor_id", "disk_version", "disk_image", "power")}
    return kept | {"boots": row["boots"] + 1, "move": None, "old_host": None, "soft": False}


async def _give_back(tx: Tx, row: Row, status: str) -> None:
    """The old place is the Server's again, the new one nobody's."""
    uuid, old = row["move"]["uuid"], row["move"]["old"]
    if row["task_state"] != Task.RESIZE_PREP:
        await release(tx, row["id"])
        await rename(tx, uuid, row["id"])
    await quota.settle(tx, row, old["flavor"])
    await nic.bind(tx, row, old["host"])
    await migration_row.tell(tx, uuid, status)


async def _undo(tx: Tx, row: Row, steps: Steps, error: HaganeError) -> None:
    changes = _old(row) | {
        "task_state": None, "generation": row["generation"] + 1,
        "fault": fault(500, error.message, error.detail or error.message, clock.now()),
    }  # fmt: skip
    if await store_row(tx, row, changes):
        await _give_back(tx, row, "error")
        await steps.end(tx, error=error.message)
        await work.wake(tx, KIND, row["id"])


async def _confirmed(tx: Tx, row: Row, steps: Steps) -> None:
    vm_state = VmState.STOPPED if row["power"] == "off" else VmState.ACTIVE
    changes = {"task_state": None, "vm_state": vm_state, "move": None, "old_host": None} | observed(row)
    if await store_row(tx, row, changes):
        await release(tx, row["move"]["uuid"])
        await quota.settle(tx, row, row["flavor"])
        await migration_row.tell(tx, row["move"]["uuid"], "confirmed")
        await steps.end(tx)


async def _reverted(tx: Tx, row: Row, steps: Steps) -> None:
    """The task goes on: the machine of before is started by the plan of any change."""
    if await store_row(tx, row, _old(row) | {"acted_at": clock.now()}):
        await _give_back(tx, row, "reverted")
        await steps.end(tx, whole=False)


async def _stays(tx: Tx, row: Row, steps: Steps, error: HaganeError) -> Outcome:
    """The new Host does not let go of the machine: the Server is resized as before."""
    told = fault(500, error.message, error.detail or error.message, clock.now())
    if await store_row(tx, row, {"task_state": None, "observed_generation": row["generation"], "fault": told}):
        await migration_row.tell(tx, row["move"]["uuid"], "finished")
        await steps.end(tx, error=error.message)
    return Wait(0.0, error.message)
