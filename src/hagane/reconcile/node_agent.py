"""The ramdisk of a Node at work: how to talk to it."""

from hagane.baremetal import plug, service_port
from hagane.drivers.deploy.base import Agent
from hagane.errors import DeviceFailed, Unavailable
from hagane.reconcile import node_plan
from hagane.reconcile.node_job import Job


async def agent_of(job: Job) -> Agent:
    """Raises Unavailable when it has not called back, or is in no network that can be reached."""
    url = str(job.info.get("agent_url") or "")
    if not url:
        raise Unavailable("No ramdisk has called back.")
    if job.row["driver"] == "fake-hardware":
        return job.tools.fleet.agent(job.id)
    if not plug.plugs(job.row):
        raise DeviceFailed("The ramdisk is in no network of this cloud (network_interface is noop).")
    network = await service_port.network_of(job.tools.db, job.row, node_plan.ROLE[job.kind])
    return job.tools.dialled(job.row, url, str(job.opened().get("agent_token") or ""), network["id"])
