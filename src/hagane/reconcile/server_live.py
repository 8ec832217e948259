"""Live migrations: a Server goes to another Host while it runs, or is paused.

    migrating ─▶ a Host, claimed while the old place is kept ─▶ volumes connected there, too ─▶ memory and disks go
              ─▶ its volumes are connected there alone ─▶ the Server is there, bound there; the old place is given back

Each step begins with a look at both Hosts, as a kill may come at any moment: where the machine runs on the new one, or
is not known to the old one any more, it has arrived. Else what is there is half a machine, and the Server is where it
was. What is left on either Host is removed at once, or swept by the Host's own pass.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from hagane.cloud import Cloud
from hagane.compute import device, migration_row, nic
from hagane.compute.row import KIND, SERVER, Task, fault
from hagane.drivers.hypervisor.base import Machine, Power, Seen
from hagane.errors import DeviceFailed, HaganeError
from hagane.image.store import ImageInfo
from hagane.placement.choose import choose, resources_of
from hagane.placement.host import all_hosts
from hagane.placement.inventory import claim, release, rename, usages
from hagane.reconcile import server_place
from hagane.reconcile.engine import Outcome, Wait
from hagane.reconcile.host_registry import Registry, Station
from hagane.reconcile.server_end import store_row
from hagane.reconcile.server_machine import machine_of
from hagane.reconcile.server_steps import Steps
from hagane.reconcile.server_telling import LOOK_SECONDS, telling
from hagane.reconcile.server_volume import Volumes
from hagane.state import clock, work
from hagane.state.database import Row, Tx

log = logging.getLogger(__name__)
UP = (Power.ON, Power.PAUSED)
AT_ONCE = 3  # machines that one Host lets go at a time; the others of a Host that is emptied wait, and run
AGAIN = 5.0  # seconds between looks at Hosts that do not say where the machine is, or that have others to let go
MOST_SECONDS = 4 * 3600.0  # until it is given up that they say it


@dataclass(frozen=True)
class Sight:
    """What one Host shows of the machine; not `known`: it does not answer."""

    known: bool = False
    seen: Seen | None = None

    @property
    def up(self) -> bool:
        return self.seen is not None and self.seen.power in UP


class Place(Enum):
    """Where the machine is."""

    HERE = "on the Host where it was"
    THERE = "on the new Host"
    NOWHERE = "running on neither"
    UNKNOWN = "on a Host that does not answer"


def place_of(power: str, here: Sight, there: Sight) -> Place:
    """Pure. `power` is what is wanted of it: "on" or "paused". While a machine arrives, it stands still there; one that
    may have gone on there is not let go on here. Its old Host forgets it when it has arrived, and not before: so what
    the new one has, whether it runs or not, is whole then, and half a machine as long as the old one knows it."""
    if there.seen is not None and there.seen.power is Power.ON:
        return Place.THERE
    if here.known and here.seen is None:
        return Place.NOWHERE if there.known and there.seen is None else Place.THERE
    if here.up and (there.known or (here.seen is not None and here.seen.power.value == power)):
        return Place.HERE
    if not (here.known and there.known):
        return Place.UNKNOWN
    return Place.NOWHERE


def is_going(row: Row) -> bool:
    """Whether a Server is on its way while it runs; it may be on its end besides."""
    return bool(row["move"]) and row["move"]["kind"] == migration_row.LIVE


class LiveMoves:
    """The steps; each returns when the next one may begin."""

    def __init__(self, cloud: Cloud, registry: Registry, volumes: Volumes) -> None:
        self._db, self._registry, self._volumes = cloud.db, registry, volumes
        self._leaving = Counter[str]()  # machines that this process brings away, by Host

    async def step(self, row: Row, ports: Sequence[Row], image: ImageInfo | None) -> Outcome:
        if row["move"]["to"] is None:
            return await self._begin(row)
        if self._waits(row):
            return Wait(AGAIN, f"{AT_ONCE} other machines are leaving {row['host']}; it goes after them.")
        here, there = await self._look(row["host"], row["id"]), await self._look(row["move"]["to"], row["id"])
        where = place_of(row["power"], here, there)
        if where is Place.THERE:
            return await self._arrived(row, seen=there.seen is not None)
        if where is Place.NOWHERE:
            return await self.undo(row, DeviceFailed("The machine does not run any more."), off=True)
        if row["move"].get("abort"):
            return await self.undo(row, DeviceFailed("The live migration was cancelled."), status="cancelled")
        if where is Place.UNKNOWN:
            return await self._unknown(row)
        self._leaving[row["host"]] += 1
        try:
            return await self._go(row, ports, image, left=there.seen is not None)
        finally:
            self._leaving[row["host"]] -= 1

    def _waits(self, row: Row) -> bool:
        """Whether others go first. Where something of it is there already, or it is not to go, it is looked at."""
        if self._leaving[row["host"]] < AT_ONCE or row["move"].get("abort"):
            return False
        return row["id"] not in self._registry.station(row["move"]["to"]).seen

    async def _unknown(self, row: Row) -> Outcome:
        deadline = clock.seconds(row["acted_at"]) + MOST_SECONDS
        where = f"The machine is {Place.UNKNOWN.value}: {row['host']} or {row['move']['to']}."
        if clock.wall() > deadline:
            return await self.undo(row, DeviceFailed(f"{where} Given up."))
        return Wait(AGAIN, where, deadline)

    async def _look(self, host: str, server_id: str) -> Sight:
        with contextlib.suppress(HaganeError):
            return Sight(known=True, seen=(await self._registry.station(host).read()).get(server_id))
        return Sight()

    async def _begin(self, row: Row) -> Outcome:
        why = await self._db.write(lambda tx: _place(tx, row))
        if why:
            return await self.undo(row, DeviceFailed(server_place.NOWHERE, detail=why))
        return Wait(0.0, "The next step.")

    async def _go(self, row: Row, ports: Sequence[Row], image: ImageInfo | None, *, left: bool) -> Outcome:
        """Bring it there. Whatever a Host says of that, the next look decides; `left`: half a machine is there."""
        steps = Steps(row)
        source, target = self._registry.station(row["host"]), self._registry.station(row["move"]["to"])
        try:
            if left:
                await target.driver.remove(row["id"])
            sources = await self._volumes.connect_at(row, target.name)
            machine = machine_of(row, ports, image, b"" if row["config_drive"] else None, sources=sources)
            await self._db.write(lambda tx: _set_out(tx, row))
            await telling(self._db, row, steps, self._carried(row, machine, source, target, steps))
        except HaganeError as error:
            return await self._stopped(row, steps, error)
        finally:
            source.stale()
            target.stale()
        return await self._arrived(row, steps)

    async def _carried(self, row: Row, machine: Machine, source: Station, target: Station, steps: Steps) -> None:
        """The way itself; somebody may be in a hurry meanwhile."""
        carried = asyncio.ensure_future(source.driver.migrate(machine, target.driver, steps.progress))
        hurried = False
        try:
            while not (await asyncio.wait({carried}, timeout=LOOK_SECONDS))[0]:
                if not hurried and await self._is_forced(row):
                    with contextlib.suppress(HaganeError):  # it is asked again in a second
                        await source.driver.hurry(row["id"])
                        hurried = True
            carried.result()
        finally:
            carried.cancel()
            await asyncio.gather(carried, return_exceptions=True)

    async def _is_forced(self, row: Row) -> bool:
        now = await SERVER.get(self._db, id=row["id"])
        return bool(now and now["move"] and now["move"].get("force"))

    async def _stopped(self, row: Row, steps: Steps, error: HaganeError) -> Outcome:
        """It broke off. Where it is is not known from that: both Hosts are asked."""
        here, there = await self._look(row["host"], row["id"]), await self._look(row["move"]["to"], row["id"])
        where = place_of(row["power"], here, there)
        if where is Place.THERE:
            return await self._arrived(row, seen=there.seen is not None)
        if where is Place.UNKNOWN:
            return Wait(AGAIN, f"{error.message} The machine is {where.value}.")
        return await self.undo(row, error, steps, off=where is Place.NOWHERE)

    async def _arrived(self, row: Row, steps: Steps | None = None, *, seen: bool = True) -> Outcome:
        """It is there. What the old Host still has of it goes; so does its way to the volumes. One that nobody has
        `seen` there is only looked for when its Host answers, and never made anew."""
        if steps is None:  # nobody saw it arrive: not all may be done
            steps = Steps(row)
            await self._clear(row["host"], row["id"])
        try:
            await self._volumes.connect(row | {"host": row["move"]["to"]})
        except DeviceFailed as error:  # where it is does not depend on that; it is told when the machine is looked at
            log.warning("server %s has gone to %s without a volume: %s", row["id"], row["move"]["to"], error.message)
        await self._db.write(lambda tx: _arrive(tx, row, steps, seen=seen))
        return Wait(0.0, "It is looked at where it is now.")

    async def undo(
        self, row: Row, error: HaganeError, steps: Steps | None = None, *, status: str = "error", off: bool = False
    ) -> Outcome:
        """It came to nothing: the Server stays where it is, and says why unless somebody wanted that. `off`: by itself,
        so it is not started again."""
        steps = steps or Steps(row)
        await self._leave(row)
        await self._db.write(lambda tx: _stay(tx, row, steps, error, status, off=off))
        return Wait(0.0, error.message)

    async def forget(self, row: Row) -> None:
        """The Server is deleted: the new Host has nothing of it."""
        await self._leave(row)
        await self._db.write(lambda tx: migration_row.tell(tx, row["move"]["uuid"], "cancelled"))

    async def _leave(self, row: Row) -> None:
        if row["move"]["to"]:
            await self._clear(row["move"]["to"], row["id"])
            await self._volumes.leave(row, row["move"]["to"])

    async def _clear(self, host: str, server_id: str) -> None:
        """What cannot be removed now has no owner any more, and is swept by the Host's own pass."""
        with contextlib.suppress(HaganeError):
            station = self._registry.station(host)
            await station.driver.remove(server_id)
            station.forgot(server_id)


