"""Nodes: bring each to its row. Read the BMC, carry out what the API asked of it, take the one step of its state.

A step's result is written only if the Node is still in the state that the step was for: an abort or a deletion that
came meanwhile wins. What fails is written down with its cause, in a state that has a way out.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence

from hagane.baremetal.node import NODE
from hagane.baremetal.node_history import record
from hagane.baremetal.node_row import INVENTORY
from hagane.baremetal.node_secret import opened, sealed
from hagane.baremetal.node_state import STABLE, advance, possible
from hagane.cloud import Cloud
from hagane.drivers.bmc.base import Bmc, BmcAccess, BmcSeen
from hagane.drivers.bmc.ipmi import IpmiBmc
from hagane.drivers.bmc.sim import SimBmc
from hagane.errors import DeviceFailed, Unavailable
from hagane.reconcile import node_plan
from hagane.reconcile.engine import Answer, Done, Reconciler, Wait
from hagane.state import clock
from hagane.state.database import Row, Tx
from hagane.state.secret import Secrets
from hagane.state.work import Claim

log = logging.getLogger(__name__)
UNMANAGED = ("enroll",)
ATTEMPTS = 3  # questions to a BMC that does not answer, before what was asked of it counts as failed


class Bmcs:
    """One driver per Node, kept while its address and account stay the same."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._known: dict[str, tuple[str, Bmc]] = {}

    def of(self, row: Row) -> Bmc:
        """Raises DeviceFailed when the row does not say how to reach it."""
        info = opened(self._secrets, row)["driver_info"]
        mark = f"{row['driver']} {sorted(info.items(), key=str)}"
        known = self._known.get(row["id"])
        if known is None or known[0] != mark:
            known = self._known[row["id"]] = (mark, _made(row, info))
        return known[1]

    async def forget(self, key: str) -> None:
        known = self._known.pop(key, None)
        if known is not None:
            with contextlib.suppress(Unavailable, DeviceFailed):
                await known[1].close()

    async def close(self) -> None:
        await asyncio.gather(*(self.forget(key) for key in list(self._known)))


def _made(row: Row, info: Row) -> Bmc:
    match row["driver"]:
        case "redfish" if info.get("redfish_address"):
            # Its library takes a third of a second to load: only clouds that have such a BMC pay for it.
            from hagane.drivers.bmc.redfish import RedfishBmc

            address = str(info["redfish_address"])
            return RedfishBmc(BmcAccess(
                address if "://" in address else f"https://{address}", str(info.get("redfish_username") or ""),
                str(info.get("redfish_password") or ""), system=str(info.get("redfish_system_id") or ""),
                verify=_verify(info.get("redfish_verify_ca", True)),
            ))  # fmt: skip
        case "ipmi" if info.get("ipmi_address"):
            return IpmiBmc(BmcAccess(
                str(info["ipmi_address"]), str(info.get("ipmi_username") or ""), str(info.get("ipmi_password") or ""),
                port=int(info.get("ipmi_port") or 623),
            ))  # fmt: skip
        case "fake-hardware":
            made = SimBmc(row["id"])
            made.on = row["power_state"] == "power on"
            return made
    raise DeviceFailed(f"The driver_info of node {row['id']} does not say where its BMC is.")


def _verify(value: object) -> bool | str:
    if isinstance(value, bool):
        return value
    text = str(value)
    return text if text.startswith("/") else text.lower() not in ("false", "0", "no", "off")


