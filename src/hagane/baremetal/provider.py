"""Nodes as placement and the list of hypervisors show them: one of its resource class each, all or nothing.

As the real service does it, a provider is called by its Node's id, has one unit of CUSTOM_<resource class>, which is
used while an instance has the Node and reserved while nobody could get it, and has the Node's traits.
"""

from typing import Any

from hagane.baremetal.base import CONDUCTOR
from hagane.baremetal.claim import custom
from hagane.baremetal.node import NODE
from hagane.placement.host import DEFAULT_ZONE
from hagane.placement.outside import Providers
from hagane.state.database import Reader, Row
from hagane.state.table import Not, Sql

COLUMNS = ("id", "name", "resource_class", "provision_state", "maintenance", "instance_id", "allocation_id", "traits",
           "instance_info", "generation", "created_at", "updated_at", "retired")  # fmt: skip


async def read(reader: Reader, *, id: str = "", consumer: str = "", project: str = "") -> Providers:
    """The Nodes that have a resource class and are enrolled: all, or those of one id, consumer or project."""
    where: dict[str, Any] = {"provision_state": Not(["enroll", "verifying"])}
    if id:
        where["id"] = id
    if consumer:
        where["instance_id"] = consumer
    conditions = [Sql("node.resource_class IS NOT NULL")]
    if project:
        conditions.append(Sql("node.instance_id IS NOT NULL"))
    rows = await NODE.select(reader, where, conditions=conditions, order="created_at, id", columns=COLUMNS)
    found = Providers()
    for row in rows:
        owner = _owner(row)
        if project and (owner is None or owner["project_id"] != project):
            continue
        found.hosts.append(_host(row))
        found.inventories[row["id"]] = {custom(row["resource_class"]): _inventory(row)}
        if owner is not None:
            found.allocations.append(owner)
    return found


def _inventory(row: Row) -> Row:
    used = int(row["instance_id"] is not None)
    usable = row["provision_state"] == "available" and not row["maintenance"] and not row["retired"]
    reserved = int(not used and not usable)
    return {
        "provider_id": row["id"], "resource_class": custom(row["resource_class"]), "total": 1, "reserved": reserved,
        "min_unit": 1, "max_unit": 1, "step_size": 1, "allocation_ratio": 1.0, "capacity": 1 - reserved, "used": used,
    }  # fmt: skip


def _owner(row: Row) -> Row | None:
    """What an instance holds of a Node; None: it is free."""
    if row["instance_id"] is None:
        return None
    info = row["instance_info"] or {}
    return {
        "consumer_id": row["instance_id"], "provider_id": row["id"], "used": 1,
        "resource_class": custom(row["resource_class"]), "project_id": info.get("project_id"),
        "user_id": info.get("user_id"), "created_at": row["updated_at"] or row["created_at"],
    }  # fmt: skip


def _host(row: Row) -> Row:
    """A Node in the columns of a Host. Its number is made of its id."""
    facts = {
        "hostname": row["id"], "kind": "ironic", "version": 1, "cpu": {}, "uptime": None, "host_ip": "127.0.0.1",
    }  # fmt: skip
    return {
        "id": row["id"], "name": row["id"], "number": int(row["id"][:8], 16) >> 1, "service_id": row["id"],
        "service_host": CONDUCTOR, "state": "up", "facts": facts, "reason": "", "zone": DEFAULT_ZONE,
        "disabled": bool(row["maintenance"]), "disabled_reason": "maintenance" if row["maintenance"] else None,
        "forced_down": False, "generation": row["generation"] or 0, "traits": sorted(row["traits"] or ()),
    }  # fmt: skip
