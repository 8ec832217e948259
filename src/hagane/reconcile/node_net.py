"""Networks of a Node at work: its Nics into the ramdisk's network, into the tenant's, into none (baremetal/plug.py)."""

from hagane.baremetal import plug, san, service_port
from hagane.baremetal.nic import Nics
from hagane.baremetal.nic_group import NicGroups
from hagane.baremetal.provision import Start
from hagane.drivers.bmc.base import Boot, BootDevice, BootMode, Slot
from hagane.errors import Conflict
from hagane.network.port_row import PORT
from hagane.reconcile import node_san
from hagane.reconcile.node_job import Job
from hagane.state.database import Tx


async def start_of(job: Job, role: str) -> Start:
    """How the Node starts its ramdisk in a role's network. Simulated machines need no network for it."""
    if not plug.plugs(job.row):
        return Start()
    network = await service_port.network_of(job.tools.db, job.row, role)
    base = await job.tools.provision.url(job.tools.db, network["id"])
    return job.tools.provision.boot_plan(job.row, network_id=network["id"], base_url=base, role=role)


async def base_url(job: Job, role: str) -> str:
    """The provisioning service as this Node reaches it; "" where it is not on any network."""
    if not plug.plugs(job.row):
        return ""
    network = await service_port.network_of(job.tools.db, job.row, role)
    return await job.tools.provision.url(job.tools.db, network["id"])


async def join(job: Job, role: str, start: Start | None = None) -> str:
    """Every Nic carries what a role wants. What lacks until it is really so, in words."""
    if not plug.plugs(job.row):
        return ""
    if role == plug.TENANT and san.started(job.row):
        start = await node_san.start_of(job)
    options = start.dhcp if start is not None else None

    async def work(tx: Tx) -> None:
        await plug.plug(tx, job.tools.cloud, job.row, role, dhcp=options)

    await job.tools.db.write(work)
    return await plug.pending(job.tools.db, job.row)


async def tenant_ports(job: Job) -> int:
    """How many Ports the tenant's machine will have. Raises Conflict when one of them does not exist."""
    if not plug.plugs(job.row):
        return 0
    wanted: set[str] = set()
    for table in (Nics.table, NicGroups.table):
        rows = await table.select(job.tools.db, {"node_id": job.id}, columns=("vif",))
        wanted |= {row["vif"] for row in rows if row["vif"]}
    found = {row["id"] for row in await PORT.select(job.tools.db, {"id": sorted(wanted)}, columns=("id",))}
    if lacking := sorted(wanted - found):
        raise Conflict(f"VIF {lacking[0]} of node {job.id} is no Port.")
    return len(found)


async def leave(job: Job) -> None:
    """No Nic carries anything."""
    if plug.plugs(job.row):
        await job.tools.db.write(lambda tx: plug.unplug(tx, job.tools.cloud, job.row))


def device(start: Start, *, persistent: bool = False) -> tuple[Boot, BootMode | None, dict[Slot, str | None]]:
    """A start in the words of BMC drivers."""
    media: dict[Slot, str | None] = {Slot(name): url for name, url in start.media.items()}
    return (
        Boot(BootDevice(start.device), persistent=persistent, uri=start.http_uri),
        BootMode(start.mode) if start.dhcp or start.media or start.http_uri else None,
        media,
    )
