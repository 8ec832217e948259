"""Redfish through sushy, which knows the vendors' quirks. It blocks, so it runs in a small pool of threads.

The pool is shared by all BMCs: one that does not answer holds one thread for `BmcAccess.timeout` at the most, and
each BMC gets one request at a time (a session of sushy's is not made for more). Waiting for a guest that shuts down
happens outside of the pool. sushy's own retries are off: those belong to the engine.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import sushy
from sushy import exceptions as refused

from hagane.drivers.bmc import plan as step
from hagane.drivers.bmc import redfish_parts
from hagane.drivers.bmc.base import (
    Asks,
    Bmc,
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
    Slot,
)
from hagane.errors import DeviceFailed, HaganeError, Unavailable

T = TypeVar("T")
THREADS = 16
_POOL = ThreadPoolExecutor(THREADS, thread_name_prefix="redfish")
_POWER = {"Off": Power.OFF, "On": Power.ON, "PoweringOn": Power.ON, "PoweringOff": Power.ON, "Paused": Power.ON}
_DEVICES = {
    "Hdd": BootDevice.DISK, "Pxe": BootDevice.PXE, "Cd": BootDevice.CDROM, "UsbCd": BootDevice.CDROM,
    "UefiHttp": BootDevice.HTTP,
}  # fmt: skip
_TARGETS = {
    BootDevice.DISK: sushy.BootSource.HDD,
    BootDevice.PXE: sushy.BootSource.PXE,
    BootDevice.CDROM: sushy.BootSource.CD,
    BootDevice.HTTP: sushy.BootSource.UEFI_HTTP,
}
_MODES = {BootMode.BIOS: sushy.BootSourceOverrideMode.LEGACY, BootMode.UEFI: sushy.BootSourceOverrideMode.UEFI}
_SLOTS = {"CD": Slot.CD, "DVD": Slot.CD, "USBStick": Slot.USB, "Floppy": Slot.USB}
_ORDERS = {
    "on": (sushy.ResetType.ON, sushy.ResetType.FORCE_ON),
    "soft": (sushy.ResetType.GRACEFUL_SHUTDOWN, sushy.ResetType.PUSH_POWER_BUTTON),
    "off": (sushy.ResetType.FORCE_OFF,),
    "reset": (sushy.ResetType.FORCE_RESTART, sushy.ResetType.POWER_CYCLE),
}
"""Each order in the words of BMCs, the first one that it offers."""


class RedfishBmc(Asks):
    """One BMC. `ipmi`: the same machine over IPMI, for the serial console, which Redfish has no bytes for."""

    def __init__(self, access: BmcAccess, *, ipmi: Bmc | None = None) -> None:
        super().__init__()
        self._access, self._ipmi = access, ipmi
        self._name = access.address
        self._root: Any = None
        self._known: Any = None  # the system, as last seen
        self._turn, self._busy = asyncio.Lock(), threading.Lock()

    async def power(self) -> Power:
        return await self._call(self._power)

    async def read(self, *, identity: bool = False, sensors: bool = False) -> BmcSeen:
        return await self._call(lambda: self._read(identity=identity, sensors=sensors))

    async def apply(self, desired: BmcDesired) -> BmcSeen:
        seen = await self.read()
        _has_slots(self._name, seen, desired)
        for todo in step.plan(seen, desired):
            await self._do(todo, desired)
        return step.done(await self.read(), desired)

    async def parts(self) -> Parts:
        return await self._call(lambda: self._parts())

    async def set_secure_boot(self, *, on: bool) -> None:
        await self._call(lambda: redfish_parts.set_secure_boot(self._name, self._system(), on=on))

    async def set_bios(self, settings: Mapping[str, object] | None) -> None:
        await self._call(lambda: redfish_parts.set_bios(self._name, self._system(), settings))

    async def set_indicator(self, name: str, state: str) -> None:
        await self._call(lambda: redfish_parts.set_indicator(self._name, self._system(), name, state))

    async def interrupt(self) -> None:
        await self._call(lambda: self._reset((sushy.ResetType.NMI,)))

    async def console(self) -> Console:
        if await self.power() == Power.OFF:
            raise Unavailable(f"{self._name}: the machine is off")
        if self._ipmi is None:
            raise DeviceFailed(f"{self._name}: Redfish carries no serial console; give the BMC's IPMI address as well")
        return await self._ipmi.console()

    async def close(self) -> None:
        root, self._root, self._known = self._root, None, None
        if root is not None:
            await self._call(lambda: _log_out(root))

    async def _do(self, todo: step.Step, desired: BmcDesired) -> None:
        match todo:
            case step.PowerOff() | step.PowerOn() | step.Reset():
                await step.switch(todo, desired, self._order, self.power, self._name)
            case _:
                await self._call(lambda: self._set(todo))

    async def _order(self, word: str) -> None:
        await self._call(lambda: self._reset(_ORDERS[word]))

    async def _call(self, work: Callable[[], T]) -> T:
        """Run it in the pool. The inner lock holds where the outer one was let go of by a cancelled caller."""

        def turn() -> T:
            with self._busy:
                return self._words(work)

        async with self._turn:
            with self.asking(self._access.timeout):
                return await asyncio.get_running_loop().run_in_executor(_POOL, turn)

    def _words(self, work: Callable[[], T]) -> T:
        """Do it, with sushy's errors in our words."""
        try:
            return work()
        except HaganeError:
            raise
        except Exception as error:
            # Whatever an odd answer trips up inside sushy (KeyError, TypeError, ...) is the BMC's fault, not ours.
            # After a silence the session may still be good (BMCs have few), and sushy renews one that is refused.
            self._known = None
            if isinstance(error, refused.AccessError):
                self._forget()
            raise _translate(self._name, error) from error

    def _forget(self) -> None:
        """Log in anew with the next call."""
        root, self._root, self._known = self._root, None, None
        if root is not None:
            root._conn.close()

    def _power(self) -> Power:
        system = self._system()
        state = system.power_state
        power = _POWER.get(state.value if state is not None else "")
        if power is None:
            raise DeviceFailed(f"{self._name}: an answer that makes no sense: it names no power state")
        return power

    def _read(self, *, identity: bool, sensors: bool) -> BmcSeen:
        power = self._power()
        system = self._known
        boot = system.json.get("Boot") or {}
        mode = {"UEFI": BootMode.UEFI, "Legacy": BootMode.BIOS}.get(str(boot.get("BootSourceOverrideMode")))
        media = {slot: one.image if one.inserted is not False and one.image else None
                 for slot, one in self._drives().items()}  # fmt: skip
        seen = BmcSeen(power, boot=_boot(boot), boot_mode=mode, media=media)
        if identity:
            seen = replace(seen, identity=_identity(system))
        return replace(seen, sensors=_sensors(system)) if sensors else seen

    def _parts(self) -> Parts:
        system = self._system()
        return redfish_parts.read(self._root, system)

    def _system(self) -> Any:
        """The system, fresh from the BMC."""
        if self._root is None:
            self._root = _connect(self._access)
        if self._known is not None:
            self._known.refresh(force=True)
        elif self._access.system:
            self._known = self._root.get_system(self._access.system)
        else:
            self._known = self._only_system()
        return self._known

    def _only_system(self) -> Any:
        members = self._root.get_system_collection().get_members()
        if len(members) != 1:
            raise DeviceFailed(f"{self._name}: has {len(members)} systems; say which one is meant")
        return members[0]

    def _drives(self) -> dict[Slot, Any]:
        """The first virtual drive of each kind."""
        drives: dict[Slot, Any] = {}
        for manager in self._known.managers:
            if not manager.json.get("VirtualMedia"):
                continue
            manager.virtual_media.refresh(force=True)
            for drive in manager.virtual_media.get_members():
                drive.refresh(force=True)
                for kind in drive.json.get("MediaTypes") or ():
                    if kind in _SLOTS:
                        drives.setdefault(_SLOTS[kind], drive)
        return drives

    def _reset(self, kinds: tuple[sushy.ResetType, ...]) -> None:
        system = self._system()
        offered = system.get_allowed_reset_system_values()
        kind = next((kind for kind in kinds if kind in offered), None)
        if kind is None:
            raise DeviceFailed(f"{self._name}: offers none of {', '.join(kind.value for kind in kinds)}")
        system.reset_system(kind)

    def _set(self, todo: step.Step) -> None:
        match todo:
            case step.Insert(slot, url):
                self._drives()[slot].insert_media(url, write_protected=True)
            case step.Eject(slot):
                self._drives()[slot].eject_media()  # it keeps some refusals to itself
                drive = self._drives()[slot]
                if drive.inserted is not False and drive.image:
                    raise DeviceFailed(f"{self._name}: does not eject the image in its virtual {slot} drive")
            case step.SetBootMode(mode):
                self._system().set_system_boot_options(mode=_MODES[mode])
            case step.SetBoot(boot, _):
                self._set_boot(boot)

    def _set_boot(self, boot: Boot) -> None:
        system, target = self._system(), _TARGETS[boot.device]
        if target not in system.get_allowed_system_boot_source_values():
            raise DeviceFailed(f"{self._name}: the machine cannot boot from {boot.device}")
        often = sushy.BootSourceOverrideEnabled
        enabled = often.CONTINUOUS if boot.persistent else often.ONCE
        system.set_system_boot_options(target, enabled, http_boot_uri=boot.uri or None)


