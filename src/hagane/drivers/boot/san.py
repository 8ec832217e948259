"""Booting a machine from an iSCSI volume: by iPXE, which logs in and starts what is on the volume as from a disk.

    firmware ──PXE, HTTP, or a CD with iPXE──▶ iPXE ──▶ boot.ipxe (this script) ──▶ login ──▶ the volume's boot loader
                                                                              └─▶ a table (iBFT) for the kernel

The order to boot so is a lasting one, since the machine starts from its volume each time. The script holds the password
of this volume: it is served to the one machine alone, by the address of its Port (provision_answer.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hagane.drivers.bmc.base import BootDevice, BootMode, Slot
from hagane.drivers.boot.base import LOADERS, BootNode, BootPlan, dhcp
from hagane.drivers.boot.ipxe import SCRIPT
from hagane.drivers.boot.loader import IPXE
from hagane.errors import Invalid


@dataclass(frozen=True, slots=True)
class SanDisk:
    """The way to a volume. `user` "": nobody is asked for a password."""

    portal: str  # address:port
    target: str
    lun: int
    initiator: str
    user: str = ""
    password: str = field(default="", repr=False)


def disk(connection: Mapping[str, Any], initiator: str) -> SanDisk:
    """From what the block storage API says. Raises Invalid for anything but iSCSI."""
    if connection.get("driver_volume_type") != "iscsi":
        raise Invalid(f"A machine cannot boot from a volume that it reaches by {connection.get('driver_volume_type')}.")
    data = connection["data"]
    made = SanDisk(
        str(data["target_portal"]), str(data["target_iqn"]), int(data["target_lun"]), initiator,
        str(data.get("auth_username") or ""), str(data.get("auth_password") or ""),
    )  # fmt: skip
    for word in (made.portal, made.target, made.initiator, made.user, made.password):
        if not word.isprintable() or set(word) & set(" \"'${}\\|&;#"):
            raise Invalid("A part of the way to the volume has characters that iPXE would act upon.")
    return made


def script(one: SanDisk) -> str:
    """A login that fails is tried again, since the target may just be restarting; in the end all begins anew."""
    address, _, port = one.portal.rpartition(":")
    login = [f"set username {one.user}", f"set password {one.password}"] if one.user else []
    return "\n".join([
        "#!ipxe", "set n:int32 0", f"set initiator-iqn {one.initiator}", *login, ":again",
        f"sanboot iscsi:{address}:6:{port}:{one.lun:x}:{one.target} ||",
        "inc n", "iseq ${n} 20 && reboot ||", "sleep 3", "goto again", "",
    ])  # fmt: skip


def plan(node: BootNode, interface: str) -> BootPlan:
    """What makes a Node's next starts, all of them, come to the script. Raises Invalid."""
    options = dhcp(node, loader=LOADERS + IPXE[node.mode], ipxe=f"{node.base}/{SCRIPT}")
    match interface:
        case "redfish-virtual-media":
            return BootPlan(dhcp=options, device=BootDevice.CDROM, media={Slot.CD: node.media})
        case "http-ipxe" if node.mode is BootMode.UEFI:
            return BootPlan(dhcp=options, device=BootDevice.HTTP, http_uri=f"{node.base}/{LOADERS}{IPXE[node.mode]}")
        case "ipxe":
            return BootPlan(dhcp=options)
    raise Invalid(f"The boot interface {interface!r} cannot boot from a volume in {node.mode} mode.")
