"""One libvirt domain: looking at it, and each change to it as one function. All functions here block.

A domain has two descriptions: what is stored (it holds from the next start on) and, while it runs, the live one. The
live one keeps the count of boots that it was started with, so `boots` is never guessed.
"""

import contextlib
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Any

import libvirt

from hagane.drivers.hypervisor.base import Machine, MachineNic, Power, Seen
from hagane.drivers.hypervisor.libvirt_disk import MARK, source_of
from hagane.drivers.hypervisor.libvirt_errors import is_code
from hagane.drivers.hypervisor.libvirt_storage import disk_gb, is_whole, stored_disks
from hagane.drivers.hypervisor.libvirt_volume import drop_secrets, find, tell_secrets
from hagane.drivers.hypervisor.libvirt_xml import (
    Domain,
    Style,
    domain_uuid,
    domain_xml,
    nic_xml,
    parse,
    spec_digest,
)
from hagane.drivers.hypervisor.plan import DRIVE, Have, drive_key

_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    | libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)
_OFF_REASONS = {
    libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN: "the guest shut down",
    libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED: "powered off",
    libvirt.VIR_DOMAIN_SHUTOFF_CRASHED: "QEMU ended unexpectedly",
    libvirt.VIR_DOMAIN_SHUTOFF_FAILED: "the Host could not start the machine, or lost it",
    libvirt.VIR_DOMAIN_SHUTOFF_DAEMON: "libvirt was stopped and lost the machine",
}
_CRASHED = {libvirt.VIR_DOMAIN_SHUTOFF_CRASHED, libvirt.VIR_DOMAIN_SHUTOFF_FAILED, libvirt.VIR_DOMAIN_SHUTOFF_DAEMON}


@dataclass(frozen=True, slots=True)
class Look:
    """Everything the Host says about one machine. `live` is None unless it runs, `stored` unless it is defined."""

    power: Power
    reason: str
    live: Domain | None
    stored: Domain | None

    @property
    def now(self) -> Domain | None:
        return self.live or self.stored


def look(connection: Any, machine_id: str) -> Look | None:
    domain = find(connection, machine_id)
    return _look(domain) if domain else None


def have(connection: Any, machine: Machine, style: Style) -> Have:
    """What the plan starts from."""
    disks = set(stored_disks(connection, machine.id))
    seen = look(connection, machine.id)
    defined = set[str]()
    for domain in (seen.live, seen.stored) if seen else ():
        defined |= domain.disks.keys() if domain else set()
    # A disk that no domain names yet may be half made: a config drive then is made again, a disk if it is broken.
    disks -= {drive_key(machine) or ""} - defined
    for disk in machine.disks:
        if disk.key in disks - defined and not is_whole(connection, machine.id, disk):
            disks.discard(disk.key)
    if seen is None or seen.now is None:
        return Have(stored=frozenset(disks))
    now, stored = seen.now, seen.stored
    return Have(
        power=seen.power,
        boots=now.boots,
        nics={port: MachineNic(port, nic.mac, nic.mtu) for port, nic in now.nics.items()},
        disks=frozenset(now.disks),
        copying=frozenset(key for key, disk in now.disks.items() if disk.copying),
        stored=frozenset(disks),
        sizes={disk.key: disk_gb(connection, machine.id, disk.key) for disk in machine.disks if disk.key in disks},
        current=bool(stored and stored.boots == machine.boots and _is_stored(stored, machine, style)),
    )


def _is_stored(stored: Domain, machine: Machine, style: Style) -> bool:
    """libvirt notes where a volume is while it is open, which is not where it will be at the next start."""
    volumes = {disk.key: disk.source for disk in machine.disks if disk.source}
    there = all(stored.disks[key].source == source_of(volumes[key]) for key in volumes.keys() & stored.disks.keys())
    return there and stored.spec == spec_digest(machine, style)


def seen(connection: Any, machine_id: str) -> Seen | None:
    """One machine of ours."""
    what = look(connection, machine_id)
    return _seen(what) if what else None


