"""Plug a Node's Nics into networks: rows only; reconcilers bring it to OVN, to the rack's gateways and its switches.

    plug(role) ─▶ Port of the role for each Nic ─▶ binding (guarded, direct or refused) ─▶ nic.plugged, SwitchPort row
                                                        │ wakes: port, rack_gateway, switch (if its VLANs change)
    pending() ◀── Port ACTIVE, SwitchPort confirmed ◀────┘

A Node that was started from a volume (san.py) carries, beside its tenant's Ports, one of the role "storage".

Moving a guarded Nic to another network changes which Port it carries, and no SwitchPort: its private VLAN stays. In
between a Nic carries nothing: on the gateway its VLAN is a dead end. A VIF keeps the Nic's MAC address as long as it is
the Nic's, plugged or not (in a rescue): its neighbours would remember any other one for half a minute.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hagane.baremetal import binding, san, service_port
from hagane.baremetal import rack as racks
from hagane.baremetal.carrier import Carrier, carriers, view, wire
from hagane.baremetal.nic import Nics
from hagane.baremetal.nic_group import NicGroups
from hagane.baremetal.node_row import UNPLUGGED
from hagane.cloud import Cloud
from hagane.errors import Conflict, Invalid
from hagane.network import port_change, port_row
from hagane.network.errors import error
from hagane.network.network import Network
from hagane.network.port_row import PORT
from hagane.state import work
from hagane.state.database import Reader, Row, Tx

TENANT = "tenant"
ROLES = (*service_port.ROLES, TENANT)


def plugs(node: Row) -> bool:
    """Whether a Node's Nics are ours to plug; simulated and unmanaged ones are not."""
    return node["network_interface"] not in UNPLUGGED


async def plug(
    tx: Tx, cloud: Cloud, node: Row, role: str, *, dhcp: Mapping[str, str] | None = None,
    request_id: str | None = None,
) -> list[Row]:  # fmt: skip
    """Make each Nic of a Node carry its Port of a role, and nothing else; returns these Ports. `dhcp`: what DHCP says
    beside the usual to those that boot (None: as before; of the role "tenant" only the one that the Node starts from a
    volume by boots). The same call again changes nothing.

    Raises Invalid, Conflict or NotFound, with the reason, when a Nic cannot carry what it should.
    """
    if role not in ROLES:
        raise Invalid(f"There is no role {role!r} of a Nic; there are: {', '.join(ROLES)}.")
    if not plugs(node):
        return []
    found = await carriers(tx, cloud, node["id"])
    if role == TENANT:
        chosen = await _tenant_ports(tx, found)
        if san.started(node):
            chosen |= await _storage_port(tx, node, found, chosen, dhcp, request_id)
    else:
        chosen = await _service_ports(tx, node, role, found, dhcp, request_id)
    for carrier in found:
        if carrier.row["plugged"] and carrier.row["plugged"] != chosen.get(carrier.id, {}).get("id"):
            await _pull(tx, node, carrier, keep={port["id"] for port in chosen.values()}, request_id=request_id)
    await service_port.drop(tx, node["id"], keep={port["id"] for port in chosen.values()}, request_id=request_id)
    return [await _carry(tx, carrier, chosen[carrier.id], request_id) for carrier in found if carrier.id in chosen]


async def unplug(tx: Tx, cloud: Cloud, node: Row, *, request_id: str | None = None) -> None:
    """No Nic of a Node carries anything; Ports that were made for its ramdisk are gone, a tenant's are free."""
    found = await carriers(tx, cloud, node["id"])
    for carrier in found:
        if carrier.row["plugged"]:
            await _pull(tx, node, carrier, keep=set(), request_id=request_id)
    held = {carrier.row["vif"]: carrier.mac for carrier in found if carrier.row["vif"]}
    for port in await PORT.select(tx, {"id": sorted(held)}) if held else []:
        if port["mac_address"] == held[port["id"]]:
            await _free(tx, port, request_id)
    await service_port.drop(tx, node["id"], request_id=request_id)


