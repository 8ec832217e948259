"""Role assignments: who holds which role on what, and what follows from it.

    held on the project      \
    inherited from above      ├─▶ roles, and all that they imply ─▶ without domain roles: what a token shows
    through any of the groups/

The whole of that is one statement, since every token that is not cached asks for it.
"""

from typing import Literal

from hagane.state.database import Reader
from hagane.state.table import Column, Table

Kind = Literal["project", "domain", "system"]
SYSTEM = "system"
"""The target_id of assignments on the system."""

ASSIGNMENT = Table(
    "identity_assignment",
    (
        Column("actor_id", key=True),
        Column("kind", key=True),
        Column("target_id", key=True),
        Column("role_id", key=True),
        Column("inherited", "bool", key=True),  # it holds below the target, not on it
        Column("actor_kind"),  # user or group
    ),
    ("target_id", "role_id"),
)

_HELD = """WITH RECURSIVE up(id, parent_id) AS (
  SELECT above.id, above.parent_id FROM identity_project own JOIN identity_project above ON above.id = own.parent_id
  WHERE own.id = :target
  UNION SELECT p.id, p.parent_id FROM identity_project p JOIN up ON p.id = up.parent_id),
held(id) AS (
  SELECT a.role_id FROM identity_assignment a
  WHERE a.actor_id IN (
    SELECT CAST(:user AS TEXT) UNION SELECT m.group_id FROM identity_member m WHERE m.user_id = :user)
  AND ((a.inherited = 0 AND a.kind = CAST(:kind AS TEXT) AND a.target_id = :target)
    OR (a.inherited = 1 AND CAST(:kind AS TEXT) = 'project' AND a.target_id IN (SELECT up.id FROM up)))
  UNION SELECT i.implied_id FROM identity_implied_role i JOIN held ON i.prior_id = held.id)
SELECT r.id, r.name, r.domain_id FROM identity_role r JOIN held ON held.id = r.id ORDER BY r.name"""


async def roles_of(reader: Reader, user_id: str, kind: Kind, target_id: str) -> list[tuple[str, str]]:
    """(id, name) of the roles that a user has there, implied and inherited ones included, by own and group grants."""
    rows = await reader.fetch_tuples(_HELD, {"user": user_id, "kind": kind, "target": target_id})
    return [(row[0], row[1]) for row in rows if not row[2]]


async def role_ids_of(reader: Reader, user_id: str, project_id: str) -> set[str]:
    """Ids of the same roles on a project, with those of domains, which no token shows."""
    params = {"user": user_id, "kind": "project", "target": project_id}
    return {row[0] for row in await reader.fetch_tuples(_HELD, params)}
