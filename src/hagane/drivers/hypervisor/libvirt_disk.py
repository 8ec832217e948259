"""Disks as libvirt's domain XML, and back. Pure functions.

A disk that the Host keeps is a file of its disk pool, and its name says whose it is and which. A volume may be a file,
a block device, an iSCSI or Ceph target; its key is the device's alias, `ua-<key>`, which libvirt keeps for us.

A volume that was copied into another while the machine ran is still on the old one's device. A note in the running
machine's metadata says which key the device has once its source is the new one; it is written before the change, so
that no moment is without an answer. https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms
"""

import re
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hagane.drivers.hypervisor.base import Disk, Source
from hagane.drivers.hypervisor.plan import DRIVE
from hagane.errors import DeviceFailed

MARK = "hagane"
MOVED = "urn:hagane:moved:1"
_BUS = {"virtio": "vd", "scsi": "sd", "sata": "sd", "ide": "hd", "usb": "sd"}
_STEMS = tuple(f"{way}_{unit}" for unit in ("bytes_sec", "iops_sec") for way in ("total", "read", "write"))
IOTUNE = (*_STEMS, *(f"{stem}_max" for stem in _STEMS), "size_iops_sec")
USER_ALIAS = "ua-"
_SECRETS = uuid.UUID("5f0c1d1e-8a3f-4f5e-9c56-6f5a3c1a7d10")


@dataclass(frozen=True, slots=True)
class SeenDisk:
    """A disk in a domain. `copying`: the source that it is being copied to, `copied`: all of it is there."""

    target: str
    address: dict[str, str] = field(default_factory=dict)
    alias: str = ""
    source: str = ""
    copying: str = ""
    copied: bool = False


def disk_name(machine_id: str, key: str) -> str:
    return f"{MARK}-{machine_id}.{key}.{'iso' if key.startswith(DRIVE) else 'qcow2'}"


def disk_owner(name: str) -> tuple[str, str] | None:
    """(Server id, disk key) of a file's name in the pool; None: it is no disk of ours."""
    match = re.fullmatch(rf"{MARK}-([^.]+)\.([^.]+)\.(?:iso|qcow2)", name)
    return (match[1], match[2]) if match else None


def secret_name(machine_id: str, key: str) -> str:
    """What a Host calls the password of a machine's volume."""
    return f"{MARK}-{machine_id}.{key}"


def secret_uuid(machine_id: str, key: str) -> str:
    return str(uuid.uuid5(_SECRETS, secret_name(machine_id, key)))


def disk_xml(machine_id: str, disk: Disk, target: str, folder: str, seen: SeenDisk | None = None) -> ET.Element:
    """One disk. Its key is its serial number, unless another is wanted; a guest finds it by that in /dev/disk/by-id.
    `folder`: of the disks that the Host keeps."""
    if disk.source is None:
        node = ET.Element("disk", type="file", device="disk")
        sub(node, "driver", name="qemu", type="qcow2", discard="unmap")
        sub(node, "source", file=f"{folder}/{disk_name(machine_id, disk.key)}")
    else:
        node = _volume(machine_id, disk.key, disk.source)
    sub(node, "target", dev=target, bus=disk.bus)
    if disk.read_only:
        sub(node, "readonly")
    if disk.source and disk.source.data.get("multiattach"):
        sub(node, "shareable")
    if tuned := _tuned(disk.source):
        tune = sub(node, "iotune")
        for name, limit in tuned.items():
            sub(tune, name, text=limit)
    sub(node, "serial", text=(disk.serial or disk.key)[:36])
    if disk.source:
        sub(node, "alias", name=USER_ALIAS + disk.key)
    if seen and seen.address:
        sub(node, "address", **seen.address)
    return node


def _tuned(source: Source | None) -> dict[str, str]:
    """How fast the volume may be: those of its limits that are for a Host."""
    limits = source.data.get("qos_specs") if source else None
    return {name: str(limits[name]) for name in IOTUNE if name in limits} if limits else {}


def drive_xml(machine_id: str, key: str, folder: str, *, q35: bool, taken: set[str]) -> ET.Element:
    """The config drive: a CD, which takes no letter of the guest's disks. The board `pc` has a controller for it; on
    `q35` it is SCSI, as the kernels of many cloud images have no driver for SATA. Guests find it by its label."""
    node = ET.Element("disk", type="file", device="cdrom")
    sub(node, "driver", name="qemu", type="raw")
    sub(node, "source", file=f"{folder}/{disk_name(machine_id, key)}")
    if q35:
        sub(node, "target", dev="sdz", bus="scsi")
        sub(node, "readonly")
        # The last name would be on a second controller, if libvirt counted.
        sub(node, "address", type="drive", controller=0, bus=0, target=1, unit=0)
    else:
        free = next((name for name in ("hdc", "hdd", "hdb", "hda") if name not in taken), "hdc")
        sub(node, "target", dev=free, bus="ide")
        sub(node, "readonly")
    return node


