"""A gateway over OVSDB: pairs of patch ports, in one transaction.

    br-trunk: Port ht<12>, vlan_mode=access, tag=<private VLAN> ── patch ── br-int: Port hn<12>, iface-id=<Port>

Names are made of the Nic's id, so that the same Nic always gets the same pair; external_ids:hagane-nic on both
Interfaces is our mark. Moving a Nic to another network changes its iface-id and no port, so nothing is plugged anew.

In these VLANs the trunk's bridge learns no addresses (flood_vlans): each has two ports here, and what the broadcasts of
another gateway taught it would stand in the way when a Port moves here (three seconds without an answer).
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from hagane.drivers.gateway.base import GatewayAccess, Patch, Patches
from hagane.errors import DeviceFailed, Unavailable
from hagane.ovn.replica import Replica
from hagane.ovn.row import Row
from hagane.ovn.transaction import Mutate, Txn
from hagane.ovn.wire import UUID

MARK, IFACE = "hagane-nic", "iface-id"
PROBE = 2.5  # seconds of silence after which the server is asked whether it is there; as many again, and it is not
_TABLES = {
    "Open_vSwitch": ("external_ids",),
    "Bridge": ("name", "ports", "flood_vlans"),
    "Port": ("name", "interfaces", "tag", "vlan_mode"),
    "Interface": ("name", "type", "options", "external_ids"),
}
Columns = dict[str, Any]


class OvsdbGateway:
    def __init__(self, access: GatewayAccess) -> None:
        self._access = access
        self._replica = Replica(access.ovsdb, "Open_vSwitch", _TABLES, leader_only=False, probe=PROBE)
        self._changed: Callable[[], None] = lambda: None
        self._applying = False

    async def start(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        for table in ("Bridge", "Port", "Interface", "Open_vSwitch"):
            self._replica.on_change(table, self._heard)
        self._replica.on_state(changed)
        await self._replica.start()

    @property
    def connected(self) -> bool:
        return self._replica.ready.is_set()

    @property
    def reason(self) -> str:
        return self._replica.connection.reason

    @property
    def chassis(self) -> str:
        for row in self._replica.table("Open_vSwitch").values() if self.connected else ():
            return str(row["external_ids"].get("system-id", ""))
        return ""

    def patches(self) -> dict[str, Patch]:
        if not self.connected:
            return {}
        found = _Found(self._replica)
        return {key: patch for key in found.marked if (patch := found.patch(key, self._access)) is not None}

    async def apply(self, desired: Patches) -> int:
        if not self.connected:
            raise Unavailable(f"Gateway {self._access.name} does not answer: {self.reason or 'no connection'}.")
        await self._replica.whole()
        txn = _transaction(_Found(self._replica), self._access, desired)
        if txn.ops:
            self._applying = True
            try:
                await self._replica.transact(txn)
            finally:
                self._applying = False
        return len(txn.ops)

    async def close(self) -> None:
        await self._replica.stop()

    def _heard(self, kind: str, old: Row | None, new: Row | None) -> None:
        """Somebody's change; what comes while we write is our own, and the first content is told as `connected`."""
        if self.connected and not self._applying:
            self._changed()


class _Found:
    """What is there, by the names that our pairs have and by our mark."""

    def __init__(self, replica: Replica) -> None:
        self.ports = replica.table("Port")
        interfaces = replica.table("Interface")
        self.bridges = {row["name"]: row for row in replica.table("Bridge").values()}
        self.bridge_of: dict[UUID, Row] = {key: row for row in self.bridges.values() for key in row["ports"]}
        self.by_name = {row["name"]: row for row in self.ports.values()}
        self.interface = {row["name"]: row for row in interfaces.values()}
        self.marked: dict[str, list[Row]] = {}
        for port in self.ports.values():
            for key in port["interfaces"]:
                nic = interfaces[key]["external_ids"].get(MARK) if key in interfaces else None
                if nic is not None:
                    self.marked.setdefault(nic, []).append(port)

    def patch(self, key: str, access: GatewayAccess) -> Patch | None:
        """A whole pair, as it should be but for VLAN and Port."""
        near, far = names(key)
        port, inner = self.by_name.get(near), self.interface.get(far)
        if port is None or inner is None or not isinstance(port["tag"], int):
            return None
        there = Patch(port["tag"], inner["external_ids"].get(IFACE, ""))
        flooded = there.vlan in self.flooded(access)
        return there if flooded and all(self._right(one) for one in _pair(key, there, access)) else None

    def flooded(self, access: GatewayAccess) -> frozenset[int]:
        """The VLANs in which the trunk's bridge learns nothing."""
        bridge = self.bridges.get(access.trunk_bridge)
        return frozenset(bridge["flood_vlans"]) if bridge is not None else frozenset()

    def _right(self, want: "_End") -> bool:
        port, interface = self.by_name.get(want.name), self.interface.get(want.name)
        if port is None or interface is None or self.bridge_of.get(port["_uuid"]) is not self.bridges.get(want.bridge):
            return False
        return _fits(port, want.port) and _fits(interface, want.interface)


