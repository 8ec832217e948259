"""The machine's disks, as the kernel shows them in /sys, and which of them is meant (root device hints)."""

import operator
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import DeviceNotFound
from .place import Place

GB = 1 << 30
ENOUGH = 4 * GB  # as in the original: a smaller disk is not taken, unless there is no other
LEAST = 64 << 20
SKIPPED = re.compile(r"(loop|ram|zram|sr|fd|nbd|md|dm-|mtdblock)\d*")
HINTS = ("size", "model", "wwn", "serial", "vendor", "wwn_with_extension", "wwn_vendor_extension", "name", "rotational",
         "hctl", "by_path", "tran")  # fmt: skip
NUMBERS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le, ">=": operator.ge, "==": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt,
    "=": operator.ge,
}  # fmt: skip
TEXTS: dict[str, Callable[[str, str], bool]] = {
    "s==": operator.eq, "s!=": operator.ne, "s<=": operator.le, "s>=": operator.ge, "s<": operator.lt,
    "s>": operator.gt,
}  # fmt: skip


def disks(place: Place) -> list[dict[str, Any]]:
    """All disks that could be written to, in the original's format, ordered by name."""
    folder = place.path("sys/block")
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    found = [_disk(place, name) for name in names if not SKIPPED.fullmatch(name)]
    return [disk for disk in found if disk is not None]


def _disk(place: Place, name: str) -> dict[str, Any] | None:
    base = f"sys/block/{name}"

    def say(*files: str) -> str | None:
        return next((text for file in files if (text := place.text(f"{base}/{file}"))), None)

    size = int(say("size") or 0) * 512
    if not size or say("removable") == "1" or say("ro") == "1":
        return None
    where = str(place.path(f"{base}/device").resolve())
    wwn = say("wwid", "device/wwid", "device/wwn")
    wwn = wwn.removeprefix("naa.").removeprefix("eui.") if wwn and not wwn.startswith("t10.") else wwn
    hctl = Path(where).name if re.fullmatch(r"\d+:\d+:\d+:\d+", Path(where).name) else None
    return {
        "name": f"/dev/{name}", "model": say("device/model") or "", "size": size,
        "rotational": say("queue/rotational") == "1", "wwn": wwn, "serial": say("serial", "device/serial"),
        "vendor": say("device/vendor"), "wwn_with_extension": wwn, "wwn_vendor_extension": None, "hctl": hctl,
        "by_path": None, "logical_sectors": int(say("queue/logical_block_size") or 512),
        "physical_sectors": int(say("queue/physical_block_size") or 512), "tran": _transport(name, where),
    }  # fmt: skip


def _transport(name: str, where: str) -> str | None:
    for word, transport in (("nvme", "nvme"), ("virtio", "virtio"), ("/ata", "sata"), ("/usb", "usb")):
        if word in where or name.startswith(word):
            return transport
    return None


def root_disk(place: Place, node: dict[str, Any] | None) -> dict[str, Any]:
    """The disk that a Node is to be installed on. Raises DeviceNotFound in words."""
    found = disks(place)
    node = node or {}
    hints = {**(node.get("properties") or {}), **(node.get("instance_info") or {})}.get("root_device")
    if not found:
        raise DeviceNotFound("No suitable device was found: the ramdisk sees no disk at all.")
    if hints:
        matching = [disk for disk in found if matches(disk, hints)]
        if not matching:
            seen = ", ".join(f"{disk['name']} ({disk['size'] // GB} GiB)" for disk in found)
            raise DeviceNotFound(f"No suitable device was found for deployment using these hints {hints}; seen: {seen}")
        return matching[0]
    return guess(found)


def guess(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Without hints: the smallest disk that is large enough, or else the largest."""
    ordered = sorted(found, key=lambda disk: (disk["size"], disk["name"]))
    disk = next((disk for disk in ordered if disk["size"] >= ENOUGH), ordered[-1])
    if disk["size"] < LEAST:
        raise DeviceNotFound(f"No suitable device was found for deployment: all disks are smaller than {LEAST} bytes.")
    return disk


def matches(disk: dict[str, Any], hints: dict[str, Any]) -> bool:
    """Whether a disk has everything that the hints ask for. Raises DeviceNotFound for a hint that does not exist."""
    unknown = sorted(set(hints) - set(HINTS))
    if unknown:
        raise DeviceNotFound(f'The hints "{", ".join(unknown)}" are invalid. Valid hints are: "{", ".join(HINTS)}"')
    return all(_matches(name, disk.get(name), hint) for name, hint in hints.items())


def _matches(name: str, value: Any, hint: Any) -> bool:
    if name == "rotational":
        return bool(value) == (str(hint).lower() in ("1", "true", "yes", "on", "t", "y"))
    if value is None:
        return False
    if name == "size":
        return _number(value / GB, str(hint))
    return _text(str(value).strip().lower(), str(hint).strip().lower())


def _number(value: float, hint: str) -> bool:
    hint = hint.strip()
    if hint.startswith("<or>"):
        return any(value == float(word) for word in hint.split("<or>")[1:])
    sign = next((sign for sign in NUMBERS if hint.startswith(sign)), "")
    try:
        wanted = float(hint.removeprefix(sign))
    except ValueError as error:
        raise DeviceNotFound(f'Root device hint "size" is not an integer value: {hint}') from error
    return NUMBERS[sign or "=="](value, wanted)


def _text(value: str, hint: str) -> bool:
    if hint.startswith("<or>"):
        return value in [word.strip() for word in hint.split("<or>")[1:]]
    if hint.startswith("<in>"):
        return hint.removeprefix("<in>").strip() in value
    if hint.startswith("<all-in>"):
        return all(word.strip() in value for word in hint.split("<all-in>")[1:])
    sign = next((sign for sign in TEXTS if hint.startswith(sign)), "")
    return TEXTS[sign or "s=="](value, hint.removeprefix(sign).strip())
