"""What is different about Servers that are bare-metal Nodes, as far as the API is concerned: what they cannot do, and
how a NIC is added to one."""

from collections.abc import Mapping
from typing import Any

from hagane.api.http import Request
from hagane.baremetal import vif
from hagane.baremetal.node import NODE
from hagane.compute import device_order, nic
from hagane.compute.flavor_node import wish_of
from hagane.errors import Conflict, HaganeError, Invalid, Unsupported
from hagane.network import attach
from hagane.network.network import Network
from hagane.state.database import Row, Tx


def is_node(row: Mapping[str, Any]) -> bool:
    """Whether a Server is bare metal, or is to be."""
    return row["node_id"] is not None or wish_of(row["flavor"]) is not None


def refuse_steel(row: Row, what: str) -> None:
    """Raises Unsupported for what no machine of steel can do."""
    if is_node(row):
        raise Unsupported(f"The requested functionality is not supported: a bare-metal server cannot be {what}.")


def check_devices(flavor: Mapping[str, Any], boot: device_order.Boot, *, config_drive: bool) -> None:
    """Whether a machine of steel can have what a Server starts from. Raises Invalid."""
    if wish_of(flavor) is None:
        return
    others = [one for one in boot.wishes if one is not boot.volume and one["boot_index"] != 0]
    if others:
        raise Invalid("A bare-metal server has the disks of its node, or the one volume that it boots from; it takes"
                      " no other block devices.")  # fmt: skip
    if boot.volume and config_drive:
        raise Invalid("A bare-metal server that boots from a volume has no disk for a config drive; it asks the"
                      " metadata service.")  # fmt: skip


async def add_nic(request: Request, tx: Tx, row: Row, wish: nic.Wish) -> dict[str, Any]:
    """One NIC more: a free Nic of the Node, whose MAC address the Port then has. Raises Invalid when there is none."""
    node = await NODE.get(tx, id=row["node_id"]) if row["node_id"] else None
    if node is None:
        raise Conflict(f"Instance {row['id']} is not ready")
    made = await nic.add(request, tx, row, wish, host="")
    network = await Network.table.get(tx, id=wish.network["id"])
    try:
        carrier = await vif.attach(tx, node, made["port_id"], physical_network=(network or {}).get("physical_network"))
        if carrier["address"]:
            await attach.set_mac(tx, made["port_id"], carrier["address"], request_id=request.id)
    except HaganeError as error:
        raise Invalid(f"Failed to attach network adapter device to {row['id']}: {error.message}") from error
    return made
