"""What every provisioning driver does: on each network in which ramdisks run, serve HTTP and TFTP, and reach agents.

The driver is told the whole list each time, like a metadata driver, and hands every request to one function. A TFTP
request is a Question too, with the method TFTP and the file's name as its target.

    firmware ──TFTP :69──┐
    ramdisk ──HTTP :80───┴▶ driver ──Question──▶ Answer ──Reply──▶ back        dial(network) ──▶ agents
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from hagane.drivers.metadata.base import Endpoint

TFTP = "TFTP"
MOST_BODY = 8 << 20  # bytes; an inspection's inventory and logs are the largest that an agent sends

Dial = Callable[[str, int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class ProvisionDriver(Protocol):
    """One machine's end of all service Ports."""

    async def apply(self, endpoints: Sequence[Endpoint]) -> dict[str, str]:
        """Serve exactly these. Returns what failed: network id -> why, in words."""
        ...

    def dial(self, network_id: str) -> Dial:
        """Opens TCP connections inside the network. Calls raise OSError."""
        ...

    def space(self, network_id: str) -> str:
        """The name of the namespace in which it serves a network; nothing where there is none."""
        ...

    async def close(self) -> None:
        """Stop listening. What is plugged stays, for the next start."""
        ...
