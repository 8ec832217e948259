"""Limits per project, and what is used of them. Sums are kept as rows, so a check costs the same for any project.

A project without a limit of its own has the default. -1 means no limit.
"""

from collections.abc import Mapping
from typing import Any

from hagane.errors import QuotaExceeded
from hagane.state.database import Reader, Tx
from hagane.state.table import Column, Table

LIMIT = Table(
    "compute_limit",
    (
        Column("project_id", key=True),
        Column("user_id", key=True),  # "" for the whole project
        Column("resource", key=True),
        Column("hard_limit", "int"),
    ),
)
USAGE = Table(
    "compute_usage",
    (Column("project_id", key=True), Column("instances", "int"), Column("cores", "int"), Column("ram", "int")),
)
CLASS = "class:default"
"""In the place of a project: the limits of all projects that have none of their own (os-quota-class-sets)."""

DEFAULTS = {
    "instances": 10,
    "cores": 20,
    "ram": 51200,
    "metadata_items": 128,
    "key_pairs": 100,
    "server_groups": 10,
    "server_group_members": 10,
    "injected_files": 5,
    "injected_file_content_bytes": 10240,
    "injected_file_path_bytes": 255,
    # The network API has these; here they are shown, as the real service still does, and limit nothing.
    "fixed_ips": -1,
    "floating_ips": -1,
    "security_groups": -1,
    "security_group_rules": -1,
}
COUNTED = ("instances", "cores", "ram")

_ADD = """INSERT INTO compute_usage (project_id, instances, cores, ram) VALUES (:project, :instances, :cores, :ram)
ON CONFLICT (project_id) DO UPDATE SET instances = compute_usage.instances + :instances,
cores = compute_usage.cores + :cores, ram = compute_usage.ram + :ram"""


async def limits_of(reader: Reader, project_id: str, user_id: str = "") -> dict[str, int]:
    """All limits of a project; with a user, that user's own where there are any."""
    found = dict(DEFAULTS)
    rows = await LIMIT.select(reader, {"project_id": [CLASS, project_id], "user_id": ["", user_id]})
    for row in sorted(rows, key=lambda row: (row["project_id"] != CLASS, row["user_id"] != "")):
        found[row["resource"]] = row["hard_limit"]
    return found


async def limit_of(reader: Reader, project_id: str, resource: str) -> int:
    return (await limits_of(reader, project_id))[resource]


async def usage_of(reader: Reader, project_id: str) -> dict[str, int]:
    row = await USAGE.get(reader, project_id=project_id)
    return {name: row[name] if row else 0 for name in COUNTED}


async def add(tx: Tx, project_id: str, flavor: dict[str, Any], count: int) -> None:
    """Count `count` Servers of a flavor in, or out when it is negative."""
    values = {"instances": count, "cores": flavor["vcpus"] * count, "ram": flavor["ram"] * count}
    await tx.execute(_ADD, {"project": project_id} | values)
    if count < 0:
        await USAGE.delete(tx, {"project_id": project_id} | dict.fromkeys(COUNTED, 0))  # the project may be gone


def charged(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a Server counts: of a resize that is not confirmed, the larger of both flavors."""
    if not row["move"]:
        return dict(row["flavor"])
    old, new = row["move"]["old"]["flavor"], row["move"]["new"]["flavor"]
    return {name: max(old[name], new[name]) for name in ("vcpus", "ram")}


async def grow(tx: Tx, project_id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Count in what a flavor has more than another. Raises QuotaExceeded."""
    more = {"instances": 0, "cores": max(0, new["vcpus"] - old["vcpus"]), "ram": max(0, new["ram"] - old["ram"])}
    limits, used = await limits_of(tx, project_id), await usage_of(tx, project_id)
    if any(more[name] and 0 <= limits[name] < used[name] + more[name] for name in COUNTED):
        raise _over(limits, used, more)
    await tx.execute(_ADD, {"project": project_id} | more)


async def settle(tx: Tx, row: Mapping[str, Any], flavor: Mapping[str, Any]) -> None:
    """A resize is over: from now on the Server counts as this flavor says."""
    was = charged(row)
    less = {"instances": 0, "cores": flavor["vcpus"] - was["vcpus"], "ram": flavor["ram"] - was["ram"]}
    await tx.execute(_ADD, {"project": row["project_id"]} | less)


async def take(tx: Tx, project_id: str, flavor: dict[str, Any], least: int, most: int) -> int:
    """Count in as many Servers as fit, from `most` down to `least`; returns how many. Raises QuotaExceeded."""
    limits, used = await limits_of(tx, project_id), await usage_of(tx, project_id)
    each = {"instances": 1, "cores": flavor["vcpus"], "ram": flavor["ram"]}
    count = most
    for name in COUNTED:
        if limits[name] >= 0 and each[name]:
            count = min(count, (limits[name] - used[name]) // each[name])
    if count < least:
        raise _over(limits, used, {name: each[name] * least for name in COUNTED})
    await add(tx, project_id, flavor, count)
    return count


def _over(limits: dict[str, int], used: dict[str, int], wanted: dict[str, int]) -> QuotaExceeded:
    overs = sorted(name for name in COUNTED if 0 <= limits[name] < used[name] + wanted[name])
    words: dict[str, list[Any]] = {
        "overs": overs, "wanted": [wanted[n] for n in overs], "used": [used[n] for n in overs],
        "allowed": [limits[n] for n in overs],
    }  # fmt: skip
    said = {key: ", ".join(str(one) for one in value) for key, value in words.items()}
    return QuotaExceeded(
        f"Quota exceeded for {said['overs']}: Requested {said['wanted']}, but already used {said['used']} of"
        f" {said['allowed']} {said['overs']}"
    )
