"""Open vSwitch, and switches that speak its OVSDB schema: all ports of one switch in one transaction.

    access port     vlan_mode=access, tag            trunk            vlan_mode=trunk, trunks
    with native     vlan_mode=native-untagged        leads nowhere    vlan_mode=trunk, trunks=[4095]
    switched off    leads nowhere; external_ids:hagane-off keeps what it carries when it is on again
    group           a Port with several Interfaces; external_ids:hagane-group marks it as ours

The schema has no column that switches a port off, so one that is off carries VLAN 4095, which nobody may use (IEEE
802.1Q-2018, 9.6). An empty `trunks` means every VLAN, so 4095 also stands for none; such ports are `protected`, which
keeps those who use that VLAN nevertheless from each other. A replica follows the database: reading costs one small
exchange, and a change by somebody else is heard at once. `apply` ends when ovs-vswitchd has taken the configuration
(cur_cfg), not when the database has.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from hagane.drivers.switch.base import MARK, SwitchAccess, SwitchDesired, SwitchGroup, SwitchPort, SwitchSeen
from hagane.drivers.switch.plan import EVERY_VLAN, Plan, plan, without
from hagane.errors import DeviceFailed, Unavailable
from hagane.ovn.replica import Replica
from hagane.ovn.row import Row
from hagane.ovn.transaction import Select, Txn
from hagane.ovn.wire import UUID

NOWHERE = 4095
OFF, GROUP = f"{MARK}-off", f"{MARK}-group"
PORT = 6640  # IANA's for OVSDB
_TABLES = {
    "Open_vSwitch": ("next_cfg", "cur_cfg", "ovs_version"),
    "Bridge": ("name", "ports", "other_config"),
    "Port": (
        "name",
        "interfaces",
        "tag",
        "trunks",
        "vlan_mode",
        "protected",
        "lacp",
        "bond_mode",
        "other_config",
        "external_ids",
    ),
    "Interface": ("name", "mac_in_use", "link_state", "mtu_request"),
}
_TOLD = ("Bridge", "Port")
_VLANS = dict.fromkeys(EVERY_VLAN, "")  # it wants none made
Columns = dict[str, Any]


class OvsdbSwitch:
    """Options: `remote` (instead of address and port; "unix:..."), `confirm` ("no": do not wait for ovs-vswitchd)."""

    def __init__(self, access: SwitchAccess) -> None:
        self._timeout = access.timeout
        host = f"[{access.address}]" if ":" in access.address else access.address
        self._remote = access.options.get("remote") or f"tcp:{host}:{access.port or PORT}"
        self._confirm = access.options.get("confirm") != "no"
        self._replica: Replica | None = None
        self._changed: list[Callable[[], None]] = []
        self._busy = False

    async def read(self, ports: Collection[str] | None = None) -> SwitchSeen:
        return _seen(await self._ready(), ports, 0)

    async def apply(self, desired: SwitchDesired) -> SwitchSeen:
        replica = await self._ready()
        seen = _seen(replica, None, 0)
        lacking = {name: f"Switch has no port {name!r}." for name in desired.ports if name not in seen.ports}
        wanted = without(desired, frozenset(lacking))
        lacks = plan(wanted, seen)
        commits = 0
        if lacks:
            await self._commit(replica, _transaction(replica, lacks))
            commits = 1
        if lacking:
            raise DeviceFailed(f"The switch has no port {', '.join(map(repr, lacking))}.", ports=lacking)
        return _seen(replica, desired.ports, commits)

    def watch(self, changed: Callable[[], None]) -> bool:
        self._changed.append(changed)
        return True

    async def close(self) -> None:
        replica, self._replica = self._replica, None
        if replica is not None:
            await replica.stop()

    async def _ready(self) -> Replica:
        if self._replica is None:
            replica = self._replica = Replica(self._remote, "Open_vSwitch", _TABLES, leader_only=False)
            for table in _TOLD:
                replica.on_change(table, self._heard)
            await replica.start()
        try:
            async with asyncio.timeout(self._timeout):
                await _current_content(self._replica, self._timeout)
        except TimeoutError:
            reason = self._replica.connection.reason if self._replica is not None else "it was closed"
            raise Unavailable(f"The switch's database at {self._remote} does not answer: {reason}.") from None
        return self._replica

    def _heard(self, kind: str, old: Row | None, new: Row | None) -> None:
        """Somebody's change; our own comes while a commit of ours is under way, the first content is no change."""
        if self._replica is not None and self._replica.sessions and not self._busy:
            for tell in self._changed:
                tell()

    async def _commit(self, replica: Replica, txn: Txn) -> None:
        goal = None
        for row_id in replica.table("Open_vSwitch"):
            txn.mutate("Open_vSwitch", row_id, "next_cfg", "+=", 1)
            txn.ops.append(Select("Open_vSwitch", {"_uuid": row_id}, ("next_cfg",)))
        self._busy = True
        try:
            results = await replica.transact(txn)
        finally:
            self._busy = False
        if results and isinstance(results[-1], list) and results[-1]:
            goal = results[-1][0]["next_cfg"]
        if goal is None or not self._confirm:
            return
        try:
            await replica.until(lambda: _current(replica) >= goal, self._timeout)
        except TimeoutError:
            raise Unavailable(
                "The switch's database has taken the change, and its ovs-vswitchd does not confirm it."
            ) from None


