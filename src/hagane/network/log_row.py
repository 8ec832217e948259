"""Rows of logs: who wants to hear of what security groups let pass or drop.

A log without a resource hears of all groups, one with a target of that Port alone. The compiler writes it into the
rules themselves; what they note is in the log of ovn-controller on the Port's Host, under the log's id.

A change wakes "security_group" for each group that the log hears of, and "group" with the key "drop", the group of all
that no rule allows, if its ports are heard of there.
"""

from collections import defaultdict
from typing import Any

from hagane.api.resource import REQUIRED, Attr
from hagane.network.attr import standard
from hagane.network.errors import error
from hagane.network.value import Checked, Flag, Id, OneOf
from hagane.state import work
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Table, listed

ACCEPT, DROP, ALL = "ACCEPT", "DROP", "ALL"
TYPES = ("security_group",)


def _type(field: str, value: Any) -> str:
    if value not in TYPES:
        raise error("InvalidLogResourceType", resource_type=value)
    return str(value)


ATTRS = (
    *standard(tags=""),
    Attr("resource_type", Checked(rule=_type, kind="text", json_schema=(("enum", list(TYPES)),)), write="c",
         default=REQUIRED),
    Attr("resource_id", Id(nullable=True), write="c", default=None),
    Attr("event", OneOf(values=(ALL, ACCEPT, DROP)), write="c", default=ALL, sort=False),
    Attr("target_id", Id(nullable=True), write="c", default=None),
    Attr("enabled", Flag(), write="cu", default=True),
)  # fmt: skip
INDEXES = ("project_id", "resource_id", "target_id")
LOG = Table("network_log", tuple(Column(a.name, a.type.column, a.key) for a in ATTRS if a.stored), INDEXES)

_GROUPS = "SELECT security_group_id AS key FROM port_security_group WHERE port_id = :id"


async def enabled(reader: Reader) -> list[Row]:
    """The logs that hear, oldest first. Each has `groups`, the security groups that it hears of; None: all."""
    logs = await LOG.select(reader, {"enabled": True}, order="created_at, id")
    ports = {log["target_id"] for log in logs if log["target_id"] and not log["resource_id"]}
    members: dict[str, list[str]] = defaultdict(list)
    if ports:
        among = listed("port", sorted(ports))
        sql = f"SELECT port_id, security_group_id FROM port_security_group WHERE port_id IN {among.text}"
        for port_id, group_id in await reader.fetch_tuples(sql, among.params):
            members[str(port_id)].append(str(group_id))
    return [log | {"groups": _groups(log, members)} for log in logs]


def _groups(log: Row, members: dict[str, list[str]]) -> list[str] | None:
    if log["resource_id"]:
        return [log["resource_id"]]
    return members[log["target_id"]] if log["target_id"] else None


async def wake(tx: Tx, log: Row, *, request_id: str | None) -> None:
    """What the log hears of is compiled again."""
    if log["resource_id"]:
        await work.wake(tx, "security_group", log["resource_id"], request_id=request_id)
    elif log["target_id"]:
        await work.wake_all(tx, "security_group", _GROUPS, {"id": log["target_id"]}, request_id=request_id)
    else:
        await work.wake_all(tx, "security_group", "SELECT id AS key FROM security_group", {}, request_id=request_id)
    if log["target_id"] or not log["resource_id"]:
        await work.wake(tx, "group", "drop", request_id=request_id)


async def port_moved(tx: Tx, port_id: str, before: list[str], after: list[str]) -> None:
    """A Port is in other groups than before: logs of it follow."""
    if before != after and await LOG.count(tx, {"target_id": port_id, "enabled": True}):
        await work.wake_each(tx, "security_group", {*before, *after})


async def port_gone(tx: Tx, port_id: str, *, request_id: str | None = None) -> None:
    """Logs of a Port end with it."""
    await _end(tx, {"target_id": port_id}, request_id=request_id)


async def group_gone(tx: Tx, group_id: str, *, request_id: str | None = None) -> None:
    """Logs of a security group end with it."""
    await _end(tx, {"resource_id": group_id}, request_id=request_id)


async def _end(tx: Tx, where: Row, *, request_id: str | None) -> None:
    for log in await LOG.select(tx, where):
        await wake(tx, log, request_id=request_id)
    await LOG.delete(tx, where)
