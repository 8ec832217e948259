"""The phases of a Node's life, each idempotent: what node_plan.py names, carried out.

A phase answers `Next`, `Later` or `Hold`. It raises DeviceFailed (and Invalid, Conflict, NotFound) when it cannot be,
Unavailable when it may be later; the reconciler turns that into the documented states, with the cause.
"""

from collections.abc import Awaitable, Callable, Mapping

from hagane.baremetal import plug, san
from hagane.baremetal.claim import let_go
from hagane.baremetal.node_password import hashed
from hagane.drivers.bmc.base import BmcDesired, Boot, BootDevice, Power, Slot
from hagane.drivers.deploy import params
from hagane.errors import DeviceFailed, Unavailable
from hagane.reconcile import (
    node_cable,
    node_image,
    node_inspect,
    node_net,
    node_plan,
    node_san,
    node_steps,
    provision_boot,
)
from hagane.reconcile.node_agent import agent_of, anew, unserved
from hagane.reconcile.node_job import Job, Later, Next, Turn
from hagane.state import clock

EJECTED: Mapping[Slot, str | None] = {Slot.CD: None}
KEEPS = frozenset({"rescue", "unrescue", "service"})
"""What is done to a machine that somebody uses: when it fails, what it was deployed with is theirs still."""


async def verify(job: Job) -> Turn:
    job.note(await job.live(job.bmc.read()))
    await job.look_closely()
    return Next()


async def identity(job: Job) -> Turn:
    """An inspection by the BMC alone."""
    seen = await job.live(job.bmc.read(identity=True))
    job.note(seen)
    await job.look_closely()
    await node_inspect.by_bmc(job, seen)
    job.changes["inspection_finished_at"] = clock.now()
    return Next()


async def adopt(job: Job) -> Turn:
    """The machine runs already: take over its power as it is, and let its Nics carry the tenant's Ports."""
    job.note(await job.live(job.bmc.read()))
    why = await node_net.join(job, "tenant")
    return Later(job.soon(), why) if why else Next()


async def tenant_network(job: Job) -> Turn:
    """What the machine will be plugged into exists; and what will be written to its disk, as far as it can be told."""
    job.begin("tenant-network")
    await node_image.foresee(job)
    from_volume = await node_san.begin(job)
    count = await node_net.tenant_ports(job)
    job.finish("tenant-network", f"{count} Ports wait for the machine" if count else "the machine has no Ports")
    if from_volume:
        return Next("storage")
    if plug.plugs(job.row):
        return Next("network")  # named, as the row may still say that the machine starts from a volume
    await network(job)  # there is nothing that could take a while, so it needs no write of its own
    return Next("boot")


async def network(job: Job) -> Turn:
    """The Nics that boot are in the ramdisk's network, and in no other."""
    job.life["ramdisk"] = True
    role = node_plan.ROLE[job.kind]
    name = f"{role}-network"
    job.begin(name)
    why = await node_net.join(job, role, await node_net.start_of(job, role))
    if why:
        job.begin(name, why)
        return Later(job.soon(), why)
    job.finish(name, "the Nics are in the network of the ramdisk")
    return Next()


async def boot(job: Job) -> Turn:
    """Off, and armed to start the ramdisk. No ramdisk that ran before has anything to say from now on."""
    job.begin("power-on")
    job.drop_agent()
    where = await node_net.start_of(job, node_plan.ROLE[job.kind])
    device, mode, media = node_net.device(where)
    power = None if job.row["disable_power_off"] else Power.OFF
    await job.apply(BmcDesired(power, boot=device, arms=1, boot_mode=mode, media=media or EJECTED))
    return Next()


async def start(job: Job) -> Turn:
    """On. The machine was off: one that is on now has been started by us already."""
    job.begin("power-on")
    job.tools.consoles.watch(job.row)
    device, mode, media = node_net.device(await node_net.start_of(job, node_plan.ROLE[job.kind]))
    # One that may not be switched off is restarted, unless its ramdisk is there already: it has its token only once.
    restart = 1 if job.row["disable_power_off"] and not job.info.get("agent_secret_token") else 0
    await job.apply(BmcDesired(Power.ON, boot=device, resets=restart, boot_mode=mode, media=media))
    job.finish("power-on")
    if any(media.values()):
        job.begin("ramdisk", "the machine starts from its virtual CD")
    else:
        job.begin("dhcp", "the firmware looks for its network")
    return Next()


async def callback(job: Job) -> Turn:
    """The ramdisk has said where it is (baremetal/agent.py wrote it down)."""
    if job.info.get("agent_url"):
        job.spoke()
        job.finish("callback", "the ramdisk called back")
        return Next()
    if turn := anew(job) or unserved(job):
        return turn
    if job.elapsed() > job.tools.times.settle and await job.live(job.bmc.power()) is Power.OFF:
        raise DeviceFailed("The machine was switched off before its ramdisk called back.")
    return Later(job.tools.times.look, f"The ramdisk has not called back yet.{await node_cable.dark(job)}")


async def data(job: Job) -> Turn:
    """What the ramdisk finds comes by itself; the API then moves the Node on."""
    if job.elapsed() > job.tools.times.settle and await job.live(job.bmc.power()) is Power.OFF:
        raise DeviceFailed("The machine was switched off before its ramdisk sent what it found.")
    return Later(job.tools.times.look, f"The ramdisk has not sent yet what it found.{await node_cable.dark(job)}")


