"""QoS policies: a QoS row for each direction of a port or of a floating IP. Pure functions.

OVN polices and marks in the switch (ovn-nb(5), "QoS"). A guarantee is a queue of the physical interface through which
frames of a VLAN or flat network leave, and is an option of the port; in tunnels there is nothing to guarantee it with.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from hagane.network.qos_row import BANDWIDTH, DSCP, MINIMUM
from hagane.ovn.desired import Desired
from hagane.ovn.northbound import Table
from hagane.reconcile.ovn import switch
from hagane.state.database import Row

PORT_PRIORITY, FLOATING_PRIORITY = 2002, 2003
_WAYS = {"egress": ("from-lport", "inport", "src"), "ingress": ("to-lport", "outport", "dst")}


def effective(row: Row, network: Row | None) -> str | None:
    """The policy of a port or floating IP: its own, else its network's, which says nothing of the network's ports."""
    if own := row.get("qos_policy_id"):
        return str(own)
    if network is None or str(row.get("device_owner") or "").startswith("network:"):
        return None
    return network.get("qos_policy_id")


def port(me: str, row: Row, network: Row, rules: Sequence[Row]) -> list[Desired]:
    """The rows of a port, whose key is `me`."""
    limits = [rule for rule in rules if not (rule["type"] == BANDWIDTH and _queued(network, rules, rule))]
    return _rows(me, network["id"], row["id"], limits, PORT_PRIORITY)


def options(network: Row, rules: Sequence[Row]) -> dict[str, str]:
    """A port's options for a guarantee, in bit/s: of what goes out of a physical network's machines."""
    found: dict[str, str] = {}
    if not _guaranteed(network, rules):
        return found
    for rule in rules:
        if rule["direction"] != "egress":
            continue
        if rule["type"] == MINIMUM:
            found["qos_min_rate"] = str(rule["min_kbps"] * 1000)
        elif rule["type"] == BANDWIDTH:
            found["qos_max_rate"] = str(rule["max_kbps"] * 1000)
            if rule["max_burst_kbps"]:
                found["qos_burst"] = str(rule["max_burst_kbps"] * 1000)
    return found


def _guaranteed(network: Row, rules: Iterable[Row]) -> bool:
    egress = any(rule["type"] == MINIMUM and rule["direction"] == "egress" for rule in rules)
    return bool(network.get("physical_network")) and egress


def _queued(network: Row, rules: Sequence[Row], rule: Row) -> bool:
    """Whether the limit belongs to the queue of a guarantee."""
    return bool(rule["direction"] == "egress" and _guaranteed(network, rules))


def floating(me: str, row: Row, gateway_port: str, rules: Sequence[Row]) -> list[Desired]:
    """The rows of a floating IP: what passes its router's gateway under its address, where the gateway is."""
    more = f'is_chassis_resident("cr-lrp-{gateway_port}")'
    address = (row["floating_ip_address"], more)
    return _rows(me, row["floating_network_id"], gateway_port, rules, FLOATING_PRIORITY, address)


def _rows(
    me: str, network_id: str, port_id: str, rules: Sequence[Row], priority: int, address: tuple[str, str] | None = None
) -> list[Desired]:
    found = []
    for way, (direction, end, side) in _WAYS.items():
        bandwidth: dict[str, int] = {}
        action: dict[str, int] = {}
        for rule in rules:
            if rule["type"] == BANDWIDTH and rule["direction"] == way:
                bandwidth = {"rate": rule["max_kbps"]}
                if rule["max_burst_kbps"]:
                    bandwidth["burst"] = rule["max_burst_kbps"]
            elif rule["type"] == DSCP and way == "egress":
                action = {"dscp": rule["dscp_mark"]}
        # A rate of 0 is no rate that OVN knows: its schema begins at 1.
        if not bandwidth.get("rate"):
            bandwidth = {}
        if not (bandwidth or action):
            continue
        match = f'{end} == "{port_id}"'
        if address is not None:
            match += f" && ip4.{side} == {address[0]} && {address[1]}"
        columns: dict[str, Any] = {"direction": direction, "priority": priority, "match": match,
                                   "bandwidth": bandwidth, "action": action}  # fmt: skip
        parent = (Table.SWITCH, switch.owner(network_id), "qos_rules")
        found.append(Desired(Table.QOS, f"{me}/qos:{way}", columns, parent=parent))
    return found