async def pending(reader: Reader, node: Row) -> str:
    """What lacks until the Nics really carry what they should, in words; "" when nothing does."""
    if not plugs(node):
        return ""
    ports: dict[str, str] = {}
    for table in (Nics.table, NicGroups.table):
        for row in await table.select(reader, {"node_id": node["id"]}, columns=("id", "plugged")):
            if row["plugged"]:
                ports[row["plugged"]] = row["id"]
    if not ports:
        return ""
    owners = list(ports.values())
    for row in await racks.SWITCH_PORT.select(reader, {"owner": owners, "applied": False}):
        switch = await racks.SWITCH.get(reader, id=row["switch_id"])
        if switch is not None and (row["nic_id"] or row["gone"]):
            why = f": {switch['reason']}" if switch["reason"] else ""
            return f"port {row['name']} of switch {switch['name']} is not in VLAN {row['native']} yet{why}"
    for row in await PORT.select(reader, {"id": list(ports)}, columns=("id", "status", "binding_host_id")):
        if row["status"] != "ACTIVE":
            gateway = await racks.GATEWAY.get(reader, name=row["binding_host_id"])
            why = f": {gateway['reason']}" if gateway is not None and gateway["reason"] else ""
            return f"Port {row['id']} is not up on gateway {row['binding_host_id'] or '(none)'} yet{why}"
    return ""


async def _tenant_ports(tx: Tx, found: Sequence[Carrier]) -> dict[str, Row]:
    """Nic or group -> the Port that is its VIF. Raises Conflict for a VIF that is no Port."""
    wanted = {carrier.id: carrier.row["vif"] for carrier in found if carrier.row["vif"]}
    rows = {row["id"]: row for row in await PORT.select(tx, {"id": sorted(set(wanted.values()))})} if wanted else {}
    for owner, vif in wanted.items():
        if vif not in rows:
            raise Conflict(f"VIF {vif} of Nic {owner} is no Port.")
    return {owner: rows[vif] for owner, vif in wanted.items()}


async def _storage_port(
    tx: Tx, node: Row, found: Sequence[Carrier], taken: Mapping[str, Row], dhcp: Mapping[str, str] | None,
    request_id: str | None,
) -> dict[str, Row]:  # fmt: skip
    """The Port by which the Node reaches its volume. Raises Conflict when no Nic is left for it."""
    single = {carrier.id: carrier for carrier in found if not carrier.grouped}
    chosen = san.nic([carrier.row for carrier in single.values()], set(taken))
    if chosen is None:
        raise Conflict(san.no_nic(node))
    carrier, network = single[chosen["id"]], await service_port.network_of(tx, node, service_port.STORAGE)
    _decided(carrier, {"id": "for storage", "port_security_enabled": True, "binding_host_id": ""}, network)
    port = await service_port.port(tx, node, service_port.STORAGE, network, carrier.mac, dhcp, request_id=request_id)
    return {carrier.id: port}


async def _service_ports(
    tx: Tx, node: Row, role: str, found: Sequence[Carrier], dhcp: Mapping[str, str] | None, request_id: str | None
) -> dict[str, Row]:
    """A Port for everything that boots. Nics without a Link are left out, unless there are no others."""
    boots = [carrier for carrier in found if any(nic["pxe_enabled"] for nic in carrier.members)]
    usable = [carrier for carrier in boots if carrier.linked["link"].get("port_id")] or boots
    if not usable:
        raise Invalid(f"Node {node['name'] or node['id']} has no Nic with pxe_enabled to carry its {role} Port.")
    network = await service_port.network_of(tx, node, role)
    for carrier in usable:  # refused before anything is made
        _decided(carrier, {"id": "of the ramdisk", "port_security_enabled": True, "binding_host_id": ""}, network)
    # A Nic that was a tenant's in the same network leaves its MAC address to the Port that is made now.
    for carrier in usable:
        if carrier.row["plugged"]:
            port = await PORT.get(tx, id=carrier.row["plugged"])
            if port is not None and not service_port.is_service(port, node["id"]):
                await _pull(tx, node, carrier, keep=set(), request_id=request_id)
                if carrier.row["vif"] == port["id"] and port["network_id"] == network["id"]:
                    await _free(tx, port, request_id)
    return {
        carrier.id: await service_port.port(
            tx, node, role, network, str(carrier.linked["address"]), dhcp, request_id=request_id
        )
        for carrier in usable
    }


