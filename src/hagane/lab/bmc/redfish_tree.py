"""The Redfish resources of one emulated BMC: what GET shows, computed from the machine each time."""

import hashlib
from typing import Any

from hagane.errors import NotFound
from hagane.lab.bmc import redfish_parts
from hagane.lab.bmc.machine import Machine

ROOT = "/redfish/v1"
SESSIONS = f"{ROOT}/SessionService/Sessions"
MANAGER, CHASSIS = f"{ROOT}/Managers/bmc", f"{ROOT}/Chassis/box"
RESETS = ("On", "ForceOn", "ForceOff", "ForceRestart", "GracefulShutdown", "PushPowerButton", "Nmi")
TARGETS = ("None", "Pxe", "Hdd", "Cd", "UefiHttp")
TARGET_OF = {"": "None", "pxe": "Pxe", "disk": "Hdd", "cdrom": "Cd", "http": "UefiHttp"}
MEDIA_TYPES = {"Cd": ["CD", "DVD"], "Usb": ["USBStick", "Floppy"]}
Json = dict[str, Any]


def system(machine: Machine) -> str:
    return f"{ROOT}/Systems/{machine.spec.uuid}"


def media(_machine: Machine, name: str) -> str:
    return f"{MANAGER}/VirtualMedia/{name}"


def session_id(token: str) -> str:
    """A session's public name says nothing of its token."""
    return hashlib.sha256(token.encode()).hexdigest()[:12]


def resource(machine: Machine, path: str) -> Json:
    """The resource at a path. Errors: NotFound."""
    shown = _fixed(machine) | {f"{MANAGER}/VirtualMedia/{name}": _media(machine, name) for name in MEDIA_TYPES}
    if path == "/redfish":
        return {"v1": f"{ROOT}/"}
    if path not in shown:
        raise NotFound(f"there is no {path}")
    return {"@odata.id": path, **shown[path]}


def _fixed(machine: Machine) -> dict[str, Json]:
    nics = f"{system(machine)}/EthernetInterfaces"
    each = {f"{nics}/{number}": _nic(number, nic.mac) for number, nic in enumerate(machine.spec.nics)}
    return {
        ROOT: _root(machine),
        f"{ROOT}/SessionService": {"@odata.type": "#SessionService.v1_1_0.SessionService", "Id": "SessionService",
                                   "Name": "Sessions", "ServiceEnabled": True, "Sessions": _link(SESSIONS)},
        SESSIONS: _collection("Session"),
        f"{ROOT}/Systems": _collection("ComputerSystem", system(machine)),
        f"{ROOT}/Managers": _collection("Manager", MANAGER),
        f"{ROOT}/Chassis": _collection("Chassis", CHASSIS),
        system(machine): _system(machine),
        nics: _collection("EthernetInterface", *each),
        **each,
        MANAGER: _manager(machine),
        f"{MANAGER}/VirtualMedia": _collection("VirtualMedia", *(media(machine, name) for name in MEDIA_TYPES)),
        CHASSIS: {"@odata.type": "#Chassis.v1_5_0.Chassis", "Id": "box", "Name": machine.spec.name,
                  "ChassisType": "RackMount", "Thermal": _link(f"{CHASSIS}/Thermal")},
        f"{CHASSIS}/Thermal": _thermal(),
        **redfish_parts.below(machine, system(machine)),
    }  # fmt: skip


def _link(path: str) -> Json:
    return {"@odata.id": path}


def _collection(kind: str, *paths: str) -> Json:
    return {
        "@odata.type": f"#{kind}Collection.{kind}Collection",
        "Name": f"{kind}s",
        "Members@odata.count": len(paths),
        "Members": [_link(path) for path in paths],
    }


def _root(machine: Machine) -> Json:
    return {
        "@odata.type": "#ServiceRoot.v1_5_0.ServiceRoot", "Id": "RootService", "Name": "Root",
        "RedfishVersion": "1.5.0", "UUID": machine.spec.uuid,
        "Systems": _link(f"{ROOT}/Systems"), "Managers": _link(f"{ROOT}/Managers"),
        "Chassis": _link(f"{ROOT}/Chassis"), "SessionService": _link(f"{ROOT}/SessionService"),
        "UpdateService": _link(redfish_parts.UPDATE), "Links": {"Sessions": _link(SESSIONS)},
    }  # fmt: skip


