"""Hosts: asks each how it is, says when one is gone, keeps what it has to give, and sweeps what nobody owns.

    every 10 s, and at every sign of change:  facts, machines ─▶ up ─▶ inventory ─▶ Servers that differ are woken
                                              no answer for 20 s  ─▶ down: its Servers' power is not known any more

A machine or disk of ours that no row owns is removed when it has been seen so for half a minute. What does not carry
our mark is never looked at.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from uuid import uuid4

import msgspec

from hagane.api.turns import in_turns
from hagane.cloud import Cloud
from hagane.compute.console import Consoles, Viewer
from hagane.compute.row import KIND as SERVER_KIND
from hagane.compute.row import NOSTATE, SERVER
from hagane.drivers.hypervisor.base import HostFacts, Seen
from hagane.errors import HaganeError, Unavailable
from hagane.placement.host import DEFAULT_ZONE, HOST
from hagane.placement.inventory import set_inventory
from hagane.reconcile import host_image, server_plan
from hagane.reconcile.devices import Devices
from hagane.reconcile.engine import Answer, Done, Outcome, Reconciler, Wait
from hagane.reconcile.host_image import HostImageReconciler
from hagane.reconcile.host_registry import Registry, Station
from hagane.reconcile.news import News
from hagane.reconcile.server_history import KIND as HISTORY
from hagane.reconcile.server_history import HistoryReconciler
from hagane.reconcile.server_kind import Servers
from hagane.state import clock, work
from hagane.state.database import Reader, Row, Tx
from hagane.state.work import Claim

log = logging.getLogger(__name__)
KIND = "host"


@dataclass(frozen=True)
class Pace:
    """Seconds."""

    poll: float = 10.0  # between readings of a Host that answers
    silent: float = 2.0  # and of one that does not
    down_after: float = 20.0  # of silence, after which a Host is down
    orphan: float = 30.0  # that a machine without an owner is left alone
    disks: float = 60.0  # between looks for disks without an owner, and for images without a disk


class HostReconciler:
    """See the module's text."""

    kind, batch, parallel = KIND, 8, 4

    def __init__(self, cloud: Cloud, registry: Registry) -> None:
        self._cloud, self._db, self._registry = cloud, cloud.db, registry
        self._orphans: dict[tuple[str, str], float] = {}  # (host, machine) -> since when
        self._disks_at: dict[str, float] = {}
        self.pace = Pace()

    async def reconcile(self, keys: Sequence[Claim]) -> Mapping[str, Answer]:
        return {claim.key: self._one(claim.key) for claim in keys}

    async def _one(self, name: str) -> Outcome:
        row = await HOST.get(self._db, name=name)
        if row is None:
            row = await self._db.write(lambda tx: _introduce(tx, name))
        try:
            station = self._registry.station(name)
            facts = await self._facts(station)
            seen = await station.read()
        except HaganeError as error:
            return await self._silent(row, error)
        await self._answered(row, facts)
        await self._compare(row, station, seen)
        return Done(again=self.pace.poll)

    async def _facts(self, station: Station) -> HostFacts:
        try:
            async with asyncio.timeout(10):
                return await station.driver.facts()
        except TimeoutError as error:
            raise Unavailable("it did not answer within 10 s") from error

    async def _silent(self, row: Row, error: HaganeError) -> Outcome:
        """No answer. After a while that is what everybody is told."""
        since = clock.wall() - (clock.seconds(row["seen_at"]) if row["seen_at"] else 0.0)
        if row["state"] != "down" and since >= self.pace.down_after:
            log.warning("host %s is down: %s", row["name"], error.message)
            await self._db.write(lambda tx: _down(tx, row, error.message))
        return Wait(self.pace.silent, f"It does not answer: {error.message}")

    async def _answered(self, row: Row, facts: HostFacts) -> None:
        """Up, with these facts; what it has to give follows from them."""
        config, told = self._cloud.config, msgspec.to_builtins(asdict(facts))
        totals = {
            "VCPU": (facts.vcpus, 0, config.cpu_ratio),
            "MEMORY_MB": (facts.memory_mb, 0, config.memory_ratio),
            "DISK_GB": (facts.disk_gb, 0, config.disk_ratio),
        }
        came = row["state"] != "up"

        async def write(tx: Tx) -> None:
            await HOST.update(
                tx, {"id": row["id"]}, {"state": "up", "reason": "", "facts": told, "seen_at": clock.now()}
            )
            await set_inventory(tx, row["id"], totals)
            if came:
                await _wake_waiting(tx, row["name"])

        await self._db.write(write)
        if came:
            log.info("host %s is up", row["name"])

    async def _compare(self, row: Row, station: Station, seen: Mapping[str, Seen]) -> None:
        """Wake the Servers whose machine differs, and find machines without one."""
        rows = await _light(self._db, row["name"])
        differ = await in_turns(list(rows.items()), lambda item: server_plan.differs(item[1], seen.get(item[0])), 500)
        differing = [key for key, differs in zip(rows, differ, strict=True) if differs]
        if differing:
            await self._db.write(lambda tx: work.wake_each(tx, SERVER_KIND, differing))
        orphans = {machine for machine in seen if machine not in rows}
        if clock.monotonic() - self._disks_at.get(row["name"], -self.pace.disks) >= self.pace.disks:
            self._disks_at[row["name"]] = clock.monotonic()
            orphans |= await self._ownerless_disks(row, station, rows)
            await host_image.sweep(self._db, station)
        await self._sweep(row["name"], station, orphans)

    async def _ownerless_disks(self, row: Row, station: Station, rows: Mapping[str, Row]) -> set[str]:
        try:
            owners = set((await station.driver.disks()).values())
        except HaganeError as error:
            log.warning("cannot list the disks of %s: %s", row["name"], error.message)
            return set()
        missing = owners - set(rows)
        if not missing:
            return set()
        # Read again: a Server that was placed here since has a disk and was not in the first list.
        return missing - set(await _light(self._db, row["name"]))

    async def _sweep(self, host: str, station: Station, orphans: set[str]) -> None:
        """Remove what has had no owner for long enough."""
        now = clock.monotonic()
        for known in [key for key in self._orphans if key[0] == host and key[1] not in orphans]:
            del self._orphans[known]
        due = [m for m in orphans if now - self._orphans.setdefault((host, m), now) >= self.pace.orphan]
        if not due:
            return
        servers = await SERVER.select(self._db, {"id": due})
        owned = {server["id"] for server in servers if host in (server["host"], server["old_host"])}
        for machine in set(due) - owned:
            try:
                await station.driver.remove(machine)
            except HaganeError as error:
                log.warning("cannot remove %s, which no server owns, from %s: %s", machine, host, error.message)
                continue
            station.forgot(machine)
            del self._orphans[(host, machine)]
            self._disks_at.pop(host, None)  # what its disks were made of may be needed no more
            log.warning("removed %s from %s: no server owns it", machine, host)


