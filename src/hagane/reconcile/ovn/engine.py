"""OVN as the reconcilers use it, real or simulated: apply rows, hear which ports are up and what strangers change.

rows ─compile─▶ Desired ─apply─▶ Northbound ─northd─▶ Southbound ─▶ chassis
                                     │ up                  │ Chassis
                                     ▼                     ▼
                                port status          agents, gateways
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from hagane.errors import Unavailable
from hagane.ovn.desired import MARK, Desired, Scope, key_of, owner_of
from hagane.ovn.northbound import Northbound
from hagane.ovn.northbound import Table as NB
from hagane.ovn.row import Row
from hagane.ovn.southbound import ChassisStatus, Southbound
from hagane.ovn.wire import changed
from hagane.reconcile.ovn.pairs import Pairs

SILENT = 20.0  # seconds that a chassis may owe the confirmation of a change before it counts as dead


@dataclass(frozen=True, slots=True)
class ChassisSeen:
    """A machine that takes part in OVN, as the Southbound database shows it."""

    name: str
    hostname: str
    physical_networks: frozenset[str] = frozenset()
    alive: bool = True
    gateway: bool = True
    external_ids: dict[str, str] = field(default_factory=dict)


class Ovn(Protocol):
    """What the network's reconcilers need of OVN."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    @property
    def ready(self) -> asyncio.Event: ...

    @property
    def readable(self) -> bool:
        """Whether what OVN is known to say is complete."""
        ...

    @property
    def session(self) -> int:
        """Another number after each new connection: what changed before it was told to nobody."""
        ...

    async def apply(self, desired: Sequence[Desired], owners: Collection[str]) -> None:
        """Make these the rows of these owners. Raises Conflict, DeviceFailed, Unavailable."""
        ...

    async def settle(self, timeout: float) -> set[str]:
        """Before anything of a stranger's doing is put right: wait until all chassis have seen it, but not longer than
        so many seconds. Returns owners of rows that had to be taken out for that, and are to be applied again."""
        ...

    async def ping(self) -> None:
        """Ask all chassis for a sign of life. Raises Unavailable."""
        ...

    def differs(self, desired: Sequence[Desired], owners: Collection[str]) -> bool:
        """Whether `apply` would change anything."""
        ...

    def owners(self) -> set[str]:
        """All owners that have rows."""
        ...

    def up(self, port_id: str) -> bool | None:
        """Whether a port is up; None: OVN has no such port."""
        ...

    def chassis(self) -> list[ChassisSeen]: ...

    async def forget_chassis(self, name: str) -> None:
        """Take a chassis that is gone for good out of OVN. Raises DeviceFailed, Unavailable."""
        ...

    def listen(self, port: Callable[[str], None], owner: Callable[[str], None], chassis: Callable[[], None]) -> None:
        """Be told of ports that came up or went down, owners whose rows a stranger changed, changes of chassis."""
        ...


