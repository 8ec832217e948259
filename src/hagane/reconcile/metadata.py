"""The metadata service on the networks: which ones need it, and from whom a request comes.

A network with a machine on it and a metadata Port (network/metadata.py) gets an endpoint; drivers/metadata brings it
about, in every process for its own machine (look.py).

    rows change ─▶ look (gathered) ─▶ wanted endpoints ─▶ driver.apply ─▶ what failed is tried again soon
"""

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

import msgspec

from hagane.cloud import Cloud
from hagane.compute import metadata_service
from hagane.drivers.metadata.base import Answer, Endpoint, MetadataDriver, Question, Reply
from hagane.drivers.metadata.netns import NetnsMetadata
from hagane.drivers.metadata.plug import Switch
from hagane.drivers.metadata.sim import SimMetadata
from hagane.network.metadata import OWNER
from hagane.network.subnet_row import SUBNET
from hagane.reconcile.devices import Devices
from hagane.reconcile.engine import Reconciler
from hagane.reconcile.look import Looker, bring
from hagane.state.database import Reader

KINDS = frozenset({"port", "network", "*"})  # work whose wakes may change what is wanted

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
        self._looker = Looker(cloud, "metadata", KINDS, self._looked)
        cloud.provide(MetadataPart, self)

    async def start(self) -> None:
        self._looker.start()

    async def stop(self) -> None:
        await self._looker.stop()
        await self.driver.close()

    async def _looked(self) -> bool:
        await self.look()
        return bool(self.problems)

    async def look(self) -> None:
        """Read what is wanted and bring it about; a network that fails is named in `problems`."""
        those = await wanted(self._cloud.db)
        self.problems = await bring(self.driver.apply, those, self.problems, "metadata")

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
    return NetnsMetadata(Switch(devices.local_switch, devices.local_namespace, prefix=prefix(devices)), answer)


def prefix(devices: Devices) -> str:
    """What our namespaces' names begin with: a lab's prefix, which has no dash; a switch in our own namespace is
    nobody's lab."""
    return devices.local_namespace.partition("-")[0] or "hagane"


async def wanted(reader: Reader) -> list[Endpoint]:
    """The metadata Ports of all networks that have a machine on them: two queries."""
    return await endpoints(reader, await reader.fetch_tuples(_WANTED.format(**_OWNERS[reader.dialect])))


async def endpoints(reader: Reader, rows: Sequence[Sequence[Any]]) -> list[Endpoint]:
    """Rows of (network id, Port id, MAC address, MTU, fixed_ips as text) as what is to be plugged: one query."""
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
