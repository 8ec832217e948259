"""The network's part of the process: connects OVN, brings the reconcilers, and listens to what OVN says back.

port up / down          ─▶ the Port's status, and its Server is woken
a stranger's change     ─▶ when all chassis have seen it, the owner of the row is woken, and puts it right
chassis come and go     ─▶ routers are woken, whose gateways may move
every 10 s              ─▶ all chassis are asked for a sign of life; one that stays silent is shown as dead
connected, every 10 min ─▶ a full pass: every key whose rows differ, and every owner in OVN that has no row any more
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from hagane.baremetal.binding import DIRECT, kind_of
from hagane.baremetal.rack import plugged_nodes
from hagane.cloud import Cloud
from hagane.errors import HaganeError
from hagane.network import default_rule_row, quota
from hagane.network.agent import Chassis
from hagane.network.network import Network
from hagane.network.port_row import PORT
from hagane.network.router_row import FLOATING, ROUTER
from hagane.network.security_group_row import GROUP
from hagane.reconcile.devices import Devices
from hagane.reconcile.engine import Reconciler
from hagane.reconcile.ovn import group
from hagane.reconcile.ovn.agents import OvnChassis
from hagane.reconcile.ovn.chassis import ChassisReconciler
from hagane.reconcile.ovn.engine import ChassisSeen, Ovn, RealOvn, SimOvn
from hagane.reconcile.ovn.reconciler import OvnReconciler
from hagane.reconcile.ovn.rows import Compiler
from hagane.state import work
from hagane.state.database import Row, Tx
from hagane.state.table import Table

log = logging.getLogger(__name__)

CONFIRM = 2.0  # seconds that a chassis has to confirm a stranger's change before it is put right
GATHER = 0.02  # seconds in which what OVN says is gathered into one transaction
PULSE = 10.0  # seconds between two questions for a sign of life
FULL_PASS = 600.0  # seconds between full passes
_NOTED = ("id", "status", "device_id", "device_owner", "binding_vif_type", "binding_vif_details")
CHUNK = 100  # keys compared at a time, so that the event loop is not held
TABLES: dict[str, Table] = {
    "network": Network.table,
    "security_group": GROUP,
    "port": PORT,
    "router": ROUTER,
    "floatingip": FLOATING,
}


class NetworkPart:
    """See the module's text. `chassis()` serves the network API's agents."""

    def __init__(self, cloud: Cloud) -> None:
        devices = cloud.use(Devices)
        self.ovn: Ovn = devices.network or _ovn(devices)
        self._limits = cloud.config.network_quota
        self._db = cloud.db
        compiler = Compiler(cloud.db, self.ovn.chassis, cloud.config.dns_servers)
        makers = {
            "network": compiler.networks,
            "security_group": compiler.groups,
            "port": compiler.ports,
            "router": compiler.routers,
            "floatingip": compiler.floatings,
        }
        self._by_kind = {kind: OvnReconciler(kind, self.ovn, make) for kind, make in makers.items()}
        self._compiler = compiler
        self.reconcilers: list[Reconciler] = [
            *self._by_kind.values(), OvnReconciler("group", self.ovn, compiler.drop),
            ChassisReconciler(cloud.db, self.ovn),
        ]  # fmt: skip
        self._ports: set[str] = set()
        self._owners: set[str] = set()
        self._chassis_changed = False
        self._heard = asyncio.Event()
        self._meddled = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        cloud.provide(NetworkPart, self)
        cloud.provide(Chassis, OvnChassis(self.chassis))  # type: ignore[type-abstract]

    async def start(self) -> None:
        await self._db.write(self._seed)
        self.ovn.listen(self._port_heard, self._owner_heard, self._chassis_heard)
        await self.ovn.start()
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._listen(), name="ovn-listen"),
            loop.create_task(self._heal(), name="ovn-heal"),
            loop.create_task(self._pulse(), name="ovn-pulse"),
            loop.create_task(self._full_passes(), name="ovn-full-pass"),
        ]

    async def _seed(self, tx: Tx) -> None:
        """What the network API begins with."""
        await default_rule_row.seed(tx)
        await quota.seed(tx, self._limits)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.ovn.stop()

    def chassis(self) -> list[ChassisSeen]:
        return self.ovn.chassis()

    def look_at(self, port_ids: Iterable[str]) -> None:
        """Compare the status of ports with what OVN says, although it has said nothing new."""
        for port_id in port_ids:
            self._port_heard(port_id)

    # -- what OVN says -----------------------------------------------------------------------------------------

    def _port_heard(self, port_id: str) -> None:
        self._ports.add(port_id)
        self._heard.set()

    def _owner_heard(self, owner: str) -> None:
        self._owners.add(owner)
        self._meddled.set()

    def _chassis_heard(self) -> None:
        self._chassis_changed = True
        self._heard.set()

    async def _listen(self) -> None:
        while True:
            await self._heard.wait()
            await asyncio.sleep(GATHER)
            self._heard.clear()
            try:
                if self.ovn.readable:
                    await self._note()
                    continue
            except Exception as error:
                _told("cannot note what OVN said, again in 1 s", error)
            await asyncio.sleep(1)
            self._heard.set()

    async def _note(self) -> None:
        ports, self._ports = self._ports, set()
        chassis, self._chassis_changed = self._chassis_changed, False
        try:
            for some in _chunks(sorted(ports), CHUNK):
                await self._note_ports(some)
                await asyncio.sleep(0)
            routers = [row["id"] for row in await self._gateway_routers()] if chassis else []
            await self._wake(("router", key) for key in routers)
        except Exception:
            self._ports |= ports
            self._chassis_changed |= chassis
            raise

    async def _heal(self) -> None:
        while True:
            await self._meddled.wait()
            await self._connected()
            self._meddled.clear()
            owners, self._owners = self._owners, set()
            try:
                owners |= await self.ovn.settle(CONFIRM)
                keys = [tuple(owner.split(":", 1)) for owner in sorted(owners)]
                await self._wake([(kind, key) for kind, key in keys if kind in self._by_kind])
                if group.DROP in owners:
                    await self._base_rows()
            except Exception as error:
                _told("cannot put right what somebody changed, again in 1 s", error)
                self._owners |= owners
                await asyncio.sleep(1)
                self._meddled.set()

    async def _pulse(self) -> None:
        while True:
            with contextlib.suppress(HaganeError):  # of a database that is away others tell
                await self.ovn.ping()
            await asyncio.sleep(PULSE)

    async def _note_ports(self, ids: Sequence[str]) -> None:
        """Write the status of ports, and wake the Servers that wait for them."""
        rows = await PORT.select(self._db, {"id": ids}, columns=_NOTED)
        # OVN does not see what a SwitchPort carries into a VLAN by itself: of that the switch tells.
        rows = [row for row in rows if kind_of(row) != DIRECT]
        changed = {row["id"]: status for row in rows if (status := self._status(row)) != row["status"]}
        if not changed:
            return
        servers = {row["device_id"] for row in rows if row["id"] in changed and _is_server(row)}
        carried = [row["id"] for row in rows if row["id"] in changed and kind_of(row)]
        nodes = await plugged_nodes(self._db, carried)

        async def write(tx: Tx) -> None:
            for status in ("ACTIVE", "DOWN"):
                same = [key for key, value in changed.items() if value == status]
                if same:
                    await PORT.update(tx, {"id": same}, {"status": status})
            await work.wake_each(tx, "server", servers)
            await work.wake_each(tx, "node", nodes)

        await self._db.write(write)

    def _status(self, row: Row) -> str:
        return "ACTIVE" if self.ovn.up(row["id"]) else "DOWN"

    async def _gateway_routers(self) -> list[Row]:
        return await self._db.fetch("SELECT id FROM router WHERE gateway_port_id IS NOT NULL")

    async def _wake(self, keys: Iterable[tuple[str, str]]) -> None:
        for some in _chunks(sorted(set(keys)), CHUNK):

            async def write(tx: Tx, some: Sequence[tuple[str, str]] = some) -> None:
                await work.wake_things(tx, some)

            await self._db.write(write)

    # -- the full pass -----------------------------------------------------------------------------------------

    async def _full_passes(self) -> None:
        while True:
            await self._connected()
            session = self.ovn.session
            try:
                await self.full_pass()
            except Exception as error:
                _told("the full pass failed, again in 2 s", error)
                await asyncio.sleep(2)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FULL_PASS):
                    await self._disconnected(session)

    async def _connected(self) -> None:
        while not self.ovn.readable:  # noqa: ASYNC110 - two databases, whose events come and go
            await asyncio.sleep(0.05)

    async def _disconnected(self, session: int) -> None:
        """A server that was away for a moment only counts as well: nobody told what changed in that moment."""
        while self.ovn.readable and self.ovn.session == session:  # noqa: ASYNC110
            await asyncio.sleep(0.5)

    async def full_pass(self) -> int:
        """Wake every key that differs from OVN, and every owner in OVN without a row; returns how many."""
        await self._base_rows()
        differing = [entry async for entry in self.differences()]
        if differing:
            again = await self.ovn.settle(CONFIRM)
            differing += [(kind, key) for kind, _, key in (owner.partition(":") for owner in again)]
        await self._wake(differing)
        for kind, key in differing:
            log.info("OVN differs: %s %s", kind, key)
        async for some in self._all("port"):
            await self._note_ports(some)
        return len(differing)

    async def differences(self) -> Any:
        """(kind, key) of everything whose rows in OVN are not as they should be."""
        known: set[str] = {group.DROP}
        for kind, reconciler in self._by_kind.items():
            async for some in self._all(kind):
                known.update(f"{kind}:{key}" for key in some)
                for key in await reconciler.differing(some):
                    yield kind, key
        strange: dict[str, list[str]] = {kind: [] for kind in self._by_kind}
        for owner in sorted(self.ovn.owners() - known):
            kind, _, key = owner.partition(":")
            strange.get(kind, []).append(key)
        for kind, keys in strange.items():
            for some in _chunks(keys, CHUNK):
                # What came since its kind was looked at is no stranger.
                for key in await self._by_kind[kind].differing(some):
                    yield kind, key
                await asyncio.sleep(0)

    async def _all(self, kind: str) -> Any:
        last = ""
        while True:
            rows = await self._db.fetch_tuples(
                f"SELECT id FROM {TABLES[kind].name} WHERE id > :last ORDER BY id LIMIT {CHUNK}", {"last": last}
            )
            if not rows:
                return
            await asyncio.sleep(0)
            yield [row[0] for row in rows]
            last = rows[-1][0]

    async def _base_rows(self) -> None:
        """The rows that belong to no row of ours in particular."""
        await self.ovn.apply((await self._compiler.drop(["drop"]))["drop"], [group.DROP])


def _told(what: str, error: Exception) -> None:
    log.warning("%s: %s", what, error, exc_info=None if isinstance(error, HaganeError) else error)


def _ovn(devices: Devices) -> Ovn:
    """The OVN that the settings name, or a simulated one with a chassis on every Host."""
    if devices.northbound:
        return RealOvn(devices.northbound, devices.southbound)
    return SimOvn([ChassisSeen(name, name, frozenset({devices.external})) for name in devices.hosts])


def _is_server(row: Row) -> bool:
    return str(row["device_owner"]).startswith("compute:") and bool(row["device_id"])


def _chunks(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    return (items[i : i + size] for i in range(0, len(items), size))
