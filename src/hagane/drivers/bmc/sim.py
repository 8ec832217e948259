"""A simulated BMC: the whole contract in memory; slowness and failures at the turn of a knob.

Ten thousand of them are cheap: one small record each, no task, no timer, and the knobs that nobody turned are shared.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from hagane.drivers.bmc import plan as step
from hagane.drivers.bmc.base import (
    LIGHT,
    Asks,
    BmcDesired,
    BmcSeen,
    Boot,
    BootDevice,
    BootMode,
    Console,
    Identity,
    Parts,
    Power,
    Sensor,
    Slot,
)
from hagane.errors import DeviceFailed, HaganeError, Unavailable


@dataclass(frozen=True, slots=True)
class Knobs:
    """What a simulated BMC does wrong. `fail`: by method ("read") or step ("PowerOn"), raised until it is taken out."""

    delay: float = 0.0  # seconds before every answer
    deaf: bool = False  # the operating system ignores the power button
    dead: bool = False  # no answer at all
    wrong_password: bool = False
    devices: frozenset[BootDevice] = frozenset(BootDevice)
    fail: dict[str, HaganeError] = field(default_factory=dict)


_NONE = Knobs()
BIOS: Mapping[str, str] = {"TurboMode": "Enabled"}
"""Settings that may be changed, as the machine leaves the factory."""
_PLAIN: Mapping[str, str] = {}


class SimBmc(Asks):
    """One BMC. See base.Bmc for what each method promises."""

    __slots__ = (
        "_echo", "_sleep", "bios", "boot", "identity", "interrupts", "knobs", "light", "media", "mode", "name", "on",
        "pending", "secure", "starts",
    )  # fmt: skip

    def __init__(
        self,
        name: str = "sim",
        *,
        identity: Identity | None = None,
        mode: BootMode = BootMode.UEFI,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__()
        self.name, self.mode = name, mode
        self.knobs = _NONE
        self.identity = identity
        self.on = False
        self.starts = 0  # how often the machine has started: tests compare it
        self.secure, self.light, self.interrupts = False, "off", 0
        self.bios, self.pending = _PLAIN, _PLAIN  # what differs from the factory's; what waits for the next start
        self.boot: Boot | None = None
        self.media: dict[Slot, str] | None = None
        self._echo: asyncio.Queue[bytes] | None = None
        self._sleep = sleep

    async def power(self) -> Power:
        await self._before("power")
        return Power.ON if self.on else Power.OFF

    async def read(self, *, identity: bool = False, sensors: bool = False) -> BmcSeen:
        await self._before("read")
        media = self.media or {}
        return BmcSeen(
            power=Power.ON if self.on else Power.OFF,
            boot=self.boot,
            boot_mode=self.mode,
            media={slot: media.get(slot) for slot in Slot},
            identity=(self.identity or Identity("Hagane", "Sim", self.name)) if identity else None,
            sensors=(Sensor("Inlet Temp", 22.0, "degrees C", healthy=True),) if sensors else (),
        )

    async def apply(self, desired: BmcDesired) -> BmcSeen:
        await self._before("apply")
        for todo in step.plan(await self.read(), desired):
            await self._before(type(todo).__name__)
            await self._do(todo, desired)
        return step.done(await self.read(), desired)

    async def parts(self) -> Parts:
        await self._before("parts")
        bios = {"BootMode": "Uefi" if self.mode is BootMode.UEFI else "LegacyBios", **BIOS, **self.bios}
        return Parts(self.secure, {LIGHT: self.light}, bios, {"BMC": "1", "BIOS": "1"})

    async def set_secure_boot(self, *, on: bool) -> None:
        await self._before("set_secure_boot")
        self.secure = on

    async def set_bios(self, settings: Mapping[str, object] | None) -> None:
        await self._before("set_bios")
        if unknown := sorted((settings or {}).keys() - BIOS.keys()):
            raise DeviceFailed(f"{self.name}: has no BIOS setting {', '.join(unknown)}")
        self.pending = dict(BIOS) if settings is None else {key: str(value) for key, value in settings.items()}

    async def set_indicator(self, name: str, state: str) -> None:
        await self._before("set_indicator")
        if name != LIGHT:
            raise DeviceFailed(f"{self.name}: has no indicator {name}")
        self.light = state

    async def interrupt(self) -> None:
        await self._before("interrupt")
        self.interrupts += 1

    async def console(self) -> Console:
        await self._before("console")
        if not self.on:
            raise Unavailable(f"{self.name}: the machine is off")
        self._echo = asyncio.Queue()
        return self._output(self._echo), self._echo.put

    async def close(self) -> None:
        return None

    def lose_power(self) -> None:
        """Somebody pulls the plug."""
        self.on = False

    async def _output(self, echo: asyncio.Queue[bytes]) -> AsyncGenerator[bytes, None]:
        while self.on:
            yield await echo.get()

    async def _before(self, operation: str) -> None:
        knobs = self.knobs
        if knobs is _NONE:
            return
        if knobs.delay:
            with self.asking(knobs.delay):
                await self._sleep(knobs.delay)
        if knobs.dead:
            raise Unavailable(f"{self.name}: no answer from the BMC")
        if knobs.wrong_password:
            raise DeviceFailed(f"{self.name}: the BMC refuses the user name or the password")
        if operation in knobs.fail:
            error = knobs.fail[operation]
            raise type(error)(error.message, code=error.code, detail=error.detail)

    async def _do(self, todo: step.Step, desired: BmcDesired) -> None:
        match todo:
            case step.PowerOff(soft):
                if soft and self.knobs.deaf:
                    await self._sleep(desired.soft_seconds)
                self.on = False
            case step.PowerOn() | step.Reset():
                self._start()
            case step.Insert(slot, url):
                self.media = {**(self.media or {}), slot: url}
            case step.Eject(slot):
                self.media = {key: url for key, url in (self.media or {}).items() if key != slot}
            case step.SetBootMode(mode):
                self.mode = mode
            case step.SetBoot(boot, _):
                if boot.device not in self.knobs.devices:
                    raise DeviceFailed(f"{self.name}: the machine cannot boot from {boot.device}")
                self.boot = boot

    def _start(self) -> None:
        self.on = True
        self.starts += 1
        if self.pending:
            self.bios, self.pending = {**self.bios, **self.pending}, _PLAIN
        if self.boot and not self.boot.persistent:
            self.boot = None