async def _introduce(tx: Tx, name: str) -> Row:
    """A Host that was never seen before."""
    known = await HOST.get(tx, name=name)
    if known is not None:
        return known
    number = (await tx.fetch_tuples("SELECT max(number) FROM host"))[0][0] or 0
    moment = clock.now()
    row: Row = {
        "id": str(uuid4()), "name": name, "number": number + 1, "service_id": str(uuid4()), "state": "down",
        "facts": None, "reason": "It has not answered yet.", "zone": DEFAULT_ZONE, "disabled": False,
        "forced_down": False, "generation": 0, "created_at": moment, "updated_at": moment,
    }  # fmt: skip
    await HOST.insert(tx, row)
    return dict.fromkeys(HOST.names) | row


async def _down(tx: Tx, row: Row, why: str) -> None:
    """Say that a Host is gone: nothing is known of its machines, and what was to be built there goes elsewhere."""
    await HOST.update(tx, {"id": row["id"]}, {"state": "down", "reason": why, "updated_at": clock.now()})
    await SERVER.update(tx, {"host": row["name"]}, {"power_state": NOSTATE})
    await _wake_waiting(tx, row["name"])


async def _wake_waiting(tx: Tx, host: str) -> None:
    """Wake the Servers of a Host about which something is to be done."""
    waiting = "SELECT id AS key FROM server WHERE host = :host AND (task_state IS NOT NULL OR terminate = 1)"
    await work.wake_all(tx, SERVER_KIND, waiting, {"host": host})


async def _light(db: Reader, host: str) -> dict[str, Row]:
    """The Servers of a Host, with no more of each than a comparison needs."""
    columns = ", ".join(server_plan.LIGHT)
    rows = await db.fetch(f"SELECT {columns} FROM server WHERE host = :host", {"host": host})
    for row in rows:
        for name in ("nics", "devices"):
            row[name] = msgspec.json.decode(row[name]) if row[name] not in (None, "[]") else []
    return {row["id"]: row for row in rows}


class Hosts:
    """The part of the process that runs Servers (see app.py)."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.registry = Registry(cloud.use(Devices).hosts)
        self.hosts = HostReconciler(cloud, self.registry)
        self.servers = Servers(cloud, self.registry)
        images = HostImageReconciler(cloud.db, self.registry)
        self.reconcilers: Sequence[Reconciler] = (self.hosts, self.servers, images, HistoryReconciler(cloud))
        cloud.provide(Hosts, self)
        cloud.provide(Consoles, Consoles(self._console_log, self._console))
        self._news = News(cloud.db, "host-changes", 0.05)

    async def start(self) -> None:
        await self.registry.connect(self._changed)

        async def write(tx: Tx) -> None:
            known = {row["name"] for row in await HOST.select(tx)}
            await work.wake(tx, HISTORY, SERVER_KIND)
            for name in sorted(known | set(self.registry.stations)):
                await _introduce(tx, name)
                await work.wake(tx, KIND, name)

        await self._cloud.db.write(write)

    async def stop(self) -> None:
        await self._news.stop()
        await self.servers.stop()
        await self.registry.close()

    async def _console_log(self, host: str, server_id: str) -> bytes:
        return await self.registry.station(host).driver.console_log(server_id)

    async def _console(self, host: str, server_id: str) -> Viewer:
        return await self.registry.station(host).driver.console(server_id, force=True)

    def _changed(self, host: str, machine_id: str) -> None:
        """A Host or a machine changed by itself: wake what it concerns."""
        self._news.tell(SERVER_KIND if machine_id else KIND, machine_id or host)