async def _pull(tx: Tx, node: Row, carrier: Carrier, *, keep: set[str], request_id: str | None) -> None:
    """The carrier carries nothing; its Port goes if it was made for the ramdisk, waits if it still is the carrier's
    VIF, and else is nobody's."""
    port = await PORT.get(tx, id=carrier.row["plugged"])
    await carrier.table.update(tx, {"id": carrier.id}, {"plugged": None})
    carrier.row["plugged"] = None
    await _back_to_private(tx, carrier.id, request_id)
    await _wake_gateways(tx, carrier, request_id)
    if port is None or port["id"] in keep:
        return
    if service_port.is_service(port, node["id"]):
        await port_row.remove(tx, port, request_id=request_id)
    elif carrier.row["vif"] == port["id"]:
        await port_row.change(tx, port["id"], _unbound(port), request_id=request_id)
    else:
        await _free(tx, port, request_id)


def _unbound(port: Row) -> Row:
    before = port["binding_vnic_type"]
    if binding.kind_of(port):
        before = (port["binding_vif_details"] or {}).get("vnic_before", "normal")
    return port_row.binding("") | {"binding_profile": {}, "binding_vnic_type": before, "status": "DOWN"}


async def _free(tx: Tx, port: Row, request_id: str | None) -> None:
    """A Port that outlives its Nic: bound nowhere, and with a MAC address of its own again."""
    changes = _unbound(port)
    network = await Network.table.get(tx, id=port["network_id"])
    if network is not None:
        moved: Row = {"mac_address": await port_row.new_mac(tx, port["network_id"])}
        await port_change.complete(tx, network, port | port_row.binding(""), moved)
        changes = moved | changes
    await port_row.change(tx, port["id"], changes, request_id=request_id)


async def _back_to_private(tx: Tx, owner: str, request_id: str | None) -> None:
    """SwitchPorts that stood in a network's VLAN go back to the private one, where there is nobody."""
    for row in await racks.SWITCH_PORT.select(tx, {"owner": owner, "gone": False}):
        if row["native"] != row["vlan"]:
            key = {"switch_id": row["switch_id"], "name": row["name"]}
            await racks.SWITCH_PORT.update(tx, key, {"native": row["vlan"], "applied": False})
            await work.wake(tx, "switch", row["switch_id"], request_id=request_id)


async def _carry(tx: Tx, carrier: Carrier, port: Row, request_id: str | None) -> Row:
    network = await Network.table.get(tx, id=port["network_id"])
    if network is None:
        raise Conflict(f"Port {port['id']} has no network.")
    chosen = _decided(carrier, port, network)
    changes = await _bind(tx, carrier, port, network, chosen, request_id)
    if changes:
        await port_row.change(tx, port["id"], changes, request_id=request_id)
    if carrier.row["plugged"] != port["id"]:
        await carrier.table.update(tx, {"id": carrier.id}, {"plugged": port["id"]})
        await _wake_gateways(tx, carrier, request_id)
    return port | changes


def _decided(carrier: Carrier, port: Row, network: Row) -> binding.Binding:
    current = port["binding_host_id"] or ""
    chosen = binding.decide(carrier.linked, port, network, carrier.view, current=current)
    if chosen.kind == binding.REFUSED:
        raise Conflict(f"Nic {carrier.mac} cannot carry Port {port['id']}: {chosen.reason}.")
    return chosen


async def _bind(
    tx: Tx, carrier: Carrier, port: Row, network: Row, chosen: binding.Binding, request_id: str | None
) -> Row:
    """Write the SwitchPorts down; returns what changes in the Port: its binding, its MAC address."""
    assert carrier.rack is not None
    direct = chosen.kind == binding.DIRECT
    # A Port that is switched off is left on its private VLAN, where there is nobody.
    on_wire = direct and port["admin_state_up"]
    private = await wire(tx, carrier, network["segmentation_id"] if on_wire else None, request_id=request_id)
    vlan = network["segmentation_id"] if direct else private
    bound = binding.kind_of(port) != ""
    before = port["binding_vif_details"].get("vnic_before", "normal") if bound else port["binding_vnic_type"]
    columns = binding.columns(chosen, carrier.links(), vlan, carrier.rack["name"], before=before,
                              group=carrier.id if carrier.grouped else "")  # fmt: skip
    changes: Row = {name: value for name, value in columns.items() if port[name] != value}
    mac = str(carrier.linked["address"]) if service_port.is_service(port, port["device_id"]) else carrier.mac
    if port["mac_address"] != mac:
        moved: Row = {"mac_address": mac}
        await port_change.complete(tx, network, port | port_row.binding(""), moved)
        changes |= moved
    if changes:
        if binding.kind_of(port) != chosen.kind or "mac_address" in changes:
            changes["status"] = "DOWN"
        await _wake_gateways(tx, carrier, request_id)
    return changes