def _volume(machine_id: str, key: str, source: Source) -> ET.Element:
    """What a volume is for libvirt. Raises DeviceFailed."""
    data = source.data
    if source.kind == "local":
        path = str(data["device_path"])
        block = path.startswith("/dev/")
        node = ET.Element("disk", type="block" if block else "file", device="disk")
        sub(node, "driver", name="qemu", type=data.get("format", "raw"), discard="unmap")
        sub(node, "source", **{"dev" if block else "file": path})
        return node
    node = ET.Element("disk", type="network", device="disk")
    sub(node, "driver", name="qemu", type="raw", discard="unmap")
    if source.kind == "iscsi":
        name = f"{data['target_iqn']}/{data.get('target_lun', 1)}"
        network = sub(node, "source", protocol="iscsi", name=name)
        host, _, port = str(data["target_portal"]).rpartition(":")
        sub(network, "host", name=host.strip("[]"), port=port)
        if data.get("auth_method") == "CHAP":
            auth = sub(network, "auth", username=data["auth_username"])
            sub(auth, "secret", type="iscsi", uuid=secret_uuid(machine_id, key))
        if initiator := data.get("initiator"):
            sub(sub(network, "initiator"), "iqn", name=initiator)
    elif source.kind == "rbd":
        network = sub(node, "source", protocol="rbd", name=data["name"])
        for host, port in zip(data.get("hosts", ()), data.get("ports", ()), strict=True):
            sub(network, "host", name=host, port=port)
        if data.get("auth_enabled"):
            auth = sub(network, "auth", username=data["auth_username"])
            sub(auth, "secret", type="ceph", uuid=secret_uuid(machine_id, key))
    else:
        raise DeviceFailed(f"a Host cannot reach a volume by {source.kind}")
    return node


def password(source: Source | None) -> str | None:
    """What a Host must know before it can log in."""
    if source is None or source.kind not in ("iscsi", "rbd"):
        return None
    found = source.data.get("auth_password")
    return None if found is None else str(found)


def source_of(source: Source) -> str:
    """The same text as `SeenDisk.source` of a domain that has it."""
    return _source(_volume("", "", source))


def plain(source: str) -> str:
    """A volume's own name: a file of it may have a further one while it is open (drivers/volume/file.py)."""
    return re.sub(r"(/volume\.[^./]+)\.[0-9a-f]{8}$", r"\1", source)


def free_target(bus: str, taken: set[str]) -> str:
    """The first free device name on a bus: vda, vdb, ..."""
    prefix = _BUS.get(bus, "vd")
    names = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    return next(prefix + n for n in names + ["a" + n for n in names] if prefix + n not in taken)


def wanted_target(disk: Disk) -> str:
    """The device name that is asked for, as this bus has it; "": none is."""
    match = re.fullmatch(r"(?:/dev/)?(?:xvd|[a-z]d)([a-z]{1,2})", disk.device)
    return _BUS.get(disk.bus, "vd") + match[1] if match else ""


def target(disk: Disk, taken: set[str]) -> str:
    """Where to plug in a disk: where it is wanted, if that is free."""
    wanted = wanted_target(disk)
    return wanted if wanted and wanted not in taken else free_target(disk.bus, taken)


def seen_disks(root: ET.Element) -> dict[str, SeenDisk]:
    """Our disks in a domain, by key."""
    moved = notes(root)
    return dict(filter(None, (_seen(node, moved) for node in root.findall("devices/disk"))))


def disk_nodes(root: ET.Element) -> list[tuple[str, ET.Element]]:
    """Our disks in a domain: key and element."""
    moved = notes(root)
    found = ((_seen(node, moved), node) for node in root.findall("devices/disk"))
    return [(seen[0], node) for seen, node in found if seen]


def _seen(node: ET.Element, moved: Mapping[tuple[str, str], str]) -> tuple[str, SeenDisk] | None:
    alias, source, mirror = _get(node, "alias", "name"), _source(node), node.find("mirror")
    address = node.find("address")
    disk = SeenDisk(
        _get(node, "target", "dev"), dict(address.attrib) if address is not None else {}, alias, source,
        _source(mirror) if mirror is not None else "", mirror is not None and mirror.get("ready") == "yes",
    )  # fmt: skip
    if key := moved.get((alias, plain(source))):
        return key, disk
    if owner := disk_owner(source.rpartition("/")[2]):
        return owner[1], disk
    return (alias.removeprefix(USER_ALIAS), disk) if alias.startswith(USER_ALIAS) else None


def _source(node: ET.Element) -> str:
    source = node.find("source")
    if source is None:
        return ""
    if "protocol" in source.attrib:
        return f"{source.get('protocol')}:{source.get('name')}"
    return source.get("file") or source.get("dev") or ""


def notes(root: ET.Element) -> dict[tuple[str, str], str]:
    """Devices whose content moved: (alias, source) -> key."""
    found = root.findall(f"metadata/{{{MOVED}}}moved/{{{MOVED}}}disk")
    return {(note.get("alias", ""), note.get("source", "")): note.get("key", "") for note in found}


def moved_xml(moved: Mapping[tuple[str, str], str]) -> str:
    """The element that `notes` reads."""
    root = ET.Element(f"{{{MOVED}}}moved")
    for (alias, source), key in moved.items():
        ET.SubElement(root, f"{{{MOVED}}}disk", alias=alias, source=source, key=key)
    return ET.tostring(root, encoding="unicode")


def _get(node: ET.Element, path: str, name: str) -> str:
    found = node.find(path)
    return found.get(name, "") if found is not None else ""


def sub(parent: ET.Element, tag: str, text: str | None = None, **attributes: Any) -> ET.Element:
    """A child element with text and attributes."""
    node = ET.SubElement(parent, tag, {name: str(value) for name, value in attributes.items()})
    node.text = text
    return node
