"""The row of a Server: what was asked (intent), what is so (observation), and the state shown to its owner.

    BUILD ──▶ ACTIVE ◀──start── SHUTOFF        vm_state says what it is, task_state what is being done about it
      │         │ ▲──────stop──────▲           (empty: nothing), and both together the status on the wire.
      │         ├─shelve─▶ SHELVED_OFFLOADED ─unshelve─▶ ACTIVE
      │         └─resize─▶ RESIZED ─confirm, revert─▶ ACTIVE or SHUTOFF
      └─▶ ERROR ┘ (rebuild, hard reboot)

A Server whose flavor asks for bare metal is a whole Node (`node_id`). Any that runs may be rescued: RESCUE.

Intent is written by the API: power, boots, disk_version, nics, the flavor, terminate, and the generation that each
change raises. reconcile/server.py writes what it sees: vm_state, power_state, host, launched_at, fault, progress, and
task_state back to empty.
"""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from hagane.state.database import Row
from hagane.state.table import Column, Table

KIND = "server"  # of work and of events


class VmState(StrEnum):
    """What a Server is."""

    BUILDING = "building"
    ACTIVE = "active"
    STOPPED = "stopped"
    PAUSED = "paused"
    SUSPENDED = "suspended"  # its memory is on the Host's disk
    RESIZED = "resized"  # runs with another flavor, on the same Host or another; not confirmed yet
    SHELVED = "shelved"
    SHELVED_OFFLOADED = "shelved_offloaded"  # on no Host: its disk is an image (disk_image)
    RESCUED = "rescued"  # another system runs: of bare metal from memory, on a Host from a disk of its own
    ERROR = "error"


class Task(StrEnum):
    """What is being done about it."""

    SCHEDULING = "scheduling"  # no Host yet
    SPAWNING = "spawning"  # being made on its Host
    POWERING_ON = "powering-on"
    POWERING_OFF = "powering-off"
    REBOOTING = "rebooting"
    REBOOTING_HARD = "rebooting_hard"
    REBUILDING = "rebuilding"
    PAUSING = "pausing"
    UNPAUSING = "unpausing"
    SUSPENDING = "suspending"
    RESUMING = "resuming"
    RESIZE_PREP = "resize_prep"  # no Host for the other flavor yet
    RESIZE_MIGRATING = "resize_migrating"  # its disks are copied to where it goes
    RESIZE_FINISH = "resize_finish"  # started with the other flavor
    RESIZE_CONFIRMING = "resize_confirming"
    RESIZE_REVERTING = "resize_reverting"
    MIGRATING = "migrating"  # to another Host while it runs
    SHELVING = "shelving"
    UNSHELVING = "unshelving"  # no Host yet
    RESCUING = "rescuing"
    UNRESCUING = "unrescuing"
    SNAPSHOT = "image_snapshot"
    UPLOADING = "image_uploading"
    BACKUP = "image_backup"  # a snapshot, after which the oldest go
    DELETING = "deleting"


