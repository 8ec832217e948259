"""Server groups: Servers that shall share a Host, or shall not."""

from typing import Any

from hagane.api.http import Request
from hagane.errors import Invalid
from hagane.state.database import Tx
from hagane.state.table import Column, Table

GROUP = Table(
    "server_group",
    (
        Column("id", key=True),
        Column("project_id"),
        Column("user_id"),
        Column("name"),
        Column("policy"),  # affinity, anti-affinity, soft-affinity, soft-anti-affinity
        Column("rules", "json"),
        Column("created_at"),
    ),
    ("project_id",),
)


async def join(request: Request, tx: Tx, hints: dict[str, Any], count: int) -> str | None:
    """The group that the hints name, if these Servers may join it. Raises Invalid."""
    hint = hints.get("group")
    group_id = hint[0] if isinstance(hint, list) and hint else hint
    if not group_id:
        return None
    group = await GROUP.get(tx, id=group_id)
    if group is None or not (request.caller.is_admin or group["project_id"] == request.caller.project_id):
        raise Invalid(f"Instance group {group_id} could not be found.")
    return str(group["id"])
