"""What this machine is: the inventory in the original's format, read from /sys and /proc."""

import fcntl
import platform
import re
import socket
import struct
from typing import Any

from .disks import disks, guess
from .errors import DeviceNotFound
from .place import Place

ADDRESS = 0x8915  # SIOCGIFADDR


def nics(place: Place, lldp: dict[str, list[tuple[int, str]]] | None = None) -> list[dict[str, Any]]:
    """The physical NICs, ordered by name."""
    folder = place.path("sys/class/net")
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return [_nic(place, name, (lldp or {}).get(name)) for name in names if (folder / name / "device").exists()]


def _nic(place: Place, name: str, lldp: list[tuple[int, str]] | None) -> dict[str, Any]:
    base = f"sys/class/net/{name}"
    device = place.path(f"{base}/device").resolve()
    speed = place.text(f"{base}/speed")
    found = re.findall(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]", str(device))
    driver = place.path(f"{base}/device/driver")
    pci = place.root / "sys/bus/pci/devices" / found[-1] if found else device
    return {
        "name": name, "mac_address": place.text(f"{base}/address"),
        "ipv4_address": address(name) if place.real else None,
        "ipv6_address": None, "has_carrier": place.text(f"{base}/carrier") == "1", "lldp": lldp,
        "vendor": _read(pci / "vendor"), "product": _read(pci / "device"), "client_id": None, "biosdevname": None,
        "speed_mbps": int(speed) if speed.isdigit() else None, "pci_address": found[-1] if found else None,
        "driver": driver.resolve().name if driver.exists() else None,
    }  # fmt: skip


def _read(path: Any) -> str | None:
    try:
        return str(path.read_text()).strip()
    except OSError:
        return None


def address(name: str) -> str | None:
    """A NIC's IPv4 address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            return socket.inet_ntoa(fcntl.ioctl(probe, ADDRESS, struct.pack("256s", name.encode()[:15]))[20:24])
        except OSError:
            return None


def inventory(place: Place, lldp: dict[str, list[tuple[int, str]]] | None = None) -> dict[str, Any]:
    """Everything."""
    dmi = "sys/class/dmi/id/"
    return {
        "interfaces": nics(place, lldp), "cpu": _cpu(place), "disks": disks(place), "memory": _memory(place),
        "bmc_address": "0.0.0.0", "bmc_v6address": "::/0",
        "system_vendor": {
            "product_name": place.text(dmi + "product_name"), "serial_number": place.text(dmi + "product_serial"),
            "manufacturer": place.text(dmi + "sys_vendor"),
            "firmware": {"vendor": place.text(dmi + "bios_vendor"), "version": place.text(dmi + "bios_version"),
                         "build_date": place.text(dmi + "bios_date")},
        },
        "boot": {"current_boot_mode": place.boot_mode, "pxe_interface": place.parameters.get("bootif")},
        "hostname": platform.node(), "usb_devices": [],
    }  # fmt: skip


def machine_uuid(place: Place) -> str:
    return place.text("sys/class/dmi/id/product_uuid").lower()


def _cpu(place: Place) -> dict[str, Any]:
    text = place.text("proc/cpuinfo")

    def all_of(name: str) -> list[str]:
        return re.findall(rf"^{name}\s*:\s*(.*)$", text, re.MULTILINE)

    return {
        "model_name": (all_of("model name") or [""])[0], "frequency": (all_of("cpu MHz") or [""])[0],
        "count": max(1, len(all_of("processor"))), "architecture": platform.machine(),
        "flags": (all_of("flags") or [""])[0].split(), "socket_count": max(1, len(set(all_of("physical id")))),
    }  # fmt: skip


def _memory(place: Place) -> dict[str, int]:
    """What the kernel has, and what is in the slots: the sum of the firmware's list, rounded up where it has none."""
    found = re.search(r"MemTotal:\s+(\d+)", place.text("proc/meminfo"))
    total = int(found[1]) << 10 if found else 0
    return {"total": total, "physical_mb": _installed(place) or -(-total >> 20) // 128 * 128 + 128}


def _installed(place: Place) -> int:
    """Megabytes according to SMBIOS type 17 (memory devices), as the kernel shows its entries."""
    megabytes = 0
    for folder in place.path("sys/firmware/dmi/entries").glob("17-*"):
        try:
            raw = (folder / "raw").read_bytes()
        except OSError:
            continue
        size = struct.unpack_from("<H", raw, 12)[0] if len(raw) >= 14 else 0
        if size == 0x7FFF and len(raw) >= 32:
            megabytes += struct.unpack_from("<I", raw, 28)[0] & 0x7FFFFFFF
        elif size not in (0, 0xFFFF):
            megabytes += size >> 10 if size & 0x8000 else size
    return megabytes


def inspection(place: Place, lldp: dict[str, list[tuple[int, str]]]) -> dict[str, Any]:
    """What is posted to the inspection callback."""
    found = inventory(place, lldp)
    data: dict[str, Any] = {"inventory": found, "error": None, "boot_interface": found["boot"]["pxe_interface"]}
    try:
        data["root_disk"] = guess(found["disks"]) if found["disks"] else None
    except DeviceNotFound as error:
        data["error"] = str(error)
    data["configuration"] = {"collectors": ["default"], "managers": [MANAGER]}
    data["lldp_raw"] = lldp
    return data


MANAGER = {"name": "hagane_hardware_manager", "version": "1.0"}