async def facts(job: Job) -> Turn:
    job.spoke()
    await node_inspect.by_ramdisk(job)
    job.changes["inspection_finished_at"] = clock.now()
    return Next()


async def switch(job: Job) -> Turn:
    """From the ramdisk's network into the tenant's, with the machine off in between: no ramdisk sees the tenant's."""
    fake = job.row[f"{node_plan.INTERFACE[job.kind]}_interface"] == "fake" and not san.started(job.row)
    if not fake and not job.life.get("parted"):
        job.begin("power-off")
        power = None if job.row["disable_power_off"] else Power.OFF
        await job.apply(BmcDesired(power, media=EJECTED))
        job.finish("power-off", "" if power else "it may not be switched off (disable_power_off)")
        job.life["parted"] = True
    job.begin("tenant-switch")
    why = await node_net.join(job, "tenant")
    if why:
        job.begin("tenant-switch", why)
        return Later(job.soon(), why)
    job.finish("tenant-switch", "the Nics carry the tenant's Ports")
    return Next()


async def disk(job: Job) -> Turn:
    """The machine starts what is on its disk. It was off: one that is on has been started already."""
    if san.started(job.row):
        return await _volume(job)
    if job.row[f"{node_plan.INTERFACE[job.kind]}_interface"] == "fake":
        resets = 1 if job.kind in ("rescue", "unrescue") else 0
        await job.apply(BmcDesired(Power.ON, resets=resets))
        return Next()
    job.begin("reboot")
    restart = 1 if job.row["disable_power_off"] else 0
    # Over IPMI the mode is a part of the boot device, and would be forgotten.
    mode = provision_boot.mode(job.row) if plug.plugs(job.row) else None
    first = Boot(BootDevice.DISK, persistent=True)
    await job.apply(BmcDesired(Power.ON, boot=first, resets=restart, boot_mode=mode))
    job.finish("reboot", "the machine starts its disk")
    return Next()


async def _volume(job: Job) -> Turn:
    """The machine starts what is on its volume, now and whenever it is started."""
    job.begin("reboot")
    device, mode, media = node_net.device(await node_san.start_of(job), persistent=True)
    restart = 1 if job.row["disable_power_off"] else 0
    await job.apply(BmcDesired(Power.ON, boot=device, resets=restart, boot_mode=mode, media=media or EJECTED))
    job.finish("reboot")
    return Next()


async def finalize(job: Job) -> Turn:
    """The ramdisk gets the password, and from then on takes no commands any more."""
    info = dict(job.opened()["instance_info"])
    password = info.pop("rescue_password", None)
    if password is None:
        return Next()  # it was told already
    job.begin("rescue-password")
    agent = await agent_of(job)
    known = bool(job.life.get("told"))
    if not known:
        job.life["told"] = True
        await job.save()
    try:
        await job.live(agent.call("rescue.finalize_rescue", params.finalize_rescue(hashed(password))))
    except Unavailable:
        if not known:
            raise
    job.changes["instance_info"] = info
    job.finish("rescue-password")
    return Next()


async def opening(job: Job) -> Turn:
    """The rescue system stays; its Nics go from the ramdisk's network into the tenant's."""
    job.begin("tenant-switch")
    why = await node_net.join(job, "tenant")
    if why:
        return Later(job.soon(), why)
    job.finish("tenant-switch", "the Nics carry the tenant's Ports")
    return Next()


async def release(job: Job) -> Turn:
    """Nothing of the ramdisk stays: no network, no media, no power."""
    await node_net.leave(job)
    if job.life.get("ramdisk") or (job.row["seen"] or {}).get("left"):
        job.begin("power-off")
        power = None if job.row["disable_power_off"] else Power.OFF
        await job.apply(BmcDesired(power, media=EJECTED))
        job.finish("power-off")
        if job.life.get("kind") not in KEEPS:
            await node_san.release(job)
        await job.look_closely()
    return Next()


async def teardown(job: Job) -> Turn:
    """The tenant's machine ends: off, plugged nowhere, without media; what it was given is given back."""
    job.begin("teardown")
    await job.tools.consoles.drop(job.id)  # who looks at it now must neither see nor type at what cleans the machine
    power = None if job.row["disable_power_off"] else Power.OFF
    await job.apply(BmcDesired(power, media=EJECTED))
    await node_net.leave(job)
    await node_san.release(job)
    await job.tools.db.write(lambda tx: let_go(tx, job.id))
    job.changes |= {
        "instance_info": {}, "instance_id": None, "allocation_id": None, "instance_name": None, "deploy_step": {},
    }  # fmt: skip
    job.finish("teardown")
    return Next()


PHASES: Mapping[str, Callable[[Job], Awaitable[Turn]]] = {
    "verify": verify, "identity": identity, "adopt": adopt, "tenant-network": tenant_network, "network": network,
    "boot": boot, "start": start, "callback": callback, "data": data, "facts": facts, "steps": node_steps.steps,
    "switch": switch, "disk": disk, "finalize": finalize, "open": opening, "release": release, "teardown": teardown,
    "storage": node_san.storage,
}  # fmt: skip
