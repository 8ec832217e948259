"""The ramdisk of a Node at work: how to talk to it, and what to do where nobody can."""

from hagane.baremetal import node_progress, plug, service_port
from hagane.baremetal.agent_gate import AGAIN
from hagane.drivers.deploy.base import Agent
from hagane.errors import DeviceFailed, Unavailable
from hagane.reconcile import node_plan
from hagane.reconcile.node_job import Job, Next
from hagane.state import clock

ANEW = 2  # further starts where the token of the ramdisk was lost
FIRMWARE = 60.0  # seconds in which a firmware that looks for its network finds the service, if it still looks
UNSERVED = "nobody answered it while Hagane was started anew; the machine is started once more"
LOST = "its token was asked for twice: an answer was lost, or somebody else has it; the machine is started anew"


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


def anew(job: Job) -> Next | None:
    """A ramdisk that waits for its call back to be heard has no token, or is not the only one who has it: another start
    has another one. Raises DeviceFailed when that goes on."""
    if not job.info.get(AGAIN):
        return None
    count = job.life["anew"] = job.life.get("anew", 0) + 1
    if count > ANEW:
        raise DeviceFailed(f"In each of {count} starts the ramdisk's token was asked for twice, so that nobody knows "
                           "who has it. Is there another machine on the same switch port?")  # fmt: skip
    job.spoke()
    job.finish("callback", LOST, result="Error")
    return Next("boot")


def unserved(job: Job) -> Next | None:
    """Most firmware looks for its network once, and then stands still: one that looked while no process of ours was
    there to answer would be waited for in vain."""
    began, since = job.tools.began, clock.seconds(job.life["since"])
    if "dhcp" not in node_progress.unfinished(job.steps) or not since < began < clock.wall() - FIRMWARE:
        return None
    job.finish("dhcp", UNSERVED, result="Error")
    return Next("boot")
