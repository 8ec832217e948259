"""How a Node gets a ramdisk: pure plans, which others carry out.

    Node, URLs ──plan──▶ BootPlan ──▶ DHCP options of its provisioning Port (OVN), texts that the provisioning service
                                      serves to this Node, and what its BMC must do

A boot driver is one file with one pure function; it talks to nobody. The service ties every request to a Node by the
address it comes from, so paths name no Node: whoever asks for /boot.ipxe gets its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from hagane.drivers.bmc.base import BootDevice, BootMode, Slot

KERNEL, RAMDISK, ISO = "kernel", "ramdisk", "boot.iso"  # paths of the service that give these bytes
LOADERS = "loader/"  # + a name in loader.py


@dataclass(frozen=True, slots=True)
class Ramdisk:
    """What runs on a Node, as files of this machine. `parameters`: what it always wants on its command line."""

    kernel: Path
    ramdisk: Path
    parameters: str = ""


@dataclass(frozen=True, slots=True)
class BootNode:
    """What a plan depends on. `base`: URL of the provisioning service in the Node's network, by its IPv4 address."""

    mode: BootMode
    base: str
    parameters: str  # the kernel command line, without what only the boot loader knows (BOOTIF)
    media: str = ""  # URL of the ISO as the BMC reaches it; only virtual media need it

    @property
    def server(self) -> str:
        """The service's address, for TFTP and DHCP."""
        return urlsplit(self.base).hostname or ""


@dataclass(frozen=True, slots=True)
class BootPlan:
    """What makes the next start of a Node boot the ramdisk. `files`: the last part of a path -> text; a path in a
    folder whose name ends with a slash gets the text of that folder ("pxelinux.cfg/")."""

    dhcp: Mapping[str, str] = field(
        default_factory=dict
    )  # options of the provisioning Port, by the network API's names
    files: Mapping[str, str] = field(default_factory=dict)
    device: BootDevice = BootDevice.PXE
    http_uri: str = ""  # for BootDevice.HTTP
    media: Mapping[Slot, str] = field(default_factory=dict)  # images that the BMC shall insert


class BootDriver(Protocol):
    """One way to boot. `modes`: in which the firmware may be."""

    @property
    def name(self) -> str: ...

    @property
    def modes(self) -> frozenset[BootMode]: ...

    def plan(self, node: BootNode) -> BootPlan: ...


def dhcp(node: BootNode, *, loader: str, ipxe: str) -> dict[str, str]:
    """DHCP options: what plain firmware loads by TFTP, and what an iPXE (which says that it is one) goes on with."""
    server = node.server
    return {
        "tag:!ipxe,67": loader,
        "tag:ipxe,67": ipxe,
        "tftp-server": server,
        "server-ip-address": server,
        "next-server": server,
    }
