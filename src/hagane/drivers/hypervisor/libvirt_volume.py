"""Disks of a running libvirt domain: in, into another, larger, and over a new file. All functions here block.

    swap:   look ─▶ [note, copy begins] ─▶ (copying ...) ─▶ all there ─▶ pivot ─▶ the device has the new source

A copy goes on in QEMU whatever becomes of us: who comes later finds it in the domain's XML and goes on waiting.
"""

import xml.etree.ElementTree as ET
from base64 import b64decode
from typing import Any

import libvirt

from hagane.drivers.hypervisor.base import Disk, Machine
from hagane.drivers.hypervisor.libvirt_disk import (
    MARK,
    MOVED,
    SeenDisk,
    disk_xml,
    moved_xml,
    notes,
    password,
    plain,
    secret_name,
    secret_uuid,
    source_of,
    target,
)
from hagane.drivers.hypervisor.libvirt_errors import is_code
from hagane.drivers.hypervisor.libvirt_xml import Domain, Style, domain_uuid, parse
from hagane.errors import DeviceFailed, Unavailable

_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
_COPY = libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT | libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
_LAYER = (
    libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT
)


def tell_secrets(connection: Any, machine: Machine) -> None:
    """The Host knows the passwords of the machine's volumes, in memory only and for nobody to read."""
    for disk in machine.disks:
        text = password(disk.source)
        if text is not None:
            name = secret_name(machine.id, disk.key)
            ceph = disk.source is not None and disk.source.kind == "rbd"
            usage = f"'ceph'><name>{name}</name>" if ceph else f"'iscsi'><target>{name}</target>"
            xml = (
                f"<secret ephemeral='yes' private='yes'><uuid>{secret_uuid(machine.id, disk.key)}</uuid>"
                f"<usage type={usage}</usage></secret>"
            )
            connection.secretDefineXML(xml).setValue(b64decode(text) if ceph else text.encode())


def drop_secrets(connection: Any, machine_id: str, keep: frozenset[str] = frozenset()) -> None:
    """Forget the passwords of a machine's volumes, but for those of the disks in `keep`."""
    start, kept = f"{MARK}-{machine_id}.", {secret_name(machine_id, key) for key in keep}
    for secret in connection.listAllSecrets():
        name = secret.usageID()
        if name.startswith(start) and name not in kept:
            secret.undefine()


def attach(connection: Any, machine: Machine, disk: Disk, style: Style) -> None:
    """Put a disk into the running machine."""
    domain, live = _running(connection, machine.id)
    tell_secrets(connection, machine)
    if disk.bus == "scsi" and "<controller type='scsi'" not in domain.XMLDesc(0):
        domain.attachDeviceFlags("<controller type='scsi' model='virtio-scsi'/>", _LIVE)
    place = target(disk, {other.target for other in live.disks.values()})
    xml = disk_xml(machine.id, disk, place, style.disk_dir)
    domain.attachDeviceFlags(ET.tostring(xml, encoding="unicode"), _LIVE)


