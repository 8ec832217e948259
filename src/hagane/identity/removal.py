"""What goes with a project, a user, a group, a role or a domain when it is deleted. All in the deleter's transaction.

Other APIs hang on to projects too: `on_project_deleted(cloud, call)` has `call(tx, project_id)` run here, so what they
delete is gone together with the project, or not at all. The tables are named, not imported: their resources call this.
"""

from collections.abc import Awaitable, Callable, Sequence

from hagane.cloud import Cloud
from hagane.identity.base import CHANGED
from hagane.identity.revocation import revoke
from hagane.state.database import Tx

Hook = Callable[[Tx, str], Awaitable[None]]
CHUNK = 256  # ids in one statement
_CREDENTIALS_OF_ROLE = """DELETE FROM identity_application_credential WHERE EXISTS (
SELECT 1 FROM identity_assignment a WHERE a.role_id = :role AND a.kind = 'project'
AND a.actor_id = identity_application_credential.user_id
AND a.target_id = identity_application_credential.project_id)"""

_PASSED_ON = """WITH RECURSIVE down(id) AS (
  SELECT id FROM identity_trust WHERE redelegated_trust_id = :id
  UNION SELECT t.id FROM identity_trust t JOIN down ON t.redelegated_trust_id = down.id)
SELECT id FROM down"""
_OF_PROVIDERS = "provider_id IN (SELECT id FROM identity_provider WHERE domain_id = :domain)"
_OWN = (
    f"DELETE FROM identity_remote_id WHERE {_OF_PROVIDERS}",
    f"DELETE FROM identity_protocol WHERE {_OF_PROVIDERS}",
    "DELETE FROM identity_provider WHERE domain_id = :domain",
    "DELETE FROM identity_domain_option WHERE domain_id = :domain",
)


class Hooks:
    """What other APIs have asked to be called for."""

    def __init__(self) -> None:
        self.project: list[Hook] = []


def hooks(cloud: Cloud) -> Hooks:
    if not cloud.has(Hooks):
        cloud.provide(Hooks, Hooks())
    return cloud.use(Hooks)


def on_project_deleted(cloud: Cloud, call: Hook) -> None:
    """Have `call(tx, project_id)` run in the transaction that deletes a project."""
    hooks(cloud).project.append(call)


async def remove_projects(tx: Tx, asked: Hooks, ids: Sequence[str]) -> None:
    """Delete projects with their grants and credentials; their tokens end."""
    await _each(tx, "DELETE FROM identity_assignment WHERE target_id IN ({})", ids)
    await _each(tx, "DELETE FROM identity_application_credential WHERE project_id IN ({})", ids)
    await _each(tx, "DELETE FROM identity_limit WHERE project_id IN ({})", ids)
    await _each(tx, "DELETE FROM identity_limit WHERE domain_id IN ({})", ids)
    await _each(tx, "DELETE FROM identity_credential WHERE project_id IN ({})", ids)
    await _each(tx, "DELETE FROM identity_trust WHERE project_id IN ({})", ids)
    for table in ("project_endpoint", "project_endpoint_group", "request_token", "access_token"):
        await _each(tx, f"DELETE FROM identity_{table} WHERE project_id IN ({{}})", ids)
    await _each(tx, "UPDATE identity_user SET default_project_id = NULL WHERE default_project_id IN ({})", ids)
    await _each(tx, "DELETE FROM identity_project WHERE id IN ({})", ids)
    await revoke(tx, *ids, kind="project_id")
    for project_id in ids:
        for hook in asked.project:
            await hook(tx, project_id)


async def remove_users(tx: Tx, ids: Sequence[str]) -> None:
    """Delete users with memberships, grants and credentials; their tokens end."""
    await _each(tx, "DELETE FROM identity_assignment WHERE actor_id IN ({})", ids)
    for table in ("member", "application_credential", "access_rule", "credential", "request_token", "access_token",
                  "password"):  # fmt: skip
        await _each(tx, f"DELETE FROM identity_{table} WHERE user_id IN ({{}})", ids)
    for side in ("trustor", "trustee"):
        await _each(tx, f"DELETE FROM identity_trust WHERE {side}_user_id IN ({{}})", ids)
    await _each(tx, "DELETE FROM identity_user WHERE id IN ({})", ids)
    await revoke(tx, *ids)


async def remove_trusts(tx: Tx, ids: Sequence[str]) -> None:
    """Delete trusts with all that were passed on from them; their tokens end."""
    every = list(ids)
    for key in ids:
        every += [row[0] for row in await tx.fetch_tuples(_PASSED_ON, {"id": key})]
    await _each(tx, "DELETE FROM identity_trust WHERE id IN ({})", every)
    await revoke(tx, *every, kind="OS-TRUST:trust_id")


async def remove_groups(tx: Tx, ids: Sequence[str]) -> None:
    """Delete groups. Their members keep their tokens, less what the groups gave them."""
    await _each(tx, "DELETE FROM identity_assignment WHERE actor_id IN ({})", ids)
    await _each(tx, "DELETE FROM identity_member WHERE group_id IN ({})", ids)
    await _each(tx, "DELETE FROM identity_group WHERE id IN ({})", ids)
    tx.notify(CHANGED)


async def remove_roles(tx: Tx, ids: Sequence[str]) -> None:
    """Delete roles everywhere they are held or implied, and the application credentials of those who held them."""
    for role_id in ids:
        await tx.execute(_CREDENTIALS_OF_ROLE, {"role": role_id})
    await _each(tx, "DELETE FROM identity_assignment WHERE role_id IN ({})", ids)
    await _each(tx, "DELETE FROM identity_implied_role WHERE prior_id IN ({})", ids)
    await _each(tx, "DELETE FROM identity_implied_role WHERE implied_id IN ({})", ids)
    await _each(tx, "DELETE FROM identity_role WHERE id IN ({})", ids)
    tx.notify(CHANGED)


async def remove_domain(tx: Tx, asked: Hooks, domain_id: str) -> None:
    """Delete a domain with everything in it."""

    async def ids(table: str) -> list[str]:
        rows = await tx.fetch_tuples(f"SELECT id FROM {table} WHERE domain_id = :domain", {"domain": domain_id})
        return [row[0] for row in rows]

    for statement in _OWN:
        await tx.execute(statement, {"domain": domain_id})
    await remove_projects(tx, asked, [*await ids("identity_project"), domain_id])
    await remove_groups(tx, await ids("identity_group"))
    await remove_users(tx, await ids("identity_user"))
    await remove_roles(tx, await ids("identity_role"))


async def _each(tx: Tx, statement: str, ids: Sequence[str]) -> None:
    """Run a statement for ids, in parts of a few sizes only, so that few different statements need preparing."""
    for start in range(0, len(ids), CHUNK):
        part = ids[start : start + CHUNK]
        size = 1 if len(part) == 1 else CHUNK
        params = {f"id_{n}": part[min(n, len(part) - 1)] for n in range(size)}
        await tx.execute(statement.format(", ".join(f":{slot}" for slot in params)), params)