async def _wake_gateways(tx: Tx, carrier: Carrier, request_id: str | None) -> None:
    for gateway in carrier.gateways:
        await work.wake(tx, "rack_gateway", gateway["id"], request_id=request_id)


class Plugs:
    """What the network API asks when somebody changes a Port that a Nic carries (network/plugged.py)."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def changed(self, tx: Tx, port: Row, network: Row, *, request_id: str | None = None) -> Row:
        """What changes in a Port that is as `port` from now on. Raises PortBindingError when what it asks for cannot be
        enforced where it is plugged."""
        carrier, node_id = await self._carrier(tx, port["id"])
        if carrier is None:
            return {}
        try:
            chosen = _decided(carrier, port, network)
        except Conflict as refusal:
            raise error("PortBindingError", id=port["id"], reason=refusal.message) from None
        await work.wake(tx, "node", node_id, request_id=request_id)
        return await _bind(tx, carrier, port, network, chosen, request_id)

    async def gone(self, tx: Tx, port: Row, *, request_id: str | None = None) -> None:
        """A Port is deleted: its Nic carries nothing."""
        carrier, node_id = await self._carrier(tx, port["id"])
        if carrier is not None:
            await carrier.table.update(tx, {"id": carrier.id}, {"plugged": None})
            await _back_to_private(tx, carrier.id, request_id)
            await _wake_gateways(tx, carrier, request_id)
            await work.wake(tx, "node", node_id, request_id=request_id)

    async def moved(self, tx: Tx, network: Row, *, request_id: str | None = None) -> None:
        """A network has another VLAN: what is plugged into it directly follows, and so do the racks' trunks."""
        for port in await PORT.select(tx, {"network_id": network["id"], "binding_vif_type": binding.BOUND}):
            changes = await self.changed(tx, port, network, request_id=request_id)
            if changes:
                await port_row.change(tx, port["id"], changes, request_id=request_id)
        await racks.wake_trunks(tx, network["physical_network"], request_id=request_id)

    async def _carrier(self, tx: Tx, port_id: str) -> tuple[Carrier | None, str]:
        for table in (Nics.table, NicGroups.table):
            row = await table.get(tx, plugged=port_id)
            if row is not None:
                found = await carriers(tx, self._cloud, row["node_id"])
                return next((carrier for carrier in found if carrier.id == row["id"]), None), row["node_id"]
        return None, ""


async def move(tx: Tx, cloud: Cloud, rack: Row, gateways: Sequence[Row], *, request_id: str | None = None) -> int:
    """Give the Ports of gateways that are down to those that are up; returns how many moved."""
    seen: Any = view(cloud, rack, list(gateways))
    names = {gateway.name for gateway in seen.gateways if not gateway.up}
    alive = [gateway.name for gateway in seen.gateways if gateway.up]
    if not names or not alive:
        return 0
    where = {"binding_host_id": sorted(names), "binding_vif_type": binding.BOUND}
    ports = await PORT.select(tx, where, columns=("id", "network_id"))
    ids = {port["network_id"] for port in ports}
    targets: dict[str, str] = {}  # network -> gateway
    for network in await Network.table.select(tx, {"id": sorted(ids)}) if ids else []:
        able = [gateway.name for gateway in seen.gateways if gateway.up and gateway.reaches(network)]
        targets |= {network["id"]: able[0]} if able else {}
    for host in sorted(set(targets.values())):
        moving = [port["id"] for port in ports if targets.get(port["network_id"]) == host]
        await port_row.rebind(tx, moving, host, request_id=request_id)
    return sum(port["network_id"] in targets for port in ports)