# -- rows; each a transaction of its own ------------------------------------------------------------------------------


async def _place(tx: Tx, row: Row) -> str:
    """Claim a Host beside the one that it has, whose claim is the migration's now. Returns why there is none."""
    if await SERVER.count(tx, {"id": row["id"], "generation": row["generation"], "task_state": Task.MIGRATING}) == 0:
        return ""
    move = row["move"]
    wanted = await server_place.wanted(tx, row | {"tried": []})
    wanted = replace(wanted, host=move["host"], forced=move["forced"], apart=wanted.apart | {row["host"]})
    choice = choose(await all_hosts(tx), await usages(tx), wanted)
    await rename(tx, row["id"], move["uuid"])
    who: dict[str, Any] = {"project_id": row["project_id"], "user_id": row["user_id"]}
    for host in choice.hosts:
        if await claim(tx, host["id"], row["id"], resources_of(device.on_host(row)), **who):
            await store_row(tx, row, {"move": move | {"to": host["name"]}, "old_host": host["name"]})
            await migration_row.tell(tx, move["uuid"], "preparing", dest=host["name"])
            return ""
    await rename(tx, move["uuid"], row["id"])
    return choice.why()


async def _set_out(tx: Tx, row: Row) -> None:
    await migration_row.tell(tx, row["move"]["uuid"], "running")
    await nic.going(tx, row, row["move"]["to"])


