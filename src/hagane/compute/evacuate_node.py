"""evacuate, of a Server on a Node: the Node is dead, the Server comes back on another one (docs/decisions/san-boot.md).

A Node that is on and answers is not dead, and keeps its Server: an operator who knows better puts it into maintenance.
"""

from typing import Any

from hagane.api.http import Request
from hagane.baremetal.node import NODE
from hagane.baremetal.node_state import possible
from hagane.compute import migration_row
from hagane.compute.action import intend, refuse_state
from hagane.compute.base import at
from hagane.compute.row import Task, VmState
from hagane.compute.server_create import seal
from hagane.errors import Invalid, NotFound
from hagane.state.database import Row, Tx
from hagane.state.table import Sql


async def leave(request: Request, tx: Tx, row: Row, target: str | None, secret: str) -> None:
    """Raises Invalid, Conflict, NotFound."""
    wanted = await _wanted(tx, row, target)
    refuse_state(row, "evacuate", [VmState.ACTIVE, VmState.STOPPED, VmState.ERROR])
    node = await NODE.get(tx, id=row["node_id"]) if row["node_id"] else None
    if node is not None and node["instance_id"] == row["id"]:
        _refuse_living(node)
    await migration_row.begin(tx, row, "evacuation", new_flavor=row["flavor_id"], status="accepted")
    changes: dict[str, Any] = {
        "wanted_host": wanted, "task_state": Task.SCHEDULING, "tried": [], "soft": False, "rescue": None,
        "disk_version": row["disk_version"] + 1, "boots": row["boots"] + 1,
        "secret": seal(request, secret) if row["config_drive"] else None,
    }  # fmt: skip
    if at(request, 95):
        changes["power"] = "off"  # from this version on its owner starts it
    elif row["vm_state"] == VmState.ERROR:
        changes["power"] = "on"
    await intend(request, tx, row, "evacuate", changes)


async def _wanted(tx: Tx, row: Row, target: str | None) -> Row | None:
    """The Node that was named, by its id or name. Raises NotFound, Invalid."""
    if target is None:
        return None
    found = await NODE.select(tx, conditions=[Sql("id = :n OR name = :n", {"n": target})], columns=("id",))
    if not found:
        raise NotFound(f"Compute host {target} not found.")
    if found[0]["id"] == row["node_id"]:
        raise Invalid("The target host can't be the same one.")
    return {"host": found[0]["id"], "forced": False}


def _refuse_living(node: Row) -> None:
    """Raises Invalid for a Node that is not dead, or that something else is being done with."""
    name = node["name"] or node["id"]
    if node["protected"]:  # it could not be undeployed, and would keep what is the Server's
        raise Invalid(f"Node {name} is protected and keeps its server.")
    if node["power_state"] == "power on" and not node["fault"] and not node["maintenance"]:
        raise Invalid(f"Compute service of {name} is still in use. The node is powered on and its BMC answers; if it is"
                      " dead all the same, put it into maintenance.")  # fmt: skip
    if not possible(node["provision_state"], "delete"):
        raise Invalid(f"Compute service of {name} is still in use. The node is in state {node['provision_state']}.")
