"""What to do so that a machine on a Host becomes what is wanted: a pure function, shared by all hypervisor drivers.

    disks made ─▶ [stop] ─▶ [unplug, plug] ─▶ define ─▶ [start | pause | resume] ─▶ old disks dropped

Each step is harmless when it is done twice, and after a crash between any two of them the next plan goes on where the
last one ended: the `boots` counter is stored with the definition, before the start, and a machine that runs shows the
counter it was started with.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hagane.drivers.hypervisor.base import Disk, Machine, MachineNic, Power
from hagane.errors import DeviceFailed

DRIVE = "config-"  # the key of a config drive: this and the key of the first disk, whose life it shares


@dataclass(frozen=True, slots=True)
class Have:
    """What is on the Host of one machine. NICs and disks are those of the running machine, else of the stored one."""

    power: Power = Power.OFF
    boots: int = 0
    nics: dict[str, MachineNic] | None = None
    disks: frozenset[str] = frozenset()  # attached
    stored: frozenset[str] = frozenset()  # existing, attached or not
    sizes: Mapping[str, int] = field(default_factory=dict)  # GB of those stored disks whose size is known
    copying: frozenset[str] = frozenset()  # attached, and being copied into another
    current: bool = False  # the stored definition says what is wanted, `boots` included


@dataclass(frozen=True, slots=True)
class MakeDisk:
    """Make a disk, from its base image or blank."""

    disk: Disk


@dataclass(frozen=True, slots=True)
class MakeDrive:
    """Store the config drive under this key."""

    key: str


@dataclass(frozen=True, slots=True)
class Stop:
    """End the running machine; `soft`: ask the guest first."""

    soft: bool


@dataclass(frozen=True, slots=True)
class Unplug:
    """Take a NIC out of the running machine."""

    nic: MachineNic


@dataclass(frozen=True, slots=True)
class Plug:
    """Put a NIC into the running machine."""

    nic: MachineNic


@dataclass(frozen=True, slots=True)
class Detach:
    """Take a disk out of the running machine."""

    key: str


@dataclass(frozen=True, slots=True)
class Attach:
    """Put a disk into the running machine."""

    disk: Disk


@dataclass(frozen=True, slots=True)
class Swap:
    """Copy a disk that is plugged in (`disk.copy_of`) into another while the machine runs, then let it go on there."""

    disk: Disk


@dataclass(frozen=True, slots=True)
class Define:
    """Store what is wanted: it holds from the next start on."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start the stored machine."""

    paused: bool


@dataclass(frozen=True, slots=True)
class Pause:
    """Halt the CPUs."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Let the CPUs run again."""


@dataclass(frozen=True, slots=True)
class Suspend:
    """Write the memory to the Host's disk and end the machine; the next start reads it."""


@dataclass(frozen=True, slots=True)
class Discard:
    """Forget the memory that was kept: the next start is a boot."""


@dataclass(frozen=True, slots=True)
class GrowDisk:
    """Make a stored disk as large as is wanted; the machine is off. Disks never shrink."""

    disk: Disk


@dataclass(frozen=True, slots=True)
class DropDisk:
    """Delete a disk that is not wanted any more."""

    key: str


TOLD: Mapping[type, str] = {
    Stop: "stop", Unplug: "unplug", Plug: "plug", Detach: "detach", Attach: "attach", Swap: "swap", Start: "start",
    Pause: "pause", Resume: "resume", Suspend: "suspend",
}  # fmt: skip
"""Steps that a driver tells as soon as it begins them, and what they are called in a machine's events."""

Step = (
    MakeDisk
    | MakeDrive
    | Stop
    | Unplug
    | Plug
    | Detach
    | Attach
    | Swap
    | Define
    | Start
    | Pause
    | Resume
    | Suspend
    | Discard
    | GrowDisk
    | DropDisk
)


def drive_key(machine: Machine) -> str | None:
    """Key of the machine's config drive. A new first disk (a rebuild) makes a new drive; nothing else does."""
    if machine.config_drive is None:
        return None
    return DRIVE + (machine.disks[0].key if machine.disks else "none")


def plan(have: Have, want: Machine) -> list[Step]:
    """The steps from `have` to `want`, in order; none when they agree. Raises DeviceFailed for what cannot be."""
    running = have.power in (Power.ON, Power.PAUSED)
    up = want.power in (Power.ON, Power.PAUSED)
    kept, keep = have.power is Power.SUSPENDED, want.power is Power.SUSPENDED
    stop = running and not keep and (not up or want.boots > have.boots)
    stays = running and not stop
    if not stays and any(_copied(have, disk) for disk in want.disks):
        raise DeviceFailed("a volume is copied into another only while the machine runs")
    steps: list[Step] = list(_make(have, want))
    if stop:
        # A paused guest cannot answer a request to shut down.
        steps.append(Stop(soft=want.soft and have.power is Power.ON))
    discard = kept and not keep and (not up or want.boots > have.boots)
    if discard:
        steps.append(Discard())
    if not stays and (discard or not kept) and not (running and keep):
        steps += [GrowDisk(disk) for disk in want.disks if have.sizes.get(disk.key, disk.size_gb) < disk.size_gb]
    if stays and not keep:  # what is plugged in goes to sleep with the machine
        steps += _replug(have, want)
    if not have.current:
        steps.append(Define())
    if up and not stays:
        steps.append(Start(paused=want.power is Power.PAUSED))
    if running and keep:  # a machine that is off has no memory to keep
        steps.append(Suspend())
    elif stays and have.power is not want.power:
        steps.append(Pause() if want.power is Power.PAUSED else Resume())
    return [*steps, *_drop(have, want)]


def _make(have: Have, want: Machine) -> Iterator[Step]:
    yield from (MakeDisk(disk) for disk in want.disks if not disk.source and disk.key not in have.stored)
    drive = drive_key(want)
    if drive and drive not in have.stored:
        yield MakeDrive(drive)


def _replug(have: Have, want: Machine) -> Iterator[Step]:
    plugged = have.nics or {}
    wanted = {nic.port_id: nic for nic in want.nics}
    for port, nic in plugged.items():
        if port not in wanted or wanted[port].mac != nic.mac:
            yield Unplug(nic)
    for port, nic in wanted.items():
        if port not in plugged or plugged[port].mac != nic.mac:
            yield Plug(nic)
    keys = {disk.key for disk in want.disks} | {disk.copy_of for disk in want.disks if _copied(have, disk)}
    yield from (Detach(key) for key in sorted(have.disks - keys) if not key.startswith(DRIVE))
    new = [disk for disk in want.disks if disk.key not in have.disks]
    yield from (Swap(disk) if _copied(have, disk) else Attach(disk) for disk in new)


def _copied(have: Have, disk: Disk) -> bool:
    """Whether this disk is to get its content from one that is plugged in."""
    return disk.copy_of in have.disks and disk.key not in have.disks


def _drop(have: Have, want: Machine) -> Iterator[Step]:
    wanted = {disk.key for disk in want.disks} | {drive_key(want)}
    yield from (DropDisk(key) for key in sorted(have.stored) if key not in wanted)