def seen_all(connection: Any) -> dict[str, Seen]:
    """All machines of ours."""
    found = {}
    for domain in connection.listAllDomains(0):
        if domain.name().startswith(f"{MARK}-"):
            with contextlib.suppress(libvirt.libvirtError):  # gone since it was listed
                what = _seen(_look(domain))
                if what:
                    found[what.id] = what
    return found


def define(connection: Any, machine: Machine, style: Style) -> None:
    """Store what is wanted. Devices keep the places they have in the running machine, else in the stored one."""
    what = look(connection, machine.id)
    tell_secrets(connection, machine)
    connection.defineXML(domain_xml(machine, style, what.now if what else None))
    drop_secrets(connection, machine.id, frozenset(disk.key for disk in machine.disks))


def start(connection: Any, machine: Machine, paused: bool) -> None:
    tell_secrets(connection, machine)  # libvirtd keeps them in memory only, and may have been started anew
    flags = libvirt.VIR_DOMAIN_START_PAUSED if paused else 0
    connection.lookupByUUIDString(domain_uuid(machine.id)).createWithFlags(flags)


def pause(connection: Any, machine_id: str) -> None:
    connection.lookupByUUIDString(domain_uuid(machine_id)).suspend()


def resume(connection: Any, machine_id: str) -> None:
    connection.lookupByUUIDString(domain_uuid(machine_id)).resume()


def suspend(connection: Any, machine_id: str) -> None:
    connection.lookupByUUIDString(domain_uuid(machine_id)).managedSave(libvirt.VIR_DOMAIN_SAVE_RUNNING)


def discard(connection: Any, machine_id: str) -> None:
    domain = connection.lookupByUUIDString(domain_uuid(machine_id))
    if domain.hasManagedSaveImage():
        domain.managedSaveRemove()


def press_power(connection: Any, machine_id: str) -> None:
    """Ask the guest to shut down, as the power button does."""
    domain = find(connection, machine_id)
    if domain:
        with _not_running_is_fine():
            domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)


def is_off(connection: Any, machine_id: str) -> bool:
    domain = find(connection, machine_id)
    return domain is None or not domain.isActive()


def is_paused(connection: Any, machine_id: str) -> bool:
    what = look(connection, machine_id)
    return what is not None and what.power is Power.PAUSED


def kill(connection: Any, machine_id: str) -> None:
    domain = find(connection, machine_id)
    if domain:
        with _not_running_is_fine():
            domain.destroy()


def remove(connection: Any, machine_id: str) -> None:
    """The domain is gone after this; its disks are not."""
    kill(connection, machine_id)
    domain = find(connection, machine_id)
    if domain:
        domain.undefineFlags(_UNDEFINE)
    drop_secrets(connection, machine_id)


def plug(connection: Any, machine_id: str, nic: MachineNic, style: Style) -> None:
    domain = connection.lookupByUUIDString(domain_uuid(machine_id))
    domain.attachDeviceFlags(ET.tostring(nic_xml(nic, style), encoding="unicode"), _LIVE)


def ask_out(connection: Any, machine_id: str, device: str) -> bool:
    """Ask the guest to let go of a NIC (by Port id) or a disk (by key). True: it is out already."""
    domain = find(connection, machine_id)
    live = parse(domain.XMLDesc(0)) if domain and domain.isActive() else None
    found = (live.nics.get(device) or live.disks.get(device)) if live else None
    if found is None:
        return True
    try:
        domain.detachDeviceAlias(found.alias, _LIVE)
    except libvirt.libvirtError as error:
        # The guest has been asked already, or it let go while this waited for its turn: libvirt has several words and
        # codes for that, so it is looked for again.
        if is_out(connection, machine_id, device):
            return True
        if "in the process of unplug" not in str(error):
            raise
    return False


def is_out(connection: Any, machine_id: str, device: str) -> bool:
    what = look(connection, machine_id)
    return what is None or what.live is None or (device not in what.live.nics and device not in what.live.disks)