class RealOvn:
    """OVN through its Northbound and Southbound databases."""

    def __init__(self, northbound: str, southbound: str) -> None:
        self._nb = Northbound(northbound)
        self._sb = Southbound(southbound)
        self._pairs = Pairs(self._nb)
        self._applying: Counter[str] = Counter()

    @property
    def ready(self) -> asyncio.Event:
        return self._nb.ready

    @property
    def readable(self) -> bool:
        return self._nb.ready.is_set() and self._sb.ready.is_set()

    @property
    def session(self) -> int:
        return self._nb.replica.sessions + self._sb.replica.sessions

    async def start(self) -> None:
        await self._nb.start()
        await self._sb.start()

    async def stop(self) -> None:
        await self._nb.stop()
        await self._sb.stop()

    async def apply(self, desired: Sequence[Desired], owners: Collection[str]) -> None:
        with self._ours(owners):
            await self._nb.apply(desired, Scope(owners=owners))

    @contextlib.contextmanager
    def _ours(self, owners: Collection[str]) -> Iterator[None]:
        """What changes of these owners' rows meanwhile is our own doing."""
        self._applying.update(owners)
        try:
            yield
        finally:
            self._applying.subtract(owners)
            for owner in owners:
                if not self._applying[owner]:
                    del self._applying[owner]

    async def settle(self, timeout: float) -> set[str]:
        lone = self._pairs.widowed()
        owners = {owner_of(key) for _, key in lone}
        with self._ours(owners):
            await self._nb.apply((), Scope(keys=lone))
        with contextlib.suppress(Unavailable):
            await self._nb.sync("hv", timeout)
        return owners

    async def ping(self) -> None:
        if self._nb.ready.is_set():
            await self._nb.ping()

    def differs(self, desired: Sequence[Desired], owners: Collection[str]) -> bool:
        return bool(self._nb.plan(desired, Scope(owners=owners)))

    def owners(self) -> set[str]:
        return {owner_of(key) for key in self._nb.all_keys()}

    def up(self, port_id: str) -> bool | None:
        rows = self._nb.find(NB.PORT, f"port:{port_id}")
        if not rows:
            return None
        enabled = rows[0]["enabled"] is not False
        if rows[0]["type"] == "router" or not enabled:
            return enabled
        # OVN calls a port up that is plugged in and switched off; nothing passes it.
        seen = self._sb.port(port_id)
        return seen is not None and seen.up and seen.chassis is not None

    def chassis(self) -> list[ChassisSeen]:
        return [_seen(status) for status in self._sb.chassis()]

    async def forget_chassis(self, name: str) -> None:
        await self._sb.forget(name)

    def listen(self, port: Callable[[str], None], owner: Callable[[str], None], chassis: Callable[[], None]) -> None:
        self._sb.on_port(port)
        self._sb.on_chassis(lambda name: chassis())
        self._nb.replica.on_change(NB.PORT, partial(_switched, port))
        for table in NB:
            if table is not NB.GLOBAL:
                self._nb.replica.on_change(table, partial(self._changed, table, owner))

    def _changed(self, table: NB, tell: Callable[[str], None], kind: str, old: Row | None, new: Row | None) -> None:
        """Tell whose rows a stranger changed. While an owner is being applied, changes of its rows are our own; the
        initial content is nobody's change, the full pass looks at it."""
        if not self._nb.ready.is_set():
            return
        for row in (old, new):
            key = (row.get("external_ids") or {}).get(MARK) if row is not None else None
            if key is not None and owner_of(key) not in self._applying and not _foreseen(table, old, new):
                tell(owner_of(key))
        for column, held in HELD.get(table, ()):
            if old is None:
                continue
            if new is None:
                self._members_changed(held, old[column] if table is NB.PORT_GROUP else (), tell)
            elif old[column] != new[column]:
                self._members_changed(held, changed(old[column], new[column]), tell)

    def _members_changed(self, table: NB, members: Collection[Any], tell: Callable[[str], None]) -> None:
        """Tell whose rows somebody put into another row, or took out. Those that ended with it tell of themselves."""
        for member in members:
            row = self._nb.get(table, member)
            key = key_of(table, row) if row is not None else None
            if key is not None and owner_of(key) not in self._applying:
                tell(owner_of(key))


def _switched(tell: Callable[[str], None], kind: str, old: Row | None, new: Row | None) -> None:
    """Tell of a port that was switched on or off, of which the Southbound database says nothing."""
    if old is not None and new is not None and old["enabled"] != new["enabled"]:
        tell(new["name"])


HELD: dict[NB, tuple[tuple[str, NB], ...]] = {
    NB.SWITCH: (
        ("ports", NB.PORT),
        ("qos_rules", NB.QOS),
        ("load_balancer", NB.LOAD_BALANCER),
        ("dns_records", NB.DNS),
    ),
    NB.ROUTER: (("nat", NB.NAT), ("load_balancer", NB.LOAD_BALANCER)),
    NB.PORT_GROUP: (("ports", NB.PORT),),
}
"""Columns that hold rows of other owners than their own row's: a change there is a change of those."""

