"""Walks along the tree of projects, each one statement: what is above, what is below, what a user may enter."""

from hagane.state.database import Reader

_ABOVE = """WITH RECURSIVE up(id, parent_id, depth) AS (
  SELECT id, parent_id, 0 FROM identity_project WHERE id = :id
  UNION ALL SELECT p.id, p.parent_id, up.depth + 1 FROM identity_project p JOIN up ON p.id = up.parent_id)
SELECT id FROM up WHERE depth > 0 ORDER BY depth"""
_BELOW = """WITH RECURSIVE down(id, depth) AS (
  SELECT id, 0 FROM identity_project WHERE id = :id
  UNION ALL SELECT p.id, down.depth + 1 FROM identity_project p JOIN down ON p.parent_id = down.id)
SELECT id FROM down WHERE depth > 0 ORDER BY depth"""
_GIVEN = """given(target_id, kind, inherited) AS (
  SELECT target_id, kind, inherited FROM identity_assignment WHERE kind <> 'system' AND actor_id IN (
    SELECT CAST(:user AS TEXT) UNION SELECT m.group_id FROM identity_member m WHERE m.user_id = :user))"""
_PROJECTS = f"""WITH RECURSIVE {_GIVEN},
down(id) AS (
  SELECT p.id FROM identity_project p JOIN given ON p.parent_id = given.target_id WHERE given.inherited = 1
  UNION SELECT p.id FROM identity_project p JOIN down ON p.parent_id = down.id)
SELECT target_id FROM given WHERE inherited = 0 AND kind = 'project' UNION SELECT id FROM down"""
_DOMAINS = f"WITH {_GIVEN} SELECT DISTINCT target_id FROM given WHERE inherited = 0 AND kind = 'domain'"


async def above(reader: Reader, project_id: str) -> list[str]:
    """Ids of what a project lies in, nearest first; the last is its domain."""
    return [row[0] for row in await reader.fetch_tuples(_ABOVE, {"id": project_id})]


async def below(reader: Reader, project_id: str) -> list[str]:
    """Ids of all projects in a project or domain, nearest first."""
    return [row[0] for row in await reader.fetch_tuples(_BELOW, {"id": project_id})]


async def projects_of(reader: Reader, user_id: str) -> set[str]:
    """Ids of the projects that a user has a role on: own, inherited, or by a group."""
    return {row[0] for row in await reader.fetch_tuples(_PROJECTS, {"user": user_id})}


async def domains_of(reader: Reader, user_id: str) -> set[str]:
    """Ids of the domains that a user has a role on, own or by a group."""
    return {row[0] for row in await reader.fetch_tuples(_DOMAINS, {"user": user_id})}
