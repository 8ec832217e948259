"""RBAC: who else may use a project's network, security group, address group, address scope or subnet pool.

A row says: `target_project` ("*" for all) may do `action` with the object. `shared` and `router:external` of a network
are such rows; setting these attributes makes or removes the row for everyone.
"""

from collections.abc import Sequence
from uuid import uuid4

from hagane.network.errors import error
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Table

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
    return row


async def revoke(tx: Tx, object_id: str, action: str, target: str = "*") -> None:
    await RBAC.delete(tx, {"object_id": object_id, "action": action, "target_project": target})


async def forget(tx: Tx, object_type: str, object_id: str) -> None:
    """Remove all rows of an object that goes."""
    await RBAC.delete(tx, {"object_type": object_type, "object_id": object_id})


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
            await revoke(tx, old["id"], SHARED)
    if "router_external" in changes and changes["router_external"] != old["router_external"]:
        if changes["router_external"]:
            await grant(tx, old["project_id"], "network", old["id"], EXTERNAL, "*")
        else:
            await _refuse_if_gateway(tx, old["id"])
            await RBAC.delete(tx, {"object_id": old["id"], "action": EXTERNAL})


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
