"""Nodes that start from a volume: the way to it, the network that it comes by, and the end of both.

    tenant-network ─▶ storage: export for this Node (CHAP, its own initiator's name) ─▶ switch: tenant's Ports and the
    one for storage ─▶ disk: the firmware is told to start from the network for good ─▶ iPXE ─▶ node_volume.script

No ramdisk runs, and no disk of the machine is touched. Whose attachment it is: a Server's has been reserved by compute
and ends with the Server; for a Node that an operator deploys it is made here, and ends when that is undeployed. The
export ends with the power in either case: whoever has the Node next reaches nothing.
"""

from typing import Any

from hagane.baremetal import plug, san, san_target, service_port
from hagane.baremetal.provision import Start
from hagane.drivers.bmc.base import BmcDesired, Power
from hagane.drivers.boot import san as boot
from hagane.drivers.boot.base import BootNode
from hagane.errors import Conflict, DeviceFailed
from hagane.reconcile import node_volume, provision_boot
from hagane.reconcile.node_job import Job, Next, Turn
from hagane.reconcile.provision import ProvisionPart
from hagane.state.database import Row, Tx
from hagane.volume import attach
from hagane.volume.row import ATTACHMENT, VOLUME

DEVICE = "/dev/sda"  # what the machine calls it, as far as anybody can say


async def begin(job: Job) -> bool:
    """Whether this deployment is to end with a machine that starts from a volume; noted, so that all the phases agree.
    Raises Conflict with the reason where it cannot."""
    targets = await san_target.targets(job.tools.db, job.id)
    target = san.root(job.row, targets)
    if target is None:
        if san.started(job.row):  # it is rebuilt, from an image now
            await _end(job)
        return False
    if why := san.lack(job.row, targets):
        raise Conflict(why)
    if san.started(job.row) and target["volume_id"] not in await node_volume.held(job.tools.db, job.id):
        await _end(job)  # it is rebuilt from another one
    job.internal[san.MARK] = target["id"]
    job.life["ramdisk"] = True  # what has been begun is put away if it fails, as a ramdisk is
    return True


async def _end(job: Job) -> None:
    """The machine leaves its volume, which must not be taken from under what still writes to it."""
    await job.apply(BmcDesired(None if job.row["disable_power_off"] else Power.OFF))
    await release(job)


async def storage(job: Job) -> Turn:
    """The volume is exported for this Node alone, and the way to it is noted."""
    job.begin("storage")
    target = await node_volume.target_of(job.tools.db, job.row)
    volume = await VOLUME.get(job.tools.db, id=target["volume_id"])
    if volume is None:
        raise DeviceFailed(f"Volume {target['volume_id']} of target {target['id']} could not be found.")
    owner = node_volume.owner_of(job.row, target)
    attachment = await job.tools.db.write(
        lambda tx: _reserved(tx, target["volume_id"], owner, san_target.server_of(target))
    )
    before = (attachment["connector"] or {}).get("host")
    if before not in (None, job.id):  # a Node that failed, or died, has it no more before this one has it
        await node_volume.part(job.tools.cloud, attachment, before)
    connector = await _connector(job, attachment)
    connection = await job.live(job.tools.cloud.use(attach.Connections).connect(volume, connector))
    if plug.plugs(job.row):
        boot.disk(connection, connector["initiator"])  # refused here rather than by a firmware that nobody hears

    async def note(tx: Tx) -> None:
        await node_volume.target_of(tx, job.row)  # it may have been taken away meanwhile, with the Server
        await attach.connected(tx, job.tools.secrets, attachment["id"], connector, connection)
        await attach.complete(tx, attachment["id"], device=DEVICE)

    await job.tools.db.write(note)
    job.finish("storage", f"volume {volume['id']} is exported for this machine")
    return Next()


async def start_of(job: Job) -> Start:
    """How the machine starts from its volume. Simulated machines need no network for it."""
    if not plug.plugs(job.row):
        return Start()
    network = await service_port.network_of(job.tools.db, job.row, service_port.STORAGE)
    base = await job.tools.provision.url(job.tools.db, network["id"])
    media = job.tools.cloud.use(ProvisionPart).media(job.row, network["id"])
    node = BootNode(provision_boot.mode(job.row), base, "", media)
    return provision_boot.start(job.row, boot.plan(node, str(job.row["boot_interface"])))


async def release(job: Job) -> None:
    """The machine is off, or cut off: its volume is exported to it no more. What was attached here is detached."""
    if not san.started(job.row):
        return
    await node_volume.end(job.tools.cloud, job.id)
    await job.tools.db.write(lambda tx: _unreserved(tx, job.row))
    job.internal[san.MARK] = None


async def _unreserved(tx: Tx, node: Row) -> None:
    """Free what was reserved in no Server's name, and never came to an export."""
    for target in await san_target.targets(tx, node["id"]):
        if not san_target.server_of(target):
            owner = node_volume.owner_of(node, target)
            found = await ATTACHMENT.get(tx, volume_id=target["volume_id"], instance_uuid=owner)
            if found is not None:
                await attach.detach(tx, found["id"])


async def _reserved(tx: Tx, volume_id: str, owner: str, server: str) -> Row:
    """The attachment. Raises Invalid, NotFound; Conflict when a Server's is gone, which somebody ended by force."""
    found = await ATTACHMENT.get(tx, volume_id=volume_id, instance_uuid=owner)
    if found is not None:
        return found
    if server:
        raise Conflict(f"Volume {volume_id} is not attached to server {server} any more.")
    return await attach.reserve(tx, await attach.get(tx, volume_id), owner)


async def _connector(job: Job, attachment: Row) -> dict[str, Any]:
    """The Node as the block storage API knows it."""
    known = await san_target.connectors(job.tools.db, job.id)
    return {
        "host": job.id, "initiator": san.initiator(job.row, known), "platform": "x86_64", "os_type": "linux",
        "multipath": False, "mode": attachment["attach_mode"] or "rw", "instance": attachment["instance_uuid"],
        attach.OURS: await _portal(job) if plug.plugs(job.row) else True,
    }  # fmt: skip


async def _portal(job: Job) -> dict[str, str]:
    """Where the target is to listen: in the storage network, where the boot script is served too."""
    network = await service_port.network_of(job.tools.db, job.row, service_port.STORAGE)
    base = await job.tools.provision.url(job.tools.db, network["id"])
    driver = job.tools.cloud.use(ProvisionPart).driver
    return {"netns": driver.space(network["id"]), "address": base.removeprefix("http://")}
