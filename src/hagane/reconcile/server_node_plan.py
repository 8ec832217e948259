"""What is to be done next about a Server that is a Node: a pure function of both rows. The Node lives by itself
(reconcile/node.py); the Server claims it, tells it what to do by the same verbs as its operator, and follows it.

    no Node ─▶ Place ─▶ available ─▶ Deploy ─▶ (Follow its steps) ─▶ active ─▶ Finish
                 ▲                                   └─ deploy failed ─▶ Elsewhere: let go of it, another Node
                 └────────────────────────────────────────┘
    a task    ─▶ Ask (power, rebuild, rescue; once a generation) ─▶ Follow ─▶ Finish or Fail
    no task   ─▶ Notice: power and state as the Node shows them
    evacuate  ─▶ Fence: the old Node reaches neither network nor volume ─▶ no Node (see above)
    terminate ─▶ Ask (delete) ─▶ Follow until the Node has let go ─▶ Forget
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hagane.baremetal.node_state import possible
from hagane.compute.row import NOSTATE, RUNNING, SHUTDOWN, Task, VmState

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Settled:
    """Server and Node agree."""


@dataclass(frozen=True)
class Place:
    """Claim a Node."""


@dataclass(frozen=True)
class Deploy:
    """Give the claimed Node what it is to become."""


@dataclass(frozen=True)
class Ask:
    """Tell the Node, by a provision verb or a power target."""

    verb: str
    power: bool = False


@dataclass(frozen=True)
class Fence:
    """The Node is given up: cut it off, so that nothing it does counts any more, and look for another."""


@dataclass(frozen=True)
class Follow:
    """The Node is at it; this is what it waits for."""

    why: str


@dataclass(frozen=True)
class Plug:
    """The Server's NICs are not those of the Node."""


@dataclass(frozen=True)
class Finish:
    """What was asked for is so."""

    changes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Elsewhere:
    """This Node failed for this reason: another one."""

    why: str


@dataclass(frozen=True)
class Fail:
    """The action failed; the Server is in error if that is `fatal`, else as before."""

    why: str
    fatal: bool = False


@dataclass(frozen=True)
class Notice:
    """The Node changed by itself: say so in the row."""

    changes: dict[str, Any] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True)
class Release:
    """The Node was claimed and never written: take the claim away and forget the Server."""


@dataclass(frozen=True)
class Forget:
    """No Node is this Server's: drop the row and all it holds."""


Step = Settled | Place | Deploy | Fence | Ask | Follow | Plug | Finish | Elsewhere | Fail | Notice | Release | Forget

POWER = {"power on": RUNNING, "power off": SHUTDOWN}
UNTOUCHED = ("available", "manageable", "enroll")
ON_THE_WAY = ("deploying", "wait call-back", "deploy hold")
_POWER = {
    Task.POWERING_ON: ("power on", "power off"),
    Task.POWERING_OFF: ("soft power off", "power on"),
    Task.REBOOTING: ("soft rebooting", ""),
    Task.REBOOTING_HARD: ("rebooting", ""),
}
"""Task -> what the Node's power is asked, and the state in which it then still is when that failed."""
_MOVES = {
    Task.REBUILDING: ("rebuild", "active", (*ON_THE_WAY,)),
    Task.RESCUING: ("rescue", "rescue", ("rescuing", "rescue wait")),
    Task.UNRESCUING: ("unrescue", "active", ("unrescuing",)),
}
"""Task -> the verb, the state that it ends in, and those on the way."""


def plan(row: Row, node: Row | None) -> Step:
    """`node` is the row of the Server's `node_id`; None: there is none, or no longer."""
    mine = node is not None and node["instance_id"] == row["id"]
    if row["terminate"]:
        return _ending(row, node) if node is not None and mine else Forget()
    if node is None or not mine:
        return _without(row)
    if row["task_state"] == Task.SCHEDULING:
        return Fence()
    if row["vm_state"] == VmState.BUILDING:
        return _building(node)
    if row["task_state"] in _POWER:
        return _powering(row, node)
    if row["task_state"] in _MOVES:
        return _moving(row, node)
    if row["observed_generation"] < row["generation"]:
        return Plug()
    return _observe(row, node)


