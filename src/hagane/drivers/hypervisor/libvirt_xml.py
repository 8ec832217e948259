"""Machines as libvirt domain XML, and back. Pure functions: the golden tests read them without any libvirt.

What we own on a Host is found by its names and marks:

    domain    hagane-<server id>             metadata <hagane:machine id= boots= spec=>
    disk      hagane-<server id>.<disk key>.qcow2 (or .iso for a config drive); a volume: see libvirt_disk.py
    console   hagane-<server id>.log

`spec` is a digest of what was wanted: a stored domain with the same digest needs no new definition. Where a domain is
defined anew, devices that stay keep their addresses and the machine type its version, so that a guest never finds
its first NIC under another name after a reboot. https://libvirt.org/formatdomain.html
"""

import hashlib
import re
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hagane.drivers.hypervisor.base import Disk, Machine, MachineNic
from hagane.drivers.hypervisor.libvirt_disk import (
    MARK,
    SeenDisk,
    disk_xml,
    drive_xml,
    free_target,
    seen_disks,
    sub,
    target,
    wanted_target,
)
from hagane.drivers.hypervisor.plan import drive_key

SPACE = "urn:hagane:machine:1"
QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
# QEMU opens a volume by iSCSI while its guest stands still or, at a start, while libvirt can tell nothing of it. For so
# many ms it waits for a target that acknowledges nothing; the kernel would try for two minutes. Read by libiscsi. Only
# machines that start with such a volume have it: where a domain has words of its own for QEMU, and libvirtd (9.0) is
# killed while it starts, the domain is now and then locked for good.
PATIENCE = {"LIBISCSI_TCP_USER_TIMEOUT": "5000"}
ROOT_PORTS = 16  # PCI Express slots on q35: every device needs one, also those that are plugged in later
_UNPRINTABLE = re.compile(r"[^ -~\u00a0-\ud7ff\ue000-\ufffd]")

ET.register_namespace(MARK, SPACE)
ET.register_namespace("qemu", QEMU)


@dataclass(frozen=True, slots=True)
class Style:
    """How machines are built on one Host."""

    accel: str = "tcg"  # "kvm" where the Host has it
    machine: str = "pc"  # boots as fast as q35 and takes devices later without reserved slots
    disk_dir: str = "/var/lib/hagane/disk"
    log_dir: str = "/var/lib/hagane/console"
    bridge: str = "br-int"
    userspace: bool = False  # the bridge's datapath is Open vSwitch in user space


@dataclass(frozen=True, slots=True)
class SeenNic:
    """A NIC in a domain, with the address that the guest knows it by."""

    mac: str
    mtu: int
    address: dict[str, str] = field(default_factory=dict)
    alias: str = ""  # libvirt's name of the device while it is plugged in


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain of ours, as its XML says."""

    id: str
    boots: int
    spec: str
    vcpus: int
    memory_mb: int
    machine: str
    nics: dict[str, SeenNic]
    disks: dict[str, SeenDisk]


def domain_uuid(machine_id: str) -> str:
    """The domain's UUID: the Server's id, which a guest then finds in its DMI tables."""
    try:
        return str(uuid.UUID(machine_id))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{SPACE}:{machine_id}"))


def domain_name(machine_id: str) -> str:
    return f"{MARK}-{machine_id}"


def log_name(machine_id: str) -> str:
    return f"{MARK}-{machine_id}.log"


def spec_digest(machine: Machine, style: Style) -> str:
    """The same for two machines that need the same stored domain, their count of boots left aside."""
    xml = _domain(replace(machine, boots=0), style, "", None)
    return hashlib.sha256(ET.tostring(xml)).hexdigest()[:16]


def domain_xml(machine: Machine, style: Style, kept: Domain | None = None) -> str:
    """The domain to store. Devices of `kept` that stay keep their places."""
    if kept and not _same_board(kept.machine, style.machine):
        kept = None
    root = _domain(machine, style, spec_digest(machine, style), kept)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def nic_xml(nic: MachineNic, style: Style, seen: SeenNic | None = None) -> ET.Element:
    """One network interface, plugged into the integration bridge under its Port's id."""
    node = ET.Element("interface", type="bridge")
    sub(node, "mac", address=nic.mac)
    sub(node, "source", bridge=style.bridge)
    sub(sub(node, "virtualport", type="openvswitch"), "parameters", interfaceid=nic.port_id)
    sub(node, "model", type="virtio")
    if style.userspace:
        # libvirt opens the tap with virtio headers, which Open vSwitch in user space cannot read: without this,
        # ping works and TCP hangs.
        off = dict.fromkeys(("csum", "tso4", "tso6", "ecn", "ufo"), "off")
        driver = sub(node, "driver", name="qemu")
        sub(driver, "host", **off, gso="off", mrg_rxbuf="off")
        sub(driver, "guest", **off)
    sub(node, "mtu", size=nic.mtu)
    sub(node, "rom", enabled="no")
    _address(node, seen.address if seen else {})
    return node


