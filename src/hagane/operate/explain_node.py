"""What `hagane explain` says of a bare-metal Node, by itself or as what a Server is: state, cause, what helps."""

import time
from typing import Any

from hagane.baremetal import plug
from hagane.baremetal.nic import Nics
from hagane.baremetal.nic_group import NicGroups
from hagane.baremetal.node import NODE
from hagane.state import clock
from hagane.state.database import Reader, Row


async def facts_of(reader: Reader, node_id: str) -> tuple[list[str], list[str]]:
    """(facts, advice)."""
    row = await NODE.get(reader, id=node_id)
    if row is None:
        return [f"Its bare-metal node {node_id} does not exist any more."], []
    return _facts(row), _advice(row)


async def detail_of(reader: Reader, row: Row) -> tuple[list[str], list[dict[str, Any]], list[str]]:
    """(facts, steps, advice) of a Node by itself."""
    facts = []
    if since := clock.iso_z(row["provision_updated_at"]):
        facts.append(f"It is so since {since}; {row['power_state'] or 'its power is not known'}.")
    facts += _facts(row)[1:]
    if row["fault"]:
        facts.append(f"Fault: {row['fault']}.")
    if row["instance_id"]:
        facts.append(f"It is given to {row['instance_id']}.")
    nics = await Nics.table.select(reader, {"node_id": row["id"]}, order="created_at, id")
    facts += [f"Nic {nic['address']} is {_place(nic['link'] or {})}." for nic in nics]
    return facts, [_step(step) for step in (row["seen"] or {}).get("steps") or []], _advice(row) + _next(row, nics)


def _place(link: Row) -> str:
    if not link.get("port_id"):
        return "on no known switch port"
    return f"on port {link['port_id']} of switch {link.get('switch_info') or link.get('switch_id')}"


async def carried_by(reader: Reader, port_id: str) -> list[str]:
    """Which Nic carries a Port, and what it waits for; nothing when none does."""
    for table in (Nics.table, NicGroups.table):
        nic = await table.get(reader, plugged=port_id)
        node = await NODE.get(reader, id=nic["node_id"]) if nic is not None else None
        if nic is not None and node is not None:
            found = [
                f"Nic {nic['address'] or nic['id']} of the bare-metal node {node['name'] or node['id']} carries it."
            ]
            why = await plug.pending(reader, node)
            return [*found, f"It is not ready: {why}."] if why else found
    return []


def _step(step: dict[str, Any]) -> dict[str, Any]:
    end = step["finished_at"]
    seconds = (clock.seconds(end) if end else time.time()) - clock.seconds(step["started_at"])
    return {
        "action": "node", "step": step["step"], "seconds": round(seconds, 3), "result": step["result"] or "running",
        "percent": step["progress"], "message": step["message"], "started_at": step["started_at"],
    }  # fmt: skip


WAYS = {
    "enroll": "Check driver_info (address, account), then: openstack baremetal node manage {name}",
    "manageable": "Make it ready for tenants: openstack baremetal node provide {name}",
    "inspect failed": "Look again: openstack baremetal node inspect {name}",
    "clean failed": "Mend the cause, then: openstack baremetal node manage {name}, and node provide {name}",
    "deploy failed": "Try again: openstack baremetal node deploy {name}; or give it up: node undeploy {name}",
    "rescue failed": "Back to the tenant's system: openstack baremetal node unrescue {name}",
    "unrescue failed": "Try again: openstack baremetal node unrescue {name}",
    "service failed": "Leave it as it is: openstack baremetal node abort {name}",
    "adopt failed": "Mend the cause, then: openstack baremetal node adopt {name}",
    "error": "Try again to take it back: openstack baremetal node undeploy {name}",
    "clean wait": "Do not wait any longer: openstack baremetal node abort {name}",
    "inspect wait": "Do not wait any longer: openstack baremetal node abort {name}",
    "rescue wait": "Do not wait any longer: openstack baremetal node abort {name}",
    "service wait": "Do not wait any longer: openstack baremetal node abort {name}",
    "clean hold": "Go on: openstack baremetal node unhold {name}",
    "deploy hold": "Go on: openstack baremetal node unhold {name}",
    "service hold": "Go on: openstack baremetal node unhold {name}",
}
"""The way out of each state in which a Node stays."""


def _next(row: Row, nics: list[Row]) -> list[str]:
    name, found = row["name"] or row["id"], []
    if way := WAYS.get(row["provision_state"]):
        found.append(way.format(name=name))
    if "waiting for callback" in (row["last_error"] or ""):
        found.append("Does it boot from the network? Look at its console; is the Nic with pxe_enabled the one that the "
                     "firmware boots from, and is its local_link_connection right?")  # fmt: skip
    if not nics and row["network_interface"] != "noop":
        found.append(f"It has no Nic: openstack baremetal port create MAC --node {row['id']}, or inspect it.")
    return found


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
