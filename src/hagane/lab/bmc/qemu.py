"""What a virtual bare-metal server consists of, and the QEMU command line that is this server."""

import errno
import json
from dataclasses import dataclass
from pathlib import Path

FIRMWARE_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
SECURE_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd")
# (disk, network, CD) in the order in which they are tried, by boot device.
_ORDER = {
    "": ("disk", "net", "cd"),
    "disk": ("disk", "net", "cd"),
    "pxe": ("net", "disk", "cd"),
    "http": ("net", "disk", "cd"),
    "cdrom": ("cd", "disk", "net"),
}
# Fast, and safe as long as this machine runs: what a guest writes is not forced to the disk.
_CACHE = {"cache": {"direct": False, "no-flush": True}, "discard": "unmap"}


@dataclass(frozen=True, slots=True)
class Nic:
    """One network interface. `tap`: an interface in the machine's namespace; "": QEMU's own user network."""

    mac: str
    tap: str = ""


@dataclass(frozen=True, slots=True)
class Drive:
    """A virtual drive of the BMC, with the image in it."""

    slot: str
    file: Path | None


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """What never changes about a machine. Disks are raw files that exist already. `mode`: as it left the factory."""

    name: str
    uuid: str
    folder: Path
    disks: tuple[Path, ...] = ()
    nics: tuple[Nic, ...] = ()
    memory_mb: int = 256
    vcpus: int = 1
    mode: str = "bios"
    netns: str = ""
    kvm: bool = False
    paused: bool = False  # powered on, but its CPU stands still: for tests of the BMC alone
    secure_boot: bool = False  # in UEFI mode the firmware starts nothing that is not signed
    option_roms: bool = True  # False: the firmware cannot boot from the network, and is done sooner

    @property
    def pid_file(self) -> Path:
        return self.folder / "pid"

    @property
    def qmp(self) -> Path:
        return self.folder / "qmp"

    @property
    def serial(self) -> Path:
        return self.folder / "serial"

    @property
    def console_log(self) -> Path:
        return self.folder / "console.log"

    @property
    def variables(self) -> Path:
        return self.folder / ("vars-secure.fd" if self.secure_boot else "vars.fd")


def argv(
    spec: MachineSpec, boot: str, mode: str, drives: tuple[Drive, ...], *, disk_fault: str = ""
) -> tuple[str, ...]:
    """The command line for one start. `disk_fault`: what is wrong with the first disk."""
    first = {kind: 1 + 100 * place for place, kind in enumerate(_ORDER[boot])}
    return (
        *_board(spec, secure=spec.secure_boot and mode == "uefi"),
        *(_uefi(spec, pxe=spec.option_roms and boot != "http") if mode == "uefi" else ()),
        *(
            word
            for number, disk in enumerate(spec.disks)
            for word in _disk(number, disk, first["disk"], "" if number else disk_fault)
        ),
        *(word for number, nic in enumerate(spec.nics) for word in _nic(spec, number, nic, first["net"])),
        *(word for drive in drives for word in _drive(drive, first["cd"])),
    )


def _board(spec: MachineSpec, *, secure: bool) -> tuple[str, ...]:
    """Without devices; firmware and boot loaders talk to the serial port. A log that grows keeps earlier starts. Secure
    boot needs a board on which the firmware alone may write its flash."""
    board = "q35,smm=on,graphics=off" if secure else "pc,graphics=off"
    serial = f"socket,id=serial0,path={spec.serial},server=on,wait=off,logfile={spec.console_log},logappend=on"
    return (
        *("qemu-system-x86_64", "-name", spec.name, "-uuid", spec.uuid, "-nodefaults", "-display", "none"),
        *("-machine", board, "-m", str(spec.memory_mb), "-smp", str(spec.vcpus)),
        *(("-accel", "kvm", "-cpu", "host") if spec.kvm else ("-accel", "tcg,thread=multi", "-cpu", "max")),
        *("-smbios", f"type=1,manufacturer=Hagane,product=Virtual bare metal,serial={spec.name},uuid={spec.uuid}"),
        *("-chardev", serial, "-serial", "chardev:serial0", "-qmp", f"unix:{spec.qmp},server=on,wait=off"),
        *("-pidfile", str(spec.pid_file), "-daemonize", "-no-user-config"),
        *("-device", "virtio-scsi-pci,id=scsi0", "-device", "qemu-xhci,id=usb0", "-device", "virtio-rng-pci"),
        *(("-S",) if spec.paused else ()),
    )


