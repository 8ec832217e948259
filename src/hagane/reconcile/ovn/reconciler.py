"""Reconcilers of the network: a batch of keys is read, compiled and applied as one OVN transaction.

Each kind of row (network, port, router, floatingip, security_group) is one reconciler; all share this code. A row that
is gone compiles to nothing, so what it owned in OVN is removed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from hagane.errors import Conflict, HaganeError, Unavailable
from hagane.ovn.desired import Desired
from hagane.reconcile.engine import Done, Outcome, Wait, backoff
from hagane.reconcile.ovn.engine import Ovn
from hagane.state.work import Claim

Compile = Callable[[Sequence[str]], Awaitable[dict[str, list[Desired]]]]
"""Keys -> the rows that each shall own; a key whose row is gone has none."""

SOON = 0.1  # seconds until another try when a row that this one refers to is not in OVN yet


class OvnReconciler:
    """Brings the rows of one kind to OVN."""

    batch = 64
    parallel = 3

    def __init__(self, kind: str, ovn: Ovn, compile_rows: Compile) -> None:
        self.kind = kind
        self._ovn, self._compile = ovn, compile_rows

    async def reconcile(self, keys: Sequence[Claim]) -> dict[str, Outcome]:
        if not self._ovn.ready.is_set():
            return {claim.key: Wait(1.0, "OVN's Northbound database is not connected.") for claim in keys}
        wanted = await self._compile([claim.key for claim in keys])
        await asyncio.sleep(0)  # reading and compiling take milliseconds, planning again
        try:
            await self._apply(wanted, [claim.key for claim in keys])
        except HaganeError as error:
            if len(keys) == 1:
                return {keys[0].key: self._later(keys[0], error)}
            return await self._one_by_one(keys, wanted)
        return {claim.key: Done() for claim in keys}

    async def _apply(self, wanted: dict[str, list[Desired]], keys: Sequence[str]) -> None:
        rows = [row for key in keys for row in wanted.get(key, ())]
        await self._ovn.apply(rows, [f"{self.kind}:{key}" for key in keys])

    async def _one_by_one(self, keys: Sequence[Claim], wanted: dict[str, list[Desired]]) -> dict[str, Outcome]:
        """One bad row must not hold up the others."""
        outcomes: dict[str, Outcome] = {}
        for claim in keys:
            try:
                await self._apply(wanted, [claim.key])
                outcomes[claim.key] = Done()
            except HaganeError as error:
                outcomes[claim.key] = self._later(claim, error)
        return outcomes

    def _later(self, claim: Claim, error: HaganeError) -> Wait:
        """A row that refers to another may simply be earlier than that one."""
        if isinstance(error, Conflict) and claim.attempts < 20:
            return Wait(SOON, error.message)
        if isinstance(error, Unavailable):
            return Wait(min(2.0, backoff(claim.attempts)), error.message)
        return Wait(backoff(claim.attempts), f"{error.message} {error.detail}".strip())

    async def differing(self, keys: Sequence[str]) -> list[str]:
        """Of these keys, those whose rows in OVN are not as they should be; for the full pass and for `doctor`."""
        wanted = await self._compile(keys)
        found = []
        for key in keys:
            try:
                if self._ovn.differs(wanted.get(key, []), [f"{self.kind}:{key}"]):
                    found.append(key)
            except Conflict:
                found.append(key)
        return found