async def _current_content(replica: Replica, timeout: float) -> None:
    """Until the replica has all that the server had when we asked: it tells of its changes before it answers. A
    connection that turns out to be dead is replaced."""
    while True:
        await replica.until(replica.ready.is_set, timeout)
        try:
            await replica.transact([Select("Open_vSwitch", {}, ("cur_cfg",))])
        except Unavailable:
            await asyncio.sleep(0.05)
        else:
            return


def _current(replica: Replica) -> int:
    return max((row["cur_cfg"] for row in replica.table("Open_vSwitch").values()), default=0)


# Reading


def _seen(replica: Replica, names: Collection[str] | None, commits: int) -> SwitchSeen:
    interfaces = replica.table("Interface")
    own = {row["name"] for row in replica.table("Bridge").values()}
    ports: dict[str, SwitchPort] = {}
    groups: dict[str, SwitchGroup] = {}
    marked, odd = set(), set()
    for row in replica.table("Port").values():
        members = [interfaces[key] for key in row["interfaces"] if key in interfaces]
        carried, strange = _carried(row)
        grouped = _is_group(row, members)
        if grouped:
            groups[row["name"]] = _group(row, carried)
            odd |= {row["name"]} if strange else set()
            marked |= {row["name"]} if GROUP in row["external_ids"] else set()
        for member in members:
            if member["name"] not in own:
                mtu = member.get("mtu_request")
                ports[member["name"]] = replace(carried, group=row["name"] if grouped else "", mtu=mtu)
                odd |= {member["name"]} if strange and not grouped else set()
    shown = ports if names is None else {name: ports[name] for name in names if name in ports}
    up = {row["name"] for row in interfaces.values() if row["link_state"] == "up"}
    return SwitchSeen(
        shown, groups, _chassis_id(replica), _model(replica), frozenset(up & shown.keys()), commits, _VLANS,
        frozenset(marked), frozenset(odd),
    )  # fmt: skip


def _is_group(row: Row, members: list[Row]) -> bool:
    return len(members) > 1 or GROUP in row["external_ids"]


def _carried(row: Row) -> tuple[SwitchPort, bool]:
    """What a Port carries; whether it is set to what a SwitchPort cannot say."""
    tag, trunks, mode = row["tag"], frozenset(row["trunks"]), row["vlan_mode"]
    if (off := row["external_ids"].get(OFF)) is not None:
        return _switched_off(off, dead=_dead(row))
    mode = mode or ("trunk" if tag is None else "access")
    if mode == "access" and tag is not None:
        return SwitchPort(native=tag), False
    if mode == "native-untagged" and tag is not None and trunks:
        return SwitchPort(native=tag, tagged=trunks - {NOWHERE, tag}), 0 in trunks
    tagged = (trunks or EVERY_VLAN) - {NOWHERE, 0}
    strange = mode != "trunk" or not trunks or 0 in trunks or (not tagged and not _dead(row))
    return SwitchPort(tagged=tagged), strange


def _dead(row: Row) -> bool:
    return row["vlan_mode"] == "trunk" and frozenset(row["trunks"]) == {NOWHERE} and row.get("protected") is not False


def _switched_off(kept: str, *, dead: bool) -> tuple[SwitchPort, bool]:
    try:
        native, tagged = json.loads(kept)
        return SwitchPort(enabled=False, native=native, tagged=frozenset(map(int, tagged))), not dead
    except (ValueError, TypeError):
        return SwitchPort(enabled=False), True


def _group(row: Row, carried: SwitchPort) -> SwitchGroup:
    lacp = row["lacp"] in ("active", "passive")
    fallback = row["other_config"].get("lacp-fallback-ab") == "true"
    return SwitchGroup(carried.native, carried.tagged, lacp, lacp and fallback)


def _chassis_id(replica: Replica) -> str:
    names = {row["name"]: row["other_config"].get("hwaddr", "") for row in replica.table("Bridge").values()}
    for row in replica.table("Interface").values():
        if row["name"] in names:
            return str(names[row["name"]] or row["mac_in_use"] or "").lower()
    return ""


def _model(replica: Replica) -> str:
    versions = [row["ovs_version"] for row in replica.table("Open_vSwitch").values() if row["ovs_version"]]
    return f"Open vSwitch {versions[0]}" if versions else "Open vSwitch"


# Writing


