"""Rack gateways: each has a patch for every guarded Nic of its rack; the Ports are on one that is alive.

    connected ─▶ patches as the rows say ─▶ up
        │ connection lost for GRACE seconds, or OVN says that the chassis is dead
        ▼
      down ─▶ its Ports get another gateway of the rack that is up (requested-chassis), in the same transaction;
              its trunk is switched off, so that the switch forgets what was behind it (switch_plan.py)

Every gateway of a rack has all patches, and OVN lets only the Port's own chassis use its one: so failing over is one
change in OVN. Ports do not move back by themselves when a gateway returns: each move costs half a second.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from hagane.baremetal import plug
from hagane.baremetal import rack as racks
from hagane.cloud import Cloud
from hagane.drivers.gateway.base import Gateway, Patch
from hagane.errors import DeviceFailed, HaganeError, Invalid, Unavailable
from hagane.reconcile.engine import Answer, Done, Outcome, Wait, backoff
from hagane.reconcile.rack_drivers import Gateways
from hagane.state import clock, work
from hagane.state.database import Row, Tx
from hagane.state.work import Claim

log = logging.getLogger(__name__)
POLL = 15.0  # seconds between two looks: the connection itself tells of everything else
GRACE = 0.5  # seconds that a connection may be away (its server is restarted) before the gateway counts as dead
FIRST = 5.0  # the same, for one that has not been reached since this process began
LAST_RETRY = 5.0
_SWITCHES = "SELECT id AS key FROM switch WHERE rack_id = :rack"
Dead = Callable[[str], str]
"""Chassis -> why OVN thinks that it is dead, or ""."""


class GatewayReconciler:
    kind, batch, parallel = "rack_gateway", 64, 2

    def __init__(self, cloud: Cloud, gateways: Gateways, dead: Dead, look_at: Callable[[Iterable[str]], None]) -> None:
        self._cloud, self._db, self._gateways = cloud, cloud.db, gateways
        self._dead, self._look_at = dead, look_at
        self._reached: set[str] = set()

    async def reconcile(self, keys: Sequence[Claim]) -> Mapping[str, Answer]:
        return {claim.key: self._one(claim) for claim in keys}

    async def _one(self, claim: Claim) -> Outcome:
        row = await racks.GATEWAY.get(self._db, id=claim.key)
        if row is None:
            await self._gateways.forget(claim.key)
            return Done()
        try:
            driver = await self._gateways.of(row)
            silent = self._gateways.silent(row["id"], driver)
            patience = GRACE if row["id"] in self._reached else FIRST
            if 0.0 < silent < patience:
                why = driver.reason or "connecting"
                return Wait(patience - silent, f"Gateway {row['name']} does not answer: {why}.")
            return await self._bring(row, driver)
        except (Unavailable, DeviceFailed, Invalid) as error:
            return await self._failed(row, claim, error)

    async def _bring(self, row: Row, driver: Gateway) -> Outcome:
        if not driver.connected:
            raise Unavailable(f"Gateway {row['name']} does not answer: {driver.reason or 'no connection'}.")
        self._reached.add(row["id"])
        if driver.chassis != row["name"]:
            raise DeviceFailed(f"The gateway at {row['ovsdb']} is chassis {driver.chassis!r}, not {row['name']!r}.")
        carried = await racks.guarded_on(self._db, row["rack_id"])
        changed = await driver.apply({owner: Patch(vlan, port_id) for owner, (vlan, port_id) in carried.items()})
        if changed:
            log.info("gateway %s: %d changes of patches", row["name"], changed)
        # A Port that went and came before OVN took notice is up without a word from OVN.
        self._look_at(port_id for _, port_id in carried.values())
        if reason := self._dead(row["name"]):
            raise Unavailable(reason)
        await self._write(row, racks.UP, "")
        return Done(POLL)

    async def _failed(self, row: Row, claim: Claim, error: HaganeError) -> Wait:
        await self._write(row, racks.DOWN, error.message)
        return Wait(min(LAST_RETRY, backoff(claim.attempts)), error.message)

    async def _write(self, row: Row, state: str, reason: str) -> None:
        """Note how it is; when it goes down, or comes up where none was, its rack's Ports go where somebody is up."""

        async def write(tx: Tx) -> int:
            seen = {"seen_at": clock.now()} if state == racks.UP else {}
            await racks.GATEWAY.update(tx, {"id": row["id"]}, {"state": state, "reason": reason, **seen})
            rack = await racks.RACK.get(tx, id=row["rack_id"])
            rows = await racks.gateways_of(tx, [row["rack_id"]])
            await work.wake_all(tx, "switch", _SWITCHES, {"rack": row["rack_id"]})  # dead gateways' trunks go off
            return await plug.move(tx, self._cloud, rack, rows) if rack is not None else 0

        if row["state"] == state and row["reason"] == reason:
            return
        moved = await self._db.write(write)
        level = logging.INFO if state == racks.UP else logging.WARNING
        log.log(level, "gateway %s is %s%s", row["name"], state, f": {reason}" if reason else "")
        if moved:
            log.warning("%d Ports went to other gateways of the rack", moved)
