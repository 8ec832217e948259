"""OVN's Northbound database: the tables that we write, and the way from desired rows to committed ones.

    nb = Northbound("unix:/run/ovn/ovnnb_db.sock"); await nb.start(); await nb.ready.wait()
    port = Desired(Table.PORT, "port:1", {"name": "1", ...}, parent=(Table.SWITCH, "network:1", "ports"))
    await nb.apply([port], Scope(owners=["port:1"]))
    await nb.sync("hv", timeout=10)

Rows of a table with names should be named hagane... or by a UUID that their key holds too ("port:<id>" and "<id>",
"sg:<id>" and "pg_<id with underscores>"): then a row whose mark somebody removed or changed is found again, instead of
standing in the way of a new one. NAT and DHCP options without a mark are found by what they say.
"""

import re
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal

from hagane.errors import Conflict, Unavailable
from hagane.ovn.connection import Tls
from hagane.ovn.desired import KEY_COLUMNS, Desired, Scope, key_of, owner_of
from hagane.ovn.plan import plan
from hagane.ovn.replica import Replica
from hagane.ovn.row import Row
from hagane.ovn.schema import Schema
from hagane.ovn.transaction import Insert, Mutate, Op, Select, Update
from hagane.ovn.wire import UUID, Named


class Table(StrEnum):
    """The tables that we use (ovn-nb(5)); who holds the rows of those that are no roots."""

    GLOBAL = "NB_Global"
    SWITCH = "Logical_Switch"
    PORT = "Logical_Switch_Port"  # Logical_Switch.ports
    ROUTER = "Logical_Router"
    ROUTER_PORT = "Logical_Router_Port"  # Logical_Router.ports
    STATIC_ROUTE = "Logical_Router_Static_Route"  # Logical_Router.static_routes
    ROUTER_POLICY = "Logical_Router_Policy"  # Logical_Router.policies
    NAT = "NAT"  # Logical_Router.nat
    ACL = "ACL"  # Port_Group.acls, Logical_Switch.acls
    PORT_GROUP = "Port_Group"
    ADDRESS_SET = "Address_Set"
    DHCP = "DHCP_Options"
    DNS = "DNS"
    GATEWAY_CHASSIS = "Gateway_Chassis"  # Logical_Router_Port.gateway_chassis
    HA_GROUP = "HA_Chassis_Group"
    HA_CHASSIS = "HA_Chassis"  # HA_Chassis_Group.ha_chassis
    QOS = "QoS"  # Logical_Switch.qos_rules
    METER = "Meter"
    METER_BAND = "Meter_Band"  # Meter.bands
    LOAD_BALANCER = "Load_Balancer"
    HEALTH_CHECK = "Load_Balancer_Health_Check"  # Load_Balancer.health_check
    STATIC_MAC = "Static_MAC_Binding"


_GLOBAL_COLUMNS = ("nb_cfg", "sb_cfg", "hv_cfg", "options", "external_ids")
_HELD_WEAKLY = (
    (Table.PORT_GROUP, "ports"),
    (Table.SWITCH, "load_balancer"),
    (Table.SWITCH, "dns_records"),
    (Table.ROUTER, "load_balancer"),
)
_UUID = re.compile(r"[0-9a-f]{8}([-_]?)[0-9a-f]{4}(?:\1[0-9a-f]{4}){2}\1[0-9a-f]{12}")
_NO_NAME = (Table.ACL, Table.GLOBAL)  # `name` of an ACL is a label for the log
_SAYING = {Table.NAT.value: ("type", "external_ip", "logical_ip"), Table.DHCP.value: ("cidr", "options")}
"""Columns that together can only be one row's: a subnet's DHCP options tell an Ethernet address made from its id."""


