"""Tags: kept in the row for its answer, and in a table of their own for the filters `tags`, `tags-any` and so on."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from hagane.network.errors import invalid
from hagane.state.database import Tx
from hagane.state.table import Column, Table

TAG = Table(
    "network_tag", (Column("resource_id", key=True), Column("tag", key=True), Column("resource")), ("tag, resource_id",)
)

MOST, LENGTH = 50, 255


async def store(tx: Tx, resource: str, resource_id: str, tags: Sequence[str]) -> None:
    """Replace all tags of a resource in the table; the caller writes the row's own copy."""
    await forget(tx, resource_id)
    for name in tags:
        await TAG.insert(tx, {"resource_id": resource_id, "tag": name, "resource": resource})


async def forget(tx: Tx, resource_id: str) -> None:
    await TAG.delete(tx, {"resource_id": resource_id})


def check(name: Any) -> str:
    if not isinstance(name, str):
        raise invalid(f"'{name}' is not a valid string")
    if len(name) > LENGTH:
        raise invalid(f"'{name}' exceeds maximum length of {LENGTH}")
    return name


def of_body(body: Any) -> list[str]:
    """The tags of a body. Raises InvalidInput."""
    if not isinstance(body, dict) or "tags" not in body:
        raise invalid("Invalid tags body")
    return check_all(body["tags"])


def check_all(value: Any) -> list[str]:
    """A list of distinct tags. Raises InvalidInput."""
    if not isinstance(value, list):
        raise invalid(f"'{value}' is not a list")
    for name in value:
        check(name)
    if len(set(value)) < len(value):
        double = sorted(name for name, count in Counter(value).items() if count > 1)
        raise invalid(f"Duplicate items in the list: '{', '.join(double)}'")
    return value
