"""What a Node's row asks for next: the table state → path of phases → one phase. Pure; node.py carries it out.

    deploying ─ tenant-network ─ storage ─ switch ─ disk                                                   from a volume
    deploying ─ tenant-network ─ network ─ boot ─▶ wait call-back ─ start ─ callback ─ steps ─▶ deploying ─ switch ─ ...
    cleaning ─ network ─ boot ─▶ clean wait ─ start ─ callback ─ steps ─▶ cleaning ─ release ─▶ available | manageable

Each phase is idempotent, and its end is written before the next begins: a process that is killed anywhere leaves a row
from which another goes on. Phases in which a machine is waited for run in the waiting state, where the API may abort.
"""

from dataclasses import dataclass

from hagane.baremetal import san
from hagane.baremetal.driver import FACTORY
from hagane.baremetal.node_state import FAILURE, WAITING
from hagane.drivers.bmc.base import BmcDesired, BmcSeen, Boot, BootDevice, BootMode, Parts, Power, Slot
from hagane.state.database import Row

WIRE_POWER = {Power.ON: "power on", Power.OFF: "power off"}
DEVICES = {"pxe": BootDevice.PXE, "disk": BootDevice.DISK, "cdrom": BootDevice.CDROM, "uefihttp": BootDevice.HTTP}
WIRE_DEVICES = {device: name for name, device in DEVICES.items()}

KIND = {"verifying": "verify", "adopting": "adopt", "inspecting": "inspect", "inspect wait": "inspect",
        "cleaning": "clean", "clean wait": "clean", "deploying": "deploy", "wait call-back": "deploy",
        "rescuing": "rescue", "rescue wait": "rescue", "unrescuing": "unrescue", "servicing": "service",
        "service wait": "service", "deleting": "delete"}  # fmt: skip
"""A state in which something is done -> what."""

PATHS: dict[str, tuple[str, ...]] = {
    "verify": ("verify",),
    "adopt": ("adopt",),
    "inspect": ("network", "boot", "start", "data", "facts", "release"),
    "clean": ("network", "boot", "start", "callback", "steps", "release"),
    "deploy": ("tenant-network", "network", "boot", "start", "callback", "steps", "switch", "disk"),
    "rescue": ("network", "boot", "start", "callback", "finalize", "open"),
    "unrescue": ("switch", "disk"),
    "service": ("network", "boot", "start", "callback", "steps", "switch", "disk"),
    "delete": ("teardown",),
}
"""What is done -> its phases, with a ramdisk on the machine."""

SAN = ("tenant-network", "storage", "switch", "disk")
"""A deployment of a machine that starts from a volume: nothing is written, so no ramdisk is needed."""

BARE: dict[str, tuple[str, ...]] = {
    "inspect": ("identity",), "clean": ("steps",), "deploy": ("steps", "disk"), "rescue": ("switch", "disk"),
    "unrescue": ("switch", "disk"), "service": ("steps",), "adopt": (),
}  # fmt: skip
"""The same where there is no ramdisk: interfaces called `fake`, an inspection by the BMC."""

WAITS = frozenset({"start", "callback", "steps", "data", "finalize"})
"""Phases that run in the waiting state."""

LEFT = ("manageable", "available")
"""States to which a person may move a Node that failed before what it had was released."""

INTERFACE = {"inspect": "inspect", "rescue": "rescue", "unrescue": "rescue", "clean": "deploy", "deploy": "deploy",
             "service": "deploy", "adopt": "deploy"}  # fmt: skip
ROLE = {"deploy": "provisioning", "clean": "cleaning", "rescue": "rescuing", "inspect": "inspection",
        "service": "provisioning"}  # fmt: skip
"""What is done -> the network that the ramdisk is in."""


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next: a phase of something, begun anew or gone on with; `event`: the state to be in first."""

    kind: str
    phase: str  # "": all phases are done
    fresh: bool = False
    event: str = ""


def step(row: Row) -> Step | None:
    """The one next step of a Node; None when nothing is going on."""
    state, life = row["provision_state"], (row["seen"] or {}).get("life") or {}
    if life and (state in FAILURE or state in LEFT or life.get("failed")):
        return Step("release", "release")  # also if somebody begins again at once: not with the ramdisk that was there
    if not life and state in LEFT and (row["seen"] or {}).get("left") not in (None, state):
        return Step("release", "release")  # it could not be done before; once more now that somebody has moved the Node
    kind = KIND.get(state)
    if kind is None or (row["maintenance"] and state in WAITING.values()):
        return None  # in maintenance nobody goes on with what was waited for, as in the real service
    way = path(row)
    fresh = life.get("kind") != kind
    if fresh and not way and life.get("ramdisk"):
        return Step("release", "release")  # nothing of what comes now would put away what was there
    phase = (way[0] if way else "") if fresh else life["phase"]
    if kind == "inspect" and phase not in ("release", "") and (row["seen"] or {}).get("inspected"):
        phase = "facts"
    return Step(kind, phase, fresh=fresh, event=turn(row, phase))


def turn(row: Row, phase: str) -> str:
    """The event that a phase has to begin with: machines are waited for in the waiting state, and only there."""
    waiting = row["provision_state"] in WAITING.values()
    waits = phase in WAITS and "start" in path(row)
    if waiting == waits:
        return ""
    return "resume" if waiting else "wait"


def path(row: Row) -> tuple[str, ...]:
    """The phases of what a Node's state is about."""
    kind = KIND[row["provision_state"]]
    interface = row[f"{INTERFACE[kind]}_interface"] if kind in INTERFACE else ""
    internal = row["driver_internal_info"] or {}
    if kind == "deploy" and san.started(row):
        return SAN
    if kind == "clean":
        if row["target_provision_state"] != "manageable" and row["automated_clean"] is False:
            return ()  # the operator switched it off for this Node; it is never left out otherwise
        if interface == "fake" or _bare(row, "cleaning_disable_ramdisk"):
            return BARE["clean"]
    if kind == "service" and internal.get("servicing_disable_ramdisk"):
        return BARE["service"]
    if kind == "inspect" and interface == "redfish":
        return BARE["inspect"]
    return BARE[kind] if interface == "fake" else PATHS[kind]


