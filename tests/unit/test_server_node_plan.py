"""What is done next about a Server that is a Node: a table."""

from typing import Any

import pytest

from hagane.compute.row import Task, VmState
from hagane.reconcile.server_node_plan import (
    Ask,
    Deploy,
    Elsewhere,
    Fail,
    Fence,
    Finish,
    Follow,
    Forget,
    Notice,
    Place,
    Plug,
    Release,
    Settled,
    plan,
)

NODE: dict[str, Any] = {
    "id": "n", "instance_id": "s", "provision_state": "active", "power_state": "power on", "last_error": None,
    "maintenance": False, "protected": False, "wanted": {}, "seen": {},
}  # fmt: skip
SERVER: dict[str, Any] = {
    "id": "s", "node_id": "n", "terminate": False, "vm_state": VmState.ACTIVE, "task_state": None, "power": "on",
    "power_state": 1, "generation": 2, "observed_generation": 2, "node_asked": 1,
}  # fmt: skip
BUILD = {"vm_state": VmState.BUILDING, "task_state": Task.SPAWNING, "observed_generation": 0}
END = {"terminate": True, "task_state": Task.DELETING, "observed_generation": 1}
ASKED = {"node_asked": 2, "observed_generation": 1}
NOT_ASKED = {"node_asked": 1, "observed_generation": 1}
ERROR = VmState.ERROR

