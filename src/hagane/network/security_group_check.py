"""Which security groups a port may name."""

from collections.abc import Sequence

from hagane.network import rbac
from hagane.network.errors import error
from hagane.network.security_group_row import GROUP
from hagane.state.database import Tx


async def check_ids(tx: Tx, ids: Sequence[str], project: str | None) -> list[str]:
    """The groups that a port names, without repetitions, if its project may use them. Raises SecurityGroupNotFound,
    SecurityGroupConflict."""
    wanted = list(dict.fromkeys(ids))
    if not wanted:
        return []
    found = await GROUP.select(tx, {"id": wanted})
    known = {row["id"]: row["project_id"] for row in found}
    foreign = [group for group in wanted if group in known and known[group] != project]
    shared = await rbac.shared_with(tx, "security_group", foreign, project) if foreign else set()
    for group in wanted:
        if group not in known or (group in foreign and group not in shared):
            raise error("SecurityGroupNotFound", id=group)
    if len({row["stateful"] for row in found}) > 1:
        reason = "Cannot apply both stateful and stateless security groups on the same port at the same time"
        raise error("SecurityGroupConflict", reason=reason)
    return wanted
