"""What the life of a Node asks of the provisioning service (reconcile/provision.py provides it with cloud.provide).

    node ──boot_plan──▶ Start: DHCP options of its provisioning Port (baremetal/plug.py), what its BMC must do
    firmware ──http/tftp──▶ the service, which knows the Node by its Port's address ──Fetch──▶ whoever listens
    agent ◀──image()──▶ url, size and checksum of the bytes that will be streamed; progress() while they are

What a Node boots follows from rows alone: the role is that of the Port from whose address it asks
(`device_owner` "baremetal:<role>", `device_id` the Node). So nothing is registered, and a restart forgets nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from hagane.state.database import Reader, Row

Dial = Callable[[str, int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
"""Opens a connection to an address and port inside one network (the same as in drivers/deploy/base.py)."""


@dataclass(frozen=True, slots=True)
class Start:
    """What makes the next start of a Node boot the ramdisk. Names are those of drivers/bmc/base.py."""

    dhcp: Mapping[str, str] = field(default_factory=dict)  # extra_dhcp_opts of the provisioning Port: name -> value
    device: str = "pxe"  # a BootDevice: pxe, http, cdrom
    mode: str = "bios"  # a BootMode that the firmware must be in
    http_uri: str = ""  # where the firmware's HTTP boot begins, for device "http"
    media: Mapping[str, str] = field(default_factory=dict)  # Slot ("cd") -> URL that the BMC shall insert


class Fetched(StrEnum):
    """What a Node took from the service, in the order in which a start takes it."""

    FIRMWARE = "firmware"  # a boot loader, by TFTP or HTTP: the Node has its address from DHCP
    SCRIPT = "script"  # what the boot loader is told
    KERNEL = "kernel"
    RAMDISK = "ramdisk"
    MEDIA = "media"  # the ISO, by the BMC
    IMAGE = "image"


OnFetch = Callable[[str, Fetched, str], None]
"""(Node id, what, "begun" or "done"). Called in the event loop; it must return at once."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Of the image that a Node is reading. `rate` in bytes a second, over the last seconds; `problem`: why no more of
    it comes from where it is."""

    sent: int
    total: int
    rate: float
    problem: str = ""


@dataclass(frozen=True, slots=True)
class NodeImage:
    """What the agent is told about its image: exactly the bytes that `url` gives, once, to this Node only."""

    id: str
    url: str
    format: str  # "raw" unless the agent may take another
    size: int
    hash_algo: str  # "sha512" or "sha256"
    hash_value: str


def checksum_of(info: Mapping[str, Any]) -> tuple[str, str]:
    """Algorithm and value of the checksum that instance_info names for its image; ("...", "") where it names none."""
    if info.get("image_os_hash_value"):
        return str(info.get("image_os_hash_algo") or "sha512"), str(info["image_os_hash_value"])
    value = str(info.get("image_checksum") or "")
    return {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}.get(len(value), "sha256"), value


class Provision(Protocol):
    """The service of all networks in which ramdisks run. A simulated cloud has one too, on loopback."""

    async def url(self, reader: Reader, network_id: str) -> str:
        """The service's base URL inside that network ("http://172.30.16.2"): for api-url, scripts, images. Raises
        Unavailable while the network has no service Port."""
        ...

    def dial(self, network_id: str) -> Dial:
        """How to open connections into that network, to agents."""
        ...

    def boot_plan(self, node: Row, *, network_id: str, base_url: str, role: str) -> Start:
        """How a Node starts its ramdisk for a role ("provisioning", "cleaning", "rescuing", "inspection"). Pure; by
        the Node's boot_interface and boot mode. Raises Invalid with the reason where the two do not go together."""
        ...

    async def image(self, node: Row, *, base_url: str) -> NodeImage:
        """The image of instance_info.image_source, ready to be streamed as raw bytes, with a fresh one-time token. The
        first time it may take minutes (another format is turned into raw once). Raises NotFound, Invalid, Unavailable,
        DeviceFailed with the reason in words."""
        ...

    def progress(self, node_id: str) -> Progress | None:
        """How far a Node's image has come; None before its first byte."""
        ...

    def listen(self, heard: OnFetch) -> None:
        """Tell `heard` of everything that Nodes fetch in this process."""
        ...