CASES: tuple[tuple[str, dict[str, Any], dict[str, Any] | None, Any], ...] = (
    # building
    ("new", BUILD | {"node_id": None, "task_state": Task.SCHEDULING}, None, Place()),
    ("claimed", BUILD, {"provision_state": "available"}, Deploy()),
    ("claimed, in maintenance", BUILD, {"provision_state": "available", "maintenance": True}, Elsewhere),
    ("deploying", BUILD, {"provision_state": "deploying"}, Follow),
    ("waiting", BUILD, {"provision_state": "wait call-back"}, Follow),
    ("held", BUILD, {"provision_state": "deploy hold"}, Follow),
    ("deployed", BUILD, {}, Finish({"vm_state": VmState.ACTIVE, "power_state": 1})),
    ("failed", BUILD, {"provision_state": "deploy failed", "last_error": "disk"}, Elsewhere("disk")),
    ("moved away", BUILD, {"provision_state": "manageable"}, Elsewhere("somebody moved it to state manageable")),
    ("taken away", BUILD, {"instance_id": None}, Elsewhere),
    ("removed", BUILD, None, Elsewhere),
    # brought back from a Node that is dead
    ("given up", {"task_state": Task.SCHEDULING, "observed_generation": 1}, {}, Fence()),
    ("given up in error", {"task_state": Task.SCHEDULING, "vm_state": ERROR}, {"provision_state": "error"}, Fence()),
    ("cut off", {"task_state": Task.SCHEDULING, "node_id": None, "observed_generation": 1}, None, Place()),
    ("deleted before it is cut off", END | {"task_state": Task.SCHEDULING}, {}, Ask("deleted")),
    # ending
    ("end", END, {}, Ask("deleted")),
    ("end of a failed one", END, {"provision_state": "deploy failed"}, Ask("deleted")),
    ("end while it waits", END, {"provision_state": "wait call-back"}, Ask("deleted")),
    ("end while it writes", END, {"provision_state": "deploying"}, Follow),
    ("end while it is held", END, {"provision_state": "deploy hold"}, Ask("abort")),
    ("end before it began", END, {"provision_state": "available"}, Release()),
    ("end of a rescued one", END, {"provision_state": "rescue"}, Ask("deleted")),
    ("ending", END, {"provision_state": "deleting"}, Follow),
    ("let go of", END, {"instance_id": None, "provision_state": "cleaning"}, Forget()),
    ("another's", END, {"instance_id": "other"}, Forget()),
    ("no node", END | {"node_id": None}, None, Forget()),
    ("stuck", END | {"node_asked": 2}, {"provision_state": "error", "last_error": "x"}, Fail),
    ("asked again", END, {"provision_state": "error"}, Ask("deleted")),
    ("protected", END, {"protected": True}, Fail),
    ("end in maintenance", END, {"maintenance": True}, Ask("deleted")),
    # power
    ("stop", NOT_ASKED | {"task_state": Task.POWERING_OFF}, {}, Ask("soft power off", power=True)),
    ("stopping", ASKED | {"task_state": Task.POWERING_OFF}, {"wanted": {"power": {}}}, Follow),
    ("stopped", ASKED | {"task_state": Task.POWERING_OFF}, {"power_state": "power off"},
     Finish({"vm_state": VmState.STOPPED, "power_state": 4, "power": "off"})),
    ("would not stop", ASKED | {"task_state": Task.POWERING_OFF}, {"last_error": "deaf"}, Fail("deaf")),
    ("start", NOT_ASKED | {"task_state": Task.POWERING_ON}, {}, Ask("power on", power=True)),
    ("soft reboot", NOT_ASKED | {"task_state": Task.REBOOTING}, {}, Ask("soft rebooting", power=True)),
    ("hard reboot", NOT_ASKED | {"task_state": Task.REBOOTING_HARD}, {}, Ask("rebooting", power=True)),
    ("no node to start", NOT_ASKED | {"task_state": Task.POWERING_ON}, None, Fail),
    # verbs
    ("rebuild", NOT_ASKED | {"task_state": Task.REBUILDING}, {}, Ask("rebuild")),
    ("rebuilding", ASKED | {"task_state": Task.REBUILDING}, {"provision_state": "wait call-back"}, Follow),
    ("rebuilt", ASKED | {"task_state": Task.REBUILDING}, {}, Finish),
    ("rebuild failed", ASKED | {"task_state": Task.REBUILDING}, {"provision_state": "deploy failed",
     "last_error": "sum"}, Fail("sum", True)),
    ("rebuild without a node", NOT_ASKED | {"task_state": Task.REBUILDING, "node_id": None}, None, Place()),
    ("rescue", NOT_ASKED | {"task_state": Task.RESCUING}, {}, Ask("rescue")),
    ("rescued", ASKED | {"task_state": Task.RESCUING}, {"provision_state": "rescue"},
     Finish({"vm_state": VmState.RESCUED, "power_state": 1})),
    ("unrescue", NOT_ASKED | {"task_state": Task.UNRESCUING}, {"provision_state": "rescue"}, Ask("unrescue")),
    ("rescue not possible", NOT_ASKED | {"task_state": Task.RESCUING}, {"provision_state": "servicing"}, Fail),
    ("nics", {"observed_generation": 1}, {}, Plug()),
    # nothing is asked
    ("as it should be", {}, {}, Settled()),
    ("switched off by hand", {}, {"power_state": "power off"},
     Notice({"vm_state": VmState.STOPPED, "power_state": 4, "power": "off"})),
    ("switched on by hand", {"vm_state": VmState.STOPPED, "power": "off", "power_state": 4}, {},
     Notice({"vm_state": VmState.ACTIVE, "power_state": 1, "power": "on"})),
    ("rescued by its operator", {}, {"provision_state": "rescue"}, Notice({"vm_state": VmState.RESCUED})),
    ("undeployed behind its back", {}, {"instance_id": None}, Notice),
    ("undeployed, and said", {"vm_state": ERROR}, {"instance_id": None}, Settled()),
    ("a rebuild of its operator failed", {}, {"provision_state": "deploy failed", "last_error": "x"},
     Notice({"vm_state": ERROR}, "x")),
    ("in service", {}, {"provision_state": "servicing"}, Settled()),
    ("power not known", {}, {"power_state": None}, Settled()),
)  # fmt: skip


@pytest.mark.parametrize(("server", "node", "told"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_plan(server: dict[str, Any], node: dict[str, Any] | None, told: Any) -> None:
    step = plan(SERVER | server, NODE | node if node is not None else None)
    if isinstance(told, type):
        assert isinstance(step, told), step
    else:
        assert step == told


def test_every_state_of_a_node_is_answered() -> None:
    """No state that the bare-metal API knows leaves a Server without an answer, whatever is wanted of it."""
    from hagane.baremetal.node_state import EDGES

    wanted = ({}, BUILD, END, END | {"node_asked": 2}, *(NOT_ASKED | {"task_state": task} for task in Task))
    for state in EDGES:
        for server in wanted:
            assert plan(SERVER | server, NODE | {"provision_state": state}) is not None
