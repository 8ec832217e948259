"""Segments: network type, physical network and segmentation id. Ids are allocations (kind "segment").

A project's own networks are geneve; an administrator may choose vlan or flat on a physical network. The pool of an
allocation is "geneve", "vlan:<physical network>" or "flat"; the item is the id, or the physical network's name.
"""

from hagane.cloud import Cloud
from hagane.network import sequence
from hagane.network.agent import chassis
from hagane.network.errors import error, invalid
from hagane.state import allocation
from hagane.state.database import Row, Tx

TYPES = ("geneve", "vlan", "flat")
VNI_MAX = 16_711_680  # the rest of the 24 bits are OVN's own
VNI_OWN = (1, 65_536)  # what projects get without choosing
VLAN_OWN = (2, 4094)
OVERHEAD = {"geneve": 58, "vlan": 0, "flat": 0}  # bytes that the encapsulation takes of the underlay's MTU
UNDERLAY_MTU = 1500
_PROVIDER = ("network_type", "physical_network", "segmentation_id")


def mtu(row: Row) -> int:
    """The MTU of a network: what was asked for, or all that fits. Raises InvalidInput when more is asked for."""
    most = UNDERLAY_MTU - OVERHEAD[row["network_type"]]
    wanted = int(row.get("mtu") or 0)
    if wanted > most:
        raise invalid(f"Requested MTU is too big, maximum is {most}")
    return wanted or most


async def choose(tx: Tx, cloud: Cloud, row: Row) -> None:
    """Complete the provider attributes of a new network and take its segment."""
    kind = row.get("network_type")
    physical, number = row.get("physical_network"), row.get("segmentation_id")
    if not kind:
        if physical or number is not None:
            raise invalid("network_type required")
        kind = "geneve"
    if kind == "vlan" and not physical:
        physical = _only_physical(cloud)
    row |= {"network_type": kind, "physical_network": physical, "segmentation_id": number}
    _validate(kind, physical, number)
    if kind == "flat":
        if not await allocation.take(tx, "segment", "flat", str(physical), row["id"]):
            raise error("FlatNetworkInUse", physical_network=physical)
    elif number is not None:
        if not await allocation.take(tx, "segment", _pool(row), str(number), row["id"]):
            raise _in_use(row)
    else:
        row["segmentation_id"] = await _next(tx, row)


def _only_physical(cloud: Cloud) -> str | None:
    """The physical network that all chassis agree on, if there is just one."""
    known = {name for each in chassis(cloud) for name in each.mappings}
    return known.pop() if len(known) == 1 else None


def _validate(kind: str, physical: str | None, number: int | None) -> None:
    if kind not in TYPES:
        raise invalid(f"network_type value '{kind}' not supported")
    if kind == "geneve":
        if physical:
            raise invalid("provider:physical_network specified for geneve network")
        if number is not None and not 1 <= number <= VNI_MAX:
            raise invalid(f"Segmentation ID should be lower or equal to {VNI_MAX}")
        return
    if not physical:
        raise invalid(f"physical_network required for {'flat provider' if kind == 'flat' else 'VLAN provider'} network")
    if kind == "flat" and number is not None:
        raise invalid("segmentation_id prohibited for flat provider network")
    if kind == "vlan" and number is not None and not 1 <= number <= 4094:
        raise invalid("segmentation_id out of range (1 through 4094)")


async def _next(tx: Tx, row: Row) -> int:
    pool = _pool(row)
    known = await sequence.RANGE.get(tx, pool=pool)
    if known is None:
        await sequence.define(tx, pool, [VNI_OWN if row["network_type"] == "geneve" else VLAN_OWN])
    item = await sequence.take_next(tx, "segment", pool, row["id"], str, lambda item: True)
    if item is None:
        raise error("NoNetworkAvailable")
    return int(item)


def _pool(row: Row) -> str:
    return "geneve" if row["network_type"] == "geneve" else f"vlan:{row['physical_network']}"


def _in_use(row: Row) -> Exception:
    if row["network_type"] == "vlan":
        return error("VlanIdInUse", vlan_id=row["segmentation_id"], physical_network=row["physical_network"])
    return error("TunnelIdInUse", tunnel_id=row["segmentation_id"])


async def change(tx: Tx, cloud: Cloud, old: Row, changes: Row) -> None:
    """Only the VLAN id of a network may change. Raises InvalidInput."""
    wanted = {name: changes[name] for name in _PROVIDER if name in changes and changes[name] != old[name]}
    if not wanted:
        return
    if set(wanted) != {"segmentation_id"} or old["network_type"] != "vlan":
        raise invalid("Only VLAN type networks can be updated.")
    new = old | wanted
    _validate("vlan", new["physical_network"], new["segmentation_id"])
    if not await allocation.take(tx, "segment", _pool(new), str(new["segmentation_id"]), old["id"]):
        raise _in_use(new)
    await allocation.release(tx, "segment", _pool(old), str(old["segmentation_id"]))


async def release(tx: Tx, row: Row) -> None:
    await sequence.give_back(tx, "segment", row["id"])
