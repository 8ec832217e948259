"""Which network and router a project's auto-allocated topology consists of; who deletes one by hand, ends it."""

from hagane.state.database import Tx
from hagane.state.table import Column, Table

TOPOLOGY = Table(
    "auto_allocated_topology",
    (Column("project_id", key=True), Column("network_id"), Column("router_id")),
    ("network_id", "router_id"),
)


async def network_gone(tx: Tx, network_id: str) -> None:
    await TOPOLOGY.delete(tx, {"network_id": network_id})


async def router_gone(tx: Tx, router_id: str) -> None:
    await TOPOLOGY.update(tx, {"router_id": router_id}, {"router_id": None})
