"""What of a Node can carry a Port: a Nic, or a group of Nics that acts as one; and the SwitchPorts that it hangs on."""

from dataclasses import dataclass, field
from typing import Any

from hagane.baremetal import rack as racks
from hagane.baremetal.binding import GatewayView, RackView
from hagane.baremetal.nic import Nics
from hagane.baremetal.nic_group import NicGroups
from hagane.cloud import Cloud
from hagane.errors import Conflict
from hagane.network.agent import chassis
from hagane.state import work
from hagane.state.allocation import ALLOCATION
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Table


@dataclass(slots=True)
class Carrier:
    """`row` is the Nic or the group; `members` its Nics, those that boot first."""

    row: Row
    table: Table
    members: list[Row]
    switches: dict[str, Row] = field(default_factory=dict)  # Nic id -> its switch
    rack: Row | None = None
    gateways: list[Row] = field(default_factory=list)
    view: RackView | None = None

    @property
    def id(self) -> str:
        return str(self.row["id"])

    @property
    def grouped(self) -> bool:
        return self.table is NicGroups.table

    @property
    def mac(self) -> str:
        return str(self.row["address"] or self.members[0]["address"])

    @property
    def linked(self) -> Row:
        """The Nic that speaks for all: one with a Link, if any has one."""
        return next((nic for nic in self.members if (nic["link"] or {}).get("port_id")), self.members[0])

    def links(self) -> list[dict[str, Any]]:
        return [nic["link"] for nic in self.members if nic["link"]]


async def carriers(reader: Reader, cloud: Cloud, node_id: str) -> list[Carrier]:
    """All of a Node, with what they hang on; those that boot first."""
    nics = await Nics.table.select(reader, {"node_id": node_id}, order="created_at, id")
    nics.sort(key=lambda nic: not nic["pxe_enabled"])
    groups = await NicGroups.table.select(reader, {"node_id": node_id}, order="created_at, id")
    found = [Carrier(row, NicGroups.table, [nic for nic in nics if nic["group_id"] == row["id"]]) for row in groups]
    found += [Carrier(nic, Nics.table, [nic]) for nic in nics if not nic["group_id"]]
    found = [carrier for carrier in found if carrier.members]
    found.sort(key=lambda carrier: nics.index(carrier.members[0]))
    await _place(reader, cloud, found)
    return found


async def _place(reader: Reader, cloud: Cloud, found: list[Carrier]) -> None:
    """Switches, racks and gateways of them all, each kind asked for once."""
    members = [(carrier, nic) for carrier in found for nic in carrier.members]
    switches = await racks.switches_of(reader, [nic["link"] for _, nic in members])
    for (carrier, nic), switch in zip(members, switches, strict=True):
        if switch is not None:
            carrier.switches[nic["id"]] = switch
    ids = sorted({switch["rack_id"] for switch in switches if switch is not None})
    rows = {row["id"]: row for row in await racks.RACK.select(reader, {"id": ids})} if ids else {}
    gateways = await racks.gateways_of(reader, ids)
    for carrier in found:
        own = {switch["rack_id"] for switch in carrier.switches.values()}
        if len(own) > 1:
            raise Conflict(f"The Nics of group {carrier.id} hang on switches of different racks.")
        carrier.rack = rows.get(own.pop()) if own else None
        if carrier.rack is not None:
            carrier.gateways = [row for row in gateways if row["rack_id"] == carrier.rack["id"]]
            carrier.view = view(cloud, carrier.rack, carrier.gateways)


def view(cloud: Cloud, rack: Row, gateways: list[Row]) -> RackView:
    """A rack as the binding's decision sees it."""
    known = {each.name: frozenset(each.mappings) for each in chassis(cloud)}
    return RackView(rack["name"], rack["physical_network"], tuple(
        GatewayView(row["name"], row["state"] != racks.DOWN, known.get(row["name"])) for row in gateways
    ))  # fmt: skip


async def wire(tx: Tx, carrier: Carrier, native: int | None, *, request_id: str | None = None) -> int:
    """Write down what the carrier's SwitchPorts shall be, and return its private VLAN. `native` None: that one."""
    assert carrier.rack is not None
    rows = {}
    for nic in carrier.members:
        if (switch := carrier.switches.get(nic["id"])) is not None:
            key = {"switch_id": switch["id"], "name": str(nic["link"]["port_id"])}
            rows[nic["id"]] = (key, await _free(tx, carrier, nic, switch, key))
    vlan = await racks.private_vlan(tx, carrier.rack, carrier.id)
    for nic_id, (key, old) in rows.items():
        new: Row = {"nic_id": nic_id, "owner": carrier.id, "vlan": vlan, "native": vlan if native is None else native,
                    "lag": carrier.grouped, "gone": False}  # fmt: skip
        if old is None:
            await racks.SWITCH_PORT.insert(tx, key | new | {"applied": False})
        elif any(old[name] != value for name, value in new.items()):
            await racks.SWITCH_PORT.update(tx, key, new | {"applied": False})
        else:
            continue
        for switch in await racks.SWITCH.select(tx, {"rack_id": carrier.rack["id"]}, columns=("id",)):
            await work.wake(tx, "switch", switch["id"], request_id=request_id)
    for nic in carrier.members:
        await _leave_others(tx, nic, rows.get(nic["id"]), request_id)
    for owner in {old["owner"] for _, old in rows.values() if old is not None} - {carrier.id}:
        await racks.release(tx, owner)
    return vlan


async def _free(tx: Tx, carrier: Carrier, nic: Row, switch: Row, key: Row) -> Row | None:
    """The SwitchPort's row, if any. One that had another owner (a Nic that is gone, a group that was left) comes
    with its VLAN, which is still on the wire. Raises Conflict when it is another's."""
    old = await racks.SWITCH_PORT.get(tx, **key)
    if old is None:
        taken = await racks.GATEWAY.get(tx, switch=switch["name"], switch_port=key["name"])
        if taken is not None or key["name"] in (switch["uplinks"] or ()):
            what = f"the trunk of gateway {taken['name']}" if taken else "a cable to another switch"
            raise Conflict(f"Port {key['name']} of switch {switch['name']} is {what}, no Nic can hang there.")
        return None
    if not old["gone"] and old["nic_id"] != nic["id"]:
        raise Conflict(
            f"Port {key['name']} of switch {switch['name']} carries Nic {old['nic_id']} already; {nic['address']} "
            "cannot hang there as well."
        )
    if old["owner"] != carrier.id and not await _others(tx, old, carrier):
        held = await ALLOCATION.get(tx, owner=carrier.id, kind="segment")
        if held is None:
            await ALLOCATION.update(tx, {"kind": "segment", "owner": old["owner"]}, {"owner": carrier.id})
    return old


async def _others(tx: Tx, old: Row, carrier: Carrier) -> bool:
    """Whether the VLAN is also on the wire of somebody who is not of this carrier."""
    mine = {nic["id"] for nic in carrier.members}
    rows = await racks.SWITCH_PORT.select(tx, {"owner": old["owner"]})
    return any(row["name"] != old["name"] and row["nic_id"] not in mine and not row["gone"] for row in rows)


async def _leave_others(tx: Tx, nic: Row, stays: tuple[Row, Row | None] | None, request_id: str | None) -> None:
    """A Nic hangs on one SwitchPort: those that it was found on before shall carry nothing."""
    rows = await racks.SWITCH_PORT.select(tx, {"nic_id": nic["id"], "gone": False})
    for row in rows:
        key = {"switch_id": row["switch_id"], "name": row["name"]}
        if stays is None or stays[0] != key:
            await racks.clear(tx, row, request_id=request_id)
