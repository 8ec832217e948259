"""Snapshots: frozen in the backend that has their volume, and forgotten there."""

from collections.abc import Mapping, Sequence

from hagane.cloud import Cloud
from hagane.drivers.volume import base as driver
from hagane.drivers.volume.base import Absent
from hagane.reconcile.engine import Answer, Done, Failed, Outcome
from hagane.reconcile.volume import FINAL
from hagane.reconcile.volume_backends import Backends
from hagane.reconcile.volume_plan import Step, snapshot_step
from hagane.state import clock
from hagane.state.database import Row, Tx
from hagane.state.work import Claim, wake
from hagane.volume import base, end, message
from hagane.volume.row import SNAPSHOT, VOLUME


class SnapshotReconciler:
    """Moves snapshots."""

    kind, batch, parallel = base.SNAPSHOT, 32, 4

    def __init__(self, cloud: Cloud, backends: Backends) -> None:
        self._db, self._backends = cloud.db, backends

    async def reconcile(self, keys: Sequence[Claim]) -> Mapping[str, Answer]:
        rows = await SNAPSHOT.select(self._db, {"id": [claim.key for claim in keys]})
        hosts = await VOLUME.select(self._db, {"id": [r["volume_id"] for r in rows]}, columns=("id", "host"))
        host_of, by_id = {row["id"]: row["host"] for row in hosts}, {row["id"]: row for row in rows}
        answers: dict[str, Answer] = {}
        for claim in keys:
            row = by_id.get(claim.key)
            step = snapshot_step(row) if row else None
            if row and step and step.verb:
                answers[claim.key] = self._do(row, step, host_of.get(row["volume_id"]), claim)
        return answers

    async def _do(self, row: Row, step: Step, host: str | None, claim: Claim) -> Outcome:
        try:
            if step.verb == "freeze":
                await self._backends.of(host).apply(driver.Snapshot(row["id"], row["volume_id"]))
                await self._db.write(lambda tx: _frozen(tx, row))
            else:
                if host is not None:
                    await self._backends.of(host).apply(Absent("snapshot", row["id"]))
                await self._db.write(lambda tx: _thawed(tx, row))
        except FINAL as error:
            why = error.message
            await self._db.write(lambda tx: _snapshot_failed(tx, row, step, why, claim))
            return Failed(why)
        return Done()


async def _frozen(tx: Tx, row: Row) -> None:
    changes = {"status": "available", "progress": "100%", "updated_at": clock.now()}
    await SNAPSHOT.update(tx, {"id": row["id"], "status": "creating"}, changes)


async def _thawed(tx: Tx, row: Row) -> None:
    current = await SNAPSHOT.get(tx, id=row["id"])
    if current is not None and current["status"] == "deleting":
        await end.forget_snapshot(tx, current)
        await wake(tx, base.VOLUME, row["volume_id"])


async def _snapshot_failed(tx: Tx, row: Row, step: Step, why: str, claim: Claim) -> None:
    changes = {"status": step.failed, "fault": why}
    if await SNAPSHOT.update(tx, {"id": row["id"], "status": row["status"]}, changes):
        await message.tell(tx, message.SNAPSHOT, row, step.action, why, claim.request_id)
