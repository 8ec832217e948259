"""What of the network goes with its project: what this service made for it, and what others let it use.

Networks, ports and the like stay, as in the real services: an administrator finds them by `project_id`.
"""

from hagane.network import log_row, quota, rbac
from hagane.network.security_group_row import GROUP, remove_rules
from hagane.state import work
from hagane.state.database import Tx


async def deleted(tx: Tx, project_id: str) -> None:
    """Remove the default security group, unless somebody uses it, the project's limits, and grants to it."""
    for group in await GROUP.select(tx, {"project_id": project_id, "is_default": True}):
        await _remove_unused(tx, group["id"], project_id)
    for grant in await rbac.RBAC.select(tx, {"target_project": project_id}):
        await rbac.revoke(tx, id=grant["id"])
    await quota.QUOTA.update(tx, {"project_id": project_id}, {"hard": None})
    await quota.QUOTA.delete(tx, {"project_id": project_id, "used": 0})


async def _remove_unused(tx: Tx, group_id: str, project_id: str) -> None:
    sql = """SELECT 1 FROM port_security_group WHERE security_group_id = :id UNION ALL
    SELECT 1 FROM security_group_rule WHERE remote_group_id = :id AND security_group_id != :id LIMIT 1"""
    if await tx.fetch_tuples(sql, {"id": group_id}):
        return
    await remove_rules(tx, group_id)
    await GROUP.delete(tx, {"id": group_id})
    await rbac.forget(tx, "security_group", group_id)
    await log_row.group_gone(tx, group_id)
    await quota.charge(tx, project_id, "security_group", -1)
    await work.wake(tx, "security_group", group_id)
