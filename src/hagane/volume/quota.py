"""Limits per project and what is used of them. Sums are rows, changed in the transaction that makes or ends a thing.

Besides the totals each volume type has limits of its own (`gigabytes_<type>`), without limit unless somebody sets one.
The order in which a project's own limit, the default class and the built-in number count is: first found.
"""

from collections.abc import Mapping

from hagane.state.database import Reader, Tx
from hagane.state.table import Column, Op, Table
from hagane.volume.base import over

LIMIT = Table(
    "volume_limit",
    (Column("project_id", key=True), Column("resource", key=True), Column("hard_limit", "int")),
)
USAGE = Table(
    "volume_usage",
    (Column("project_id", key=True), Column("resource", key=True), Column("in_use", "int")),
)
CLASS = "class:default"
"""In the place of a project: the limits of all projects that have none of their own (os-quota-class-sets)."""

DEFAULTS = {
    "volumes": 10,
    "snapshots": 10,
    "gigabytes": 1000,
    "backups": 10,
    "backup_gigabytes": 1000,
    "per_volume_gigabytes": -1,
    "groups": 10,
}
PER_TYPE = ("volumes", "gigabytes", "snapshots")

_ADD = """INSERT INTO volume_usage (project_id, resource, in_use) VALUES {rows}
ON CONFLICT (project_id, resource) DO UPDATE SET in_use = volume_usage.in_use + excluded.in_use"""


async def limits_of(reader: Reader, project_id: str, type_names: list[str] | None = None) -> dict[str, int]:
    """All limits of a project; with the types' own where their names are given."""
    found = dict(DEFAULTS)
    for name in type_names or ():
        found |= {f"{resource}_{name}": -1 for resource in PER_TYPE}
    rows = await LIMIT.select(reader, {"project_id": [CLASS, project_id]})
    for row in sorted(rows, key=lambda row: row["project_id"] != CLASS):
        if type_names is None or row["resource"] in found:
            found[row["resource"]] = row["hard_limit"]
    return found


async def usage_of(reader: Reader, project_id: str) -> dict[str, int]:
    rows = await USAGE.select(reader, {"project_id": project_id})
    return {row["resource"]: row["in_use"] for row in rows}


def with_type(changes: Mapping[str, int], type_name: str) -> dict[str, int]:
    """The same changes counted for the type as well."""
    return dict(changes) | {f"{name}_{type_name}": more for name, more in changes.items() if name in PER_TYPE}


async def add(tx: Tx, project_id: str, changes: Mapping[str, int]) -> None:
    """Count in, or out where negative. Rows that come to nothing go: the project may be gone."""
    changes = {resource: more for resource, more in changes.items() if more}
    if not changes:
        return
    params: dict[str, str | int] = {"project": project_id}
    for number, (resource, more) in enumerate(changes.items()):
        params |= {f"resource_{number}": resource, f"more_{number}": more}
    rows = ", ".join(f"(:project, :resource_{number}, :more_{number})" for number in range(len(changes)))
    await tx.execute(_ADD.format(rows=rows), params)
    if any(more < 0 for more in changes.values()):
        await USAGE.delete(tx, {"project_id": project_id, "resource": list(changes), "in_use": Op("<=", 0)})


async def take(tx: Tx, project_id: str, changes: Mapping[str, int], what: str, *, size: int = 0) -> None:
    """Count in what a new thing (`what`: volumes, snapshots, backups, groups) needs; `size` is that of a single volume,
    which has a limit of its own. Raises TooLarge in the service's words."""
    limits, used = await limits_of(tx, project_id), await usage_of(tx, project_id)
    if 0 <= limits["per_volume_gigabytes"] < size:
        text = f"Requested volume size {size}G is larger than maximum allowed limit {limits['per_volume_gigabytes']}G."
        raise over("VolumeSizeExceedsLimit", text)
    for resource in sorted(changes, key=lambda name: ("gigabytes" not in name, name)):
        limit, more = limits.get(resource, -1), changes[resource]
        if limit >= 0 and more > 0 and used.get(resource, 0) + more > limit:
            raise _refusal(what, resource, limit, used.get(resource, 0), more)
    await add(tx, project_id, changes)


def _refusal(what: str, resource: str, limit: int, used: int, more: int) -> Exception:
    if resource == "backup_gigabytes":
        return over(
            "VolumeBackupSizeExceedsAvailableQuota",
            f"Requested backup exceeds allowed Backup gigabytes quota. Requested {more}G, quota is {limit}G and"
            f" {used}G has been consumed.",
        )
    if "gigabytes" in resource:
        return over(
            "VolumeSizeExceedsAvailableQuota",
            f"Requested volume or snapshot exceeds allowed {resource} quota. Requested {more}G, quota is {limit}G and"
            f" {used}G has been consumed.",
        )
    if what == "volumes":
        text = f"Maximum number of volumes allowed ({limit}) exceeded for quota '{resource}'."
        return over("VolumeLimitExceeded", text)
    name = {"snapshots": "SnapshotLimitExceeded", "backups": "BackupLimitExceeded", "groups": "GroupLimitExceeded"}[
        what
    ]
    return over(name, f"Maximum number of {what} allowed ({limit}) exceeded")
