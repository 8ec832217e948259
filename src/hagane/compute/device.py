"""A Server's block devices: entries of its row, beside the disks that its flavor gives it without being asked.

    {"id", "source", "destination", "source_id", "volume_id", "attachment_id", "size", "boot_index", "device", "tag",
     "bus", "type", "format", "delete", "volume_type"}                    what the real service calls a mapping
    {"new", "gone", "undone", "request", "old", "reimage", "late"}        what is being done about it

    ordered ──volume there, reserved──▶ new ──in the machine──▶ (plain) ──detach──▶ gone ──out of it──▶ (no entry)
                                         └──refused──▶ gone, undone ──────────────────────────────────────┘

`late`: it came or left although the Host refused the whole; the next run ends it as if nothing had been refused.
The attachment of the block storage API says whether the machine may have a volume; the entry says how. A swap is an
entry whose volume is the new one and whose `old` is {"volume_id", "attachment_id"} until the copy is done.
"""

from collections.abc import Iterable, Mapping
from string import ascii_lowercase
from typing import Any
from uuid import uuid4

Entry = dict[str, Any]
Row = Mapping[str, Any]

_FIELDS = ("source", "destination", "source_id", "volume_id", "attachment_id", "size", "boot_index", "device", "tag",
           "bus", "type", "format", "delete", "volume_type")  # fmt: skip
_MARKS = ("new", "gone", "undone", "request", "old", "reimage", "late")
_PREFIX = {"virtio": "vd", "scsi": "sd", "sata": "sd", "usb": "sd", "ide": "hd", "fdc": "fd", "xen": "xvd"}
LETTERS = ascii_lowercase
MOST = len(LETTERS)
"""Devices of one Server: as many as there are letters; the real service's libvirt driver names no more either."""


def entry(**values: Any) -> Entry:
    """A new device with every field."""
    return {"id": str(uuid4())} | dict.fromkeys(_FIELDS) | {"delete": False} | values


def plain(one: Entry) -> Entry:
    """A device about which nothing is being done."""
    return {name: value for name, value in one.items() if name not in _MARKS}


def devices(row: Row) -> list[Entry]:
    return row["devices"] or []


def volumes(row: Row) -> list[Entry]:
    """Those that are volumes, also while the volumes are still to be made."""
    return [one for one in devices(row) if one["destination"] == "volume"]


def find(row: Row, volume_id: str) -> Entry | None:
    """The device that a volume is."""
    return next((one for one in volumes(row) if volume_id in (one["volume_id"], (one.get("old") or {}).get("volume_id"))
                 ), None)  # fmt: skip


def root(row: Row) -> Entry | None:
    """The volume that a Server boots from; None: its root is a disk of its Host's."""
    return next((one for one in volumes(row) if one["boot_index"] == 0), None)


def local(row: Row) -> list[Entry]:
    """Blank disks on the Host that were asked for, instead of those that the flavor gives."""
    return [one for one in devices(row) if one["destination"] == "local" and one["source"] == "blank"]


def ephemerals(row: Row) -> dict[str, int]:
    """Blank disks of the Host besides the root: what follows the root disk's key in theirs -> GB. What was asked for
    goes before what the flavor has."""
    asked = [one["size"] or row["flavor"]["ephemeral"] for one in local(row) if not is_swap(one)]
    sizes = asked or [row["flavor"]["ephemeral"]]
    return {f"-ephemeral{number or ''}": size for number, size in enumerate(sizes) if size}


def swap(row: Row) -> int:
    """MiB of swap."""
    asked = [one["size"] for one in local(row) if is_swap(one)]
    return int((asked[0] if asked else None) or row["flavor"]["swap"])


def is_swap(one: Entry) -> bool:
    return bool(one["format"] == "swap")


def change(row: Row, one: Entry, **marks: Any) -> list[Entry]:
    """All devices, one of them changed."""
    return [other | marks if other["id"] == one["id"] else other for other in devices(row)]


def without(row: Row, gone: Iterable[Entry]) -> list[Entry]:
    ids = {one["id"] for one in gone}
    return [one for one in devices(row) if one["id"] not in ids]


def on_host(row: Row) -> Mapping[str, Any]:
    """The flavor as far as a Host has to give it: the root of a volume-backed Server takes no room there."""
    return dict(row["flavor"]) | ({"disk": 0} if root(row) else {})


# -- names ---------------------------------------------------------------------------------------------------------


def prefix(bus: str | None) -> str:
    return "/dev/" + _PREFIX.get(bus or "virtio", "vd")


def letter(name: str) -> str:
    """What of a device name is its own: "b" of /dev/vdb and of /dev/sdb1."""
    rest = name.removeprefix("/dev/")
    for start in ("xvd", "vd", "sd", "hd", "fd"):
        if rest.startswith(start):
            return rest.removeprefix(start).rstrip("0123456789")
    return rest


def used(row: Row) -> set[str]:
    """Letters that are taken, also by disks that nobody ordered."""
    taken = {letter(one["device"]) for one in devices(row) if one["device"]}
    if root(row) is None:
        taken.add("a")
    return taken | set(unnamed(row))


def unnamed(row: Row) -> list[str]:
    """Letters of the flavor's own ephemeral disk and swap, which follow the root disk."""
    asked = local(row)
    mine = [bool(row["flavor"]["ephemeral"]) and all(is_swap(one) for one in asked),
            bool(row["flavor"]["swap"]) and not any(is_swap(one) for one in asked)]  # fmt: skip
    return list(LETTERS[1 : 1 + sum(mine)])


def next_name(row: Row, bus: str | None) -> str | None:
    """The first free name; None when there is none. What the caller proposes is not asked: the guest's names follow
    the order of its disks, and a name that it does not have would be a lie (the real service's libvirt driver does so
    too)."""
    taken = used(row)
    free = next((one for one in LETTERS if one not in taken), None)
    return None if free is None else prefix(bus) + free


def named(row: Row) -> list[Entry]:
    """All devices, with names for those that came to a Server without a machine."""
    found: list[Entry] = []
    for one in devices(row):
        if one["device"] is None and one["destination"] == "volume":
            one = one | {"device": next_name(dict(row) | {"devices": found + devices(row)}, one["bus"])}
        found.append(one)
    return found


def root_name(row: Row) -> str:
    one = root(row)
    return (one["device"] if one else None) or "/dev/vda"
