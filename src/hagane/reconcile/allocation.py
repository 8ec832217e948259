"""Allocations of Nodes: each that waits for its Node gets one, or learns why there is none."""

from collections.abc import Mapping, Sequence
from functools import partial

from hagane.baremetal import allocation
from hagane.reconcile.engine import Answer, Done
from hagane.state.database import Database
from hagane.state.work import Claim


class AllocationReconciler:
    kind, batch, parallel = "allocation", 20, 1

    def __init__(self, db: Database) -> None:
        self._db = db

    async def reconcile(self, keys: Sequence[Claim]) -> Mapping[str, Answer]:
        for claim in keys:
            await self._db.write(partial(allocation.settle, key=claim.key, request_id=claim.request_id))
        return {claim.key: Done() for claim in keys}