def is_idle(connection: Any, machine_id: str) -> bool:
    """Whether QEMU has done all that it was told. A disk leaves the XML before QEMU closes it, which by iSCSI takes as
    long as the target says nothing."""
    domain = find(connection, machine_id)
    if domain is None or not domain.isActive():
        return True
    return bool(domain.controlInfo()[0] != libvirt.VIR_DOMAIN_CONTROL_OCCUPIED)


def start_copy(connection: Any, machine_id: str, key: str, path: str) -> None:
    """Let the running machine copy a disk, as it is at this moment, into the empty file at `path`."""
    domain = connection.lookupByUUIDString(domain_uuid(machine_id))
    live = parse(domain.XMLDesc(0))
    root = ET.Element("domainbackup", mode="push")
    disks = ET.SubElement(root, "disks")
    for other, disk in live.disks.items() if live else ():
        node = ET.SubElement(disks, "disk", name=disk.target, backup="yes" if other == key else "no")
        if other == key:
            node.set("type", "file")
            ET.SubElement(node, "driver", type="qcow2")
            ET.SubElement(node, "target", file=path)
    domain.backupBegin(ET.tostring(root, encoding="unicode"), None, libvirt.VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL)


def copy_ended(connection: Any, machine_id: str) -> bool:
    domain = find(connection, machine_id)
    return domain is None or not domain.isActive() or domain.jobInfo()[0] == libvirt.VIR_DOMAIN_JOB_NONE


def copy_failure(connection: Any, machine_id: str) -> str | None:
    """Why the last copy failed; None: it did not."""
    domain = find(connection, machine_id)
    if domain is None or not domain.isActive():
        return "the machine stopped while its disk was copied"
    stats = domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED)
    if stats.get("type") == libvirt.VIR_DOMAIN_JOB_COMPLETED:
        return None
    return str(stats.get("errmsg") or "the copy of the disk failed")


def abort_copy(connection: Any, machine_id: str) -> None:
    domain = find(connection, machine_id)
    if domain:
        with _not_running_is_fine():
            domain.abortJob()


def _look(domain: Any) -> Look:
    state, reason = domain.state()
    power, why = _power(state, reason)
    if power is Power.OFF and domain.hasManagedSaveImage():
        power, why = Power.SUSPENDED, ""
    current = parse(domain.XMLDesc(0))
    if power in (Power.ON, Power.PAUSED):
        stored = parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)) if domain.isPersistent() else None
        return Look(power, why, current, stored)
    return Look(power, why, None, current)


def _seen(what: Look) -> Seen | None:
    now = what.now
    if now is None:
        return None
    return Seen(
        id=now.id,
        power=what.power,
        boots=now.boots,
        nics=frozenset(now.nics),
        disks=frozenset(key for key in now.disks if not key.startswith(DRIVE)),
        vcpus=now.vcpus,
        memory_mb=now.memory_mb,
        reason=what.reason,
    )


def _power(state: int, reason: int) -> tuple[Power, str]:
    if state in (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED, libvirt.VIR_DOMAIN_SHUTDOWN):
        return Power.ON, ""
    if state == libvirt.VIR_DOMAIN_PAUSED:
        if reason == libvirt.VIR_DOMAIN_PAUSED_STARTING_UP:
            return Power.OFF, "starting"
        full = reason == libvirt.VIR_DOMAIN_PAUSED_IOERROR
        return Power.PAUSED, "the Host cannot write to a disk of the machine (is it full?)" if full else ""
    if state == libvirt.VIR_DOMAIN_PMSUSPENDED:
        return Power.PAUSED, "the guest sleeps"
    if state == libvirt.VIR_DOMAIN_CRASHED or (state == libvirt.VIR_DOMAIN_SHUTOFF and reason in _CRASHED):
        return Power.CRASHED, _OFF_REASONS.get(reason, "the guest crashed")
    return Power.OFF, _OFF_REASONS.get(reason, "")


@contextlib.contextmanager
def _not_running_is_fine() -> Any:
    try:
        yield
    except libvirt.libvirtError as error:
        if not is_code(error, libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_DOMAIN):
            raise
