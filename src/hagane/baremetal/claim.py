"""Nodes for whoever orders a machine without naming one: finding, taking and giving back. Allocations and Servers do
it by these functions, so that no Node is ever given twice.

    free ─▶ fitting ─▶ take (its row says for whom; only if it is still free) ─▶ ... ─▶ let_go

Transactions are serializable, and `take` changes only a row that is still free: of two that race for a Node, one gets
it and the other looks again.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from hagane.baremetal import san_target
from hagane.baremetal.nic import Nics
from hagane.baremetal.nic_group import NicGroups
from hagane.baremetal.node import NODE
from hagane.state import clock
from hagane.state.database import Row, Tx
from hagane.state.table import Sql

FREE: Row = {"provision_state": "available", "instance_id": None, "allocation_id": None, "maintenance": False}
"""The columns of a Node that may be given away."""


def custom(resource_class: str) -> str:
    """A Node's resource class in placement's alphabet: "bm.small" is CUSTOM_BM_SMALL."""
    return "CUSTOM_" + re.sub(r"[^A-Z0-9_]", "_", resource_class.upper())


async def free(tx: Tx, *, conditions: Sequence[Sql] = (), columns: tuple[str, ...] = (), **where: Any) -> list[Row]:
    """Free Nodes, the longest available first: one that has just failed and been cleaned comes last. `columns`: with no
    others than these."""
    order = "COALESCE(provision_updated_at, created_at), created_at, id"
    return await NODE.select(tx, FREE | where, conditions=conditions, order=order, columns=columns)


def fitting(nodes: Iterable[Row], required: Iterable[str], forbidden: Iterable[str] = ()) -> list[Row]:
    """Those with all of the required traits and none of the forbidden ones."""
    wanted, unwanted = set(required), set(forbidden)
    return [node for node in nodes if wanted <= (had := set(node["traits"] or ())) and not unwanted & had]


async def classes(tx: Tx, wanted: Collection[str]) -> list[str]:
    """The resource classes of Nodes that placement calls so."""
    found = await tx.fetch_tuples("SELECT DISTINCT resource_class FROM node WHERE resource_class IS NOT NULL")
    return [name for (name,) in found if custom(name) in wanted]


async def take(tx: Tx, node: Row, changes: Row) -> Row | None:
    """Write whose a Node is now (`instance_id` and more); None when it is not free any more."""
    changes = changes | {"updated_at": clock.now(), "generation": node["generation"] + 1}
    where = FREE | {"id": node["id"], "generation": node["generation"]}
    return node | changes if await NODE.update(tx, where, changes) else None


async def let_go(tx: Tx, node_id: str) -> None:
    """What a Node was given for its tenant ends with the tenant: the allocation, the Nics' VIFs, a Server's volume."""
    await tx.execute("DELETE FROM node_allocation WHERE node_id = :id", {"id": node_id})
    for table in (Nics.table, NicGroups.table):
        await table.update(tx, {"node_id": node_id}, {"vif": None})
    await san_target.take_back(tx, node_id)


async def disown(tx: Tx, node: Row, *, written: bool) -> Row:
    """A Node is nobody's. What the deployment was told is forgotten at once if nothing of it was `written`; otherwise
    when it is undeployed."""
    changes: Row = {
        "instance_id": None, "instance_name": None, "allocation_id": None, "updated_at": clock.now(),
        "generation": node["generation"] + 1,
    }  # fmt: skip
    if not written:
        changes |= {"instance_info": {}}
    await NODE.update(tx, {"id": node["id"]}, changes)
    return node | changes