def _over(row: Row, *, look: bool = False) -> dict[str, Any]:
    """That nothing goes on any more. The machine is brought to its row, as after any change; or the row to the machine,
    where that is only to be looked at."""
    last = {"observed_generation": row["generation"]} if look else {"generation": row["generation"] + 1}
    return {"task_state": None, "move": None, "old_host": None} | last


async def _arrive(tx: Tx, row: Row, steps: Steps, *, seen: bool) -> None:
    if await store_row(tx, row, _over(row, look=not seen) | {"host": row["move"]["to"]}):
        await release(tx, row["move"]["uuid"])
        await nic.bind(tx, row, row["move"]["to"])
        await migration_row.tell(tx, row["move"]["uuid"], "completed")
        await steps.end(tx, whole=not seen)
        await work.wake(tx, KIND, row["id"])


async def _stay(tx: Tx, row: Row, steps: Steps, error: HaganeError, status: str, *, off: bool) -> None:
    changes = _over(row, look=off)
    if status == "error":
        changes["fault"] = fault(500, error.message, error.detail or error.message, clock.now())
    if await store_row(tx, row, changes):
        if row["move"]["to"]:
            await release(tx, row["id"])
            await rename(tx, row["move"]["uuid"], row["id"])
            await nic.bind(tx, row, row["host"])
        await migration_row.tell(tx, row["move"]["uuid"], status)
        await steps.end(tx, error=error.message)
        await work.wake(tx, KIND, row["id"])
