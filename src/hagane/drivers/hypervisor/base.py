"""What every hypervisor driver does: bring one Host's machines to a desired state, and say what is there.

A driver is told the whole desired state of a machine, never a verb. Calling `apply` twice changes nothing the second
time. Two counters turn the API's verbs into state: `boots` (a reboot or a start raises it: the machine must have been
started since) and `Disk.key` (a rebuild makes a new key: a disk of another key is replaced).

    desired Machine ──apply──▶ the Host ──read──▶ Seen          (Seen is never guessed: it is what the Host says now)

Errors: `Unavailable` (no answer; the engine retries) and `DeviceFailed` (the Host refuses; trying again is useless),
both with a cause in words that an operator can act on.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol


class Power(StrEnum):
    """Power of a machine as the Host sees it."""

    ON = "on"
    OFF = "off"
    PAUSED = "paused"
    SUSPENDED = "suspended"  # off, its memory kept on the Host: the next start goes on where it was
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class Source:
    """A disk's content that is not the machine's own: a volume, reached as the block storage API says.

    The Host neither makes nor deletes it. `kind` and `data` are a connection's `driver_volume_type` ("local", "iscsi",
    "rbd") and `data`.
    """

    kind: str
    data: Mapping[str, Any] = field(repr=False)  # may hold a password


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk. `key` names its content for ever: same key, same disk (kept as it is); new key, new disk."""

    key: str
    size_gb: int
    image_id: str | None = None  # base image: the disk is a copy-on-write overlay of it; None: blank
    bus: str = "virtio"
    source: Source | None = None  # a volume; None: the Host keeps the disk
    device: str = ""  # the name that the API tells ("/dev/vdb"): the guest's first free place if it is ""
    serial: str = ""  # what the guest reads as the disk's serial number
    read_only: bool = False
    copy_of: str | None = None  # key of a disk that is plugged in: copied here while the machine runs, then replaced


@dataclass(frozen=True, slots=True)
class MachineNic:
    """One network interface: the Host plugs it into its integration bridge under the Port's id."""

    port_id: str
    mac: str
    mtu: int = 1500


@dataclass(frozen=True, slots=True)
class Machine:
    """The whole desired state of one machine on a Host. `id` is the Server's id, and our mark on the Host."""

    id: str
    name: str
    vcpus: int
    memory_mb: int
    power: Power
    boots: int = 1
    disks: tuple[Disk, ...] = ()
    nics: tuple[MachineNic, ...] = ()
    config_drive: bytes | None = None  # an ISO 9660 image labelled config-2; kept as long as the first disk is kept
    soft: bool = False  # change of power by asking the guest first (ACPI), by force after `soft_seconds`
    soft_seconds: int = 60


@dataclass(frozen=True, slots=True)
class Seen:
    """One machine of ours as the Host shows it now."""

    id: str
    power: Power
    boots: int
    nics: frozenset[str] = frozenset()  # port ids plugged in
    disks: frozenset[str] = frozenset()  # disk keys
    vcpus: int = 0
    memory_mb: int = 0
    reason: str = ""  # why it is off or crashed, where the Host says so


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Capacity and identity of a Host."""

    hostname: str
    vcpus: int
    memory_mb: int
    disk_gb: int
    kind: str  # wire name of the hypervisor: "QEMU"
    version: int  # libvirt's coding: major*1000000 + minor*1000 + release
    cpu: dict[str, object] = field(default_factory=dict)
    uptime: str | None = None  # the line that uptime(1) prints there; None: nobody can ask there


@dataclass(frozen=True, slots=True)
class BaseImage:
    """An image that can be brought to a Host: where its bytes are here, and what they are."""

    id: str
    path: Path
    disk_format: str  # "qcow2" or "raw"
    size: int  # bytes of the file
    virtual_size: int  # bytes of the disk inside


Progress = Callable[[str, int], None]
"""Told the step ("image", "disk", "stop", "start") when it begins (0), its percent, and its end (100)."""


class Hypervisor(Protocol):
    """One Host. Instances are cheap; `connect` opens the connection and keeps it open, with back-off."""

    async def connect(self) -> None:
        """Try once, then go on in the background: a Host that is away is no error here; calls say Unavailable."""
        ...

    async def close(self) -> None: ...

    async def facts(self) -> HostFacts: ...

    async def read(self) -> dict[str, Seen]:
        """All machines that carry our mark, by Server id."""
        ...

    async def apply(self, machine: Machine, images: dict[str, BaseImage], progress: Progress) -> Seen:
        """Bring the machine to the desired state; `images` holds every BaseImage that its disks name."""
        ...

    async def migrate(self, machine: Machine, target: "Hypervisor", progress: Progress) -> Seen:
        """The machine goes on on another Host while it runs (or is paused): its memory goes there, and the disks that
        this Host keeps. `machine` is the desired one, its volumes as the target reaches them. Afterwards nothing of it
        is here. Where this raises or is cancelled, whoever asks next looks at both Hosts: it runs on one of them.

        Raises Unavailable if it does not run here.
        """
        ...

    async def hurry(self, machine_id: str) -> None:
        """A machine that is on its way stands still until it has arrived: so it does, however much it writes."""
        ...

    async def remove(self, machine_id: str) -> None:
        """Machine, disks, config drive, console log: all gone. Removing what is not there is fine."""
        ...

    async def console_log(self, machine_id: str) -> bytes:
        """What the serial console printed since the first boot, oldest bytes may be cut."""
        ...

    async def console(
        self, machine_id: str, *, force: bool = False
    ) -> tuple[AsyncGenerator[bytes, None], Callable[[bytes], Awaitable[None]]]:
        """The live serial console: bytes out (`aclose` lets go of it), and a function that sends bytes in.

        One viewer at a time: a second one gets Conflict, or with `force` takes it over (the first one's bytes end).
        """
        ...

    def snapshot(self, machine_id: str, disk_key: str) -> AsyncGenerator[bytes, None]:
        """The disk's content now, as one flat qcow2 file, streamed. The machine may be running: crash-consistent."""
        ...

    async def disks(self) -> dict[str, str]:
        """Key of every disk of ours that exists on the Host, with the id of the machine it was made for.

        Also those whose machine is gone: the sweep calls `remove` with that id.
        """
        ...

    async def sweep_images(self, keep: set[str]) -> set[str]:
        """Forget base images that are not in `keep` and that no disk needs, and half-made files. Ids removed."""
        ...

    def watch(self, changed: Callable[[str], None]) -> None:
        """Call `changed(machine_id)` when a machine's power changes by itself; `changed("")`: the Host came or went."""
        ...
