"""Rows of default security group rules: what every new security group begins with.

Four come with the cloud: everything may go out, and members of a project's default group may talk to each other. They
are stored at each start under ids of their own; one that an administrator removed stays removed, as a hidden row.
"""

from typing import Any
from uuid import NAMESPACE_URL, uuid5

from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import is_uuid
from hagane.network.attr import UNSET
from hagane.network.errors import invalid
from hagane.network.rule_value import ethertype, port_number, prefix, protocol
from hagane.network.value import Checked, Flag, Id, OneOf, Text
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Table

PARENT = "PARENT"
"""As a remote group: the group that the rule becomes part of."""


def remote_group(field: str, value: Any) -> str | None:
    if value is None or value == PARENT or is_uuid(value):
        return value  # type: ignore[no-any-return]
    raise invalid(f"'{value}' is neither a security group's id nor {PARENT}")


ATTRS = (
    Attr("id", Id(), key=True),
    Attr("project_id", Text(255), write="c", default=UNSET, shown=False, filter=False, sort=False),
    Attr("tenant_id", Text(255), write="c", default=UNSET, stored=False, shown=False, filter=False, sort=False),
    Attr("ethertype", Checked(rule=ethertype, kind="text"), write="c", default="IPv4"),
    Attr("direction", OneOf(values=("ingress", "egress")), write="c", default=REQUIRED),
    Attr("protocol", Checked(rule=protocol, kind="text"), write="c", default=None),
    Attr("port_range_min", Checked(rule=port_number, kind="int"), write="c", default=None),
    Attr("port_range_max", Checked(rule=port_number, kind="int"), write="c", default=None),
    Attr("remote_ip_prefix", Checked(rule=prefix, kind="text"), write="c", default=None),
    Attr("remote_address_group_id", Id(nullable=True), write="c", default=None),
    Attr("remote_group_id", Checked(rule=remote_group, kind="text"), write="c", default=None),
    Attr("description", Text(1024), write="c", default="", sort=False),
    Attr("used_in_default_sg", Flag(), write="c", default=REQUIRED, sort=False),
    Attr("used_in_non_default_sg", Flag(), write="c", default=REQUIRED, sort=False),
    Attr("removed", Flag(), shown=False, filter=False, sort=False),
)
TEMPLATE = Table("default_security_group_rule", tuple(Column(a.name, a.type.column, a.key) for a in ATTRS if a.stored))
BODY = ("ethertype", "direction", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix",
        "remote_address_group_id", "remote_group_id")  # fmt: skip
"""What a rule takes of its template."""


def _own(direction: str, version: str) -> Row:
    ingress = direction == "ingress"
    return dict.fromkeys(BODY) | {
        "id": str(uuid5(NAMESPACE_URL, f"hagane:default-rule:{direction}:{version}")), "project_id": "",
        "ethertype": version, "direction": direction, "remote_group_id": PARENT if ingress else None,
        "description": f"Legacy default SG rule for {direction} traffic", "used_in_default_sg": True,
        "used_in_non_default_sg": not ingress, "removed": False,
    }  # fmt: skip


OWN = {row["id"]: row for row in (_own(way, version) for way in ("egress", "ingress") for version in ("IPv4", "IPv6"))}


async def seed(tx: Tx) -> None:
    """Store the cloud's own ones, at its first start."""
    known = {row["id"] for row in await TEMPLATE.select(tx, {"id": list(OWN)})}
    for key, row in OWN.items():
        if key not in known:
            await TEMPLATE.insert(tx, row)


async def of(reader: Reader, *, default: bool) -> list[Row]:
    """The templates of a project's default group, or of all others."""
    used = "used_in_default_sg" if default else "used_in_non_default_sg"
    return await TEMPLATE.select(reader, {used: True, "removed": False}, order="direction, ethertype, id")
