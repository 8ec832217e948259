"""The steps of what is being done to a Node, as people see them: live in its row, in its history when they end.

    {"step", "started_at", "finished_at", "progress": 0..100 | None, "message", "result": "Success" | "Error" | None}

A deployment has the steps of `DEPLOYMENT`, in this order; the last two are noted by whoever sees them happen: OVN's
DHCP answers the tenant's machine, and somebody reaches it. Before `tenant-switch` comes `power-off`, a step of its own:
it takes seconds, and says nothing about the network.

What a machine does between `power-on` and `callback` is told by what is seen of it. Firmware that starts from the
network fetches loader, kernel and ramdisk one by one; of a machine that starts from a CD nothing is seen before its
ramdisk speaks. A step that cannot be told apart from another has no time of its own, and says so.
"""

from typing import Any

from hagane.baremetal.node import NODE
from hagane.baremetal.node_history import record
from hagane.state import clock, work
from hagane.state.database import Row, Tx

DEPLOYMENT = ("tenant-network", "provisioning-network", "power-on", "dhcp", "ramdisk", "callback", "write-image",
              "tenant-switch", "reboot", "tenant-dhcp", "reachable")  # fmt: skip
Steps = list[dict[str, Any]]
UNTOLD = {
    "dhcp": "not told apart from `ramdisk`: a machine that starts from a CD asks for its address when its ramdisk runs",
    "ramdisk": "not told apart from `dhcp`: nothing that this machine loads is fetched from here",
}
"""What is said of a step whose time is a part of another one's."""
TOLD = {"dhcp": "the machine has an address", "ramdisk": "the ramdisk runs"}


def find(steps: Steps, name: str) -> dict[str, Any] | None:
    """The newest step of this name."""
    return next((step for step in reversed(steps) if step["step"] == name), None)


def begin(steps: Steps, name: str, message: str = "") -> dict[str, Any]:
    """The step, begun now unless it runs already."""
    step = find(steps, name)
    if step is None or step["finished_at"] is not None:
        step = {"step": name, "started_at": clock.now(), "finished_at": None, "progress": None, "message": "",
                "result": None}  # fmt: skip
        steps.append(step)
    if message:
        step["message"] = message
    return step


def finish(steps: Steps, name: str, *, message: str = "", result: str = "Success") -> float | None:
    """End the step; how long it took in seconds, or None when it had ended already."""
    step = find(steps, name) or begin(steps, name)
    if step["finished_at"] is not None:
        return None
    ended = clock.now()
    step |= {"finished_at": ended, "result": result, "message": message or step["message"]}
    if result == "Success" and step["progress"] is not None:
        step["progress"] = 100
    return clock.seconds(ended) - clock.seconds(step["started_at"])


def spoke(steps: Steps) -> list[tuple[str, float]]:
    """The ramdisk has spoken: it is loaded and has an address. What that ends, in words, and its seconds."""
    known = {name: find(steps, name) for name in UNTOLD}
    ended = []
    for name in sorted(UNTOLD, key=lambda name: known[name] is None):  # what has a time of its own ends first
        message = (TOLD if known[name] else UNTOLD)[name]
        seconds = finish(steps, name, message=message)
        if seconds is not None:
            ended.append((f"{name}: {message}", seconds))
    return ended


def unfinished(steps: Steps) -> list[str]:
    return [step["step"] for step in steps if step["finished_at"] is None]


async def looked_up(tx: Tx, row: Row) -> Row:
    """A ramdisk has asked who it is: what changes in its Node's row. It calls back next."""
    steps: Steps = [dict(step) for step in row["seen"].get("steps") or []]
    power = find(steps, "power-on")
    if power is None or power["finished_at"] is None:
        return {}  # it is quicker than who switched it on: that one writes these steps
    if row["provision_state"] in ("inspect wait", "inspecting"):
        return {}  # it sends what it found, and is not called back
    for line, seconds in spoke(steps):
        await record(tx, row, line, duration=seconds)
    begin(steps, "callback", "the ramdisk has asked who it is")
    if row["instance_id"]:
        await work.wake(tx, "server", row["instance_id"])
    return {"seen": row["seen"] | {"steps": steps}}


async def note(tx: Tx, node_id: str, name: str, *, message: str = "") -> bool:
    """Something of a deployment was seen to have happened ("tenant-dhcp", "reachable"); False when it was known."""
    row = await NODE.get(tx, id=node_id)
    if row is None:
        return False
    steps: Steps = list(row["seen"].get("steps") or [])
    known = find(steps, name)
    if known is not None and known["finished_at"] is not None:
        return False
    if known is None and steps:
        begin(steps, name)["started_at"] = steps[-1]["finished_at"] or clock.now()
    seconds = finish(steps, name, message=message)
    await NODE.update(tx, {"id": node_id}, {"seen": row["seen"] | {"steps": steps}})
    await record(tx, row, f"{name}: {message or 'done'}", duration=seconds)
    if row["instance_id"]:
        await work.wake(tx, "server", row["instance_id"])
    return True
