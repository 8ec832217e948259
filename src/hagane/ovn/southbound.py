"""OVN's Southbound database: which chassis there are, do they keep up, and where each port is plugged. It is read only,
but for chassis that are gone for good.

A chassis confirms each new `nb_cfg` of the Northbound database once its flows are in place. So one that does not
confirm is dead, cut off or overloaded; `ChassisStatus.silent` says for how long, by our own clock. Raise `nb_cfg` from
time to time (`Northbound.ping`) to notice it in a cloud where nothing else changes.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hagane.ovn.connection import Tls
from hagane.ovn.replica import Replica
from hagane.ovn.row import Row
from hagane.ovn.table import Kind
from hagane.ovn.transaction import Delete
from hagane.ovn.wire import UUID

_TABLES = {
    "SB_Global": ("nb_cfg",),
    "Chassis": ("name", "hostname", "encaps", "external_ids", "other_config"),
    "Chassis_Private": ("name", "chassis", "nb_cfg", "nb_cfg_timestamp"),
    "Encap": ("type", "ip", "chassis_name"),
    "Port_Binding": ("logical_port", "type", "chassis", "additional_chassis", "requested_chassis", "up", "tunnel_key"),
}

_OF_CHASSIS = ("Chassis", "Chassis_Private")


@dataclass(frozen=True, slots=True)
class ChassisStatus:
    """One chassis. `silent` is for how many seconds it owes the confirmation of a change; 0.0 if it owes none."""

    name: str
    hostname: str
    encaps: tuple[tuple[str, str], ...]  # (type, IP address)
    config: Mapping[str, str]  # ovn-bridge-mappings, ovn-cms-options, ... as the chassis reports them
    nb_cfg: int
    confirmed_at: float  # its own clock, seconds since 1970, when it last confirmed; 0.0 if never
    silent: float


@dataclass(frozen=True, slots=True)
class PortStatus:
    """One logical port. `up` is ovn-controller's word that flows for it are in place; `chassis` is a name, or None."""

    logical_port: str
    type: str
    up: bool
    chassis: str | None
    additional_chassis: tuple[str, ...]
    requested_chassis: str | None


class Southbound:
    """A replica of what the Southbound database says about chassis and ports."""

    def __init__(self, remotes: str, *, tls: Tls | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.replica = Replica(remotes, "OVN_Southbound", _TABLES, tls=tls)
        self.ready = self.replica.ready
        self._clock = clock
        self._ports = self.replica.index("Port_Binding", lambda row: row["logical_port"])
        self._on_chassis = self.replica.index("Port_Binding", lambda row: row["chassis"])
        self._private = self.replica.index("Chassis_Private", lambda row: row["name"])
        self._owing_since: dict[str, float] = {}  # chassis name → when it was first seen to owe a confirmation
        self.replica.on_change("SB_Global", lambda kind, old, new: self._judge_all())
        self.replica.on_change("Chassis_Private", self._judge)

    async def start(self) -> None:
        await self.replica.start()

    async def stop(self) -> None:
        await self.replica.stop()

    def chassis(self) -> list[ChassisStatus]:
        """All chassis, by name."""
        rows = self.replica.table("Chassis").values()
        return sorted((self._chassis_status(row) for row in rows), key=lambda status: status.name)

    async def forget(self, chassis: str) -> None:
        """Delete a chassis by its name, as its ovn-controller would have done it. Raises DeviceFailed, Unavailable."""
        rows = [
            (t, row["_uuid"]) for t in _OF_CHASSIS for row in self.replica.table(t).values() if row["name"] == chassis
        ]
        if rows:
            await self.replica.transact([Delete(table, row_id) for table, row_id in rows])

    def port(self, logical_port: str) -> PortStatus | None:
        """None while ovn-northd has not seen the port yet (or any more)."""
        rows = self._ports.get(logical_port)
        return self._port_status(rows[0]) if rows else None

    def ports_on(self, chassis: str) -> list[PortStatus]:
        """The ports that are plugged into a chassis, by its name."""
        rows = [row for row in self.replica.table("Chassis").values() if row["name"] == chassis]
        return [self._port_status(row) for found in rows for row in self._on_chassis.get(found["_uuid"])]

    def on_port(self, listener: Callable[[str], None]) -> None:
        """Calls listener(logical port) whenever what `port` says of it may differ."""

        def changed(kind: Kind, old: Row | None, new: Row | None) -> None:
            row = new or old
            if row is not None:
                listener(row["logical_port"])

        self.replica.on_change("Port_Binding", changed)

    def on_chassis(self, listener: Callable[[str], None]) -> None:
        """Calls listener(chassis name) when a chassis comes, goes, or changes its configuration or addresses."""

        def changed(kind: Kind, old: Row | None, new: Row | None) -> None:
            row = new or old
            if row is not None:
                listener(row["name"])

        self.replica.on_change("Chassis", changed)

    # Views

    def _chassis_status(self, row: Row) -> ChassisStatus:
        name: str = row["name"]
        private = self._private.get(name)
        encaps = self.replica.table("Encap")
        found = sorted((encaps[e]["type"], encaps[e]["ip"]) for e in row["encaps"] if e in encaps)
        since = self._owing_since.get(name)
        return ChassisStatus(
            name=name,
            hostname=row["hostname"],
            encaps=tuple(found),
            config={**row["external_ids"], **row["other_config"]},
            nb_cfg=private[0]["nb_cfg"] if private else 0,
            confirmed_at=private[0]["nb_cfg_timestamp"] / 1000 if private else 0.0,
            silent=0.0 if since is None else self._clock() - since,
        )

    def _port_status(self, row: Row) -> PortStatus:
        return PortStatus(
            logical_port=row["logical_port"],
            type=row["type"],
            up=bool(row["up"]),
            chassis=self._name(row["chassis"]),
            additional_chassis=tuple(sorted(filter(None, map(self._name, row.get("additional_chassis", ()))))),
            requested_chassis=self._name(row.get("requested_chassis")),
        )

    def _name(self, chassis: UUID | None) -> str | None:
        row = self.replica.table("Chassis").get(chassis) if chassis is not None else None
        return None if row is None else row["name"]

    # Who owes a confirmation

    def _judge(self, kind: Kind, old: Row | None, new: Row | None) -> None:
        if new is None:
            self._owing_since.pop(old["name"] if old is not None else "", None)
        elif all(new["nb_cfg"] >= row["nb_cfg"] for row in self.replica.table("SB_Global").values()):
            self._owing_since.pop(new["name"], None)
        else:
            self._owing_since.setdefault(new["name"], self._clock())

    def _judge_all(self) -> None:
        for row in self.replica.table("Chassis_Private").values():
            self._judge("update", None, row)
