"""What `hagane explain server` says of the bare-metal Node that a Server is: its state, its cause, what helps."""

from hagane.baremetal.node import NODE
from hagane.state.database import Reader, Row


async def facts_of(reader: Reader, node_id: str) -> tuple[list[str], list[str]]:
    """(facts, advice)."""
    row = await NODE.get(reader, id=node_id)
    if row is None:
        return [f"Its bare-metal node {node_id} does not exist any more."], []
    return _facts(row), _advice(row)


def _facts(row: Row) -> list[str]:
    name = row["name"] or row["id"]
    target = f" on the way to {row['target_provision_state']}" if row["target_provision_state"] else ""
    power = row["power_state"] or "in an unknown power state"
    found = [f"It is the bare-metal node {name}, which is {row['provision_state']}{target}, {power}."]
    for step in (row["seen"] or {}).get("steps") or ():
        if not step.get("finished_at"):
            percent = f" {step['progress']} %" if step.get("progress") is not None else ""
            told = f": {step['message']}" if step.get("message") else ""
            found.append(f"Node {name} is at the step {step['step']}{percent}{told}.")
    if row["last_error"]:
        found.append(f"The last error of node {name}: {row['last_error']}")
    if row["maintenance"]:
        found.append(f"Node {name} is in maintenance: {row['maintenance_reason'] or 'no reason was given'}.")
    return found


def _advice(row: Row) -> list[str]:
    name, found = row["name"] or row["id"], []
    if row["maintenance"]:
        found.append(f"Take it out of maintenance: openstack baremetal node maintenance unset {name}")
    if row["provision_state"].endswith("failed") or row["provision_state"] == "error":
        found.append(f"Read what happened: openstack baremetal node history list {name}")
    if row["provision_state"] in ("wait call-back", "deploy hold"):
        found.append(f"Give this node up and try another: openstack baremetal node abort {name}")
    if row["protected"]:
        found.append(f"It is protected from being undeployed: openstack baremetal node unset --protected {name}")
    return found
