"""What a virtual bare-metal server consists of, and the QEMU command line that is this server."""

from dataclasses import dataclass
from pathlib import Path

FIRMWARE_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
# (disk, network, CD) in the order in which they are tried, by boot device.
_ORDER = {
    "": ("disk", "net", "cd"),
    "disk": ("disk", "net", "cd"),
    "pxe": ("net", "disk", "cd"),
    "http": ("net", "disk", "cd"),
    "cdrom": ("cd", "disk", "net"),
}


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
        return self.folder / "vars.fd"


def argv(spec: MachineSpec, boot: str, mode: str, drives: tuple[Drive, ...]) -> tuple[str, ...]:
    """The command line for one start."""
    first = {kind: 1 + 100 * place for place, kind in enumerate(_ORDER[boot])}
    return (
        *_board(spec),
        *(_uefi(spec, http=boot == "http") if mode == "uefi" else ()),
        *(word for number, disk in enumerate(spec.disks) for word in _disk(number, disk, first["disk"])),
        *(word for number, nic in enumerate(spec.nics) for word in _nic(spec, number, nic, first["net"])),
        *(word for drive in drives for word in _drive(drive, first["cd"])),
    )


def _board(spec: MachineSpec) -> tuple[str, ...]:
    """Without devices; firmware and boot loaders talk to the serial port. A log that grows keeps earlier starts."""
    serial = f"socket,id=serial0,path={spec.serial},server=on,wait=off,logfile={spec.console_log},logappend=on"
    return (
        *("qemu-system-x86_64", "-name", spec.name, "-uuid", spec.uuid, "-nodefaults", "-display", "none"),
        *("-machine", "pc,graphics=off", "-m", str(spec.memory_mb), "-smp", str(spec.vcpus)),
        *(("-accel", "kvm", "-cpu", "host") if spec.kvm else ("-accel", "tcg,thread=multi", "-cpu", "max")),
        *("-smbios", f"type=1,manufacturer=Hagane,product=Virtual bare metal,serial={spec.name},uuid={spec.uuid}"),
        *("-chardev", serial, "-serial", "chardev:serial0", "-qmp", f"unix:{spec.qmp},server=on,wait=off"),
        *("-pidfile", str(spec.pid_file), "-daemonize", "-no-user-config"),
        *("-device", "virtio-scsi-pci,id=scsi0", "-device", "qemu-xhci,id=usb0", "-device", "virtio-rng-pci"),
        *(("-S",) if spec.paused else ()),
    )


def _uefi(spec: MachineSpec, *, http: bool) -> tuple[str, ...]:
    """OVMF. It tries PXE before HTTP, so PXE is turned off for an HTTP boot."""
    pxe = ("-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n")
    return (
        *("-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={FIRMWARE_CODE}"),
        *("-drive", f"if=pflash,format=raw,unit=1,file={spec.variables}"),
        *((*pxe, "-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n") if http else ()),
    )


def _disk(number: int, file: Path, first: int) -> tuple[str, ...]:
    device = f"virtio-blk-pci,drive=disk{number},serial=disk{number},bootindex={first + number}"
    drive = f"file={file},if=none,id=disk{number},format=raw,cache=unsafe,discard=unmap"
    return ("-drive", drive, "-device", device)


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
