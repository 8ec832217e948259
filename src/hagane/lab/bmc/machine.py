"""A virtual bare-metal server: one QEMU process while its power is on, nothing but files while it is off.

Its settings (boot device and mode, media) are the BMC's memory: a file, so that they outlive the emulator. QEMU runs as
a daemon of its own and outlives it too. A restart by force is a new QEMU, since only that reads a new boot order.

    off ──on──▶ QEMU runs ──off, or the guest shuts down, or `lose_power`──▶ off

The folder of a machine holds: bmc.json (settings), serial (socket), console.log (all that the serial port ever said),
qmp (socket), pid, vars.fd and vars-secure.fd (UEFI variables without and with the keys of secure boot), media-cd and
media-usb (the images inserted).
"""

import asyncio
import json
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from hagane.errors import Invalid
from hagane.lab import netns
from hagane.lab.bmc import qmp, variables
from hagane.lab.bmc.faults import FaultFile, Faults
from hagane.lab.bmc.qemu import Drive, MachineSpec, argv
from hagane.lab.process import Daemon, end, pid_of, start

FIRMWARE_VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
SECURE_VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd")  # with the keys by which Linux vendors sign
DEVICES = ("disk", "pxe", "cdrom", "http")
LEDS = ("Off", "Lit", "Blinking")
BIOS = {"BootMode": ("LegacyBios", "Uefi"), "NetworkBoot": ("Enabled", "Disabled")}
SLOTS = ("cd", "usb")
MEDIA_SECONDS = 30.0


@dataclass(slots=True)
class Settings:
    """What the BMC remembers. `boot` "" is no override."""

    boot: str = ""
    persistent: bool = False
    mode: str = "bios"
    http_uri: str = ""
    media: dict[str, str] = field(default_factory=dict)
    secure_boot: bool = False
    network_boot: bool = True
    pending: dict[str, str] = field(default_factory=dict)  # BIOS attributes that wait for the next start
    led: str = "Off"