class _Root(sushy.Sushy):  # type: ignore[misc]
    def __del__(self) -> None:
        """Nothing: sushy's logs out over the network from any thread that collects garbage, even the event loop's."""


def _connect(access: BmcAccess) -> Any:
    connector = sushy.connector.Connector(
        access.address,
        verify=access.verify,
        server_side_retries=1,  # 0 would mean sushy's default of three tries, seconds apart
        default_request_timeout=access.timeout,
        connect_timeout=min(access.timeout, 5.0),
    )
    auth = sushy.auth.SessionOrBasicAuth(access.username, access.password)
    try:
        return _Root(access.address, verify=access.verify, auth=auth, connector=connector)
    except BaseException:
        connector.close()
        raise


def _log_out(root: Any) -> None:
    try:
        root._auth.close()
    finally:
        root._conn.close()


def _has_slots(name: str, seen: BmcSeen, desired: BmcDesired) -> None:
    for slot, url in desired.media.items():
        if url is not None and slot not in seen.media:
            raise DeviceFailed(f"{name}: has no virtual {slot} drive")


def _boot(boot: dict[str, Any]) -> Boot | None:
    device = _DEVICES.get(str(boot.get("BootSourceOverrideTarget")))
    enabled = boot.get("BootSourceOverrideEnabled")
    if device is None or enabled not in ("Once", "Continuous"):
        return None
    uri = str(boot.get("HttpBootUri") or "") if device == BootDevice.HTTP else ""
    return Boot(device, persistent=enabled == "Continuous", uri=uri)