class _End:
    """One end of a pair."""

    def __init__(self, name: str, bridge: str, peer: str, key: str, port: Columns, **ids: str) -> None:
        self.name, self.bridge, self.port = name, bridge, port
        self.interface: Columns = {"type": "patch", "options": {"peer": peer}, "external_ids": {MARK: key, **ids}}


def names(key: str) -> tuple[str, str]:
    """The ports of a Nic in the trunk bridge and in the integration bridge; interface names have 15 characters."""
    digits = hashlib.sha256(key.encode()).hexdigest()[:12]
    return f"ht{digits}", f"hn{digits}"


def _pair(key: str, patch: Patch, access: GatewayAccess) -> tuple[_End, _End]:
    near, far = names(key)
    tagged: Columns = {"tag": patch.vlan, "vlan_mode": "access"}
    return (
        _End(near, access.trunk_bridge, far, key, tagged),
        _End(far, access.integration_bridge, near, key, {}, **{IFACE: patch.port_id}),
    )


def _fits(row: Row, columns: Mapping[str, Any]) -> bool:
    """OVN writes external_ids of its own into the Interfaces that it claims; these stay."""
    return all(
        all(row[name].get(k) == v for k, v in value.items()) if name == "external_ids" else row[name] == value
        for name, value in columns.items()
    )


def _transaction(found: _Found, access: GatewayAccess, desired: Patches) -> Txn:
    txn = Txn()
    for key, patch in desired.items():
        for end in _pair(key, patch, access):
            _bring(txn, found, end)
    _flood(txn, found, access, {patch.vlan for patch in desired.values()})
    ours = {end.name for key, patch in desired.items() for end in _pair(key, patch, access)}
    for ports in found.marked.values():
        for port in ports:
            if port["name"] not in ours and port["_uuid"] in found.bridge_of:
                txn.mutate("Bridge", found.bridge_of[port["_uuid"]]["_uuid"], "ports", "delete", {port["_uuid"]})
    return txn


def _flood(txn: Txn, found: _Found, access: GatewayAccess, wanted: set[int]) -> None:
    """VLANs of our patches, and none that one of them had before."""
    bridge, there = found.bridges.get(access.trunk_bridge), found.flooded(access)
    had = {port["tag"] for ports in found.marked.values() for port in ports if isinstance(port["tag"], int)}
    come, gone = wanted - there, (had & there) - wanted
    changes = [("flood_vlans", mutator, vlans) for mutator, vlans in (("delete", gone), ("insert", come)) if vlans]
    if bridge is not None and changes:
        txn.ops.append(Mutate("Bridge", bridge["_uuid"], tuple(changes)))


def _bring(txn: Txn, found: _Found, end: _End) -> None:
    bridge = found.bridges.get(end.bridge)
    if bridge is None:
        raise DeviceFailed(f"The gateway has no bridge {end.bridge}.")
    port, interface = found.by_name.get(end.name), found.interface.get(end.name)
    if port is not None and (interface is None or found.bridge_of.get(port["_uuid"]) is not bridge):
        if (holder := found.bridge_of.get(port["_uuid"])) is not None:
            txn.mutate("Bridge", holder["_uuid"], "ports", "delete", {port["_uuid"]})
        port = None
    if port is None or interface is None:
        inner = txn.insert("Interface", {"name": end.name, **end.interface})
        made = txn.insert("Port", {"name": end.name, "interfaces": {inner}, **end.port})
        txn.mutate("Bridge", bridge["_uuid"], "ports", "insert", {made})
        return
    if not _fits(port, end.port):
        txn.update("Port", port["_uuid"], end.port)
    _set_interface(txn, interface, end)


def _set_interface(txn: Txn, row: Row, end: _End) -> None:
    """Only keys of ours change in external_ids: OVN may be writing there at this moment."""
    ids = end.interface["external_ids"]
    columns = {name: value for name, value in end.interface.items() if name != "external_ids" and row[name] != value}
    if columns:
        txn.update("Interface", row["_uuid"], columns)
    if wrong := {key: value for key, value in ids.items() if row["external_ids"].get(key) != value}:
        changes = (("external_ids", "delete", list(wrong)), ("external_ids", "insert", wrong))
        txn.ops.append(Mutate("Interface", row["_uuid"], changes))
