"""Chassis that are taken out of OVN: those that an administrator deleted as agents, as their machines do not come back.

ovn-controller takes its chassis away when it ends in good order; of a machine that died it stays, and everything that
looks for chassis finds it. Only one that is dead still is taken out; one that came back is an agent as before.
"""

from collections.abc import Sequence

from hagane.errors import HaganeError
from hagane.network.agent import AGENT
from hagane.reconcile.engine import Done, Outcome, Wait, backoff
from hagane.reconcile.ovn.engine import Ovn
from hagane.state.database import Database, Tx
from hagane.state.work import Claim


class ChassisReconciler:
    """Kind "chassis": the key is a chassis' name."""

    kind = "chassis"
    batch = parallel = 1

    def __init__(self, db: Database, ovn: Ovn) -> None:
        self._db, self._ovn = db, ovn

    async def reconcile(self, keys: Sequence[Claim]) -> dict[str, Outcome]:
        return {claim.key: await self._one(claim) for claim in keys}

    async def _one(self, claim: Claim) -> Outcome:
        rows = await AGENT.select(self._db, {"chassis": claim.key, "removed": True})
        if not rows:
            return Done()
        if not self._ovn.readable:
            return Wait(1.0, "OVN's Southbound database is not connected.")
        seen = next((each for each in self._ovn.chassis() if each.name == claim.key), None)
        alive = seen is not None and seen.alive
        if seen is not None and not alive:
            try:
                await self._ovn.forget_chassis(claim.key)
            except HaganeError as error:
                return Wait(backoff(claim.attempts), f"{error.message} {error.detail}".strip())

        async def write(tx: Tx) -> None:
            await AGENT.delete(tx, {"id": rows[0]["id"]})
            if alive and rows[0]["description"]:
                await AGENT.insert(tx, rows[0] | {"removed": False})

        await self._db.write(write)
        return Done()