def begin_swap(connection: Any, machine: Machine, disk: Disk, style: Style) -> None:
    """Let the machine copy one disk into another, unless it does already. Raises DeviceFailed."""
    domain, live = _running(connection, machine.id)
    tell_secrets(connection, machine)
    old = live.disks.get(disk.copy_of or "")
    if old is None or disk.source is None:
        raise DeviceFailed(f"machine {machine.id} has no disk {disk.copy_of} that could be copied")
    wanted = source_of(disk.source)
    if old.copying == wanted:
        return
    if old.copying:
        domain.blockJobAbort(old.target, 0)
    domain.setMetadata(
        libvirt.VIR_DOMAIN_METADATA_ELEMENT, moved_xml(_notes(domain, live) | {(old.alias, wanted): disk.key}),
        "moved", MOVED, _LIVE,
    )  # fmt: skip
    if domain.blockInfo(old.target)[0] < disk.size_gb << 30:  # QEMU copies only to what is of the same size
        domain.blockResize(old.target, disk.size_gb << 30, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
    xml = disk_xml(machine.id, disk, old.target, style.disk_dir)
    domain.blockCopy(old.target, ET.tostring(xml, encoding="unicode"), {}, _COPY)


def swap_percent(connection: Any, machine_id: str, disk: Disk) -> int:
    """How much of it is copied; 100: all, or it has been swapped. Raises DeviceFailed if the copy ended."""
    live = _running(connection, machine_id)[1]
    if disk.key in live.disks:
        return 100
    old = live.disks.get(disk.copy_of or "")
    if old is None or not old.copying:
        raise DeviceFailed("the volume could not be copied: the copy ended before all was there")
    if old.copied:
        return 100
    info = find(connection, machine_id).blockJobInfo(old.target, 0)
    return min(99, int(info["cur"] * 100 // max(1, info["end"]))) if info else 0


def end_swap(connection: Any, machine_id: str, disk: Disk) -> None:
    """From now on the device has the new source. Nothing happens the second time."""
    domain, live = _running(connection, machine_id)
    if disk.key not in live.disks:
        old = live.disks[disk.copy_of or ""]
        domain.blockJobAbort(old.target, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)


def stop_swap(connection: Any, machine_id: str, key: str) -> None:
    """End the copy of a disk. Nothing happens the second time."""
    domain, live = _running(connection, machine_id)
    if key in live.disks and live.disks[key].copying:
        domain.blockJobAbort(live.disks[key].target, 0)


def new_layer(connection: Any, machine_id: str, source: str, file: str) -> None:
    """The machine goes on in a file beside the one that it has of the volume at `source`. Nothing happens the second
    time. Raises Unavailable if no running machine of this id has it."""
    domain, disk = _with_source(connection, machine_id, source)
    path = f"{source.rpartition('/')[0]}/{file}"
    if disk.source == path:
        return
    root = ET.Element("domainsnapshot")
    disks = ET.SubElement(root, "disks")
    for other in parse(domain.XMLDesc(0)).disks.values():  # type: ignore[union-attr]
        node = ET.SubElement(disks, "disk", name=other.target, snapshot="no")
        if other.target == disk.target:
            node.attrib |= {"snapshot": "external", "type": "file"}
            ET.SubElement(node, "driver", type="qcow2")
            ET.SubElement(node, "source", file=path)
    domain.snapshotCreateXML(ET.tostring(root, encoding="unicode"), _LAYER)


def resize(connection: Any, machine_id: str, source: str, size: int) -> None:
    """The disk with this source has so many bytes, and the guest is told; one that is off sees it at its start. Raises
    Unavailable."""
    stored = find(connection, machine_id)
    if stored is not None and not stored.isActive():
        return
    domain, disk = _with_source(connection, machine_id, source)
    domain.blockResize(disk.target, size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)


def find(connection: Any, machine_id: str) -> Any:
    """The libvirt domain, or None."""
    try:
        return connection.lookupByUUIDString(domain_uuid(machine_id))
    except libvirt.libvirtError as error:
        if is_code(error, libvirt.VIR_ERR_NO_DOMAIN):
            return None
        raise


def _running(connection: Any, machine_id: str) -> tuple[Any, Domain]:
    """Raises Unavailable."""
    domain = find(connection, machine_id)
    live = parse(domain.XMLDesc(0)) if domain and domain.isActive() else None
    if live is None:
        raise Unavailable(f"machine {machine_id} does not run")
    return domain, live


def _with_source(connection: Any, machine_id: str, source: str) -> tuple[Any, SeenDisk]:
    domain, live = _running(connection, machine_id)
    found = next((disk for disk in live.disks.values() if plain(disk.source) == source), None)
    if found is None:
        raise Unavailable(f"machine {machine_id} has no disk {source}")
    return domain, found


def _notes(domain: Any, live: Domain) -> dict[tuple[str, str], str]:
    """What was noted of devices that still have what the note says."""
    root = ET.fromstring(domain.XMLDesc(0))
    there = {(disk.alias, plain(disk.source)) for disk in live.disks.values()}
    return {about: key for about, key in notes(root).items() if about in there}
