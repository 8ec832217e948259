"""What is to be done next about one Server: a pure function of its row, its Host and what is seen there.

terminate ──▶ Remove ──▶ Forget
no Host   ──▶ Place
Host down ──▶ Blocked
a task    ──▶ Apply (the whole desired machine) ──▶ its ports ──▶ Finish         or Snapshot
no task   ──▶ what is seen ──▶ Notice (it went off, on, away by itself) or Settled
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hagane.compute.row import CRASHED, NOSTATE, PAUSED, RUNNING, SHUTDOWN, Task, VmState, port_ids
from hagane.drivers.hypervisor.base import Power, Seen
from hagane.placement.host import is_up
from hagane.reconcile.server_machine import volume_keys

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Settled:
    """Row and world agree."""


@dataclass(frozen=True)
class Place:
    """Claim a Host."""


@dataclass(frozen=True)
class Apply:
    """Let the Host have the whole desired machine."""


@dataclass(frozen=True)
class Snapshot:
    """Copy the disk into an image."""


@dataclass(frozen=True)
class Remove:
    """Take the machine off its Host, then forget the Server."""


@dataclass(frozen=True)
class Forget:
    """Nothing of it is anywhere that can be reached: drop the row and all it holds."""


@dataclass(frozen=True)
class Blocked:
    """Nothing can be done now, for this reason."""

    why: str


@dataclass(frozen=True)
class Notice:
    """The world changed by itself: say so in the row."""

    changes: dict[str, Any] = field(default_factory=dict)


Step = Settled | Place | Apply | Snapshot | Remove | Forget | Blocked | Notice

_STATE = {
    Power.ON: RUNNING, Power.PAUSED: PAUSED, Power.OFF: SHUTDOWN, Power.SUSPENDED: SHUTDOWN, Power.CRASHED: CRASHED,
}  # fmt: skip
_VM = {
    Power.ON: VmState.ACTIVE,
    Power.PAUSED: VmState.PAUSED,
    Power.OFF: VmState.STOPPED,
    Power.SUSPENDED: VmState.SUSPENDED,
    Power.CRASHED: VmState.STOPPED,
}
SNAPSHOTS = (Task.SNAPSHOT, Task.UPLOADING, Task.BACKUP)


def plan(row: Row, seen: Seen | None, host: Row | None, *, lost: bool = False) -> Step:
    """`seen` is what the Host shows of the machine, None: nothing; `host` its row, None: there is no such Host. `lost`:
    somebody deleted a port that it has.
    """
    placed, reachable = row["host"] is not None, host is not None and is_up(dict(host))
    if row["terminate"]:
        return Remove() if placed and reachable else Forget()
    if row["task_state"] is None and row["vm_state"] in (VmState.ERROR, VmState.BUILDING):
        return _observe(row, seen) if placed and reachable else Settled()
    if row["vm_state"] == VmState.SHELVED_OFFLOADED and row["task_state"] is None:
        return Settled()
    if not placed:
        return Place()
    if not reachable:
        reason = (host or {}).get("reason") or "it does not answer"
        return Blocked(f"Host {row['host']} is down: {reason}")
    if row["task_state"] in SNAPSHOTS:
        return Snapshot()
    if row["task_state"] is not None or row["observed_generation"] < row["generation"]:
        return Apply()
    step = _observe(row, seen)
    return Apply() if lost and isinstance(step, Settled) else step


def _observe(row: Row, seen: Seen | None) -> Step:
    """Compare a Server about which nothing is being done with its machine."""
    if row["vm_state"] == VmState.ERROR:
        state = NOSTATE if seen is None else _STATE[seen.power]
        return Notice({"power_state": state}) if state != row["power_state"] else Settled()
    if seen is None:
        return Notice({"vm_state": VmState.ERROR, "power_state": NOSTATE})
    if seen.power in (Power.ON, Power.PAUSED) and row["power"] == "off":
        return Apply()  # somebody started it behind our back: the row holds
    changes = {"power_state": _STATE[seen.power], "vm_state": _VM[seen.power]}
    if row["vm_state"] in (VmState.RESIZED, VmState.RESCUED):
        return Notice({"power_state": _STATE[seen.power]}) if _STATE[seen.power] != row["power_state"] else Settled()
    if seen.power in (Power.OFF, Power.CRASHED) and row["power"] != "off":
        changes["power"] = "off"
    elif (seen.power is Power.SUSPENDED) != (row["power"] == "suspended"):
        changes["power"] = "suspended" if seen.power is Power.SUSPENDED else "on"
    changes = {name: value for name, value in changes.items() if row[name] != value}
    if changes:
        return Notice(changes)
    running = seen.power in (Power.ON, Power.PAUSED)
    plugged = {key for key in seen.disks if key.startswith("volume-")}
    return Apply() if running and (seen.nics != set(port_ids(row)) or plugged != volume_keys(row)) else Settled()


def finished(row: Row, seen: Seen) -> dict[str, Any]:
    """The columns of a Server whose machine is now as it was asked to be."""
    vm_state = _VM[seen.power if row["power"] == "suspended" else Power(row["power"])]
    if row["task_state"] == Task.RESIZE_FINISH or (row["vm_state"] == VmState.RESIZED and row["task_state"] is None):
        vm_state = VmState.RESIZED
    elif row["rescue"] and row["power"] == "on":
        vm_state = VmState.RESCUED
    return {
        "vm_state": vm_state,
        "task_state": None,
        "power_state": _STATE[seen.power],
        "observed_generation": row["generation"],
        "soft": False,
    }


def differs(row: Row, seen: Seen | None) -> bool:
    """Whether a full pass over a Host has to look at this Server more closely. The row needs only the columns LIGHT."""
    if row["task_state"] is not None or row["terminate"]:
        return False  # it is being worked at
    return not isinstance(_observe(row, seen), Settled)


LIGHT: Sequence[str] = ("id", "vm_state", "task_state", "power_state", "power", "nics", "devices", "terminate")