def _identity(system: Any) -> Identity:
    shown = system.json
    vendor, model, serial = (str(shown.get(key) or "").strip() for key in ("Manufacturer", "Model", "SerialNumber"))
    nics = system.ethernet_interfaces.get_members() if shown.get("EthernetInterfaces") else ()
    macs = (str(nic.json.get("PermanentMACAddress") or nic.json.get("MACAddress") or "").lower() for nic in nics)
    return Identity(vendor, model, serial, tuple(mac for mac in macs if mac))


def _sensors(system: Any) -> tuple[Sensor, ...]:
    readings: list[Sensor] = []
    for chassis in system.chassis:
        if not chassis.json.get("Thermal"):
            continue
        thermal = chassis.thermal.json
        readings += (_sensor(one, "ReadingCelsius", "degrees C") for one in thermal.get("Temperatures") or ())
        readings += (
            _sensor(one, "Reading", str(one.get("ReadingUnits") or "RPM")) for one in thermal.get("Fans") or ()
        )
    return tuple(readings)


def _sensor(shown: dict[str, Any], key: str, unit: str) -> Sensor:
    value = shown.get(key)
    health = (shown.get("Status") or {}).get("Health")
    number = float(value) if isinstance(value, int | float) else None
    return Sensor(str(shown.get("Name") or "?"), number, unit, healthy=health in (None, "OK"))


def _translate(name: str, error: Exception) -> HaganeError:
    detail = f"{type(error).__name__}: {error}"
    match error:
        case refused.AccessError():
            return DeviceFailed(f"{name}: the BMC refuses the user name or the password", detail=detail)
        case refused.ResourceNotFoundError():
            return DeviceFailed(f"{name}: the BMC knows no such system", detail=detail)
        case refused.ConnectionError() if "certificate" in detail.lower():
            return DeviceFailed(f"{name}: its TLS certificate is not trusted", detail=detail)
        case refused.ConnectionError():
            return Unavailable(f"{name}: no answer from the BMC", detail=detail)
        case refused.ServerSideError():
            return Unavailable(f"{name}: the BMC has a fault of its own", detail=detail)
        case refused.HTTPError():
            said = str(getattr(error, "detail", "") or error)
            return DeviceFailed(f"{name}: the BMC refuses: {said}", detail=detail)
    return DeviceFailed(f"{name}: an answer that makes no sense", detail=detail)