class Machine:
    """One virtual server. Calls that change it come one after the other."""

    def __init__(self, spec: MachineSpec) -> None:
        self.spec = spec
        self._lock = asyncio.Lock()
        self._memory = spec.folder / "bmc.json"
        spec.folder.mkdir(parents=True, exist_ok=True)
        self.settings = self._load()
        self._faults = FaultFile(spec.folder)
        self._pid: tuple[int, str] | None = None

    @property
    def daemon(self) -> Daemon:
        """The QEMU process, as it would be started now."""
        now, wrong = self._now(), self.faults().disk
        command = argv(now, self.settings.boot, self.settings.mode, self._drives(), disk_fault=wrong)
        folder = self.spec.folder
        words = netns.inside(self.spec.netns, *command)
        return Daemon(self.spec.name, "qemu-system-x86_64", words, self.spec.pid_file, folder / "qemu.log")

    def pid(self) -> int | None:
        """The pid of QEMU, or None while the power is off. Cheap: it is asked at every poll."""
        if self._pid and _birth(self._pid[0]) == self._pid[1]:
            return self._pid[0]
        self._pid = None
        if self.spec.pid_file.exists() and (pid := pid_of(self.daemon)) is not None:
            self._pid = (pid, _birth(pid))
        return self._pid[0] if self._pid else None

    async def on(self) -> None:
        """Power on, if it is off."""
        async with self._lock:
            await self._start()

    async def off(self) -> None:
        """Power off at once, as by pulling the plug."""
        async with self._lock:
            await self._stop()

    lose_power = off

    async def reset(self) -> None:
        """A restart by force; a machine that is off stays off."""
        async with self._lock:
            if self.pid() is not None:
                await self._stop()
                await self._start()

    async def press(self) -> None:
        """The power button: the guest is asked to shut down, and may ignore it."""
        if self.pid() is not None:
            await qmp.order(self.spec.qmp, "system_powerdown")

    async def interrupt(self) -> None:
        """A non-maskable interrupt, to make a hung kernel dump."""
        if self.pid() is not None:
            await qmp.order(self.spec.qmp, "inject-nmi")

    def set_boot(self, device: str, *, persistent: bool, http_uri: str = "") -> None:
        """The boot device from the next start on. Errors: Invalid."""
        if device and device not in DEVICES:
            raise Invalid(f"{self.spec.name} has no boot device {device}")
        if device == "http" and self.settings.mode != "uefi":
            raise Invalid(f"{self.spec.name} boots from http in UEFI mode only")
        self.settings.boot, self.settings.persistent, self.settings.http_uri = device, persistent, http_uri
        self._save()

    def set_mode(self, mode: str) -> None:
        """The boot mode from the next start on. Errors: Invalid."""
        if mode not in ("bios", "uefi"):
            raise Invalid(f"{self.spec.name} has no boot mode {mode}")
        self.settings.mode = mode
        self._save()

    def set_led(self, state: str) -> None:
        """The light by which somebody finds the machine. Errors: Invalid."""
        if state not in LEDS:
            raise Invalid(f"{self.spec.name} has no light that is {state}")
        self.settings.led = state
        self._save()

    def set_secure_boot(self, *, on: bool) -> None:
        """From the next start on. Errors: Invalid (BIOS)."""
        if on and self.settings.mode != "uefi":
            raise Invalid(f"{self.spec.name} boots securely in UEFI mode only")
        self.settings.secure_boot = on
        self._save()

    def bios(self, *, factory: bool = False) -> dict[str, str]:
        """BIOS attributes as they are, or as the machine left the factory."""
        mode, network = self.settings.mode, self._now().option_roms
        if factory:
            mode, network = self.spec.mode, self.spec.option_roms
        return {"BootMode": BIOS["BootMode"][mode == "uefi"], "NetworkBoot": BIOS["NetworkBoot"][not network]}

    def set_bios(self, attributes: Mapping[str, object]) -> None:
        """BIOS attributes from the next start on. Errors: Invalid."""
        for name, value in attributes.items():
            if value not in BIOS.get(name, ()):
                raise Invalid(f"{self.spec.name} has no BIOS attribute {name} that may be {value}")
        self.settings.pending |= {name: str(value) for name, value in attributes.items()}
        self._save()

    def faults(self) -> Faults:
        """What is wrong on purpose now."""
        return self._faults.now()

    def _now(self) -> MachineSpec:
        """The machine as its settings make it."""
        roms = self.spec.option_roms and self.settings.network_boot
        return replace(self.spec, option_roms=roms, secure_boot=self.settings.secure_boot)

    def _apply_pending(self) -> None:
        wanted, self.settings.pending = self.settings.pending, {}
        if mode := wanted.get("BootMode"):
            self.settings.mode = "uefi" if mode == "Uefi" else "bios"
        if network := wanted.get("NetworkBoot"):
            self.settings.network_boot = network == "Enabled"
        if wanted:
            self._save()

    async def insert(self, slot: str, url: str) -> None:
        """Fetch an image and put it into a virtual drive. Errors: Invalid (no such drive, no such image)."""
        async with self._lock:
            target = self._slot(slot)
            await asyncio.to_thread(_fetch, url, target)
            if self.pid() is not None:
                drive = {"device": f"{slot}-drive", "force": True}
                await qmp.order(self.spec.qmp, "blockdev-change-medium", filename=str(target), format="raw", **drive)
            self.settings.media[slot] = url
            self._save()

    async def eject(self, slot: str) -> None:
        async with self._lock:
            target = self._slot(slot)
            if self.pid() is not None:
                await qmp.order(self.spec.qmp, "eject", device=f"{slot}-drive", force=True)
            target.unlink(missing_ok=True)
            self.settings.media.pop(slot, None)
            self._save()

    def _slot(self, slot: str) -> Path:
        if slot not in SLOTS:
            raise Invalid(f"{self.spec.name} has no drive {slot}")
        return self.spec.folder / f"media-{slot}"

    def _drives(self) -> tuple[Drive, ...]:
        return tuple(Drive(slot, self._slot(slot) if slot in self.settings.media else None) for slot in SLOTS)

    async def _start(self) -> None:
        if self.pid() is not None:
            return
        self._apply_pending()
        if self.settings.mode == "uefi":
            await asyncio.to_thread(self._flash, self._now())
        await start(self.daemon)
        for number in self.faults().unplugged:
            await qmp.order(self.spec.qmp, "set_link", name=f"net{number}", up=False)
        if not self.settings.persistent and self.settings.boot:
            self.settings.boot, self.settings.http_uri = "", ""
            self._save()

    def _flash(self, spec: MachineSpec) -> None:
        """The firmware's variables, made if they are missing; with an order to boot from a URI, if there is one."""
        if not spec.variables.exists():
            shutil.copyfile(SECURE_VARIABLES if spec.secure_boot else FIRMWARE_VARIABLES, spec.variables)
        if self.settings.boot == "http" and self.settings.http_uri:
            variables.boot_from(spec.variables, self.settings.http_uri)

    async def _stop(self) -> None:
        pid = self.pid()
        if pid is not None:
            await end(pid, grace=0, sure=lambda: self.pid() == pid)
            self._pid = None
        self.spec.pid_file.unlink(missing_ok=True)

    def _load(self) -> Settings:
        try:
            return Settings(**json.loads(self._memory.read_text()))
        except (OSError, ValueError, TypeError):
            return Settings(mode=self.spec.mode, secure_boot=self.spec.secure_boot)

    def _save(self) -> None:
        content = {name: getattr(self.settings, name) for name in Settings.__slots__}
        fresh = self._memory.with_suffix(".new")
        fresh.write_text(json.dumps(content))
        fresh.replace(self._memory)


def _birth(pid: int) -> str:
    """When a process started, in clock ticks (proc(5)): tells it from a later one of that number. "": it is dead."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if words[0] in "ZX" else words[19]


def _fetch(url: str, target: Path) -> None:
    """Bring an image here, for as long as it is inserted."""
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise Invalid(f"cannot fetch {url}: only http and https are known")
    fresh = target.with_suffix(".new")
    try:
        with urllib.request.urlopen(url, timeout=MEDIA_SECONDS) as source, fresh.open("wb") as content:
            shutil.copyfileobj(source, content, 1 << 20)
    except (urllib.error.URLError, OSError, ValueError) as error:
        fresh.unlink(missing_ok=True)
        raise Invalid(f"cannot fetch {url}: {error}") from error
    fresh.replace(target)
