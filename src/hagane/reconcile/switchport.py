"""Switches: bring all SwitchPorts of one to their rows in one commit, and notice when somebody else changes them.

    woken (a plug, a watch) or every 30 s ─▶ rows ─▶ nothing open: read, and repair what differs (drift)
                                                └──▶ else: apply ─▶ read back ─▶ `applied`, Ports ACTIVE, Nodes woken

One key is one switch, so whatever was plugged meanwhile goes out in one session and one commit, no switch ever gets two
at a time, and one that is dead or slow delays nobody but its own ports. What it refuses it refuses in words, which
stand in its row (`hagane explain switch NAME`).
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from uuid import uuid4

from hagane.baremetal import rack as racks
from hagane.baremetal.binding import DIRECT, kind_of
from hagane.baremetal.nic import Nics
from hagane.baremetal.nic_group import NicGroups
from hagane.cloud import Cloud
from hagane.drivers.switch import plan
from hagane.drivers.switch.base import Switch, SwitchDesired, SwitchSeen
from hagane.errors import DeviceFailed, HaganeError, Invalid, Unavailable
from hagane.network.port_row import PORT
from hagane.reconcile import switch_plan
from hagane.reconcile.engine import Answer, Done, Outcome, Wait, backoff
from hagane.reconcile.rack_drivers import Switches
from hagane.state import clock, event, work
from hagane.state.database import Row, Tx
from hagane.state.work import Claim

log = logging.getLogger(__name__)
POLL, WATCHED = 30.0, 120.0  # seconds between two looks at a switch: one that must be asked, one that tells
LAST_RETRY = 15.0  # seconds between attempts on one that does not answer: it may be back any moment


class SwitchReconciler:
    kind, batch, parallel = "switch", 64, 2

    def __init__(self, cloud: Cloud, switches: Switches) -> None:
        self._db, self._switches = cloud.db, switches

    async def reconcile(self, keys: Sequence[Claim]) -> Mapping[str, Answer]:
        return {claim.key: self._one(claim) for claim in keys}

    async def _one(self, claim: Claim) -> Outcome:
        row = await racks.SWITCH.get(self._db, id=claim.key)
        if row is None:
            await self._switches.forget(claim.key)
            return Done()
        ports = await racks.SWITCH_PORT.select(self._db, {"switch_id": row["id"]}, order="name")
        try:
            driver = await self._switches.of(row)
            wanted = switch_plan.desired(row, ports, *await self._trunks(row))
            seen, drifted, failed = await self._bring(row, driver, ports, wanted)
        except (Unavailable, DeviceFailed, Invalid) as error:
            return await self._refused(row, claim, error)
        # What it has taken and shows otherwise has failed, too.
        failed = plan.differences(plan.without(wanted, frozenset(failed)), seen) | failed
        reason = "; ".join(f"port {name}: {why}" for name, why in sorted(failed.items())[:5])
        await self._confirmed(row, ports, plan.without(wanted, frozenset(failed)), seen, drifted, reason)
        watched = self._switches.watch(row["id"], driver)
        if failed:
            return Wait(LAST_RETRY, f"Switch {row['name']} refuses {reason}")
        return Done(WATCHED if watched else POLL)

    async def _trunks(self, row: Row) -> tuple[dict[str, bool], frozenset[int]]:
        gateways = await racks.gateways_of(self._db, [row["rack_id"]])
        return switch_plan.trunks(row, gateways), await racks.trunk_tags(self._db, row["rack_id"])

    async def _bring(
        self, row: Row, driver: Switch, ports: Sequence[Row], wanted: SwitchDesired
    ) -> tuple[SwitchSeen, list[str], dict[str, str]]:
        """(what is there then, the ports that somebody else had changed, those that failed and why)."""
        settled = row["state"] == racks.UP and not row["reason"] and all(port["applied"] for port in ports)
        drifted: list[str] = []
        if settled or not wanted.ports:
            seen = await driver.read(list(wanted.ports))
            if not (differing := plan.differences(wanted, seen)):
                return seen, [], {}
            known = {port["name"] for port in ports}
            drifted = [name for name in differing if name in known]
        try:
            return await driver.apply(wanted), drifted, {}
        except DeviceFailed as error:
            failed: dict[str, str] = error.extra.get("ports") or {}
            if not failed or len(failed) == len(wanted.ports):
                raise
            # The switch has brought the others to their state: that counts, whatever became of these.
            return await driver.read(list(wanted.ports)), drifted, failed

    async def _refused(self, row: Row, claim: Claim, error: HaganeError) -> Wait:
        log.warning("switch %s: %s %s", row["name"], error.message, error.detail)

        async def write(tx: Tx) -> None:
            await racks.SWITCH.update(tx, {"id": row["id"]}, {"state": racks.DOWN, "reason": error.message})

        if row["state"] != racks.DOWN or row["reason"] != error.message:
            await self._db.write(write)
        return Wait(min(LAST_RETRY, backoff(claim.attempts)), error.message)

    async def _confirmed(
        self, row: Row, ports: Sequence[Row], wanted: SwitchDesired, seen: SwitchSeen, drifted: Sequence[str],
        reason: str,
    ) -> None:  # fmt: skip
        """Note what is as it should be: all of `wanted`. `reason`: why the rest is not."""
        right = [port for port in ports if port["name"] in wanted.ports and not port["applied"]]
        facts: Row = {"model": seen.model, "chassis_id": seen.chassis_id}
        changes: Row = {"state": racks.UP, "reason": reason, "seen_at": clock.now(), "seen": facts}

        async def write(tx: Tx) -> None:
            await racks.SWITCH.update(tx, {"id": row["id"]}, changes)
            if drifted:
                await _report(tx, row, drifted)
            done = [port for port in right if await _note(tx, port)]
            await racks.forget_ports(tx, [port for port in done if port["gone"]])
            await _follow(tx, [port["owner"] for port in done if not port["gone"]])

        await self._db.write(write)


async def _note(tx: Tx, port: Row) -> bool:
    """Write down that a SwitchPort is as it should be, if it still should be that."""
    same = {name: port[name] for name in ("switch_id", "name", "native", "lag", "gone", "owner")}
    return bool(await racks.SWITCH_PORT.update(tx, same, {"applied": True}))


async def _follow(tx: Tx, owners: Collection[str]) -> None:
    """Nodes wait for their SwitchPorts; a Port that is plugged in directly is up when all of its SwitchPorts are."""
    ids = sorted(set(owners))
    if not ids:
        return
    rows = [row for table in (Nics.table, NicGroups.table) for row in await table.select(tx, {"id": ids})]
    for node_id in sorted({row["node_id"] for row in rows}):
        await work.wake(tx, "node", node_id)
    open_ = await racks.SWITCH_PORT.select(tx, {"owner": ids, "applied": False}, columns=("owner",))
    waiting = {port["owner"] for port in open_}
    await _up(tx, [row["plugged"] for row in rows if row["plugged"] and row["id"] not in waiting])


async def _up(tx: Tx, port_ids: Sequence[str]) -> None:
    for row in await PORT.select(tx, {"id": port_ids}) if port_ids else ():
        if kind_of(row) == DIRECT:
            await PORT.update(tx, {"id": row["id"]}, {"status": "ACTIVE" if row["admin_state_up"] else "DOWN"})


async def _report(tx: Tx, row: Row, names: Sequence[str]) -> None:
    text = f"Somebody changed {', '.join(names[:8])}{' and more' if len(names) > 8 else ''} on the switch; put right."
    log.warning("switch %s: %s", row["name"], text)
    made = await event.begin(tx, "switch", row["id"], str(uuid4()), "drift", message=text)
    await event.end(tx, made)
