"""What every gateway driver does: one patch from the trunk to the integration bridge for each Nic, and no others.

    trunk ══ br-trunk ── access port, tag = private VLAN ═patch═ port with iface-id = Port ── br-int ── OVN

All patches are compared and set as a whole, in one transaction; those that bear our mark and are not wanted go, and
what does not bear it is left alone. Errors: `Unavailable` (not connected) and `DeviceFailed` (it refuses).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class GatewayAccess:
    """How to reach one gateway. `name` is its chassis (system-id)."""

    name: str
    ovsdb: str  # remotes: "tcp:172.30.1.3:6640"
    trunk_bridge: str = "br-trunk"
    integration_bridge: str = "br-int"


@dataclass(frozen=True, slots=True)
class Patch:
    """Nic (or group) -> which VLAN of the trunk is which Port."""

    vlan: int
    port_id: str


Patches = Mapping[str, Patch]


class Gateway(Protocol):
    """One gateway. It keeps a connection of its own and tells when that comes, goes, or somebody meddles."""

    async def start(self, changed: Callable[[], None]) -> None:
        """Begin to connect; returns at once. `changed` is called when `connected` or what is there changes."""
        ...

    @property
    def connected(self) -> bool: ...

    @property
    def reason(self) -> str:
        """Why it is not connected, in words."""
        ...

    @property
    def chassis(self) -> str:
        """The system-id that it says it has; "" while it is not connected."""
        ...

    def patches(self) -> dict[str, Patch]:
        """What is there of ours. Empty while it is not connected."""
        ...

    async def apply(self, desired: Patches) -> int:
        """Make these the patches of ours; returns how many operations it took (0: nothing differed)."""
        ...

    async def close(self) -> None: ...
