"""Servers of both kinds: a machine on a Host (server.py), or a whole Node (server_node.py). One kind of work and one
batch; each row goes to whom it concerns."""

from collections.abc import Mapping, Sequence

from hagane.cloud import Cloud
from hagane.compute.row import KIND, SERVER
from hagane.compute.steel import is_node
from hagane.reconcile.engine import Answer
from hagane.reconcile.host_registry import Registry
from hagane.reconcile.server import ServerReconciler
from hagane.reconcile.server_node import NodeServers
from hagane.state.work import Claim


class Servers:
    """The reconciler of Servers."""

    kind, batch, parallel = KIND, 64, 4

    def __init__(self, cloud: Cloud, registry: Registry) -> None:
        self._db = cloud.db
        self._hosts, self._nodes = ServerReconciler(cloud, registry), NodeServers(cloud)

    async def stop(self) -> None:
        """End what runs beside."""
        await self._nodes.stop()

    async def reconcile(self, keys: Sequence[Claim]) -> Mapping[str, Answer]:
        rows = {row["id"]: row for row in await SERVER.select(self._db, {"id": [claim.key for claim in keys]})}
        steel = {key: row for key, row in rows.items() if is_node(row)}
        virtual = {key: row for key, row in rows.items() if key not in steel}
        answers: dict[str, Answer] = {}
        if steel:
            answers |= await self._nodes.reconcile(steel)
        if virtual:
            answers |= await self._hosts.reconcile(virtual)
        return answers
