"""How a Nic can carry a Port: a pure decision, so that the API can say it before anything is touched.

guarded   through a rack gateway, where the Nic is an ordinary port of OVN: security groups and anti-spoofing hold
direct    the SwitchPort is put into the network's VLAN: wire speed, and nobody filters
refused   what the Port asks for cannot be enforced here, or there is no way at all; the reason is for people
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hagane.state.database import Row

GUARDED, DIRECT, REFUSED = "guarded", "direct", "refused"
BOUND = "other"  # binding:vif_type of a Port that a Nic carries


@dataclass(frozen=True, slots=True)
class GatewayView:
    """`mappings`: the physical networks that its chassis has a bridge for; None: not known."""

    name: str
    up: bool = True
    mappings: frozenset[str] | None = None

    def reaches(self, network: Mapping[str, Any]) -> bool:
        physical = network.get("physical_network")
        return not physical or self.mappings is None or physical in self.mappings


@dataclass(frozen=True, slots=True)
class RackView:
    """What the decision must know of a rack. Gateways are in the order of preference."""

    name: str
    physical_network: str
    gateways: tuple[GatewayView, ...] = ()


@dataclass(frozen=True, slots=True)
class Binding:
    """`gateway` is the chassis of the Port: where it is plugged in, or (direct) where its DHCP is."""

    kind: str
    reason: str = ""
    gateway: str = ""


def decide(nic: Row, port: Row, network: Row, rack: RackView | None, *, current: str = "") -> Binding:
    """How `nic` carries `port`. `current`: the gateway that carries it now, which stays while it is up."""
    if not (nic.get("link") or {}).get("port_id"):
        why = "its local_link_connection says neither switch nor port (an inspection finds them by LLDP)"
        return _no(f"Nic {nic['address']} has no Link: {why}")
    if rack is None:
        link = nic["link"]
        named = link.get("switch_id") or link.get("switch_info")
        return _no(f"Nic {nic['address']} hangs on switch {named}, which no rack has")
    if _may_go_direct(port, network, rack):
        return Binding(DIRECT, gateway=_chosen(rack, network, current))
    if not rack.gateways:
        return _no(_no_gateway(port, network, rack))
    if gateway := _chosen(rack, network, current):
        return Binding(GUARDED, gateway=gateway)
    return _no(
        f"no gateway of rack {rack.name} has a bridge for the physical network {network['physical_network']} of "
        f"network {network['id']}"
    )


def _may_go_direct(port: Row, network: Row, rack: RackView) -> bool:
    on_wire = network.get("network_type") == "vlan" and network.get("physical_network") == rack.physical_network
    return on_wire and not port["port_security_enabled"] and not _limited(port, network)


def _limited(port: Row, network: Row) -> bool:
    """Whether a QoS policy applies, which OVN enforces, and no VLAN."""
    return bool(port.get("qos_policy_id") or network.get("qos_policy_id"))


def _no_gateway(port: Row, network: Row, rack: RackView) -> str:
    if network.get("network_type") == "vlan" and network.get("physical_network") == rack.physical_network:
        if not port["port_security_enabled"]:
            return (
                f"Port {port['id']} has a QoS policy, which nobody can enforce in rack {rack.name}: it has no gateway. "
                "Take the policy off the Port and its network, or give the rack a gateway"
            )
        return (
            f"Port {port['id']} asks for port security, which nobody can enforce in rack {rack.name}: it has no "
            "gateway. Disable port security on the Port, or give the rack a gateway"
        )
    return (
        f"network {network['id']} ({network.get('network_type')}) is reached through a rack gateway, and rack "
        f"{rack.name} has none"
    )


def _chosen(rack: RackView, network: Row, current: str) -> str:
    """The gateway that carries the Port now if it can go on, else the best that is up, else the best."""
    able = [gateway for gateway in rack.gateways if gateway.reaches(network)]
    alive = [gateway.name for gateway in able if gateway.up]
    if current in alive:
        return current
    return alive[0] if alive else able[0].name if able else ""


def _no(reason: str) -> Binding:
    return Binding(REFUSED, reason)


def columns(chosen: Binding, links: list[Row], vlan: int, rack: str, *, before: str, group: str = "") -> Row:
    """The binding columns of a Port that a Nic carries. `before`: its vnic_type when nobody carried it."""
    profile: Row = {"local_link_information": links}
    if group:
        profile["local_group_information"] = {"id": group, "bond_mode": "802.3ad"}
    details = {
        "binding": chosen.kind, "vlan": vlan, "rack": rack, "port_filter": chosen.kind == GUARDED,
        "connectivity": "l2", "bound_drivers": {"0": "hagane"}, "vnic_before": before,
    }  # fmt: skip
    return {
        "binding_host_id": chosen.gateway, "binding_vif_type": BOUND, "binding_vnic_type": "baremetal",
        "binding_profile": profile, "binding_vif_details": details,
    }  # fmt: skip


def kind_of(port: Mapping[str, Any]) -> str:
    """How a Nic carries this Port now; "" if none does."""
    if port.get("binding_vif_type") != BOUND:
        return ""
    return str((port.get("binding_vif_details") or {}).get("binding") or "")
