"""Tags: kept in the row for its answer, and in a table of their own for the filters `tags`, `tags-any` and so on."""

from collections.abc import Sequence

from hagane.state.database import Tx
from hagane.state.table import Column, Table

TAG = Table(
    "network_tag", (Column("resource_id", key=True), Column("tag", key=True), Column("resource")), ("tag, resource_id",)
)


async def store(tx: Tx, resource: str, resource_id: str, tags: Sequence[str]) -> None:
    """Replace all tags of a resource in the table; the caller writes the row's own copy."""
    await forget(tx, resource_id)
    for name in tags:
        await TAG.insert(tx, {"resource_id": resource_id, "tag": name, "resource": resource})


async def forget(tx: Tx, resource_id: str) -> None:
    await TAG.delete(tx, {"resource_id": resource_id})
