"""Which of a Node's cables are dark, as its switches see it: the first thing to look at when a ramdisk is not heard.

Asked only of Nodes that have been silent for a while, and once a minute, because many switches are asked by a session
of their own. What a switch does not say, or says too late, is left out: this explains, and decides nothing.
"""

import asyncio

from hagane.baremetal import rack as racks
from hagane.baremetal.nic import Nics
from hagane.errors import HaganeError
from hagane.reconcile.node_job import Job
from hagane.reconcile.rack_drivers import Switches
from hagane.state import clock
from hagane.state.database import Row

PATIENCE = 30.0  # seconds of silence before a switch is asked
SECONDS = 5.0  # in which it has to answer
AGAIN = 60.0  # seconds for which its answer holds


async def dark(job: Job) -> str:
    """A sentence that goes behind another one; "" while all cables are well, or nobody can say."""
    if job.elapsed() < PATIENCE or not job.tools.cloud.has(Switches):
        return ""
    asked, said = job.life.get("dark") or (0.0, "")
    if clock.wall() >= asked + AGAIN:
        said = await _ask(job)
        job.life["dark"] = [clock.wall(), said]
    return str(said)


async def _ask(job: Job) -> str:
    cloud = job.tools.cloud
    switches = cloud.use(Switches)
    nics = await Nics.table.select(cloud.db, {"node_id": job.id, "pxe_enabled": True}, columns=("id",))
    ports = await racks.SWITCH_PORT.select(cloud.db, {"nic_id": [nic["id"] for nic in nics], "gone": False})
    names: dict[str, list[str]] = {}
    for port in ports:
        names.setdefault(port["switch_id"], []).append(port["name"])
    rows = await racks.SWITCH.select(cloud.db, {"id": sorted(names)}) if names else []
    said = await job.live(asyncio.gather(*(_of(switches, row, sorted(names[row["id"]])) for row in rows)))
    found = ", ".join(filter(None, said))
    return f" There is no carrier on {found}: is the cable plugged in?" if found else ""


async def _of(switches: Switches, row: Row, names: list[str]) -> str:
    """The dark ones among these ports of a switch."""
    try:
        async with asyncio.timeout(SECONDS):
            seen = await (await switches.of(row)).read(names)
    except (HaganeError, TimeoutError):
        return ""
    left = [name for name in names if name in seen.ports and name not in seen.up]
    return f"port {' and '.join(left)} of switch {row['name']}" if left else ""