def _vlan_columns(port: SwitchPort | SwitchGroup, *, on: bool = True) -> Columns:
    if not on or (port.native is None and not port.tagged):
        return {"vlan_mode": "trunk", "tag": None, "trunks": {NOWHERE}, "protected": True}
    columns: Columns = {"tag": port.native, "protected": False}
    if port.native is None:
        return columns | {"vlan_mode": "trunk", "trunks": port.tagged}
    if not port.tagged:
        return columns | {"vlan_mode": "access", "trunks": frozenset()}
    return columns | {"vlan_mode": "native-untagged", "trunks": port.tagged | {port.native}}


def _port_columns(port: SwitchPort, old: Mapping[str, str]) -> Columns:
    ids = {key: value for key, value in old.items() if key not in (OFF, GROUP)}
    if not port.enabled:
        ids[OFF] = json.dumps([port.native, sorted(port.tagged)])
    return _vlan_columns(port, on=port.enabled) | {"external_ids": ids}


def _group_columns(group: SwitchGroup, old: Row | None) -> Columns:
    other = {key: value for key, value in (old["other_config"] if old else {}).items() if key != "lacp-fallback-ab"}
    if group.lacp and group.fallback:
        other["lacp-fallback-ab"] = "true"
    ids = dict(old["external_ids"]) if old else {GROUP: "yes"}
    return _vlan_columns(group) | {
        "lacp": "active" if group.lacp else "off", "bond_mode": "balance-tcp" if group.lacp else "balance-slb",
        "other_config": other, "external_ids": ids,
    }  # fmt: skip


class _Layout:
    """Which Interfaces are in which Port, before and after; Ports that end up empty go."""

    def __init__(self, replica: Replica) -> None:
        self.ports = replica.table("Port")
        self.interfaces = {row["name"]: row for row in replica.table("Interface").values()}
        self.port_of = {key: row for row in self.ports.values() for key in row["interfaces"]}
        self.by_name = {row["name"]: row for row in self.ports.values()}
        self.bridges = {key: row_id for row_id, row in replica.table("Bridge").items() for key in row["ports"]}

    def of(self, name: str) -> Row:
        return self.port_of[self.interfaces[name]["_uuid"]]


def _transaction(replica: Replica, lacks: Plan) -> Txn:
    txn, layout = Txn(), _Layout(replica)
    joins: defaultdict[str, set[UUID]] = defaultdict(set)
    leaves: defaultdict[UUID, set[UUID]] = defaultdict(set)
    for name, port in lacks.ports.items():
        interface, holder = layout.interfaces[name], layout.of(name)
        if port.mtu is not None and interface.get("mtu_request") != port.mtu:
            txn.update("Interface", interface["_uuid"], {"mtu_request": port.mtu})
        grouped = _is_group(holder, [r for r in layout.interfaces.values() if r["_uuid"] in holder["interfaces"]])
        if port.group:
            if holder["name"] != port.group or not grouped:
                leaves[holder["_uuid"]].add(interface["_uuid"])
                joins[port.group].add(interface["_uuid"])
        elif grouped:
            leaves[holder["_uuid"]].add(interface["_uuid"])
            _insert(txn, layout, name, {interface["_uuid"]}, _port_columns(port, {}), holder)
        else:
            txn.update("Port", holder["_uuid"], _port_columns(port, holder["external_ids"]))
    for name in {**lacks.groups, **dict.fromkeys(joins)}:
        _set_group(txn, layout, name, lacks.groups.get(name), joins[name], leaves)
    for row_id, gone in leaves.items():
        row = layout.ports[row_id]
        left = frozenset(row["interfaces"]) - gone
        if not left and not joins.get(row["name"]):
            txn.mutate("Bridge", layout.bridges[row_id], "ports", "delete", {row_id})
        elif row["name"] not in joins:
            txn.update("Port", row_id, {"interfaces": left})
    return txn


def _set_group(
    txn: Txn, layout: _Layout, name: str, group: SwitchGroup | None, joins: set[UUID],
    leaves: Mapping[UUID, set[UUID]],
) -> None:  # fmt: skip
    row = layout.by_name.get(name)
    columns = _group_columns(group, row) if group is not None else {}
    if row is not None:
        members = (frozenset(row["interfaces"]) - leaves.get(row["_uuid"], set())) | joins
        txn.update("Port", row["_uuid"], columns | ({"interfaces": members} if joins else {}))
    elif joins:
        _insert(txn, layout, name, joins, columns, layout.port_of[next(iter(joins))])


def _insert(txn: Txn, layout: _Layout, name: str, members: set[UUID], columns: Columns, beside: Row) -> None:
    """A new Port of Interfaces that are there, in the bridge of the Port that they come from."""
    made = txn.insert("Port", {"name": name, "interfaces": members, **columns})
    txn.mutate("Bridge", layout.bridges[beside["_uuid"]], "ports", "insert", {made})