class NodeReconciler:
    kind, batch, parallel = "node", 100, 4

    def __init__(self, cloud: Cloud, bmcs: Bmcs, secrets: Secrets) -> None:
        self._db, self._bmcs, self._secrets = cloud.db, bmcs, secrets

    async def reconcile(self, keys: Sequence[Claim]) -> Mapping[str, Answer]:
        rows = {row["id"]: row for row in await NODE.select(self._db, {"id": [claim.key for claim in keys]})}
        answers: dict[str, Answer] = {}
        for claim in keys:
            row = rows.get(claim.key)
            answers[claim.key] = self._one(row, claim) if row is not None else self._gone(claim.key)
        return answers

    async def _gone(self, key: str) -> Done:
        await self._bmcs.forget(key)
        return Done()

    async def _one(self, row: Row, claim: Claim) -> Done | Wait:
        if row["provision_state"] in UNMANAGED and not row["wanted"]:
            return Done()
        try:
            seen = await self._ask(row)
        except (Unavailable, DeviceFailed) as error:
            return await self._unanswered(row, claim, error)
        return await self._walk(row, seen)

    async def _ask(self, row: Row) -> BmcSeen:
        """Carry out what the API asked of the BMC, then see what is there."""
        bmc = self._bmcs.of(row)
        if refused := node_plan.unknown(row):
            raise DeviceFailed(refused)
        for desired in node_plan.desired(row):
            await bmc.apply(desired)
        return await bmc.read()

    async def _unanswered(self, row: Row, claim: Claim, error: Unavailable | DeviceFailed) -> Done | Wait:
        """Wait for a BMC that may come back; then, or if it refuses, say so in the row."""
        if isinstance(error, Unavailable) and claim.attempts < ATTEMPTS:
            return Wait(min(2.0**claim.attempts, 10.0), error.message)
        if row["wanted"]:
            why = error.message
            await self._write(row, {"wanted": {}, "target_power_state": None, "last_error": why}, why, error=True)
            return Done(1.0)
        if possible(row["provision_state"], "fail"):
            verb = "verify the BMC" if row["provision_state"] == "verifying" else "go on"
            await self._move(
                row, "fail", {}, f"Failed to {verb} of node {row['id']}. Error: {error.message}", error=True
            )
            return Done()
        return Wait(node_plan.POLL, error.message)

    async def _walk(self, row: Row, seen: BmcSeen) -> Done | Wait:
        """One step after another, as long as the state asks for one."""
        changes = node_plan.seen(row, seen)
        if row["wanted"]:
            changes |= {"wanted": {}, "target_power_state": None}
        text = ""
        if changes.get("power_state") and row["power_state"] and not row["wanted"]:
            text = f"The machine was found in state {changes['power_state']}"
        behind = row["observed_generation"] != row["generation"]
        now: Row | None = await self._write(row, changes, text) if changes or behind else row
        while now is not None and (step := node_plan.step(now)) is not None:
            now = await self._take(now, step)
        if now is None:
            return Done(0.1)
        return Done(None if now["provision_state"] in UNMANAGED else node_plan.POLL)

    async def _take(self, row: Row, step: node_plan.Step) -> Row | None:
        if step.refused:
            return await self._move(row, "fail", {}, step.refused, error=True)
        started = time.monotonic()
        changes: Row = dict(step.changes)
        try:
            bmc = self._bmcs.of(row)
            if step.desired is not None:
                changes |= node_plan.seen(row, await bmc.apply(step.desired))
            if step.identity:
                await self._inventory(row, await bmc.read(identity=True))
        except (Unavailable, DeviceFailed) as error:
            return await self._move(row, "fail", {}, f"{error.message}", error=True)
        if row["provision_state"] == "inspecting":
            changes["inspection_finished_at"] = clock.now()
        text = f"{row['provision_state']} ended"
        return await self._move(row, step.event, changes, text, duration=time.monotonic() - started)

    async def _inventory(self, row: Row, seen: BmcSeen) -> None:
        who = seen.identity
        vendor = {"manufacturer": who.vendor, "product_name": who.model, "serial_number": who.serial} if who else {}
        found = {
            "system_vendor": vendor, "boot": {"current_boot_mode": seen.boot_mode.value if seen.boot_mode else None},
            "interfaces": [{"mac_address": mac} for mac in who.macs] if who else [],
        }  # fmt: skip

        async def work(tx: Tx) -> None:
            await INVENTORY.delete(tx, {"node_id": row["id"]})
            await INVENTORY.insert(tx, {"node_id": row["id"], "inventory": found, "plugin_data": {}})

        await self._db.write(work)

    async def _move(
        self, row: Row, event: str, changes: Row, text: str, *, error: bool = False, duration: float | None = None
    ) -> Row | None:
        """The Node's next state by an event, and what else changes with it."""
        target = row["target_provision_state"] if event in ("fail", "wait") else None
        place = advance(row["provision_state"], event, target)
        moved: Row = changes | {
            "provision_state": place.state, "target_provision_state": place.target,
            "provision_updated_at": clock.now(), "last_error": text if error else None,
        }  # fmt: skip
        if place.state in STABLE:
            kept = row["driver_internal_info"]
            moved["driver_internal_info"] = {k: v for k, v in kept.items() if not k.startswith("agent_")}
        return await self._write(row, moved, text, error=error, duration=duration)

    async def _write(
        self, row: Row, changes: Row, text: str, *, error: bool = False, duration: float | None = None
    ) -> Row | None:
        """Store what was seen or done, if the Node is still where it was; None when somebody else moved it."""

        async def work(tx: Tx) -> Row | None:
            # A ramdisk's token and address end with the work that it was started for.
            ended = {"agent_token": None} if changes.get("provision_state") in STABLE else {}
            changed = sealed(self._secrets, row, dict(changes), **ended) | {
                "observed_generation": row["generation"], "updated_at": clock.now(),
            }  # fmt: skip
            same = {"id": row["id"], "generation": row["generation"], "provision_state": row["provision_state"]}
            if not await NODE.update(tx, same, changed):
                return None
            if changes.get("instance_id", "") is None:
                await _released(tx, row["id"])
            if text:
                await record(tx, row | changed, text, error=error, duration=duration)
            return row | changed

        return await self._db.write(work)


async def _released(tx: Tx, key: str) -> None:
    """What a Node was given for its tenant ends with the tenant: the allocation, and the Nics' VIFs."""
    await tx.execute("DELETE FROM node_allocation WHERE node_id = :id", {"id": key})
    for table in ("nic", "nic_group"):
        await tx.execute(f"UPDATE {table} SET vif = NULL WHERE node_id = :id", {"id": key})


class NodePart:
    """A part of the process (see app.py)."""

    def __init__(self, cloud: Cloud) -> None:
        if not cloud.has(Secrets):
            cloud.provide(Secrets, Secrets(cloud.config.state))
        self._bmcs = Bmcs(cloud.use(Secrets))
        self.reconcilers: Sequence[Reconciler] = (NodeReconciler(cloud, self._bmcs, cloud.use(Secrets)),)

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        await self._bmcs.close()
