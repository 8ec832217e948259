"""IPMI 2.0 through the ipmitool program.

Power and boot flags are asked as raw bytes, which mean the same with every version of the program. IPMI knows no
virtual media, no HTTP boot and no MACs; a boot mode exists only as a flag beside the boot device (specification v2.0,
table 28-14), so BIOS or UEFI is unknown (None) until a boot device or a mode was set.
"""

import contextlib
from collections.abc import Mapping

from hagane.drivers.bmc import ipmitool
from hagane.drivers.bmc import plan as step
from hagane.drivers.bmc.base import (
    LIGHT,
    Asks,
    BmcAccess,
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
)
from hagane.errors import DeviceFailed, Unavailable

VALID, PERSISTENT, EFI = 0x80, 0x40, 0x20
_CODES = {BootDevice.PXE: 1, BootDevice.DISK: 2, BootDevice.CDROM: 5}
_DEVICES = {code: device for device, code in _CODES.items()} | {8: BootDevice.CDROM}  # 8: a remote CD
_FRU = ("Product Manufacturer", "Product Name", "Product Serial")


class IpmiBmc(Asks):
    """One BMC. It keeps no session: each question logs in and out."""

    def __init__(self, access: BmcAccess) -> None:
        super().__init__()
        self._access, self._name = access, access.address

    async def power(self) -> Power:
        return Power.ON if (await self._raw("0x00", "0x01"))[0] & 1 else Power.OFF

    async def read(self, *, identity: bool = False, sensors: bool = False) -> BmcSeen:
        power = await self.power()
        boot, mode = _boot(*await self._flags())
        return BmcSeen(
            power,
            boot=boot,
            boot_mode=mode,
            identity=await self._identity() if identity else None,
            sensors=_sensors(await self._run("-c", "sdr", "list", "full")) if sensors else (),
        )

    async def apply(self, desired: BmcDesired) -> BmcSeen:
        if any(url is not None for url in desired.media.values()):
            raise DeviceFailed(f"{self._name}: IPMI has no virtual media")
        for todo in step.plan(await self.read(), desired):
            await self._do(todo, desired)
        return step.done(await self.read(), desired)

    async def parts(self) -> Parts:
        """IPMI lights the lamp, and does not say whether it is lit."""
        lines = (line.partition(":") for line in (await self._run("mc", "info")).splitlines())
        shown = {key.strip(): value.strip() for key, _, value in lines}
        version = shown.get("Firmware Revision", "")
        return Parts(indicators={LIGHT: "unknown"}, firmware={"BMC": version} if version else {})

    async def set_secure_boot(self, *, on: bool) -> None:
        raise DeviceFailed(f"{self._name}: over IPMI secure boot cannot be set")

    async def set_bios(self, settings: Mapping[str, object] | None) -> None:
        raise DeviceFailed(f"{self._name}: over IPMI there are no BIOS settings")

    async def set_indicator(self, name: str, state: str) -> None:
        if name != LIGHT or state == "blinking":
            raise DeviceFailed(f"{self._name}: over IPMI the indicator {name} cannot be set to {state}")
        await self._run("chassis", "identify", "force" if state == "on" else "0")

    async def interrupt(self) -> None:
        await self._run("chassis", "power", "diag")

    async def console(self) -> Console:
        if await self.power() == Power.OFF:
            raise Unavailable(f"{self._name}: the machine is off")
        return await ipmitool.console(self._access)

    async def close(self) -> None:
        return None

    async def _do(self, todo: step.Step, desired: BmcDesired) -> None:
        match todo:
            case step.PowerOff() | step.PowerOn() | step.Reset():
                await step.switch(todo, desired, self._order, self.power, self._name)
            case step.SetBootMode(mode):
                await self._set_mode(mode)
            case step.SetBoot(boot, mode):
                await self._set_boot(boot, mode)

    async def _order(self, word: str) -> None:
        await self._run("chassis", "power", word)

    async def _set_boot(self, boot: Boot, mode: BootMode | None) -> None:
        if boot.device not in _CODES:
            raise DeviceFailed(f"{self._name}: over IPMI a machine cannot boot from {boot.device}")
        flags = VALID | (PERSISTENT if boot.persistent else 0) | (EFI if mode == BootMode.UEFI else 0)
        await self._set_flags(_CODES[boot.device], flags)

    async def _set_mode(self, mode: BootMode) -> None:
        """Beside the boot device that is set, or beside none."""
        flags, code = await self._flags()
        kept = (flags & (VALID | PERSISTENT), code) if flags & VALID else (VALID | PERSISTENT, 0)
        await self._set_flags(kept[1], kept[0] | (EFI if mode == BootMode.UEFI else 0))

    async def _flags(self) -> tuple[int, int]:
        """The boot flags: validity, persistence and mode; and the code of the device."""
        content = await self._raw("0x00", "0x09", "0x05", "0x00", "0x00")
        if len(content) < 4:
            raise DeviceFailed(f"{self._name}: an answer that makes no sense: boot flags of {len(content)} bytes")
        return content[2], content[3] >> 2 & 0x0F

    async def _set_flags(self, code: int, flags: int) -> None:
        # Without this the BMC forgets the flags after 60 s; some do not know the parameter, and do not forget either.
        with contextlib.suppress(DeviceFailed):
            await self._raw("0x00", "0x08", "0x03", "0x08")
        await self._raw("0x00", "0x08", "0x05", hex(flags), hex(code << 2), "0x00", "0x00", "0x00")

    async def _identity(self) -> Identity:
        lines = (line.partition(":") for line in (await self._run("fru", "print", "0")).splitlines())
        shown = {key.strip(): value.strip() for key, _, value in lines}
        vendor, model, serial = (shown.get(key, "") for key in _FRU)
        return Identity(vendor, model, serial)

    async def _raw(self, *words: str) -> bytes:
        answer = await self._run("raw", *words)
        try:
            content = bytes.fromhex(answer)
        except ValueError:
            content = b""
        if not content and words[1] != "0x08":
            raise DeviceFailed(f"{self._name}: an answer that makes no sense", detail=answer)
        return content

    async def _run(self, *words: str) -> str:
        with self.asking(self._access.timeout):
            return await ipmitool.run(self._access, *words)


def _boot(flags: int, code: int) -> tuple[Boot | None, BootMode | None]:
    if not flags & VALID:
        return None, None
    device, mode = _DEVICES.get(code), BootMode.UEFI if flags & EFI else BootMode.BIOS
    return (Boot(device, persistent=bool(flags & PERSISTENT)) if device else None), mode


def _sensors(listed: str) -> tuple[Sensor, ...]:
    """From lines like "Inlet Temp,22,degrees C,ok"."""
    rows = [line.split(",") for line in listed.splitlines()]
    return tuple(
        Sensor(row[0], _number(row[1]), row[2], healthy=row[3] in ("ok", "ns")) for row in rows if len(row) == 4
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
