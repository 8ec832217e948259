"""The power of all Nodes, looked at again and again: what a person switched by hand is noticed, and a BMC that is lost.

    as recorded ─▶ nothing        switched by hand ─▶ switched back, or recorded (setting `restore_power`)
    no answer, or it will not switch, three looks in a row ─▶ maintenance, fault "power failure" ─answers─▶ as before

Nodes are looked at by slices of the space of their ids, one after another over the whole interval, so that ten thousand
of them are a steady trickle; a slice is a key of work, so that processes share them. A slice costs one read, and one
write for each Node that is not as it was. The interval is the setting `power_poll`, or less where there are few Nodes:
down to a quarter of it, as long as that is no more than `RATE` questions a second. A BMC that did not answer is asked
again after the whole of it, since each silent one holds up a thread. What is being done to a Node is not disturbed: its
own work looks at its power.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hagane.baremetal.node import NODE
from hagane.baremetal.node_history import record
from hagane.config import Baremetal
from hagane.drivers.bmc.base import BmcDesired, Power
from hagane.errors import DeviceFailed, HaganeError, Unavailable
from hagane.reconcile.engine import Answer, Done
from hagane.reconcile.node_bmc import Bmcs
from hagane.reconcile.node_plan import WIRE_POWER
from hagane.state import clock, work
from hagane.state.database import Database, Row, Tx
from hagane.state.table import Op, Sql
from hagane.state.work import WORK, Claim

log = logging.getLogger(__name__)
SLICES = 32
AT_ONCE = 64  # questions under way at a time, of one slice
TRIES = 3  # looks in a row that may go wrong
RATE = 20.0  # questions a second that cost next to nothing, however slow the BMCs are
FAULT = "power failure"
STATES = ("manageable", "available", "active", "rescue", "error", "deploy failed", "clean failed", "inspect failed",
          "rescue failed", "unrescue failed", "service failed", "adopt failed", "clean hold", "deploy hold",
          "service hold")  # fmt: skip
COLUMNS = ("id", "name", "driver", "driver_info", "secrets", "power_state", "maintenance", "fault", "provision_state",
           "provision_updated_at", "target_provision_state", "target_power_state", "instance_id",
           "disable_power_off", "wanted", "generation")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at one Node says: changes of its row, and a line for its history."""

    row: Row
    changes: Row
    text: str = ""
    error: bool = False