class Northbound:
    """Reads, plans and commits. Also the `View` that `plan` works on."""

    def __init__(self, remotes: str, *, tls: Tls | None = None) -> None:
        tables: dict[str, Iterable[str] | None] = {table.value: None for table in Table}
        tables[Table.GLOBAL.value] = _GLOBAL_COLUMNS
        self.replica = Replica(remotes, "OVN_Northbound", tables, tls=tls)
        self.ready = self.replica.ready
        ours = [table.value for table in Table if table is not Table.GLOBAL]
        self._by_key = {table: self.replica.index(table, _key(table)) for table in ours}
        self._by_owner = {
            table: self.replica.index(table, _part_owner(table)) for table in ours if table not in KEY_COLUMNS
        }
        self._strays = {table: self.replica.index(table, _stray(table)) for table in ours if table not in _NO_NAME}
        for table, column in _HELD_WEAKLY:
            self.replica.holders(table, column)

    async def start(self) -> None:
        await self.replica.start()

    async def stop(self) -> None:
        await self.replica.stop()

    # Desired rows

    def plan(self, desired: Iterable[Desired], scope: Scope | None = None) -> list[Op]:
        """See `plan.plan`. Raises Unavailable before the replica is complete: nothing may be concluded from it then."""
        if not self.ready.is_set():
            raise Unavailable("The OVN Northbound database is not reached.", detail=self.replica.connection.reason)
        return plan(desired, self, scope)

    async def apply(self, desired: Iterable[Desired], scope: Scope | None = None) -> list[Op]:
        """Plans and commits; returns the operations (none: all was as desired already). Raises what `plan` and
        `Replica.submit` raise, and Conflict when somebody deleted a row in between; then simply apply again."""
        await self.replica.whole()
        ops = self.plan(desired, scope)
        results = await self.replica.submit(ops)
        for op, result in zip(ops, results, strict=True):
            if isinstance(op, Update | Mutate) and result == 0:
                raise Conflict(f"A row of {op.table} was deleted meanwhile.", code="OvnRowVanished")
        return ops

    async def sync(self, upto: Literal["sb", "hv"], timeout: float) -> float:
        """Waits until what was committed before has reached the Southbound ("sb") or all chassis ("hv"); returns the
        seconds it took. Raises Unavailable after `timeout` seconds: ovn-northd, or some chassis, does not keep up."""
        began = time.monotonic()
        goal = await self.ping()
        column = f"{upto}_cfg"
        try:
            await self.replica.until(lambda: any(row[column] >= goal for row in self._global()), timeout)
        except TimeoutError:
            who = "ovn-northd has" if upto == "sb" else "Not all chassis have"
            raise Unavailable(f"{who} not confirmed the change within {timeout:g} s.", code="OvnNotSynced") from None
        return time.monotonic() - began

    async def ping(self) -> int:
        """Asks all chassis for a sign of life: raises NB_Global.nb_cfg and returns it. See `southbound`."""
        rows = self._global()
        if not rows:
            await self.replica.transact([Insert(Table.GLOBAL, {"nb_cfg": 1}, Named("global"))])
            return 1
        row_id = rows[0]["_uuid"]
        results = await self.replica.transact(
            [Mutate(Table.GLOBAL, row_id, (("nb_cfg", "+=", 1),)), Select(Table.GLOBAL, {"_uuid": row_id}, ("nb_cfg",))]
        )
        if not results[1]:
            raise Conflict("The row of NB_Global was replaced meanwhile.", code="OvnRowVanished")
        goal: int = results[1][0]["nb_cfg"]
        return goal

    def _global(self) -> list[Row]:
        return list(self.replica.table(Table.GLOBAL).values())

    # plan.View

    @property
    def schema(self) -> Schema:
        return self.replica.schema

    def find(self, table: str, key: str) -> Sequence[Row]:
        return self._by_key[table].get(key)

    def get(self, table: str, row_id: UUID) -> Row | None:
        return self.replica.table(table).get(row_id)

    def key(self, table: str, row: Row) -> str | None:
        return key_of(table, row)

    def holders(self, table: str, column: str, held: UUID) -> Sequence[UUID]:
        return self.replica.holders(table, column).of(held)

    def owned(self, owner: str) -> Iterable[tuple[str, Row]]:
        for table, parts in self._by_owner.items():
            yield from ((table, row) for row in (*self._by_key[table].get(owner), *parts.get(owner)))

    def all_ours(self) -> Iterable[tuple[str, str, Row]]:
        for table, rows in self._by_key.items():
            if table not in KEY_COLUMNS:
                yield from ((table, str(key), row) for key in rows.keys() for row in rows.get(key))  # noqa: SIM118

    def all_keys(self) -> Iterable[str]:
        """The keys of all rows of ours."""
        for table, rows in self._by_key.items():
            if table not in KEY_COLUMNS:
                yield from map(str, rows.keys())

    def lost(self, table: str, columns: Mapping[str, Any]) -> Sequence[Row]:
        wanted = _said(table, columns) if table in _SAYING else columns.get("name")
        return self._strays[table].get(wanted) if table in self._strays and wanted is not None else []


def _key(table: str) -> Callable[[Row], Hashable]:
    return lambda row: key_of(table, row)


def _part_owner(table: str) -> Callable[[Row], Hashable]:
    """Owners of keys with a part; a key that is its owner is found by itself."""

    def owner(row: Row) -> str | None:
        key = key_of(table, row)
        return owner_of(key) if key is not None and "/" in key else None

    return owner


def _stray(table: str) -> Callable[[Row], Hashable]:
    """What tells of a row that it is ours although its mark does not say so: its name, or all it says."""
    if table in _SAYING:
        return lambda row: _said(table, row) if key_of(table, row) is None else None
    return _stray_name


def _said(table: str, columns: "Row | Mapping[str, Any]") -> Hashable:
    values = (columns.get(name) for name in _SAYING[table])
    return tuple(frozenset(value.items()) if isinstance(value, Mapping) else value for value in values)


def _stray_name(row: Row) -> Any:
    """The name of a row which tells that it is ours although its mark does not say so."""
    name, key = row.get("name"), key_of("", row)
    if not isinstance(name, str) or (key is None and name.startswith("hagane")):
        return name
    found = _UUID.search(name)
    if found is None:
        return None
    bare = found.group().replace("-", "").replace("_", "")
    return None if bare in (key or "").replace("-", "") else name