def _bare(row: Row, name: str) -> bool:
    manual = row["target_provision_state"] == "manageable"
    return manual and bool((row["driver_internal_info"] or {}).get(name))


def after(row: Row, phase: str) -> str:
    """The phase after one; "" when it was the last."""
    way = path(row)
    place = way.index(phase) + 1 if phase in way else len(way)
    return way[place] if place < len(way) else ""


def done(row: Row) -> str:
    """The event when all phases are done."""
    kind = KIND[row["provision_state"]]
    if kind == "delete":
        return "clean"
    return "manage" if kind == "clean" and row["target_provision_state"] == "manageable" else "done"


def desired(row: Row) -> list[BmcDesired]:
    """What the API asked of the BMC, as desired states to be applied one after another."""
    wanted = row["wanted"] or {}
    device = wanted.get("boot_device")
    boot = None
    if device and device["boot_device"] in DEVICES:
        boot = Boot(DEVICES[device["boot_device"]], bool(device["persistent"]))
    mode = BootMode(wanted["boot_mode"]) if wanted.get("boot_mode") else None
    found = []
    if wanted.get("media"):
        found.append(BmcDesired(media={Slot(slot): url for slot, url in wanted["media"].items()}))
    if boot or mode:
        found.append(BmcDesired(boot=boot, arms=1 if boot and not boot.persistent else 0, boot_mode=mode))
    return found + _power(wanted.get("power"))


def _power(wanted: Row | None) -> list[BmcDesired]:
    if wanted is None:
        return []
    seconds = float(wanted["timeout"] or 60)
    match wanted["target"]:
        case "power on":
            return [BmcDesired(Power.ON)]
        case "power off":
            return [BmcDesired(Power.OFF)]
        case "soft power off":
            return [BmcDesired(Power.OFF, soft=True, soft_seconds=seconds)]
        case "soft rebooting":
            return [BmcDesired(Power.OFF, soft=True, soft_seconds=seconds), BmcDesired(Power.ON)]
    return [BmcDesired(Power.ON, resets=1)]


def unknown(row: Row) -> str:
    """Why something that was asked of the BMC cannot be done by any driver here, or nothing."""
    wanted = row["wanted"] or {}
    device = (wanted.get("boot_device") or {}).get("boot_device")
    if device is not None and device not in DEVICES:
        return f"The boot device {device} is not one that this cloud can set."
    return ""


def shown(row: Row, parts: Parts, now: str) -> Row:
    """What changes in the row by what else the BMC shows."""
    old: Row = row["seen"] or {}
    indicators = {name: {"state": state, "readonly": False, "states": ["on", "off", "blinking"]}
                  for name, state in parts.indicators.items()}  # fmt: skip
    firmware = [_component(name, version, old, now) for name, version in sorted(parts.firmware.items())]
    before = {entry["name"]: entry for entry in old.get("bios") or []}
    bios = [{"name": name, "value": value, "created_at": before.get(name, {}).get("created_at") or now,
             "updated_at": now if before.get(name, {}).get("value", value) != value else None}
            for name, value in sorted(parts.bios.items())]  # fmt: skip
    return {"seen": {**old, "indicators": indicators, "bios": bios, "firmware": firmware},
            "secure_boot": parts.secure_boot}  # fmt: skip


def _component(name: str, version: str, old: Row, now: str) -> Row:
    before = next((one for one in old.get("firmware") or [] if one["component"] == name.lower()), None)
    if before is not None and before["current_version"] == version:
        return dict(before)
    return {"component": name.lower(), "initial_version": before["initial_version"] if before else version,
            "current_version": version, "last_version_flashed": version if before else None,
            "created_at": before["created_at"] if before else now,
            "updated_at": now if before else None}  # fmt: skip


def seen(row: Row, bmc: BmcSeen) -> Row:
    """What changes in the row by what the BMC shows."""
    boot = FACTORY["boot_device"] if row["driver"] == "fake-hardware" else {"boot_device": None, "persistent": None}
    if bmc.boot is not None:
        boot = {"boot_device": WIRE_DEVICES[bmc.boot.device], "persistent": bmc.boot.persistent}
    shown = (row["seen"] or {}) | {"boot_device": boot, "boot_devices": list(DEVICES)}
    if bmc.media:
        shown["media"] = {slot.value: url for slot, url in bmc.media.items() if url}
    found: Row = {}
    if shown != row["seen"]:
        found["seen"] = shown
    if WIRE_POWER[bmc.power] != row["power_state"]:
        found["power_state"] = WIRE_POWER[bmc.power]
    if bmc.boot_mode is not None and bmc.boot_mode.value != row["boot_mode"]:
        found["boot_mode"] = bmc.boot_mode.value
    return found
