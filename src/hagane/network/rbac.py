"""RBAC: who else may use a project's network, security group, address group, address scope or subnet pool.

A row says: `target_project` ("*" for all) may do `action` with the object. `shared` and `router:external` of a network
are such rows; setting these attributes makes or removes the row for everyone.
"""

from collections.abc import Sequence
from uuid import uuid4

from hagane.network import quota
from hagane.network.errors import error
from hagane.state import clock, work
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Table, listed

RBAC = Table(
    "rbac_policy",
    (
        Column("id", key=True),
        Column("project_id"),
        Column("object_type"),
        Column("object_id"),
        Column("action"),
        Column("target_project"),
    ),
    ("unique object_id, action, target_project", "object_type, target_project, action", "project_id"),
)

SHARED, EXTERNAL = "access_as_shared", "access_as_external"


async def grant(tx: Tx, project: str, object_type: str, object_id: str, action: str, target: str) -> Row:
    """Store a row. Raises DuplicateRbacPolicy."""
    same = {"object_id": object_id, "action": action, "target_project": target}
    if await RBAC.get(tx, **same):
        raise error("DuplicateRbacPolicy")
    row = {"id": str(uuid4()), "project_id": project, "object_type": object_type, **same}
    await RBAC.insert(tx, row)
    await quota.charge(tx, project, "rbac_policy", limited=False)
    return row


async def revoke(tx: Tx, **where: str) -> None:
    """Remove the rows that match."""
    for row in await RBAC.select(tx, where):
        await RBAC.delete(tx, {"id": row["id"]})
        await quota.charge(tx, row["project_id"], "rbac_policy", -1)


async def forget(tx: Tx, object_type: str, object_id: str) -> None:
    """Remove all rows of an object that goes."""
    await revoke(tx, object_type=object_type, object_id=object_id)


async def shared_with(reader: Reader, object_type: str, ids: Sequence[str], project: str | None) -> set[str]:
    """Which of the objects are shared with everyone or with the project."""
    where = {
        "object_type": object_type,
        "action": SHARED,
        "object_id": list(ids),
        "target_project": ["*", project or "*"],
    }
    return {row["object_id"] for row in await RBAC.select(reader, where)}


async def network_flags(tx: Tx, row: Row, *, shared: bool, external: bool) -> None:
    """The rows of a new network."""
    if shared:
        await grant(tx, row["project_id"], "network", row["id"], SHARED, "*")
    if external:
        await grant(tx, row["project_id"], "network", row["id"], EXTERNAL, "*")


async def change_flags(tx: Tx, old: Row, changes: Row) -> None:
    """`shared` or `router:external` of a network is set. Raises InvalidSharedSetting, ExternalNetworkInUse."""
    if "shared" in changes:
        is_shared = bool(await RBAC.get(tx, object_id=old["id"], action=SHARED, target_project="*"))
        if changes["shared"] and not is_shared:
            await grant(tx, old["project_id"], "network", old["id"], SHARED, "*")
        elif is_shared and not changes["shared"]:
            await _refuse_if_used(tx, old)
            await revoke(tx, object_id=old["id"], action=SHARED, target_project="*")
    if "router_external" in changes and changes["router_external"] != old["router_external"]:
        if changes["router_external"]:
            await grant(tx, old["project_id"], "network", old["id"], EXTERNAL, "*")
        else:
            await _refuse_if_gateway(tx, old["id"])
            await revoke(tx, object_id=old["id"], action=EXTERNAL)


async def _refuse_if_used(tx: Tx, network: Row) -> None:
    """Another project that was not named by a row of its own has ports there."""
    sql = """SELECT 1 FROM port WHERE network_id = :id AND project_id NOT IN (:owner, '') AND project_id NOT IN
    (SELECT target_project FROM rbac_policy WHERE object_id = :id AND action = :action) LIMIT 1"""
    params = {"id": network["id"], "owner": network["project_id"], "action": SHARED}
    if await tx.fetch_tuples(sql, params):
        raise error("InvalidSharedSetting", name=network["name"])


async def _refuse_if_gateway(tx: Tx, network_id: str) -> None:
    sql = "SELECT 1 FROM port WHERE network_id = :id AND device_owner = 'network:router_gateway' LIMIT 1"
    if await tx.fetch_tuples(sql, {"id": network_id}):
        raise error("ExternalNetworkInUse", id=network_id)


