"""Rows of security groups and their rules, and the default group that every project has."""

from uuid import uuid4

from hagane.api.resource import REQUIRED, Attr
from hagane.network import default_rule_row, quota
from hagane.network.attr import UNSET, standard
from hagane.network.present import Made
from hagane.network.rule_value import ethertype, normalized, port_number, prefix, protocol
from hagane.network.value import Checked, Flag, Id, OneOf, Text, Whole
from hagane.state import clock, work
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Table

ATTRS = (
    *standard(),
    Attr("stateful", Flag(), write="cu", default=True),
    Attr("security_group_rules", Checked(), stored=False, filter=False, sort=False),
    Attr("shared", Flag(), stored=False, filter=False, sort=False),
    Attr("is_default", Flag(), shown=False, filter=False, sort=False),
)
INDEXES = ("project_id, is_default",)
GROUP = Table("security_group", tuple(Column(a.name, a.type.column, a.key) for a in ATTRS if a.stored), INDEXES)

RULE_ATTRS = (
    Attr("id", Id(), key=True),
    Attr("project_id", Text(255), write="c", default=UNSET),
    Attr("tenant_id", Text(255), write="c", default=UNSET, stored=False),
    Attr("security_group_id", Text(36), write="c", default=REQUIRED),
    Attr("direction", OneOf(values=("ingress", "egress")), write="c", default=REQUIRED),
    Attr("ethertype", Checked(rule=ethertype, kind="text"), write="c", default="IPv4"),
    Attr("protocol", Checked(rule=protocol, kind="text"), write="c", default=None),
    Attr("port_range_min", Checked(rule=port_number, kind="int"), write="c", default=None),
    Attr("port_range_max", Checked(rule=port_number, kind="int"), write="c", default=None),
    Attr("remote_ip_prefix", Checked(rule=prefix, kind="text"), write="c", default=None),
    Attr("remote_group_id", Text(36, nullable=True), write="c", default=None),
    Attr("remote_address_group_id", Id(nullable=True), write="c", default=None),
    Attr("normalized_cidr", Text()),
    Attr("description", Text(255), write="c", default=""),
    Attr("generation", Whole(), wire="revision_number"),
    Attr("created_at", Text(), filter=False),
    Attr("updated_at", Text(), filter=False),
    Attr("belongs_to_default_sg", Flag()),
)
RULE_INDEXES = ("security_group_id", "remote_group_id", "remote_address_group_id", "project_id")
RULE = Table(
    "security_group_rule", tuple(Column(a.name, a.type.column, a.key) for a in RULE_ATTRS if a.stored), RULE_INDEXES
)


def view_rule(rule: Row) -> Made:
    """A rule as it stands inside its group's answer."""
    view = {a.label: rule["project_id"] if a.name == "tenant_id" else rule[a.name] for a in RULE_ATTRS}
    return view | {"created_at": f"{rule['created_at'][:19]}Z", "updated_at": f"{rule['updated_at'][:19]}Z"}


def new_rule(group: Row, direction: str, version: str, **more: object) -> Row:
    moment = clock.now()
    row: Row = {
        "id": str(uuid4()), "project_id": group["project_id"], "security_group_id": group["id"],
        "direction": direction, "ethertype": version, "protocol": None, "port_range_min": None, "port_range_max": None,
        "remote_ip_prefix": None, "remote_group_id": None, "remote_address_group_id": None, "normalized_cidr": None,
        "description": "", "generation": 1, "created_at": moment, "updated_at": moment,
        "belongs_to_default_sg": group["is_default"],
    }  # fmt: skip
    return row | more


async def first_rules(reader: Reader, group: Row) -> list[Row]:
    """What a new group begins with: as the default rules say."""
    rules = []
    for template in await default_rule_row.of(reader, default=group["is_default"]):
        body = {name: template[name] for name in default_rule_row.BODY}
        if body["remote_group_id"] == default_rule_row.PARENT:
            body["remote_group_id"] = group["id"]
        cidr = normalized(body["remote_ip_prefix"])
        direction, version = body.pop("direction"), body.pop("ethertype")
        rules.append(new_rule(group, direction, version, normalized_cidr=cidr, **body))
    return rules


async def store_rules(tx: Tx, group: Row, rules: list[Row], *, limited: bool = False) -> None:
    """Store rules that come with a group; no limit refuses those that a project did not ask for."""
    for rule in rules:
        await RULE.insert(tx, rule)
    await quota.charge(tx, group["project_id"], "security_group_rule", len(rules), limited=limited)


async def remove_rules(tx: Tx, group_id: str) -> None:
    """Remove a group's rules. Each counts for its own project, which may be another one: an administrator's."""
    sql = "SELECT project_id, count(*) FROM security_group_rule WHERE security_group_id = :id GROUP BY project_id"
    for project, count in await tx.fetch_tuples(sql, {"id": group_id}):
        await quota.charge(tx, project, "security_group_rule", -int(count))
    await RULE.delete(tx, {"security_group_id": group_id})


async def default_id(reader: Reader, project: str) -> str | None:
    sql = "SELECT id FROM security_group WHERE project_id = :project AND is_default = 1"
    rows = await reader.fetch_tuples(sql, {"project": project})
    return str(rows[0][0]) if rows else None


async def ensure_default(tx: Tx, project: str) -> str:
    """The id of a project's default group, made if it does not exist."""
    if known := await default_id(tx, project):
        return known
    moment = clock.now()
    group: Row = {
        "id": str(uuid4()), "name": "default", "project_id": project, "description": "Default security group",
        "tags": [], "generation": 1, "created_at": moment, "updated_at": moment, "stateful": True, "is_default": True,
    }  # fmt: skip
    await GROUP.insert(tx, group)
    await quota.charge(tx, project, "security_group", limited=False)
    await store_rules(tx, group, await first_rules(tx, group))
    await work.wake(tx, "security_group", group["id"])
    return str(group["id"])
