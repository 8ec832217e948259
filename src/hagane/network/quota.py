"""Quotas: one row per project and resource with its limit and what is used, counted in the transaction that uses it.

Counting rows would cost more the more there are; the counter costs the same always, and the transaction's isolation
makes it exact: of fifty clients that race for the last place, one gets it.

What an operator gives to all projects that have no limits of their own (`network_quota` in hagane.toml) are rows, too:
those of no project.
"""

from collections.abc import Mapping

from hagane.errors import Invalid
from hagane.network.errors import error
from hagane.state.database import Reader, Tx
from hagane.state.table import Column, Sql, Table

QUOTA = Table(
    "network_quota",
    (Column("project_id", key=True), Column("resource", key=True), Column("hard", "int"), Column("used", "int")),
)
"""`hard` is NULL while the project has the default limit; -1 is no limit."""

DEFAULTS = {
    "network": 100, "subnet": 100, "port": 500, "router": 10, "floatingip": 50, "security_group": 10,
    "security_group_rule": 100, "subnetpool": -1, "rbac_policy": 10, "trunk": -1,
}  # fmt: skip

SET = Sql("network_quota.hard IS NOT NULL AND network_quota.project_id != ''")
_LIMIT = """INSERT INTO network_quota (project_id, resource, hard, used) VALUES (:project, :resource, :hard, 0)
ON CONFLICT (project_id, resource) DO UPDATE SET hard = :hard"""
_CHARGE = """INSERT INTO network_quota (project_id, resource, hard, used) VALUES (:project, :resource, NULL, :count)
ON CONFLICT (project_id, resource) DO UPDATE SET used = network_quota.used + :count RETURNING hard, used,
(SELECT own.hard FROM network_quota own WHERE own.project_id = '' AND own.resource = :resource)"""


async def charge(tx: Tx, project: str | None, resource: str, count: int = 1, *, limited: bool = True) -> None:
    """Count `count` more (or, negative, fewer) of a project's resources. Raises OverQuota if `limited`.

    What belongs to no project (addresses of routers and floating IPs) is not counted.
    """
    if not project:
        return
    params = {"project": project, "resource": resource, "count": count}
    hard, used, default = (await tx.fetch_tuples(_CHARGE, params))[0]
    if hard is None and not used:
        await QUOTA.delete(tx, {"project_id": project, "resource": resource})  # says nothing; the project may be gone
    limit = next(each for each in (hard, default, DEFAULTS[resource]) if each is not None)
    if limited and count > 0 and 0 <= limit < used:
        raise error("OverQuota", overs=[resource])


async def rows(reader: Reader, project: str) -> dict[str, tuple[int, int]]:
    """resource -> (limit, used) of a project, for all resources."""
    found = {row["resource"]: row for row in await QUOTA.select(reader, {"project_id": project})}
    return {
        name: (
            default if name not in found or found[name]["hard"] is None else found[name]["hard"],
            found[name]["used"] if name in found else 0,
        )
        for name, default in (await defaults(reader)).items()
    }


async def defaults(reader: Reader) -> dict[str, int]:
    """The limits of a project that has none of its own."""
    own = await QUOTA.select(reader, {"project_id": ""})
    return DEFAULTS | {row["resource"]: row["hard"] for row in own}


async def seed(tx: Tx, own: Mapping[str, int]) -> None:
    """Store the operator's own defaults, at each start. Raises Invalid."""
    if unknown := sorted(own.keys() - DEFAULTS.keys()):
        raise Invalid(f"network_quota: {unknown[0]!r} has no quota; what has: {', '.join(sorted(DEFAULTS))}")
    await QUOTA.delete(tx, {"project_id": ""})
    for name, limit in own.items():
        await QUOTA.insert(tx, {"project_id": "", "resource": name, "hard": limit, "used": 0})


async def set_limit(tx: Tx, project: str, resource: str, limit: int) -> None:
    """Give a project a limit of its own; -1 is none."""
    await tx.execute(_LIMIT, {"project": project, "resource": resource, "hard": limit})