def _system(machine: Machine) -> Json:
    spec, settings, path = machine.spec, machine.settings, system(machine)
    enabled = "Disabled" if not settings.boot else "Continuous" if settings.persistent else "Once"
    boot = {
        "BootSourceOverrideEnabled": enabled, "BootSourceOverrideTarget": TARGET_OF[settings.boot],
        "BootSourceOverrideTarget@Redfish.AllowableValues": list(TARGETS),
        "BootSourceOverrideMode": "UEFI" if settings.mode == "uefi" else "Legacy",
        "BootSourceOverrideMode@Redfish.AllowableValues": ["Legacy", "UEFI"], "HttpBootUri": settings.http_uri or None,
    }  # fmt: skip
    reset = {"target": f"{path}/Actions/ComputerSystem.Reset", "ResetType@Redfish.AllowableValues": list(RESETS)}
    return {
        "@odata.type": "#ComputerSystem.v1_10_0.ComputerSystem", "Id": spec.uuid, "Name": spec.name, "UUID": spec.uuid,
        "SystemType": "Physical", "Manufacturer": "Hagane", "Model": "Virtual bare metal", "SerialNumber": spec.name,
        "PowerState": "On" if machine.pid() is not None else "Off", "Boot": boot,
        "Status": {"State": "Enabled", "Health": "OK"},
        "ProcessorSummary": {"Count": spec.vcpus}, "MemorySummary": {"TotalSystemMemoryGiB": spec.memory_mb / 1024},
        "IndicatorLED": settings.led, **redfish_parts.links(path),
        "EthernetInterfaces": _link(f"{path}/EthernetInterfaces"),
        "Links": {"ManagedBy": [_link(MANAGER)], "Chassis": [_link(CHASSIS)]},
        "Actions": {"#ComputerSystem.Reset": reset},
    }  # fmt: skip


def _nic(number: int, mac: str) -> Json:
    return {
        "@odata.type": "#EthernetInterface.v1_4_0.EthernetInterface", "Id": str(number), "Name": f"NIC {number}",
        "MACAddress": mac, "PermanentMACAddress": mac, "Status": {"State": "Enabled", "Health": "OK"},
    }  # fmt: skip


def _manager(machine: Machine) -> Json:
    return {
        "@odata.type": "#Manager.v1_5_0.Manager", "Id": "bmc", "Name": "BMC", "ManagerType": "BMC",
        "FirmwareVersion": "1", "UUID": machine.spec.uuid, "VirtualMedia": _link(f"{MANAGER}/VirtualMedia"),
        "Links": {"ManagerForServers": [_link(system(machine))], "ManagerForChassis": [_link(CHASSIS)]},
    }  # fmt: skip


def _media(machine: Machine, name: str) -> Json:
    url, path = machine.settings.media.get(name.lower()), media(machine, name)
    verbs = {f"#VirtualMedia.{verb}Media": {"target": f"{path}/Actions/VirtualMedia.{verb}Media"}
             for verb in ("Insert", "Eject")}  # fmt: skip
    return {
        "@odata.type": "#VirtualMedia.v1_3_0.VirtualMedia", "Id": name, "Name": f"Virtual {name}",
        "MediaTypes": MEDIA_TYPES[name], "Image": url, "ImageName": url.rpartition("/")[2] if url else None,
        "Inserted": url is not None, "WriteProtected": True, "ConnectedVia": "URI" if url else "NotConnected",
        "Actions": verbs,
    }  # fmt: skip


def _thermal() -> Json:
    inlet = {
        "MemberId": "0", "Name": "Inlet Temp", "ReadingCelsius": 22, "PhysicalContext": "Intake",
        "Status": {"State": "Enabled", "Health": "OK"},
    }  # fmt: skip
    return {"@odata.type": "#Thermal.v1_5_0.Thermal", "Id": "Thermal", "Name": "Thermal", "Temperatures": [inlet]}
