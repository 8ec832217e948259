"""evacuate, of a Server on a Node: the Node is dead, the Server comes back on another one (docs/decisions/san-boot.md).

A Node that is on and answers is not dead, and keeps its Server: an operator who knows better puts it into maintenance.
"""

from hagane.baremetal.node import NODE
from hagane.baremetal.node_state import possible
from hagane.compute.action import refuse_state
from hagane.compute.row import VmState
from hagane.errors import Invalid, NotFound
from hagane.state.database import Row, Tx
from hagane.state.table import Sql


async def wanted(tx: Tx, row: Row, target: str | None) -> Row | None:
    """The Node that the Server is to go to, if one is named. Raises Invalid, Conflict, NotFound."""
    found = await _wanted(tx, row, target)
    refuse_state(row, "evacuate", [VmState.ACTIVE, VmState.STOPPED, VmState.ERROR])
    node = await NODE.get(tx, id=row["node_id"]) if row["node_id"] else None
    if node is not None and node["instance_id"] == row["id"]:
        _refuse_living(node)
    return found


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