def _uefi(spec: MachineSpec, *, pxe: bool) -> tuple[str, ...]:
    """OVMF. It tries PXE before HTTP, so PXE is turned off for an HTTP boot."""
    code = SECURE_CODE if spec.secure_boot else FIRMWARE_CODE
    guard = ("-global", "driver=cfi.pflash01,property=secure,value=on")
    no_pxe = ("-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n")
    return (
        *("-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}"),
        *("-drive", f"if=pflash,format=raw,unit=1,file={spec.variables}"),
        *(guard if spec.secure_boot else ()),
        *(() if pxe else (*no_pxe, "-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n")),
    )


def _disk(number: int, file: Path, first: int, fault: str) -> tuple[str, ...]:
    """Errors are told to the machine; QEMU would rather stop it when the space behind a disk runs out."""
    name = disk_node(number)
    behind = {"driver": "file", "filename": str(file), "node-name": f"{name}-file", **_CACHE}
    filters = [failing(number, fault)] if fault else []
    nodes = [behind, *filters, node(number, f"{name}-bad" if fault else f"{name}-file")]
    errors = "werror=report,rerror=report"
    device = f"virtio-blk-pci,drive={name},serial={name},{errors},bootindex={first + number}"
    return (*(word for one in nodes for word in ("-blockdev", json.dumps(one))), "-device", device)


def disk_node(number: int) -> str:
    """QEMU's name of a disk; its file is "<name>-file", a filter that fails "<name>-bad"."""
    return f"disk{number}"


def node(number: int, behind: str) -> dict[str, object]:
    """The disk, on top of another node."""
    return {"driver": "raw", "node-name": disk_node(number), "file": behind, **_CACHE}


def failing(number: int, fault: str) -> dict[str, object]:
    """A filter over a disk's file that lets requests fail (QEMU's blkdebug)."""
    kinds = ("write",) if fault == "disk-full" else ("read", "write")
    code = errno.ENOSPC if fault == "disk-full" else errno.EIO
    rules = [{"event": "none", "iotype": kind, "errno": code} for kind in kinds]
    name = disk_node(number)
    return {"driver": "blkdebug", "node-name": f"{name}-bad", "image": f"{name}-file", "inject-error": rules, **_CACHE}


def _nic(spec: MachineSpec, number: int, nic: Nic, first: int) -> tuple[str, ...]:
    """With vnet_hdr a userspace switch would get packets whose checksums are half made: TCP hangs."""
    tap = f"tap,id=net{number},ifname={nic.tap},script=no,downscript=no,vnet_hdr=off"
    device = f"virtio-net-pci,netdev=net{number},mac={nic.mac},bootindex={first + number}"
    rom = "" if spec.option_roms else ",romfile="
    return ("-netdev", tap if nic.tap else f"user,id=net{number},restrict=on", "-device", device + rom)


def _drive(drive: Drive, first: int) -> tuple[str, ...]:
    file = f",file={drive.file},format=raw" if drive.file else ""
    if drive.slot == "cd":
        device = f"scsi-cd,bus=scsi0.0,drive=cd-drive,id=cd,bootindex={first}"
        return ("-drive", f"if=none,id=cd-drive,media=cdrom,readonly=on{file}", "-device", device)
    device = f"usb-storage,bus=usb0.0,drive=usb-drive,id=usb,removable=on,bootindex={first + 50}"
    return ("-drive", f"if=none,id=usb-drive,readonly=on{file}", "-device", device)
