"""The provision states of a Node: which verb or event leads where. Data, and pure functions over it.

    enroll ─manage▶ verifying ─▶ manageable ─provide▶ cleaning ─▶ available ─deploy▶ deploying ⇄ wait call-back
                                  │  inspect, clean, adopt            ▲                  │
                                  ▼                               cleaning               ▼   rescue, service
                    inspecting, cleaning, adopting                    └── deleting ◀── active ───▶ rescuing, servicing

What goes wrong ends in a state of its own ("deploy failed"), with ways out of it.
It is the state machine of the real bare-metal service, edge for edge. A *verb* is what a user asks for by the API;
other *events* (done, fail, wait, hold, resume) are what the reconciler found out.
"""

from dataclasses import dataclass

VERBS = {
    "active": "deploy",
    "deploy": "deploy",
    "deleted": "delete",
    "undeploy": "delete",
    "manage": "manage",
    "provide": "provide",
    "inspect": "inspect",
    "abort": "abort",
    "clean": "clean",
    "adopt": "adopt",
    "rescue": "rescue",
    "unrescue": "unrescue",
    "unhold": "unhold",
    "service": "service",
}
"""What `target` of a provision request may say, beside `rebuild` -> the event."""

EDGES: dict[str, dict[str, str]] = {
    "enroll": {"manage": "verifying"},
    "verifying": {"done": "manageable", "fail": "enroll"},
    "manageable": {"provide": "cleaning", "clean": "cleaning", "inspect": "inspecting", "adopt": "adopting"},
    "available": {"deploy": "deploying", "manage": "manageable"},
    "inspecting": {"done": "manageable", "fail": "inspect failed", "wait": "inspect wait"},
    "inspect wait": {"done": "manageable", "fail": "inspect failed", "abort": "inspect failed", "resume": "inspecting"},
    "inspect failed": {"manage": "manageable", "inspect": "inspecting"},
    "adopting": {"done": "active", "fail": "adopt failed"},
    "adopt failed": {"adopt": "adopting", "manage": "manageable"},
    "cleaning": {
        "done": "available",
        "fail": "clean failed",
        "wait": "clean wait",
        "hold": "clean hold",
        "manage": "manageable",
    },
    "clean wait": {"fail": "clean failed", "abort": "clean failed", "hold": "clean hold", "resume": "cleaning"},
    "clean hold": {"abort": "clean failed", "unhold": "clean wait"},
    "clean failed": {"manage": "manageable"},
    "deploying": {"fail": "deploy failed", "wait": "wait call-back", "hold": "deploy hold", "done": "active"},
    "wait call-back": {
        "hold": "deploy hold",
        "resume": "deploying",
        "fail": "deploy failed",
        "abort": "deploy failed",
        "delete": "deleting",
    },
    "deploy hold": {"unhold": "wait call-back", "abort": "deploy failed"},
    "deploy failed": {"rebuild": "deploying", "deploy": "deploying", "delete": "deleting"},
    "active": {"rebuild": "deploying", "delete": "deleting", "rescue": "rescuing", "service": "servicing"},
    "rescuing": {"done": "rescue", "wait": "rescue wait", "fail": "rescue failed"},
    "rescue wait": {"resume": "rescuing", "fail": "rescue failed", "abort": "rescue failed", "delete": "deleting"},
    "rescue": {"rescue": "rescuing", "delete": "deleting", "unrescue": "unrescuing"},
    "rescue failed": {"rescue": "rescuing", "unrescue": "unrescuing", "delete": "deleting"},
    "unrescuing": {"done": "active", "fail": "unrescue failed"},
    "unrescue failed": {"rescue": "rescuing", "unrescue": "unrescuing", "delete": "deleting"},
    "servicing": {"done": "active", "fail": "service failed", "wait": "service wait", "hold": "service hold"},
    "service wait": {
        "hold": "service hold",
        "resume": "servicing",
        "fail": "service failed",
        "abort": "service failed",
        "delete": "deleting",
    },
    "service hold": {
        "service": "servicing",
        "unhold": "service wait",
        "fail": "service failed",
        "abort": "service failed",
    },
    "service failed": {
        "service": "servicing",
        "rescue": "rescuing",
        "wait": "service wait",
        "hold": "service hold",
        "delete": "deleting",
        "abort": "active",
    },
    "deleting": {"fail": "error", "clean": "cleaning"},
    "error": {"rebuild": "deploying", "delete": "deleting"},
}
"""state -> event -> next state."""