def _ending(row: Row, node: Row) -> Step:
    state, asked = node["provision_state"], row["node_asked"] == row["generation"]
    if state in UNTOUCHED or state in ("cleaning", "clean wait", "clean failed", "clean hold"):
        return Release()
    if state == "error" and asked:
        return Fail(f"Node {node['id']} could not be undeployed: {node['last_error'] or 'no cause is known'}", True)
    if node["protected"]:
        return Fail(f"Node {node['id']} is protected and cannot be undeployed.", True)
    if state == "deleting":
        return Follow(f"Node {node['id']} is being undeployed.")
    if possible(state, "delete"):
        return Ask("deleted")
    if possible(state, "abort"):
        return Ask("abort")
    return Follow(f"Node {node['id']} is in state {state}; it is undeployed when that has ended.")


def _without(row: Row) -> Step:
    """No Node is this Server's: none yet, or somebody took it away."""
    if row["task_state"] == Task.SCHEDULING or (row["task_state"] == Task.REBUILDING):
        return Place()
    if row["vm_state"] == VmState.BUILDING and row["task_state"] is not None:
        return Elsewhere("it was taken from the server while it was deployed")
    if row["task_state"] is not None or row["observed_generation"] < row["generation"]:
        return Fail("The server has no bare-metal node any more.", True)
    if row["vm_state"] == VmState.ERROR:
        return Settled()
    return Notice({"vm_state": VmState.ERROR, "power_state": NOSTATE}, "Its bare-metal node is not its own any more.")


def _building(node: Row) -> Step:
    state = node["provision_state"]
    if state == "active":
        return Finish({"vm_state": VmState.ACTIVE, "power_state": POWER.get(node["power_state"], RUNNING)})
    if state in ON_THE_WAY:
        return Follow(_doing(node))
    if state in ("deploy failed", "error"):
        return Elsewhere(node["last_error"] or f"it is in state {state}")
    if state != "available":
        return Elsewhere(f"somebody moved it to state {state}")
    return Elsewhere("it was put in maintenance") if node["maintenance"] else Deploy()


def _powering(row: Row, node: Row) -> Step:
    target, unmoved = _POWER[row["task_state"]]
    if row["node_asked"] != row["generation"]:
        return Ask(target, power=True)
    if "power" in (node["wanted"] or {}):
        return Follow(f"The BMC of node {node['id']} is told: {target}.")
    if node["power_state"] == unmoved or (not unmoved and node["last_error"]):
        return Fail(node["last_error"] or f"Node {node['id']} did not {target}.")
    return Finish(_shown(node))


def _moving(row: Row, node: Row) -> Step:
    verb, there, on_the_way = _MOVES[row["task_state"]]
    state = node["provision_state"]
    if state in on_the_way:
        return Follow(_doing(node))
    if row["node_asked"] != row["generation"]:
        return Ask(verb) if possible(state, verb) else Fail(f"Node {node['id']} is in state {state}.")
    return Finish(_shown(node)) if state == there else Fail(node["last_error"] or f"Node {node['id']} is in state "
                                                            f"{state}.", True)  # fmt: skip


def _doing(node: Row) -> str:
    """What a Node on its way is doing, by the last of its steps."""
    steps = (node["seen"] or {}).get("steps") or []
    now = next((step for step in reversed(steps) if not step.get("finished_at")), None)
    told = f": {now['step']}" + (f", {now['message']}" if now.get("message") else "") if now else ""
    return f"Node {node['id']} is in state {node['provision_state']}{told}."


def _shown(node: Row) -> dict[str, Any]:
    """State and power of a Server as its Node shows them."""
    power = POWER.get(node["power_state"], NOSTATE)
    if node["provision_state"] == "rescue":
        return {"vm_state": VmState.RESCUED, "power_state": power}
    if power == SHUTDOWN:
        return {"vm_state": VmState.STOPPED, "power_state": power, "power": "off"}
    return {"vm_state": VmState.ACTIVE, "power_state": power, "power": "on"}


def _observe(row: Row, node: Row) -> Step:
    """A Server about which nothing is being done, and its Node."""
    state = node["provision_state"]
    if state in ("active", "rescue") and row["vm_state"] != VmState.ERROR:
        if node["power_state"] is None:
            return Settled()
        wanted = _shown(node)
    elif state in ("deploy failed", "error", "rescue failed", "unrescue failed"):
        wanted = {"vm_state": VmState.ERROR}
    else:
        wanted = {"power_state": POWER.get(node["power_state"], NOSTATE)}
    changes = {name: value for name, value in wanted.items() if row[name] != value}
    fell = changes.get("vm_state") == VmState.ERROR
    why = (node["last_error"] or f"Its node is in state {state}.") if fell else ""
    return Notice(changes, why) if changes else Settled()