def parse(xml: str) -> Domain | None:
    """What a domain's XML says; None: it is not ours."""
    root = ET.fromstring(xml)
    mark = root.find(f"metadata/{{{SPACE}}}machine")
    if mark is None:
        return None
    return Domain(
        id=mark.get("id", ""),
        boots=int(mark.get("boots", "0")),
        spec=mark.get("spec", ""),
        vcpus=int(root.findtext("vcpu", "0")),
        memory_mb=_megabytes(root.find("memory")),
        machine=_get(root, "os/type", "machine"),
        nics=dict(filter(None, map(_seen_nic, root.findall("devices/interface")))),
        disks=seen_disks(root),
    )


def _seen_nic(node: ET.Element) -> tuple[str, SeenNic] | None:
    port = _get(node, "virtualport/parameters", "interfaceid")
    mtu = int(_get(node, "mtu", "size") or 1500)
    nic = SeenNic(_get(node, "mac", "address"), mtu, _seen_address(node), _get(node, "alias", "name"))
    return (port, nic) if port else None


def _seen_address(node: ET.Element) -> dict[str, str]:
    address = node.find("address")
    return dict(address.attrib) if address is not None else {}


def _domain(machine: Machine, style: Style, spec: str, kept: Domain | None) -> ET.Element:
    root = ET.Element("domain", type="kvm" if style.accel == "kvm" else "qemu")
    sub(root, "name", text=domain_name(machine.id))
    sub(root, "uuid", text=domain_uuid(machine.id))
    sub(root, "title", text=_UNPRINTABLE.sub("?", machine.name) or machine.id)
    mark = ET.SubElement(sub(root, "metadata"), f"{{{SPACE}}}machine")
    mark.attrib.update(id=machine.id, boots=str(machine.boots), spec=spec)
    sub(root, "memory", text=str(machine.memory_mb), unit="MiB")
    sub(root, "vcpu", text=str(machine.vcpus))
    _firmware(root, machine, style, kept)
    sub(root, "cpu", mode="host-passthrough" if style.accel == "kvm" else "maximum")
    sub(root, "clock", offset="utc")
    sub(root, "on_poweroff", text="destroy")
    sub(root, "on_reboot", text="restart")
    sub(root, "on_crash", text="destroy")
    _devices(sub(root, "devices"), machine, style, kept)
    if any(disk.source and disk.source.kind == "iscsi" for disk in machine.disks):
        told = ET.SubElement(root, f"{{{QEMU}}}commandline")
        for name, value in PATIENCE.items():
            ET.SubElement(told, f"{{{QEMU}}}env", name=name, value=value)
    return root


