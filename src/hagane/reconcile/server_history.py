"""What is remembered of Servers that are gone: their events, for a week, and what they used, for a year."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from hagane.cloud import Cloud
from hagane.compute.row import KIND as SERVER_KIND
from hagane.reconcile.engine import Answer, Done
from hagane.state.database import Tx
from hagane.state.work import Claim

KIND = "history"
KEPT = timedelta(days=7)
USAGE_KEPT = timedelta(days=400)  # who asks for a year's usage gets it
EVERY = 3600.0  # seconds

_FORGET = """DELETE FROM event WHERE kind = :kind AND started_at < :before
AND key NOT IN (SELECT id FROM server)"""


class HistoryReconciler:
    """One key, which comes up every hour."""

    kind, batch, parallel = KIND, 1, 1

    def __init__(self, cloud: Cloud) -> None:
        self._db = cloud.db

    async def reconcile(self, keys: Sequence[Claim]) -> Mapping[str, Answer]:
        now = datetime.now(UTC).replace(tzinfo=None)
        before, long_ago = ((now - kept).isoformat(timespec="microseconds") for kept in (KEPT, USAGE_KEPT))

        async def work(tx: Tx) -> None:
            await tx.execute(_FORGET, {"kind": SERVER_KIND, "before": before})
            await tx.execute("DELETE FROM server_past WHERE ended_at < :before", {"before": long_ago})

        await self._db.write(work)
        return {claim.key: Done(again=EVERY) for claim in keys}