SERVER = Table(
    "server",
    (
        Column("id", key=True),
        Column("project_id"),
        Column("user_id"),
        Column("name"),
        Column("hostname"),
        Column("description"),
        Column("image_id"),
        Column("image_properties", "json"),  # image_property.py
        Column("flavor_id"),
        Column("flavor", "json"),  # as it was when the Server was made
        Column("key_name"),
        Column("keypair", "json"),  # {name, type, public_key}: deleting the keypair changes no Server
        Column("metadata", "json"),
        Column("tags", "json"),
        Column("user_data"),  # base64
        Column("config_drive", "bool"),
        Column("zone"),  # asked for
        Column("hints", "json"),
        Column("group_id"),
        Column("wanted_host", "json"),  # {"host": name, "forced": bool}
        Column("security_groups", "json"),  # as asked for
        # [{"port_id", "owned", "tag"}] in their order. Owned ports end with the Server; "new" ones are not plugged yet,
        # and "gone" ones not yet unplugged.
        Column("nics", "json"),
        Column("devices", "json"),  # its block devices: device.py
        Column("files", "json"),  # personality
        Column("secret"),  # the sealed administrator password, until the machine has it
        Column("told"),  # the sealed password that the guest itself made and told
        Column("disk_config"),
        Column("access_ipv4"),
        Column("access_ipv6"),
        Column("reservation_id"),
        Column("launch_index", "int"),
        Column("power"),  # wanted: on, off, paused, suspended
        Column("boots", "int"),  # raised by each start and reboot
        Column("soft", "bool"),  # ask the guest first
        Column("disk_version", "int"),  # raised by a rebuild: a new disk
        Column("snapshot", "json"),  # {"image_id"} wanted now; of a backup also {"kind", "keep"}
        Column("terminate", "bool"),
        Column("locked_by"),  # owner, admin or nothing
        Column("locked_reason"),
        Column("action"),  # the last one, and its request: events of its steps hang on it
        Column("request_id"),
        Column("acted_at"),
        Column("generation", "int"),
        Column("observed_generation", "int"),
        Column("vm_state"),
        Column("task_state"),
        Column("power_state", "int"),
        Column("host"),
        # A resize under way or not confirmed: {"uuid", "kind", "host" asked for, "to", "old": {...}, "new": {...}}, or
        # a live migration: {..., "forced", "abort", "force"}.
        Column("move", "json"),
        Column("old_host"),  # where its machine of before the resize still is, or where one that runs is going
        Column("disk_image"),  # what the disk was made of, where that is not the image
        Column("rescue", "json"),  # {"image_id", "number"}: what it boots instead of its own disk
        Column("node_id"),  # the bare-metal Node that it is, instead of a machine on a Host
        Column("node_asked", "int"),  # the generation whose intent the Node has been told
        Column("tried", "json"),  # Hosts and Nodes where building failed
        Column("fault", "json"),  # {code, message, details, created}
        Column("progress", "int"),
        Column("created_at"),
        Column("updated_at"),
        Column("launched_at"),
    ),
    ("project_id, created_at, id", "created_at, id", "host", "group_id", "reservation_id", "node_id", "old_host"),
)

NOSTATE, RUNNING, PAUSED, SHUTDOWN, CRASHED = 0, 1, 3, 4, 6
"""Power states on the wire."""

_STATUS: dict[str, dict[str, str]] = {
    "active": {
        "": "ACTIVE", "rebooting": "REBOOT", "rebooting_hard": "HARD_REBOOT", "rebuilding": "REBUILD",
        "resize_prep": "RESIZE", "resize_migrating": "RESIZE", "resize_finish": "RESIZE", "migrating": "MIGRATING",
    },
    "building": {"": "BUILD"},
    "stopped": {
        "": "SHUTOFF", "rebuilding": "REBUILD",
        "resize_prep": "RESIZE", "resize_migrating": "RESIZE", "resize_finish": "RESIZE",
    },
    "resized": {"": "VERIFY_RESIZE", "resize_reverting": "REVERT_RESIZE"},
    "paused": {"": "PAUSED", "rebuilding": "REBUILD", "migrating": "MIGRATING"},
    "suspended": {"": "SUSPENDED"},
    "shelved": {"": "SHELVED"},
    "shelved_offloaded": {"": "SHELVED_OFFLOADED"},
    "rescued": {"": "RESCUE"},
    "error": {"": "ERROR", "rebuilding": "REBUILD"},
}  # fmt: skip


def status_of(row: Row) -> str:
    """The status on the wire."""
    states = _STATUS.get(row["vm_state"], {"": "UNKNOWN"})
    return states.get(row["task_state"] or "", states[""])


def states_of(status: str) -> list[tuple[str, str | None]]:
    """(vm_state, task_state) pairs of a status; the task None means any that has no status of its own."""
    found: list[tuple[str, str | None]] = []
    for vm_state, tasks in _STATUS.items():
        found += [(vm_state, task or None) for task, name in tasks.items() if name == status.upper()]
    return found


def special_tasks(vm_state: str) -> list[str]:
    """Tasks that give a vm_state another status."""
    return [task for task in _STATUS[vm_state] if task]


def host_id(row: Row) -> str:
    """A Host's name as a project may know it: equal for its Servers on one Host, and nothing else."""
    if not row["host"]:
        return ""
    return hashlib.sha224((row["project_id"] + row["host"]).encode()).hexdigest()


def disk_key(row: Mapping[str, Any]) -> str:
    """The key of the root disk, by which the Host knows its content."""
    return f"{row['id']}-{row['disk_version']}"


def fault(code: int, message: str, details: str, created: str) -> dict[str, Any]:
    return {"code": code, "message": message, "details": details, "created": created}


def port_ids(row: Mapping[str, Any]) -> list[str]:
    """The ports that the machine is to have, in the order of its NICs."""
    return [nic["port_id"] for nic in row["nics"] if not nic.get("gone")]
