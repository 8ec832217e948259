"""Rows of QoS policies and their rules, and who a policy is bound to.

A policy is bound to a port, a network (and so to the machines' ports on it) or a floating IP. The compiler reads the
rules with these, so every change of a rule wakes all that the policy is bound to.
"""

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from hagane.api.resource import Attr
from hagane.api.types import BadValue
from hagane.network.attr import standard
from hagane.network.errors import error
from hagane.network.permit import shared_sql
from hagane.network.present import Made
from hagane.network.value import Checked, Flag
from hagane.state import work
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Sql, Table

ATTRS = (
    *standard(),
    Attr("shared", Flag(), write="cu", default=False, stored=False, rule=True, sort=False),
    Attr("is_default", Flag(), write="cu", default=False, sort=False),
    Attr("rules", Checked(), stored=False, filter=False, sort=False),
)
INDEXES = ("project_id, is_default",)
POLICY = Table("qos_policy", tuple(Column(a.name, a.type.column, a.key) for a in ATTRS if a.stored), INDEXES)

RULE = Table(
    "qos_rule",
    (
        Column("id", key=True),
        Column("project_id"),
        Column("policy_id"),
        Column("type"),
        Column("direction"),
        Column("max_kbps", "int"),
        Column("max_burst_kbps", "int"),
        Column("min_kbps", "int"),
        Column("dscp_mark", "int"),
    ),
    ("policy_id",),
)
"""Rules of all types: each has the columns of its own, the others are NULL."""

BANDWIDTH, DSCP, MINIMUM = "bandwidth_limit", "dscp_marking", "minimum_bandwidth"
COLUMNS = {
    BANDWIDTH: ("direction", "max_kbps", "max_burst_kbps"),
    DSCP: ("dscp_mark",),
    MINIMUM: ("direction", "min_kbps"),
}
MARKS = (0, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 44, 46, 48, 56)
"""Code points of RFC 2474, 2597 and 3246."""
MOST = 2**31 - 1


def kbps(field: str, value: Any) -> int:
    try:
        number = int(value)
    except (ValueError, TypeError, OverflowError):
        raise error("InvalidInput", reason=f"'{value}' is not an integer") from None
    if number < 0:
        raise BadValue(field, value, f"'{number}' is too small - must be at least '0'")
    if number > MOST:
        raise BadValue(field, value, f"'{number}' is too large - must be no larger than '{MOST}'")
    return number


async def rules_of(reader: Reader, policy_ids: Collection[str]) -> dict[str, list[Row]]:
    """policy -> its rules."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in await RULE.select(reader, {"policy_id": sorted(policy_ids)}, order="id") if policy_ids else []:
        found[row["policy_id"]].append(row)
    return found


def view_rule(rule: Row) -> Made:
    """A rule as it stands inside its policy's answer."""
    return {"id": rule["id"], "qos_policy_id": rule["policy_id"], "type": rule["type"]} | {
        name: rule[name] for name in COLUMNS[rule["type"]]
    }


async def default_of(reader: Reader, project: str | None) -> str | None:
    """The policy that a project's new networks get."""
    found = await POLICY.select(reader, {"project_id": project, "is_default": True}) if project else []
    return str(found[0]["id"]) if found else None


async def check(reader: Reader, policy_id: str | None, project: str | None, *, sees_all: bool) -> None:
    """Whether a caller may bind the policy. Raises QosPolicyNotFound."""
    if policy_id is not None and not await _seen(reader, policy_id, project, sees_all=sees_all):
        raise error("QosPolicyNotFound", id=policy_id)


async def _seen(reader: Reader, policy_id: str, project: str | None, *, sees_all: bool) -> bool:
    mine = Sql(f"project_id = :me OR id IN ({shared_sql('qos_policy')})", {"me": project or ""})
    return bool(await POLICY.count(reader, {"id": policy_id}, [] if sees_all else [mine]))


async def check_change(reader: Reader, old: Row, changes: Row, project: str | None, *, sees_all: bool) -> bool:
    """Whether a thing gets another policy, which its caller may bind, as it may take the old one away. Raises
    QosPolicyNotFound, PolicyRemoveAuthorizationError."""
    new, before = changes.get("qos_policy_id", old["qos_policy_id"]), old["qos_policy_id"]
    if new == before:
        return False
    await check(reader, new, project, sees_all=sees_all)
    if before is not None and not sees_all and not await _seen(reader, before, project, sees_all=False):
        raise error("PolicyRemoveAuthorizationError", id=before)
    return True


async def refuse_in_use(tx: Tx, policy_id: str) -> None:
    """Raises QosPolicyInUse."""
    for kind in ("port", "network", "floatingip"):
        sql = f"SELECT id FROM {kind} WHERE qos_policy_id = :id LIMIT 1"
        if found := await tx.fetch_tuples(sql, {"id": policy_id}):
            raise error("QosPolicyInUse", id=policy_id, object_type=kind, object_id=found[0][0])


_PORTS = """SELECT id AS key FROM port WHERE qos_policy_id = :id UNION SELECT port.id AS key FROM port
JOIN network ON network.id = port.network_id WHERE network.qos_policy_id = :id"""
_FLOATING = """SELECT id AS key FROM floatingip WHERE qos_policy_id = :id UNION SELECT floatingip.id AS key
FROM floatingip JOIN network ON network.id = floatingip.floating_network_id WHERE network.qos_policy_id = :id"""


async def wake(tx: Tx, policy_id: str, *, request_id: str | None) -> None:
    """Whatever the policy is bound to is looked at."""
    await work.wake_all(tx, "port", _PORTS, {"id": policy_id}, request_id=request_id)
    await work.wake_all(tx, "floatingip", _FLOATING, {"id": policy_id}, request_id=request_id)


async def wake_network(tx: Tx, network_id: str, *, request_id: str | None) -> None:
    """A network has another policy: so have its ports and floating IPs that have none of their own."""
    where = {"id": network_id}
    ports = "SELECT id AS key FROM port WHERE network_id = :id AND qos_policy_id IS NULL"
    floatings = "SELECT id AS key FROM floatingip WHERE floating_network_id = :id AND qos_policy_id IS NULL"
    await work.wake_all(tx, "port", ports, where, request_id=request_id)
    await work.wake_all(tx, "floatingip", floatings, where, request_id=request_id)
