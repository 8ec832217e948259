"""How a Node gets a ramdisk (or boots a disk): pure plans, which others carry out.

    Node, URLs ──plan──▶ BootPlan ──▶ DHCP options of its provisioning Port (OVN), files that the provisioning service
                                      serves to this Node, and what its BMC must do

A boot driver is one file with one pure function; it talks to nobody.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from hagane.drivers.bmc.base import BootDevice, BootMode, Slot


@dataclass(frozen=True, slots=True)
class Ramdisk:
    """What shall run. URLs are reachable from the Node; `parameters` is the kernel command line."""

    kernel: str
    ramdisk: str
    parameters: str
    esp: str = ""  # for a UEFI ISO: the image of an EFI system partition; "": our own


@dataclass(frozen=True, slots=True)
class BootNode:
    """What a plan depends on. `base`: URL of the provisioning service in the Node's network; `key`: names its files."""

    id: str
    key: str
    mode: BootMode
    macs: tuple[str, ...]
    base: str


@dataclass(frozen=True, slots=True)
class BootPlan:
    """What makes the next start of a Node boot the ramdisk."""

    dhcp: Mapping[str, str] = field(default_factory=dict)  # options of the provisioning Port, by their DHCP names
    files: Mapping[str, str] = field(default_factory=dict)  # path -> text, served to this Node by HTTP and TFTP
    device: BootDevice = BootDevice.PXE
    http_uri: str = ""  # for BootDevice.HTTP
    media: Mapping[Slot, str] = field(default_factory=dict)  # images that the BMC shall insert


class BootDriver(Protocol):
    """One way to boot ("ipxe", "pxe", "http-ipxe", "http", "redfish-virtual-media")."""

    name: str
    modes: frozenset[BootMode]

    def plan(self, node: BootNode, ramdisk: Ramdisk) -> BootPlan: ...
