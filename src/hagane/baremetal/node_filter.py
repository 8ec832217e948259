"""Filters of the list of Nodes."""

from typing import Any

from hagane.api.http import Request
from hagane.baremetal.base import CONDUCTOR, boolean, require
from hagane.baremetal.node_state import STATES
from hagane.errors import Invalid
from hagane.state.table import Sql

FILTERS = (
    "chassis_uuid", "instance_uuid", "associated", "maintenance", "retired", "provision_state", "driver",
    "resource_class", "fault", "conductor_group", "conductor", "owner", "lessee", "project", "description_contains",
    "shard", "sharded", "include_children", "parent_node", "instance_name",
)  # fmt: skip
_SINCE = {"provision_state": 9, "driver": 16, "resource_class": 21, "fault": 42, "conductor_group": 46, "conductor": 49,
          "owner": 50, "lessee": 65, "shard": 82, "sharded": 82, "include_children": 83, "parent_node": 83,
          "instance_name": 104}  # fmt: skip
FAULTS = ("power failure", "clean failure", "rescue abort failure", "service failure")
_TOLD = frozenset({"driver", "resource_class", "fault", "conductor_group", "owner", "lessee", "conductor"})
_COLUMNS = {"chassis_uuid": "chassis_id", "instance_uuid": "instance_id"} | {
    name: name for name in ("provision_state", "driver", "resource_class", "fault", "owner", "lessee", "parent_node",
                            "instance_name")
}  # fmt: skip


def where(request: Request, args: dict[str, str]) -> tuple[dict[str, Any], list[Sql]]:
    """A query's filters as conditions. Raises Invalid, NotAcceptable."""
    for name, since in _SINCE.items():
        if name in args:
            require(request, since, told=name in _TOLD)
    if "provision_state" in args and args["provision_state"] not in STATES:
        raise Invalid(f'Provision state "{args["provision_state"]}" is not valid')
    if args.get("fault", FAULTS[0]) not in FAULTS:
        raise Invalid(f'Unrecognized fault "{args["fault"]}" is specified, allowed faults are {FAULTS}')
    found: dict[str, Any] = {column: args[name] for name, column in _COLUMNS.items() if name in args}
    if "conductor_group" in args:
        found["conductor_group"] = args["conductor_group"].lower()
    for name in ("maintenance", "retired"):
        if (value := boolean(name, args.get(name))) is not None:
            found[name] = value
    if "shard" in args:
        found["shard"] = args["shard"].split(",")
    return found, _conditions(args)


def _conditions(args: dict[str, str]) -> list[Sql]:
    conditions = []
    for name, column in (("associated", "instance_id"), ("sharded", "shard")):
        if (value := boolean(name, args.get(name))) is not None:
            conditions.append(Sql(f"node.{column} IS {'NOT ' if value else ''}NULL"))
    if not boolean("include_children", args.get("include_children")) and "parent_node" not in args:
        conditions.append(Sql("node.parent_node IS NULL"))
    if text := args.get("description_contains"):
        escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        conditions.append(Sql("node.description LIKE :said ESCAPE '\\'", {"said": f"%{escaped}%"}))
    if args.get("conductor", CONDUCTOR) != CONDUCTOR:
        conditions.append(Sql("1 = 0"))
    return conditions
