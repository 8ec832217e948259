"""What is remembered of Servers that are gone: their events, for a week; then nothing."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from hagane.cloud import Cloud
from hagane.compute.row import KIND as SERVER_KIND
from hagane.reconcile.engine import Answer, Done
from hagane.state.database import Tx
from hagane.state.work import Claim

KIND = "history"
KEPT = timedelta(days=7)
EVERY = 3600.0  # seconds

_FORGET = """DELETE FROM event WHERE kind = :kind AND started_at < :before
AND key NOT IN (SELECT id FROM server)"""


class HistoryReconciler:
    """One key, which comes up every hour."""

    kind, batch, parallel = KIND, 1, 1

    def __init__(self, cloud: Cloud) -> None:
        self._db = cloud.db

    async def reconcile(self, keys: Sequence[Claim]) -> Mapping[str, Answer]:
        before = (datetime.now(UTC).replace(tzinfo=None) - KEPT).isoformat(timespec="microseconds")

        async def work(tx: Tx) -> int:
            return await tx.execute(_FORGET, {"kind": SERVER_KIND, "before": before})

        await self._db.write(work)
        return {claim.key: Done(again=EVERY) for claim in keys}
