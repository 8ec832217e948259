"""What an emulated BMC shows beneath a system: processors, disks, BIOS attributes, secure boot, firmware versions.

BIOS attributes are those that mean something here: BootMode and NetworkBoot. They are changed as on real machines: what
is set waits in Bios/Settings for the next start.
"""

import functools
from typing import Any

from hagane.errors import HaganeError
from hagane.lab.bmc.machine import Machine
from hagane.lab.process import tool

Json = dict[str, Any]
UPDATE = "/redfish/v1/UpdateService"


def below(machine: Machine, system: str) -> dict[str, Json]:
    """Resources by path, without their own addresses."""
    return {
        f"{system}/Processors": _collection("Processor", f"{system}/Processors/CPU0"),
        f"{system}/Processors/CPU0": _processor(machine),
        f"{system}/SimpleStorage": _collection("SimpleStorage", f"{system}/SimpleStorage/1"),
        f"{system}/SimpleStorage/1": _storage(machine),
        f"{system}/Bios": _bios(machine, system),
        f"{system}/Bios/Settings": {"@odata.type": "#Bios.v1_1_0.Bios", "Id": "Settings", "Name": "Pending settings",
                                    "Attributes": dict(machine.settings.pending)},
        f"{system}/SecureBoot": _secure_boot(machine),
        **_firmware(machine),
    }  # fmt: skip


def links(system: str) -> Json:
    """How the system points at them."""
    names = ("Processors", "SimpleStorage", "Bios", "SecureBoot")
    return {name: {"@odata.id": f"{system}/{name}"} for name in names}


def _collection(kind: str, *paths: str) -> Json:
    members = [{"@odata.id": path} for path in paths]
    return {"@odata.type": f"#{kind}Collection.{kind}Collection", "Name": f"{kind}s",
            "Members@odata.count": len(members), "Members": members}  # fmt: skip


def _processor(machine: Machine) -> Json:
    return {
        "@odata.type": "#Processor.v1_3_0.Processor", "Id": "CPU0", "Name": "Processor", "Socket": "0",
        "ProcessorType": "CPU", "ProcessorArchitecture": "x86", "InstructionSet": "x86-64", "Model": "Virtual",
        "TotalCores": machine.spec.vcpus, "TotalThreads": machine.spec.vcpus,
        "Status": {"State": "Enabled", "Health": "OK"},
    }  # fmt: skip


def _storage(machine: Machine) -> Json:
    health = "Critical" if machine.faults().disk else "OK"
    devices = [
        {"Name": f"disk{number}", "Model": "Virtual disk", "CapacityBytes": file.stat().st_size,
         "Status": {"State": "Enabled", "Health": "OK" if number else health}}
        for number, file in enumerate(machine.spec.disks) if file.exists()
    ]  # fmt: skip
    return {"@odata.type": "#SimpleStorage.v1_2_0.SimpleStorage", "Id": "1", "Name": "Disks", "Devices": devices}


def _bios(machine: Machine, system: str) -> Json:
    return {
        "@odata.type": "#Bios.v1_1_0.Bios", "Id": "BIOS", "Name": "BIOS", "Attributes": machine.bios(),
        "@Redfish.Settings": {"@odata.type": "#Settings.v1_0_0.Settings",
                              "SettingsObject": {"@odata.id": f"{system}/Bios/Settings"}},
        "Actions": {"#Bios.ResetBios": {"target": f"{system}/Bios/Actions/Bios.ResetBios"}},
    }  # fmt: skip


def _secure_boot(machine: Machine) -> Json:
    uefi, enabled = machine.settings.mode == "uefi", machine.settings.secure_boot
    return {
        "@odata.type": "#SecureBoot.v1_0_0.SecureBoot", "Id": "SecureBoot", "Name": "UEFI Secure Boot",
        "SecureBootEnable": enabled, "SecureBootCurrentBoot": "Enabled" if enabled and uefi else "Disabled",
        "SecureBootMode": "UserMode",
    }  # fmt: skip


def _firmware(machine: Machine) -> dict[str, Json]:
    inventory = f"{UPDATE}/FirmwareInventory"
    firmware = _version("ovmf") if machine.settings.mode == "uefi" else _version("seabios")
    listed = {"BMC": "1", "BIOS": firmware}
    return {
        UPDATE: {"@odata.type": "#UpdateService.v1_2_0.UpdateService", "Id": "UpdateService", "Name": "Updates",
                 "ServiceEnabled": False, "FirmwareInventory": {"@odata.id": inventory}, "Actions": {"Oem": {}}},
        inventory: _collection("SoftwareInventory", *(f"{inventory}/{name}" for name in listed)),
        **{f"{inventory}/{name}": {
            "@odata.type": "#SoftwareInventory.v1_2_0.SoftwareInventory", "Id": name, "Name": name, "Version": version,
            "Updateable": False, "Status": {"State": "Enabled", "Health": "OK"},
        } for name, version in listed.items()},
    }  # fmt: skip


@functools.cache
def _version(package: str) -> str:
    """Of the firmware that QEMU runs, as its package says it."""
    try:
        return tool("dpkg-query", "-Wf", "${Version}", package, timeout=5.0).strip() or "unknown"
    except HaganeError:
        return "unknown"