async def follow(tx: Tx, object_type: str, object_id: str, *, adding: str = "", request_id: str | None = None) -> None:
    """A network is external as long as a row lets somebody use it as such."""
    if object_type != "network":
        return
    external = adding == EXTERNAL or bool(await RBAC.count(tx, {"object_id": object_id, "action": EXTERNAL}))
    sql = "UPDATE network SET router_external = :external WHERE id = :id AND router_external != :external"
    if await tx.execute(sql, {"id": object_id, "external": int(external)}):
        await work.wake(tx, "network", object_id, request_id=request_id)


_USERS = {
    "network": "SELECT 1 FROM port WHERE network_id = :id AND project_id {} LIMIT 1",
    "security_group": """SELECT 1 FROM port_security_group JOIN port ON port.id = port_security_group.port_id
    WHERE security_group_id = :id AND port.project_id {} LIMIT 1""",
    "address_group": "SELECT 1 FROM security_group_rule WHERE remote_address_group_id = :id AND project_id {} LIMIT 1",
    "address_scope": "SELECT 1 FROM subnetpool WHERE address_scope_id = :id AND project_id {} LIMIT 1",
    "qos_policy": """SELECT 1 FROM port WHERE qos_policy_id = :id AND project_id {0} UNION ALL
    SELECT 1 FROM network WHERE qos_policy_id = :id AND project_id {0} UNION ALL
    SELECT 1 FROM router JOIN port ON port.id = router.gateway_port_id
    WHERE port.qos_policy_id = :id AND router.project_id {0} UNION ALL
    SELECT 1 FROM floatingip WHERE qos_policy_id = :id AND project_id {0} LIMIT 1""",
    "subnetpool": "SELECT 1 FROM subnet WHERE subnetpool_id = :id AND project_id {} LIMIT 1",
}
_ROUTERS = """SELECT 1 FROM router JOIN port ON port.id = router.gateway_port_id
WHERE port.network_id = :id AND router.project_id {} LIMIT 1"""


async def refuse_in_use(tx: Tx, row: Row, *, keeping: str | None = None) -> None:
    """Raises RbacPolicyInUse while somebody uses the object by virtue of this row alone.

    `keeping` is the target that the row gets instead. As in the real service, only a network that is used as external
    is looked at with its new target; and what an owner uses needs the row for all to stay, unless it is a network.
    """
    if keeping in ("*", row["target_project"]):
        return
    where = {"object_id": row["object_id"], "action": row["action"]}
    others = {other["target_project"] for other in await RBAC.select(tx, where) if other["id"] != row["id"]}
    if row["target_project"] != "*" and "*" in others:
        return
    if row["action"] == EXTERNAL:
        await _refuse_external(tx, row, others | {keeping or ""})
        return
    kind = row["object_type"]
    owner = str(
        (await tx.fetch_tuples(f"SELECT project_id FROM {kind} WHERE id = :id", {"id": row["object_id"]}))[0][0]
    )
    if row["target_project"] == owner:
        return
    if await _used(tx, _USERS[kind], row, others | ({owner} if kind == "network" else set())):
        reason = (
            f"Unable to reconfigure sharing settings for {kind} {row['object_id']}. Multiple projects are using it."
        )
        raise error("RbacPolicyInUse", id=row["object_id"], details=reason)


async def _refuse_external(tx: Tx, row: Row, others: set[str]) -> None:
    """Routers lead out through the network, or it is the one through which everybody's do by default."""
    default = "SELECT 1 FROM network WHERE id = :id AND is_default = 1"
    if row["target_project"] == "*" and await tx.fetch_tuples(default, {"id": row["object_id"]}):
        reason = "Default external networks must be shared to everyone."
        raise error("RbacPolicyInUse", id=row["object_id"], details=reason)
    if await _used(tx, _ROUTERS, row, others):
        reason = "There are routers attached to this network that depend on this policy for access."
        raise error("RbacPolicyInUse", id=row["object_id"], details=reason)


async def _used(tx: Tx, sql: str, row: Row, others: set[str]) -> bool:
    """Whether the row's target uses the object; of a row for everyone: anybody who has no row beside it."""
    params: dict[str, str] = {"id": row["object_id"], "target": row["target_project"]}
    condition = "= :target"
    if row["target_project"] == "*":
        among = listed("other", sorted(others | {""}))
        condition = f"NOT IN {among.text}"
        params = {"id": row["object_id"], **among.params}
    return bool(await tx.fetch_tuples(sql.format(condition), params))


async def bump(tx: Tx, row: Row) -> None:
    """Who may use an object is part of it: it gets another revision."""
    sql = f"UPDATE {row['object_type']} SET generation = generation + 1, updated_at = :now WHERE id = :id"
    await tx.execute(sql, {"id": row["object_id"], "now": clock.now()})