class PowerWatch:
    kind, batch, parallel = "node_power", 1, 2

    def __init__(self, db: Database, bmcs: Bmcs, config: Baremetal) -> None:
        self._db, self._bmcs, self._config = db, bmcs, config
        self._wrong: dict[str, int] = {}  # Node -> looks in a row that went wrong
        self._silent: dict[str, float] = {}  # Node whose BMC did not answer -> when it is asked again (monotonic)

    async def begin(self) -> None:
        """See that every slice is looked at, spread over the interval."""
        known = {row["key"] for row in await WORK.select(self._db, {"kind": self.kind}, columns=("key",))}

        async def write(tx: Tx) -> None:
            for number in range(SLICES):
                if str(number) not in known:
                    delay = self._config.power_poll * (number + 1) / SLICES
                    await work.wake(tx, self.kind, str(number), delay=delay)

        if len(known) < SLICES:
            await self._db.write(write)

    async def reconcile(self, keys: Sequence[Claim]) -> Mapping[str, Answer]:
        return {claim.key: self._slice(claim) for claim in keys}

    async def _slice(self, claim: Claim) -> Done:
        began = time.monotonic()
        count = await self.look(int(claim.key))
        return Done(max(0.05, interval(self._config.power_poll, count) - (time.monotonic() - began)))

    async def look(self, number: int) -> int:
        """Look at the Nodes of one slice; how many there are."""
        first, end = _bounds(number)
        where: Row = {"provision_state": STATES, "target_power_state": None, "id": Op(">=", first)}
        below = [Sql("node.id < :end", {"end": end})] if end else []
        rows = await NODE.select(self._db, where, conditions=below, columns=COLUMNS)
        for known in (self._wrong, self._silent):  # what was noted of Nodes that are gone, or at work, ends
            others = {key for key in known if first <= key and (not end or key < end)} - {row["id"] for row in rows}
            for key in others:
                del known[key]
        places, now = asyncio.Semaphore(AT_ONCE), time.monotonic()
        due = [row for row in rows if _ours(row) and self._silent.get(row["id"], 0.0) <= now]
        ended = await asyncio.gather(*(self._one(row, places) for row in due), return_exceptions=True)
        for error in (one for one in ended if one is not None):
            raise error
        return len(rows)

    async def _one(self, row: Row, places: asyncio.Semaphore) -> None:
        """Look at one, and write what is found at once: others of its slice may have a BMC that is silent for long."""
        async with places:
            found = await self._found(row)
        if found is not None:
            await self._db.write(lambda tx: _write(tx, found))

    async def _found(self, row: Row) -> Found | None:
        try:
            power = WIRE_POWER[await self._bmcs.of(row).power()]
            self._silent.pop(row["id"], None)
            if row["fault"] == FAULT:
                return self._back(row, power)
            if power == row["power_state"]:
                self._wrong.pop(row["id"], None)
                return None
            return await self._differs(row, power)
        except (Unavailable, DeviceFailed) as error:
            self._silent[row["id"]] = time.monotonic() + self._config.power_poll
            return self._lost(row, error)
        except Exception as error:  # one Node must not keep the others of its slice from being looked at
            log.exception("the power of node %s cannot be looked at", row["id"])
            return self._lost(row, DeviceFailed(f"An unforeseen error ({type(error).__name__}); the log tells more."))

    async def _differs(self, row: Row, power: str) -> Found | None:
        """The machine is not as it was left. Raises Unavailable, DeviceFailed."""
        before, now = row["power_state"], await NODE.get(self._db, id=row["id"])
        if now is None or (now["generation"], now["power_state"]) != (row["generation"], before):
            return None  # somebody asked for it while we looked
        if (now["seen"] or {}).get("life") and not now["provision_state"].endswith("hold"):
            return None  # what failed there is being put away
        keep = row["disable_power_off"] and power == "power on"
        if before not in WIRE_POWER.values() or not self._config.restore_power or keep:
            text = f"The machine was found in state {power}." if before else ""
            return Found(row, {"power_state": power}, text)
        count = self._wrong[row["id"]] = self._wrong.get(row["id"], 0) + 1
        if count > TRIES:
            return _put_aside(row, power, f"The machine is in state {power} again and again, although it was left in "
                                          f"state {before}.")  # fmt: skip
        await self._bmcs.of(row).apply(BmcDesired(Power.ON if before == "power on" else Power.OFF))
        return Found(row, {}, f"The machine was found in state {power}, and was brought back into state {before}.")

    def _lost(self, row: Row, error: HaganeError) -> Found | None:
        if row["fault"] == FAULT:
            return None
        count = self._wrong[row["id"]] = self._wrong.get(row["id"], 0) + 1
        if count < TRIES:
            return None
        text = f"The power of the machine cannot be told or set after {count} attempts: {error.message}"
        return _put_aside(row, "error", text)

    def _back(self, row: Row, power: str) -> Found:
        self._wrong.pop(row["id"], None)
        changes = {"power_state": power, "maintenance": False, "maintenance_reason": None, "fault": None}
        return Found(row, changes, f"The BMC answers again; the machine is in state {power}.")


def interval(poll: float, count: int) -> float:
    """Seconds between looks at a slice that has so many Nodes."""
    return min(poll, max(poll / 4, count * SLICES / RATE))


def _bounds(number: int) -> tuple[str, str]:
    """Where a slice begins and ends; the last one has no end."""
    width = 256 // SLICES
    end = (number + 1) * width
    return f"{number * width:02x}", "" if end > 255 else f"{end:02x}"


def _ours(row: Row) -> bool:
    """A Node in maintenance is a person's, unless it is so because of its power; what was asked for comes first."""
    return not row["wanted"] and (not row["maintenance"] or row["fault"] == FAULT)


def _put_aside(row: Row, power: str, text: str) -> Found:
    changes = {"power_state": power, "maintenance": True, "maintenance_reason": text, "fault": FAULT,
               "last_error": text}  # fmt: skip
    return Found(row, changes, text, error=True)


async def _write(tx: Tx, one: Found) -> None:
    """What changed, unless somebody has moved or commanded the Node meanwhile."""
    row = one.row
    same = {name: row[name] for name in ("id", "provision_state", "provision_updated_at", "maintenance")}
    if one.changes and not await NODE.update(
        tx, same | {"target_power_state": None}, one.changes | {"updated_at": clock.now()}
    ):
        return
    if one.text:
        await record(tx, row | one.changes, one.text, error=one.error)
    if row["instance_id"]:
        await work.wake(tx, "server", row["instance_id"])
