"""A running machine goes to another Host: its memory, and the disks that its Host keeps.

    target: empty disks, config drive, console log, passwords ─▶ QEMU copies disks, then memory ─▶ it goes on there

The two libvirtds need not know each other: who leads is us, connected to both. Only the two QEMUs talk to each other,
from the old Host to the new one's address (TCP 49152 to 49215, libvirt's own range; not encrypted). If we die on the
way libvirtd ends what has begun, and the machine goes on where it was. All functions here block.
https://libvirt.org/migration.html ("managed direct migration")
"""

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import libvirt

from hagane.drivers.hypervisor import libvirt_storage as storage
from hagane.drivers.hypervisor.base import Machine
from hagane.drivers.hypervisor.libvirt_disk import MOVED, USER_ALIAS, disk_nodes, disk_xml, plain, source_of
from hagane.drivers.hypervisor.libvirt_link import Link
from hagane.drivers.hypervisor.libvirt_volume import find, tell_secrets
from hagane.drivers.hypervisor.libvirt_xml import Style, domain_xml, parse
from hagane.drivers.hypervisor.plan import DRIVE
from hagane.errors import Unavailable

_FLAGS = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
    | libvirt.VIR_MIGRATE_AUTO_CONVERGE  # a guest that writes faster than its memory can go is slowed down
)


@dataclass(frozen=True, slots=True)
class Luggage:
    """What goes with a machine. `disks`: key of each disk that its Host keeps -> (place in the guest, bytes)."""

    xml: str
    disks: dict[str, tuple[str, int]]
    drives: dict[str, bytes]
    log: bytes


def pack(connection: Any, machine_id: str) -> Luggage:
    """Look at the running machine. Raises Unavailable if it does not run."""
    domain = find(connection, machine_id)
    live = parse(domain.XMLDesc(0)) if domain and domain.isActive() else None
    if live is None:
        raise Unavailable(f"machine {machine_id} does not run")
    stored = storage.stored_disks(connection, machine_id) & live.disks.keys()
    drives = {key for key in stored if key.startswith(DRIVE)}
    return Luggage(
        domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE),
        {key: (live.disks[key].target, storage.disk_bytes(connection, machine_id, key)) for key in stored - drives},
        {key: storage.read_drive(connection, machine_id, key) for key in drives},
        storage.console_log(connection, machine_id),
    )


def receive(connection: Any, machine: Machine, luggage: Luggage) -> None:
    """What the target has to have before the machine comes. Nothing of it is there from an earlier attempt."""
    storage.drop_all(connection, machine.id)
    for key, (_, size) in luggage.disks.items():
        storage.make_blank(connection, machine.id, key, size)
    for key, content in luggage.drives.items():
        storage.make_drive(connection, machine.id, key, content)
    storage.make_log(connection, machine.id, luggage.log)
    tell_secrets(connection, machine)


def go(
    connection: Any, machine: Machine, luggage: Luggage, source: Style, target: Style, link: Link, address: str
) -> None:
    """The way itself; it takes as long as it takes."""
    live = parse(luggage.xml)
    params: dict[str, Any] = {
        libvirt.VIR_MIGRATE_PARAM_URI: f"tcp://{_bracketed(address)}",
        libvirt.VIR_MIGRATE_PARAM_DEST_XML: arriving_xml(luggage.xml, machine, source, target),
        libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: domain_xml(machine, target, live),
    }
    if _is_ip(address):
        params[libvirt.VIR_MIGRATE_PARAM_LISTEN_ADDRESS] = address
    flags = _FLAGS
    if luggage.disks:
        flags |= libvirt.VIR_MIGRATE_NON_SHARED_DISK
        params[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = [place for place, _ in luggage.disks.values()]
    if any(disk.source and disk.source.kind == "local" for disk in machine.disks):
        flags |= libvirt.VIR_MIGRATE_UNSAFE  # libvirt cannot know that both Hosts have the very same file or device
    domain = find(connection, machine.id)
    if domain is None:
        raise Unavailable(f"machine {machine.id} does not run")
    link.share(lambda other: domain.migrate3(other, params, flags))


def percent(connection: Any, machine_id: str) -> int:
    """How much of disks and memory is there."""
    domain = find(connection, machine_id)
    if domain is None or not domain.isActive():
        return 99
    stats = domain.jobStats()
    total, left = stats.get("data_total", 0), stats.get("data_remaining", 0)
    return min(99, int((total - left) * 100 // total)) if total else 0


def arriving_xml(xml: str, machine: Machine, source: Style, target: Style) -> str:
    """The running machine as the target has it: the same for the guest, its disks and bridge where they are there."""
    root = ET.fromstring(xml)
    wanted = {disk.key: disk for disk in machine.disks if disk.source}
    for key, node in disk_nodes(root):
        _without(node, "backingStore")
        if key in wanted:
            _lead(node, machine.id, wanted[key], target)
        elif (place := node.find("source")) is not None and "file" in place.attrib:
            place.set("file", _moved(place.attrib["file"], source.disk_dir, target.disk_dir))
    metadata = root.find("metadata")
    if metadata is not None:
        _without(metadata, f"{{{MOVED}}}moved")  # every disk is under its own name now
    for place in root.findall("devices/interface/source[@bridge]"):
        place.set("bridge", target.bridge)
    for log in root.findall("devices//log[@file]"):
        log.set("file", _moved(log.attrib["file"], source.log_dir, target.log_dir))
    return ET.tostring(root, encoding="unicode")


def _lead(node: ET.Element, machine_id: str, disk: Any, style: Style) -> None:
    """A volume's way from the target. A file keeps the name that it has while it is open."""
    fresh = disk_xml(machine_id, disk, "", style.disk_dir)
    place = node.find("source")
    if place is None or plain(place.get("file") or place.get("dev") or "") != source_of(disk.source):
        for tag in ("driver", "auth", "source"):
            _without(node, tag)
            node.extend(fresh.findall(tag))
        node.set("type", fresh.get("type", "file"))
    _without(node, "alias")
    ET.SubElement(node, "alias", name=USER_ALIAS + disk.key)


def _without(node: ET.Element, tag: str) -> None:
    for child in node.findall(tag):
        node.remove(child)


def _moved(path: str, old: str, new: str) -> str:
    return new + path.removeprefix(old) if path.startswith(f"{old}/") else path


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _is_ip(address: str) -> bool:
    try:
        ip_address(address)
    except ValueError:
        return False
    return True
