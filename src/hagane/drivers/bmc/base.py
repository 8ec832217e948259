"""What every BMC driver does: bring one Node's power, boot device and media to a desired state, and say what is there.

A BMC keeps no counters, so two things that are events by nature are turned into state by the caller: `resets` (the
machine must have been restarted this often) and `arms` (a boot device for one start must have been set this often). The
caller stores what `apply` returns and hands it in again as `resets_done` and `arms_done`; equal numbers mean that there
is nothing to do. If the answer is lost, the restart happens once more: at least once, never silently not.

    BmcDesired ──apply──▶ the BMC ──read──▶ BmcSeen          (BmcSeen is never guessed: it is what the BMC says now)

Errors: `Unavailable` (no answer; the engine tries again) and `DeviceFailed` (the BMC refuses: wrong password, unknown
system, a boot device that it does not have), each with a cause in words. Neither ever holds a password.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Power(StrEnum):
    """Power of a Node. A machine that is just being switched counts as on until the BMC says off."""

    ON = "on"
    OFF = "off"


class BootDevice(StrEnum):
    """What the firmware tries first."""

    DISK = "disk"
    PXE = "pxe"
    CDROM = "cdrom"
    HTTP = "http"  # UEFI HTTP boot


class BootMode(StrEnum):
    """The firmware's way to boot."""

    BIOS = "bios"
    UEFI = "uefi"


class Slot(StrEnum):
    """A virtual drive of the BMC."""

    CD = "cd"
    USB = "usb"


@dataclass(frozen=True, slots=True)
class Boot:
    """A boot device, for the next start only or for every one."""

    device: BootDevice
    persistent: bool = False
    uri: str = ""  # of BootDevice.HTTP; "": the firmware asks DHCP


@dataclass(frozen=True, slots=True)
class BmcAccess:
    """How to reach one BMC. Its repr shows no password, so that it may stand in a log."""

    address: str  # Redfish: the base URL; IPMI: a host name or an IP address
    username: str
    password: str = field(repr=False)
    port: int = 623  # IPMI only
    system: str = ""  # Redfish: the path of the system; "" is the only one there
    verify: bool | str = True  # Redfish: check the TLS certificate; or the path of a CA bundle
    timeout: float = 30.0  # seconds that one request may take


@dataclass(frozen=True, slots=True)
class BmcDesired:
    """The whole desired state. What is None, or a slot that is not named, is left as it is."""

    power: Power | None = None
    soft: bool = False  # ask the operating system first (ACPI), use force after `soft_seconds`
    soft_seconds: float = 60.0
    resets: int = 0
    resets_done: int = 0
    boot: Boot | None = None
    arms: int = 0
    arms_done: int = 0
    boot_mode: BootMode | None = None
    media: Mapping[Slot, str | None] = field(default_factory=dict)  # URL of an image; None: ejected


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the machine is. MACs in lower case; IPMI does not know them."""

    vendor: str = ""
    model: str = ""
    serial: str = ""
    macs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sensor:
    """One reading. `unit` in the BMC's own words; `value` is None where the sensor has nothing to say."""

    name: str
    value: float | None
    unit: str
    healthy: bool


@dataclass(frozen=True, slots=True)
class BmcSeen:
    """A Node as its BMC shows it now. `boot` None: no override; `boot_mode` None: the BMC does not say."""

    power: Power
    boot: Boot | None = None
    boot_mode: BootMode | None = None
    media: Mapping[Slot, str | None] = field(default_factory=dict)
    identity: Identity | None = None  # where asked
    sensors: tuple[Sensor, ...] = ()  # where asked
    resets: int = 0  # after `apply`: how many are done, to be handed in with the next desired state
    arms: int = 0


LIGHT = "led@system"
"""The one indicator that all BMCs have, if they have any; it is "on", "off" or "blinking"."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What else a BMC shows of its machine. None and empty: it does not say."""

    secure_boot: bool | None = None
    indicators: Mapping[str, str] = field(default_factory=dict)
    bios: Mapping[str, str] = field(default_factory=dict)
    firmware: Mapping[str, str] = field(default_factory=dict)  # component -> version


def is_on(value: object) -> bool:
    """A BIOS setting that is a boolean, in the words that clients of the bare-metal API send."""
    return str(value).lower() in ("true", "1", "yes", "on", "enabled")


@dataclass(frozen=True, slots=True)
class Question:
    """One that a BMC has not answered yet: when it was asked, and when it counts as unanswered (epoch seconds)."""

    asked: float
    until: float


class Asks:
    """Who asks a BMC; `open` is the question that is, so that others can tell what is being waited for."""

    __slots__ = ("open",)

    def __init__(self) -> None:
        self.open: Question | None = None

    @contextmanager
    def asking(self, patience: float) -> Iterator[None]:
        now = time.time()
        self.open = Question(now, now + patience)
        try:
            yield
        finally:
            self.open = None


Console = tuple[AsyncGenerator[bytes, None], Callable[[bytes], Awaitable[None]]]


class Bmc(Protocol):
    """One BMC. Instances are cheap and connect at the first call."""

    @property
    def open(self) -> Question | None:
        """The question that it has not answered yet."""
        ...

    async def power(self) -> Power:
        """The cheapest question there is, for polling thousands."""
        ...

    async def read(self, *, identity: bool = False, sensors: bool = False) -> BmcSeen:
        """Everything as it is now; identity and sensors cost more questions and are asked only on request."""
        ...

    async def apply(self, desired: BmcDesired) -> BmcSeen:
        """Bring the Node to the desired state. A soft stop takes up to `soft_seconds`."""
        ...

    async def parts(self) -> Parts:
        """What costs many questions and seldom changes."""
        ...

    async def set_secure_boot(self, *, on: bool) -> None:
        """From the next start on."""
        ...

    async def set_bios(self, settings: Mapping[str, object] | None) -> None:
        """Settings of the firmware, by name, from the next start on; None: all as the machine left the factory."""
        ...

    async def set_indicator(self, name: str, state: str) -> None: ...

    async def interrupt(self) -> None:
        """A non-maskable interrupt, with which an operating system writes down how it was."""
        ...

    async def console(self) -> Console:
        """The live serial console: bytes out (`aclose` lets go of it), and a function that sends bytes in."""
        ...

    async def close(self) -> None:
        """Log out where there is a session."""
        ...
