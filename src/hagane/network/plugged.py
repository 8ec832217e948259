"""Ports that a Nic of a Node carries: who plugged them is asked when they change, and when they go.

The bare-metal service stands above this one, so it provides `Plugs`; where nobody does, no Port is carried by a Nic.
"""

from collections.abc import Sequence
from typing import Protocol

from hagane.cloud import Cloud
from hagane.network import port_row
from hagane.network.errors import error
from hagane.state.database import Row, Tx

VIF = "other"  # binding:vif_type of such a Port
_REPLANNED = ("port_security_enabled", "admin_state_up", "qos_policy_id")
_FIXED = ("binding_host_id", "binding_profile", "binding_vnic_type", "mac_address")


class Plugs(Protocol):
    """Provided by app.py."""

    async def changed(self, tx: Tx, port: Row, network: Row, *, request_id: str | None = None) -> Row:
        """What else changes in a Port that is as `port` from now on. Raises PortBindingError."""
        ...

    async def gone(self, tx: Tx, port: Row, *, request_id: str | None = None) -> None: ...

    async def moved(self, tx: Tx, network: Row, *, request_id: str | None = None) -> None:
        """A VLAN network has another segmentation id, or another QoS policy."""
        ...


def carried(cloud: Cloud, port: Row) -> bool:
    return port["binding_vif_type"] == VIF and cloud.has(Plugs)


async def changing(
    tx: Tx, cloud: Cloud, network: Row, old: Row, changes: Row, *, request_id: str | None = None
) -> None:
    """Complete the changes of a Port by those of its binding. Raises PortBound for what follows from its Nic."""
    if not carried(cloud, old):
        return
    if _differs(old, changes, _FIXED):
        raise error("PortBound", id=old["id"], vif_type=VIF, old_mac=old["mac_address"],
                    new_mac=changes.get("mac_address", old["mac_address"]))  # fmt: skip
    if _differs(old, changes, _REPLANNED):
        plugs = cloud.use(Plugs)  # type: ignore[type-abstract]
        changes |= await plugs.changed(tx, old | changes, network, request_id=request_id)


def _differs(old: Row, changes: Row, names: Sequence[str]) -> bool:
    return any(name in changes and changes[name] != old[name] for name in names)


async def removing(tx: Tx, cloud: Cloud, port: Row, *, request_id: str | None = None) -> None:
    if carried(cloud, port):
        await cloud.use(Plugs).gone(tx, port, request_id=request_id)  # type: ignore[type-abstract]


async def rewired(tx: Tx, cloud: Cloud, port_id: str) -> None:
    """The Nic that carries a Port hangs elsewhere now. Raises PortBindingError."""
    port = await port_row.get(tx, port_id)
    if port is None or not carried(cloud, port):
        return
    [network] = await tx.fetch("SELECT * FROM network WHERE id = :id", {"id": port["network_id"]})
    if changes := await cloud.use(Plugs).changed(tx, port, network):  # type: ignore[type-abstract]
        await port_row.change(tx, port_id, changes)


async def moving(tx: Tx, cloud: Cloud, network: Row, *, request_id: str | None = None) -> None:
    """A network came, went, or has another VLAN."""
    if network.get("network_type") == "vlan" and cloud.has(Plugs):
        await cloud.use(Plugs).moved(tx, network, request_id=request_id)  # type: ignore[type-abstract]