OVNS_OWN = frozenset({"up", "dynamic_addresses", "status", "_uuid"})
"""Columns that OVN itself writes."""


def _foreseen(table: NB, old: Row | None, new: Row | None) -> bool:
    if old is None or new is None:
        return False
    shared = {column for column, _ in HELD.get(table, ())}
    return not any(name not in OVNS_OWN and name not in shared and old.get(name) != new.get(name) for name in new)


def _seen(status: ChassisStatus) -> ChassisSeen:
    mappings = status.config.get("ovn-bridge-mappings", "")
    physical = frozenset(entry.partition(":")[0] for entry in mappings.split(",") if entry)
    gateway = "enable-chassis-as-gw" in status.config.get("ovn-cms-options", "")
    return ChassisSeen(status.name, status.hostname, physical, status.silent < SILENT, gateway, dict(status.config))


class SimOvn:
    """OVN in memory, for `--sim`: it keeps the rows, and a port bound to a chassis comes up at once."""

    def __init__(self, chassis: Sequence[ChassisSeen]) -> None:
        self.rows: dict[str, dict[tuple[str, str], Desired]] = {}
        self.ready = asyncio.Event()
        self._chassis = list(chassis)
        self._listeners: list[Callable[[str], None]] = []
        self._carried: dict[str, set[str]] = {}  # a trunk's port and its subports, as far as seen

    async def start(self) -> None:
        self.ready.set()

    async def stop(self) -> None:
        self.ready.clear()

    @property
    def readable(self) -> bool:
        return self.ready.is_set()

    @property
    def session(self) -> int:
        return 1

    async def apply(self, desired: Sequence[Desired], owners: Collection[str]) -> None:
        for owner in owners:
            gone = self.rows.pop(owner, None)
            if gone and owner.startswith("port:"):
                self._tell(owner.removeprefix("port:"))
        for row in desired:
            self.rows.setdefault(owner_of(row.key), {})[row.table, row.key] = row
            if row.key.startswith("port:") and row.table == NB.PORT:
                if parent := row.columns.get("parent_name"):
                    self._carried.setdefault(parent, set()).add(row.key.removeprefix("port:"))
                self._tell(row.key.removeprefix("port:"))

    def _tell(self, port_id: str) -> None:
        """A port may be up or down now, and so may those that it carries."""
        for listener in self._listeners:
            for each in (port_id, *self._carried.get(port_id, ())):
                listener(each)

    async def settle(self, timeout: float) -> set[str]:
        return set()

    async def ping(self) -> None:
        return

    def differs(self, desired: Sequence[Desired], owners: Collection[str]) -> bool:
        wanted: dict[str, dict[tuple[str, str], Desired]] = {}
        for row in desired:
            wanted.setdefault(owner_of(row.key), {})[row.table, row.key] = row
        return any(wanted.get(owner, {}) != self.rows.get(owner, {}) for owner in owners)

    def owners(self) -> set[str]:
        return set(self.rows)

    def up(self, port_id: str) -> bool | None:
        row = self.rows.get(f"port:{port_id}", {}).get((NB.PORT, f"port:{port_id}"))
        if row is None:
            return None
        if parent := row.columns.get("parent_name"):
            return self.up(parent)
        bound = "requested-chassis" in row.columns["options"] or row.columns["type"] == "router"
        return bound and bool(row.columns["enabled"])

    def chassis(self) -> list[ChassisSeen]:
        return self._chassis

    async def forget_chassis(self, name: str) -> None:
        self._chassis = [each for each in self._chassis if each.name != name]

    def listen(self, port: Callable[[str], None], owner: Callable[[str], None], chassis: Callable[[], None]) -> None:
        self._listeners.append(port)
