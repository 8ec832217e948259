"""The metadata service on the networks: which ones need it, and from whom a request comes.

A network with a machine on it and a metadata Port (network/metadata.py) gets an endpoint; drivers/metadata brings it
about. Sockets belong to a process and not to the cloud, so this is no keyed work that one process claims: every process
looks at the rows when ports change, and once in a while, and brings its own machine to them.

    rows change ─▶ look (gathered) ─▶ wanted endpoints ─▶ driver.apply ─▶ what failed is tried again soon
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from ipaddress import ip_network

import msgspec

from hagane.cloud import Cloud
from hagane.compute import metadata_service
from hagane.drivers.metadata.base import Answer, Endpoint, MetadataDriver, Question, Reply
from hagane.drivers.metadata.netns import NetnsMetadata, Switch
from hagane.drivers.metadata.sim import SimMetadata
from hagane.errors import HaganeError
from hagane.network.metadata import OWNER
from hagane.network.subnet_row import SUBNET
from hagane.reconcile.devices import Devices
from hagane.reconcile.engine import Reconciler
from hagane.state.database import Reader

log = logging.getLogger(__name__)

KINDS = frozenset({"port", "network", "*"})  # work whose wakes may change what is wanted
GATHER = 0.2  # seconds in which changes are gathered before a look
AGAIN, FULL = 2.0, 30.0  # seconds until a failed network is tried again; until everything is looked at anyway

_MACHINE = "EXISTS (SELECT 1 FROM port p WHERE p.network_id = n.id AND p.device_owner {0})"
_WANTED = f"""SELECT n.id, m.id, m.mac_address, n.mtu, m.fixed_ips FROM network n
JOIN port m ON m.network_id = n.id AND m.device_id = 'ovnmeta-' || n.id AND m.device_owner = '{OWNER}'
WHERE {_MACHINE.format("{compute}")} OR {_MACHINE.format("{baremetal}")} ORDER BY n.id"""
_OWNERS = {
    "sqlite": {"compute": "GLOB 'compute:*'", "baremetal": "GLOB 'baremetal:*'"},  # LIKE would use no index there
    "postgresql": {"compute": "LIKE 'compute:%'", "baremetal": "LIKE 'baremetal:%'"},
}


class MetadataPart:
    """A part of the process (see app.py). `problems` says which networks have no metadata service, and why."""

    reconcilers: Sequence[Reconciler] = ()

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        devices = cloud.use(Devices)
        self.driver: MetadataDriver = _driver(devices, self.answer)
        self.problems: dict[str, str] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        cloud.provide(MetadataPart, self)

    async def start(self) -> None:
        self._cloud.db.listen(self._heard)
        self._task = asyncio.get_running_loop().create_task(self._run(), name="metadata")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.driver.close()

    def _heard(self, kind: str) -> None:
        if kind in KINDS:
            self._changed.set()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            started = time.perf_counter()
            try:
                await self.look()
            except Exception:
                log.exception("cannot bring the metadata service to its networks")
            # A look at a large cloud takes its time; looking must stay a small share of all work.
            await asyncio.sleep(max(GATHER, 10 * (time.perf_counter() - started)))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN if self.problems else FULL):
                    await self._changed.wait()

    async def look(self) -> None:
        """Read what is wanted and bring it about; a network that fails is named in `problems`."""
        endpoints = await wanted(self._cloud.db)
        try:
            failed = await self.driver.apply(endpoints)
        except HaganeError as error:  # the switch does not answer: that concerns all of them
            failed = {one.network_id: error.message for one in endpoints}
        for network_id, why in failed.items():
            if self.problems.get(network_id) != why:
                log.warning("network %s has no metadata service: %s", network_id, why)
        self.problems = failed

    async def answer(self, question: Question) -> Reply:
        """Find the machine that asks and say what it may know."""
        status, headers, body = await metadata_service.answer(
            self._cloud, network_id=question.network_id, address=question.client, method=question.method,
            target=question.target, headers=question.headers, body=question.body,
        )  # fmt: skip
        return Reply(status, body, headers)


def _driver(devices: Devices, answer: Answer) -> MetadataDriver:
    if not devices.local_switch:
        return SimMetadata(answer)
    # A lab's namespaces begin with its prefix, which has no dash; a switch in our own namespace is nobody's lab.
    prefix = devices.local_namespace.partition("-")[0] or "hagane"
    return NetnsMetadata(Switch(devices.local_switch, devices.local_namespace, prefix=prefix), answer)


async def wanted(reader: Reader) -> list[Endpoint]:
    """The metadata Ports of all networks that have a machine on them: two queries."""
    rows = await reader.fetch_tuples(_WANTED.format(**_OWNERS[reader.dialect]))
    ports = [(*row[:4], msgspec.json.decode(row[4] or "[]")) for row in rows]
    sizes = await _sizes(reader, {fixed["subnet_id"] for *_, ips in ports for fixed in ips})
    return [
        Endpoint(network_id, port_id, mac, mtu or 1442, tuple(
            f"{fixed['ip_address']}/{sizes[fixed['subnet_id']]}" for fixed in ips if fixed["subnet_id"] in sizes
        ))
        for network_id, port_id, mac, mtu, ips in ports
    ]  # fmt: skip


async def _sizes(reader: Reader, subnets: set[str]) -> dict[str, int]:
    """subnet -> prefix length."""
    rows = await SUBNET.select(reader, {"id": sorted(subnets)}) if subnets else []
    return {row["id"]: ip_network(row["cidr"]).prefixlen for row in rows}