STABLE = frozenset(["enroll", "manageable", "available", "active", "error", "rescue"])
"""States in which nothing is going on and that have no target."""

TARGET = {
    "verifying": "manageable",
    "deploying": "active",
    "wait call-back": "active",
    "deploy failed": "active",
    "deploy hold": "active",
    "cleaning": "available",
    "clean wait": "available",
    "clean failed": "available",
    "clean hold": "available",
    "deleting": "available",
    "inspecting": "manageable",
    "inspect failed": "manageable",
    "inspect wait": "manageable",
    "adopting": "active",
    "adopt failed": "active",
    "rescuing": "rescue",
    "rescue wait": "rescue",
    "rescue failed": "rescue",
    "unrescuing": "active",
    "unrescue failed": "active",
    "servicing": "active",
    "service wait": "active",
    "service failed": "active",
    "service hold": "active",
}
"""Where a state on the way leads to (target_provision_state). Manual cleaning names its own."""

LOCKED = frozenset(
    ["deploying", "cleaning", "verifying", "inspecting", "adopting", "rescuing", "unrescuing", "deleting", "servicing"]
)
"""States in which somebody is at work at this moment: the Node counts as reserved."""

UNSTABLE = frozenset(
    [
        "deploying",
        "wait call-back",
        "cleaning",
        "clean wait",
        "verifying",
        "deleting",
        "inspecting",
        "inspect wait",
        "adopting",
        "rescuing",
        "rescue wait",
        "unrescuing",
        "servicing",
        "service wait",
    ]
)
FAILURE = frozenset(
    [
        "adopt failed",
        "clean failed",
        "deploy failed",
        "inspect failed",
        "rescue failed",
        "service failed",
        "unrescue failed",
    ]
)
LOOKUP = frozenset(
    [
        "clean wait",
        "cleaning",
        "deploying",
        "inspect wait",
        "inspecting",
        "rescue wait",
        "rescuing",
        "service wait",
        "wait call-back",
    ]
)
"""States in which a ramdisk may ask who it is."""

DELETABLE = ("manageable", "enroll", "adopt failed")
"""States from which a Node may be removed; in maintenance from any."""

CHANGEABLE = frozenset(
    [
        "deploy failed",
        "inspecting",
        "inspect failed",
        "inspect wait",
        "clean failed",
        "error",
        "verifying",
        "adopt failed",
        "rescue failed",
        "unrescue failed",
        "service",
        "service hold",
        "service failed",
    ]
)
"""States on the way in which a Node may be changed all the same."""

FREE = ("enroll", "inspecting", "inspect wait", "manageable", "available")
"""States in which interfaces and the resource class may be changed."""

WAITING = {"deploying": "wait call-back", "cleaning": "clean wait", "inspecting": "inspect wait",
           "rescuing": "rescue wait", "servicing": "service wait"}  # fmt: skip
"""States that an agent's call ends -> the state that waits for it."""

STATES = frozenset(EDGES) | {"deleted", "deploy complete"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a Node stands: its state, and where it is going (None: nowhere)."""

    state: str
    target: str | None


def event_of(verb: str) -> str:
    """The event of a verb; other words are events themselves."""
    return VERBS.get(verb, verb)


def possible(state: str, verb: str) -> bool:
    """Whether a verb or event means something in a state."""
    return event_of(verb) in EDGES.get(state, {})


def is_verb(word: str) -> bool:
    """Whether a user may ask for it."""
    return word in VERBS or word == "rebuild"


def advance(state: str, verb: str, target: str | None = None) -> Place:
    """The place after a verb or event. `target` overrides where the new state leads to. Raises KeyError."""
    after = EDGES[state][event_of(verb)]
    if after in STABLE:
        return Place(after, None)
    return Place(after, target or TARGET.get(after))