def _firmware(root: ET.Element, machine: Machine, style: Style, kept: Domain | None) -> None:
    # cloud-init takes a machine for one of this kind of cloud by its product name.
    system = sub(sub(root, "sysinfo", type="smbios"), "system")
    sub(system, "entry", name="manufacturer", text="Hagane")
    sub(system, "entry", name="product", text="OpenStack Nova")
    sub(system, "entry", name="serial", text=machine.id)
    sub(system, "entry", name="uuid", text=domain_uuid(machine.id))
    os = sub(root, "os")
    sub(os, "type", arch="x86_64", machine=kept.machine if kept else style.machine, text="hvm")
    sub(os, "bios", useserial="yes")
    sub(os, "smbios", mode="sysinfo")
    features = sub(root, "features")
    sub(features, "acpi")
    sub(features, "apic")


def _devices(devices: ET.Element, machine: Machine, style: Style, kept: Domain | None) -> None:
    disks, drive = machine.disks, drive_key(machine)
    seen = _kept_disks(disks, kept)
    # A first disk that is new (a rebuild) takes the first name, also where an old disk of this machine has it still.
    taken = {seen[disk.key].target for disk in disks if disk.key in seen}
    asked = {wanted_target(disk) for disk in disks[1:] if disk.key not in seen}
    for number, disk in enumerate(disks):
        if disk.key in seen:
            place = seen[disk.key].target
        elif number == 0:
            place = free_target(disk.bus, taken)
        else:
            place = target(disk, taken if disk.device else taken | asked)
        taken.add(place)
        node = disk_xml(machine.id, disk, place, style.disk_dir, seen.get(disk.key))
        if number == 0:
            sub(node, "boot", order=1)
        devices.append(node)
    q35 = style.machine == "q35"
    if drive:
        devices.append(drive_xml(machine.id, drive, style.disk_dir, q35=q35, taken=taken))
    if q35:
        sub(devices, "controller", type="pci", index=0, model="pcie-root")
        for index in range(1, ROOT_PORTS + 1):
            sub(devices, "controller", type="pci", index=index, model="pcie-root-port")
    if any(disk.bus == "scsi" for disk in disks) or (drive and q35):
        sub(devices, "controller", type="scsi", model="virtio-scsi")
    sub(devices, "controller", type="usb", model="none")
    for nic in machine.nics:
        devices.append(nic_xml(nic, style, kept.nics.get(nic.port_id) if kept else None))
    serial = sub(devices, "serial", type="pty")
    sub(serial, "log", file=f"{style.log_dir}/{log_name(machine.id)}", append="on")
    sub(sub(devices, "video"), "model", type="none")
    sub(devices, "memballoon", model="none")
    sub(sub(devices, "rng", model="virtio"), "backend", model="random", text="/dev/urandom")


def _kept_disks(disks: Sequence[Disk], kept: Domain | None) -> dict[str, SeenDisk]:
    """The places that disks keep. The first disk is the guest's first: where it would not be (a rescue system comes in
    front of the others, or goes again), all find new places in their order."""
    seen = kept.disks if kept else {}
    if not disks:
        return seen
    first, name = disks[0], free_target(disks[0].bus, set())
    holder = next((disk.key for disk in disks if disk.key in seen and seen[disk.key].target == name), first.key)
    displaced = first.key in seen and seen[first.key].target != name
    return {} if holder != first.key or displaced else seen


def _same_board(kept: str, wanted: str) -> bool:
    """libvirt stores "pc" as "pc-i440fx-7.2" and "q35" as "pc-q35-7.2"."""
    return ("q35" in kept) == ("q35" in wanted)


def _megabytes(memory: ET.Element | None) -> int:
    return 0 if memory is None else int(memory.text or 0) * {"MiB": 1024}.get(memory.get("unit", "KiB"), 1) // 1024


def _address(node: ET.Element, address: dict[str, str]) -> None:
    if address:
        sub(node, "address", **address)


def _get(node: ET.Element, path: str, name: str) -> str:
    found = node.find(path)
    return found.get(name, "") if found is not None else ""
