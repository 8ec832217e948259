"""What a Node's row asks for next: the table state → one step. Pure; reconcile/node.py carries it out.

    verifying ─ read the BMC ─▶ manageable        cleaning ─▶ available       deploying ─ power on ─▶ active
    deleting ─ power off ─▶ cleaning              inspecting ─ identity ─▶ manageable      rescuing, servicing ...

What needs an agent on the machine (deploy, clean, rescue) is done at once on simulated machines, whose interfaces are
`fake`, and fails with the reason on others, in a state that has a way out.
"""

from dataclasses import dataclass, field

from hagane.drivers.bmc.base import BmcDesired, BmcSeen, Boot, BootDevice, BootMode, Power
from hagane.state.database import Row

WIRE_POWER = {Power.ON: "power on", Power.OFF: "power off"}
DEVICES = {"pxe": BootDevice.PXE, "disk": BootDevice.DISK, "cdrom": BootDevice.CDROM, "uefihttp": BootDevice.HTTP}
WIRE_DEVICES = {device: name for name, device in DEVICES.items()}
POLL = 60.0  # seconds between looks at the power of a Node


@dataclass(frozen=True, slots=True)
class Step:
    """What to do and which event it then is; `refused`: why it cannot be done, and the event is `fail`."""

    event: str
    desired: BmcDesired | None = None
    refused: str = ""
    changes: Row = field(default_factory=dict)
    identity: bool = False  # ask the BMC who the machine is


def step(row: Row) -> Step | None:
    """The one next step of a Node; None when nothing is going on."""
    match row["provision_state"]:
        case "verifying":
            return Step("done")
        case "inspecting":
            return _inspecting(row)
        case "adopting":
            return Step("done")
        case "cleaning":
            return _cleaning(row)
        case "deploying":
            return _by(row, "deploy", Step("done", BmcDesired(Power.ON)))
        case "deleting":
            gone: Row = {
                "instance_info": {},
                "instance_id": None,
                "allocation_id": None,
                "instance_name": None,
                "deploy_step": {},
            }
            return Step("clean", BmcDesired(Power.OFF), changes=gone)
        case "rescuing" | "unrescuing":
            return _by(row, "rescue", Step("done", BmcDesired(Power.ON, resets=1)))
        case "servicing":
            return _by(row, "deploy", Step("done"))
    return None


def _by(row: Row, interface: str, done: Step) -> Step:
    used = row[f"{interface}_interface"]
    if used == "fake":
        return done
    return Step("fail", refused=f"There is no {interface} driver for the {interface} interface {used!r} in this cloud.")


def _inspecting(row: Row) -> Step:
    """A ramdisk has sent what it found (baremetal/agent.py), or the BMC is asked."""
    seen: Row = row["seen"] or {}
    if seen.get("inspected"):
        return Step("done", changes={"seen": {key: value for key, value in seen.items() if key != "inspected"}})
    return _by(row, "inspect", Step("done", identity=True))


def _cleaning(row: Row) -> Step:
    """Cleaning is never left out silently: only where the operator switched it off for this Node."""
    if row["target_provision_state"] == "manageable":
        return _by(row, "deploy", Step("manage"))
    if row["automated_clean"] is False:
        return Step("done")
    return _by(row, "deploy", Step("done"))


def desired(row: Row) -> list[BmcDesired]:
    """What the API asked of the BMC, as desired states to be applied one after another."""
    wanted = row["wanted"] or {}
    device = wanted.get("boot_device")
    boot = None
    if device and device["boot_device"] in DEVICES:
        boot = Boot(DEVICES[device["boot_device"]], bool(device["persistent"]))
    mode = BootMode(wanted["boot_mode"]) if wanted.get("boot_mode") else None
    found = []
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
    for name, what in (("secure_boot", "secure boot"), ("nmi", "an NMI"), ("indicators", "indicators"),
                       ("console", "the serial console")):  # fmt: skip
        if wanted.get(name):
            return f"No BMC driver of this cloud can set {what}."
    return ""


def seen(row: Row, bmc: BmcSeen) -> Row:
    """What changes in the row by what the BMC shows."""
    boot = {"boot_device": None, "persistent": None}
    if bmc.boot is not None:
        boot = {"boot_device": WIRE_DEVICES[bmc.boot.device], "persistent": bmc.boot.persistent}  # type: ignore[dict-item]
    shown = (row["seen"] or {}) | {"boot_device": boot, "boot_devices": list(DEVICES)}
    found: Row = {}
    if shown != row["seen"]:
        found["seen"] = shown
    if WIRE_POWER[bmc.power] != row["power_state"]:
        found["power_state"] = WIRE_POWER[bmc.power]
    if bmc.boot_mode is not None and bmc.boot_mode.value != row["boot_mode"]:
        found["boot_mode"] = bmc.boot_mode.value
    return found
