"""What is not as it should be: every difference between rows and world, each with its remedy."""

import time
from collections.abc import AsyncIterator

from hagane.baremetal.node import NODE
from hagane.baremetal.rack import GATEWAY, SWITCH, UP
from hagane.cloud import Cloud
from hagane.compute.row import SERVER
from hagane.image.store import missing
from hagane.operate.finding import Finding
from hagane.operate.kinds import KINDS
from hagane.placement.host import all_hosts, is_up
from hagane.reconcile.metadata import MetadataPart
from hagane.reconcile.ovn.part import NetworkPart
from hagane.reconcile.provision import ProvisionPart
from hagane.state import clock
from hagane.state.event import EVENT
from hagane.state.table import Sql
from hagane.state.work import WORK
from hagane.volume.pool import FRESH, POOL, backend

RECENT = 600.0  # seconds for which a repaired change of a switch is told of
_NODE = ("id", "name", "provision_state", "fault", "last_error", "maintenance_reason")
LONG = 60.0  # seconds after which a wait is worth a line
_TRIED_AGAIN = "It is tried again by itself: hagane status"


async def findings(cloud: Cloud) -> list[Finding]:
    """All of them; good news is a finding too."""
    found = [finding async for finding in _all(cloud)]
    return found or [Finding("Rows and world agree.", bad=False)]


async def _all(cloud: Cloud) -> AsyncIterator[Finding]:
    async for finding in _hosts(cloud):
        yield finding
    async for finding in _network(cloud):
        yield finding
    async for finding in _backends(cloud):
        yield finding
    async for finding in _racks(cloud):
        yield finding
    async for finding in _nodes(cloud):
        yield finding
    for network, why in cloud.use(MetadataPart).problems.items():
        yield Finding(f"Network {network} has no metadata service: {why}", "It is tried again every few seconds.")
    for network, why in cloud.use(ProvisionPart).problems.items():
        yield Finding(f"Network {network} has no provisioning service: {why}", "It is tried again every few seconds.")
    for image in await missing(cloud):
        remedy = f"Upload it again as a new image, and: openstack image delete {image['id']}"
        yield Finding(f"The bytes of image {image['name']} ({image['id']}) are gone from the state folder.", remedy)
    async for finding in _waits(cloud):
        yield finding
    async for finding in _allocations(cloud):
        yield finding
    for row in await SERVER.select(cloud.db, {"vm_state": "error"}, limit=20):
        message = (row["fault"] or {}).get("message", "no cause is known")
        yield Finding(
            f"Server {row['name']} ({row['id']}) is in ERROR: {message}", f"hagane explain server {row['id']}"
        )


async def _hosts(cloud: Cloud) -> AsyncIterator[Finding]:
    for host in await all_hosts(cloud.db):
        if not is_up(host):
            remedy = f"Is it alive, and its libvirtd? hagane explain host {host['name']}"
            yield Finding(
                f"Host {host['name']} is down: {host['reason'] or 'forced down by an administrator'}.", remedy
            )


async def _backends(cloud: Cloud) -> AsyncIterator[Finding]:
    """Storage backends of the settings that do not answer; what they had been told waits for them."""
    for row in await POOL.select(cloud.db, order="name"):
        if row["reason"] and clock.wall() - clock.seconds(row["seen_at"]) < FRESH:
            remedy = "What was ordered there waits, and what machines write. openstack volume service list"
            yield Finding(f"Storage backend {backend(row['name'])} does not answer: {row['reason']}", remedy)


async def _racks(cloud: Cloud) -> AsyncIterator[Finding]:
    switches = await SWITCH.select(cloud.db, order="name")
    gateways = await GATEWAY.select(cloud.db, order="name")
    for noun, kind, rows in (("Switch", "switch", switches), ("Gateway", "rack_gateway", gateways)):
        for row in rows:
            if row["state"] != UP or row["reason"]:
                why = row["reason"] or "it has not been reached yet"
                state = "" if row["state"] == UP else " is down"
                yield Finding(f"{noun} {row['name']}{state}: {why}", f"hagane explain {kind} {row['name']}")
    changed = Sql("started_at >= :since", {"since": clock.after(-RECENT)})
    names = {row["id"]: row["name"] for row in switches}
    for row in await EVENT.select(cloud.db, {"kind": "switch", "action": "drift"}, conditions=[changed], limit=20):
        if row["key"] in names:
            yield Finding(f"Switch {names[row['key']]}, {row['started_at']}: {row['message']}",
                          "Who else configures it? Ports that Nics hang on are ours.")  # fmt: skip


async def _nodes(cloud: Cloud) -> AsyncIterator[Finding]:
    """Nodes that wait for a person."""
    wrong = Sql("fault IS NOT NULL OR provision_state = 'error' OR provision_state LIKE '%failed'")
    for row in await NODE.select(cloud.db, conditions=[wrong], order="created_at, id", limit=20, columns=_NODE):
        name, fault = row["name"] or row["id"], f", {row['fault']}" if row["fault"] else ""
        cause = row["last_error"] or row["maintenance_reason"] or "no cause is known"
        yield Finding(f"Node {name} is {row['provision_state']}{fault}: {cause}", f"hagane explain node {name}")


async def _network(cloud: Cloud) -> AsyncIterator[Finding]:
    part = cloud.use(NetworkPart)
    if not part.ovn.readable:
        yield Finding("OVN's databases do not answer.", "hagane status shows whether their daemons run.")
        return
    count = 0
    async for kind, key in part.differences():
        count += 1
        if count <= 20:
            yield Finding(
                f"OVN differs from the row of {kind} {key}.",
                f"It is repaired within seconds; else: hagane explain {kind} {key}",
            )
    for chassis in part.chassis():
        if not chassis.alive:
            yield Finding(
                f"Chassis {chassis.name} does not keep up with OVN.", "Is its ovn-controller alive? hagane status"
            )


async def _waits(cloud: Cloud) -> AsyncIterator[Finding]:
    now = time.time()
    for row in await WORK.select(cloud.db, order="since", limit=50):
        if row["reason"] and now - row["since"] > LONG:
            seconds = int(now - row["since"])
            yield Finding(
                f"{row['kind']} {row['key']} waits for {seconds} s: {row['reason']}",
                f"hagane explain {row['kind']} {row['key']}" if row["kind"] in KINDS else _TRIED_AGAIN,
            )


_OWNERLESS = """SELECT allocation.kind, allocation.pool, allocation.item, allocation.owner FROM allocation
WHERE NOT EXISTS (SELECT 1 FROM port WHERE port.id = allocation.owner)
AND NOT EXISTS (SELECT 1 FROM network WHERE network.id = allocation.owner)
AND NOT EXISTS (SELECT 1 FROM server WHERE server.id = allocation.owner)
AND NOT EXISTS (SELECT 1 FROM nic WHERE nic.id = allocation.owner)
AND NOT EXISTS (SELECT 1 FROM nic_group WHERE nic_group.id = allocation.owner)
AND NOT EXISTS (SELECT 1 FROM switch_port WHERE switch_port.owner = allocation.owner) LIMIT 20"""


async def _allocations(cloud: Cloud) -> AsyncIterator[Finding]:
    for kind, pool, item, owner in await cloud.db.fetch_tuples(_OWNERLESS):
        yield Finding(
            f"{kind} {item} of {pool} is taken by {owner}, which does not exist.", "Please report this: it is a bug."
        )
