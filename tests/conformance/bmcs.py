"""The BMCs that the BMC suite runs against, with the few handles that a driver does not offer."""

import asyncio
import http.server
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from hagane.drivers.bmc.base import Bmc, BmcAccess, Slot
from hagane.drivers.bmc.ipmi import IpmiBmc
from hagane.drivers.bmc.sim import Knobs, SimBmc
from hagane.errors import DeviceFailed
from hagane.lab.bmc.faults import FaultFile, Faults
from hagane.lab.bmc.ipmi import IpmiFront, IpmiServer
from hagane.lab.bmc.machine import Machine
from hagane.lab.bmc.qemu import MachineSpec, Nic
from hagane.lab.bmc.redfish import RedfishFront, RedfishServer


class Rig(Protocol):
    """One BMC under test, with its machine."""

    driver: Bmc
    slots: frozenset[Slot]  # virtual drives that it has
    image: str  # URL of an image that it can insert
    macs: tuple[str, ...]  # that the BMC knows
    http_boot: bool
    console: bool

    def starts(self) -> object:
        """Something that changes exactly when the machine is started anew."""
        ...

    async def fault(self, name: str) -> None:
        """Turn a fault on: dead, wrong, password, slow; "" ends them all."""
        ...

    async def listens(self) -> None:
        """From the machine's next start on, its operating system obeys the power button; returns at once."""
        ...

    async def booted(self) -> None:
        """Wait until the operating system obeys."""
        ...

    async def lose_power(self) -> None: ...


class SimRig:
    """A simulated one."""

    slots = frozenset(Slot)
    image = "http://127.0.0.1/tiny.iso"
    macs = ()
    http_boot = console = True

    def __init__(self) -> None:
        self.driver = self._bmc = SimBmc()
        self._bmc.knobs = Knobs(deaf=True)

    def starts(self) -> object:
        return self._bmc.starts

    async def fault(self, name: str) -> None:
        knobs = Knobs(deaf=self._bmc.knobs.deaf)
        changes: dict[str, dict[str, object]] = {
            "": {},
            "dead": {"dead": True},
            "wrong": {"fail": {"read": DeviceFailed("sim: an answer that makes no sense")}},
            "password": {"wrong_password": True},
            "slow": {"delay": 0.1},
        }
        self._bmc.knobs = replace(knobs, **changes[name])  # type: ignore[arg-type]

    async def listens(self) -> None:
        self._bmc.knobs = replace(self._bmc.knobs, deaf=False)

    async def booted(self) -> None:
        return None

    async def lose_power(self) -> None:
        self._bmc.lose_power()


@asynccontextmanager
async def sim_rig(_folder: Path) -> AsyncIterator[Rig]:
    yield SimRig()


# A boot sector that is the smallest operating system: it echoes the serial port and obeys the power button.
TINY_OS = bytes.fromhex(
    "eb07 50b020e62058cf"  # the clock's interrupt does nothing: the firmware's would eat what the serial port hears
    "31c0 8ed8 c7062000027c c70622000000"
    "ba0206 b80001 ef"  # let the power button be seen: PM1_EN of the PIIX4 at 0x602
    "baf803 b04b ee fb"  # say "K"; interrupts on
    "f4 bafd03 ec a801 7406 baf803 ec ee 90"  # sleep until the clock ticks; if a byte came, send it back
    "ba0006 ed f6c401 74e8"  # the power button? if not, once more
    "ba0406 b80020 ef ebfe".replace(" ", "")  # sleep state S5: off
)
MACS = ("52:54:00:00:00:01", "52:54:00:00:00:02")


class EmulatedRig:
    """A QEMU machine behind an emulated BMC. Its CPU stands still, unless it `listens`: then it runs a tiny system."""

    slots: frozenset[Slot]
    macs: tuple[str, ...]
    http_boot: bool
    console: bool

    def __init__(self, driver: Bmc, machine: Machine, image: str) -> None:
        self.driver, self.machine, self.image = driver, machine, image
        self._last: int | None = None

    def starts(self) -> object:
        # A machine that was switched off has not been started anew.
        self._last = self.machine.pid() or self._last
        return self._last

    async def fault(self, name: str) -> None:
        faults = {
            "": Faults(),
            "dead": Faults(dead=True),
            "wrong": Faults(wrong=True),
            "password": Faults(password=True),
            "slow": Faults(slow=0.1),
        }
        FaultFile(self.machine.spec.folder).put(faults[name])

    async def listens(self) -> None:
        disk = self.machine.spec.folder / "disk"
        disk.write_bytes(TINY_OS.ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
        self.machine.spec = replace(self.machine.spec, paused=False, disks=(disk,), option_roms=False)

    async def booted(self) -> None:
        log = self.machine.spec.console_log
        async with asyncio.timeout(20):
            while not (log.exists() and b"K" in log.read_bytes().rpartition(b"Booting")[2]):
                await asyncio.sleep(0.1)

    async def lose_power(self) -> None:
        await self.machine.lose_power()


class RedfishRig(EmulatedRig):
    slots, macs, http_boot, console = frozenset(Slot), MACS, True, False


class IpmiRig(EmulatedRig):
    slots, macs, http_boot, console = frozenset(), (), False, True


@contextmanager
def image_server(folder: Path) -> Iterator[str]:
    """Serves a tiny image on loopback; its URL."""
    (folder / "tiny.iso").write_bytes(bytes(1 << 16))

    class Files(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, directory=str(folder), **kwargs)  # type: ignore[arg-type]

        def log_message(self, *_args: object) -> None:
            return None

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/tiny.iso"
        server.shutdown()


def machine_of(folder: Path, name: str = "node-1") -> Machine:
    nics = tuple(Nic(mac) for mac in MACS)
    spec = MachineSpec(name, str(uuid.uuid4()), folder / name, nics=nics, memory_mb=32, paused=True)
    return Machine(spec)


@asynccontextmanager
async def redfish_rig(folder: Path) -> AsyncIterator[Rig]:
    from hagane.drivers.bmc.redfish import RedfishBmc

    machine = machine_of(folder)
    front = RedfishFront(machine, "admin", "secret")
    server = RedfishServer([front])
    await server.start()
    access = BmcAccess(f"http://127.0.0.1:{front.port}", "admin", "secret", timeout=1.0)
    driver = RedfishBmc(access)
    with image_server(folder) as image:
        try:
            yield RedfishRig(driver, machine, image)
        finally:
            await driver.close()
            await machine.off()
            await server.stop()


@asynccontextmanager
async def ipmi_rig(folder: Path) -> AsyncIterator[Rig]:
    machine = machine_of(folder)
    front = IpmiFront(machine, "admin", "secret")
    server = IpmiServer([front])
    await server.start()
    try:
        access = BmcAccess("127.0.0.1", "admin", "secret", port=front.port, timeout=2.0)
        yield IpmiRig(IpmiBmc(access), machine, "http://127.0.0.1/tiny.iso")
    finally:
        await machine.off()
        await server.stop()
