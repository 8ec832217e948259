"""Application credentials: a user's own secret for one project, with a part of the user's roles."""

from typing import Any

from hagane.state.database import Reader, Row
from hagane.state.table import Column, Table

APPLICATION_CREDENTIAL = Table(
    "identity_application_credential",
    (
        Column("id", key=True),
        Column("name"),
        Column("user_id"),
        Column("project_id"),
        Column("description"),
        Column("secret_hash"),
        Column("expires_at"),  # without a suffix, UTC
        Column("unrestricted", "bool"),
        Column("role_ids", "json"),
        Column("access_rule_ids", "json"),  # null: no rules, everything is allowed
    ),
    ("unique user_id, name", "project_id"),
)

ACCESS_RULE = Table(
    "identity_access_rule",
    (Column("id", key=True), Column("user_id"), Column("service"), Column("path"), Column("method")),
    ("unique user_id, service, path, method",),
)


async def access_rules_of(reader: Reader, ids: list[str] | None) -> list[Row] | None:
    """The rules of a credential in the form that is answered, in the order they were given."""
    if ids is None:
        return None
    rows: dict[str, Any] = {row["id"]: row for row in await ACCESS_RULE.select(reader, {"id": ids})} if ids else {}
    return [{name: rows[key][name] for name in ("id", "service", "path", "method")} for key in ids if key in rows]
