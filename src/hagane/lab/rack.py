"""The virtual rack: switch, gateways, machines with BMCs, on an out-of-band network of their own.

    up(site, description)     whatever of it is missing; repeatable, so it is the repair as well
    status(site)              every daemon, as machine.status says it of the cloud
    down(site)                nothing is left

    absent ──up──▶ up ──a daemon dies──▶ (supervise.py) ──up──▶ up ──down──▶ absent

Nothing here depends on the process that called `up`: machines and daemons outlive it. A lab has one rack, for now.
"""

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, ip_interface
from pathlib import Path

from hagane.errors import Conflict, Unavailable
from hagane.lab import central, host, machine, netns, ovs, rack_bmc, rack_enrolment, rack_gateway, rack_place, rack_tor
from hagane.lab.process import Daemon, DaemonSeen, pid_of, run, seen, together
from hagane.lab.rack_description import RackDescription
from hagane.lab.rack_place import Rack
from hagane.lab.rack_trouble import Trouble
from hagane.lab.site import Site
from hagane.lab.supervise_part import Part


@dataclass(frozen=True, slots=True)
class RackAddress:
    """Where everything of a rack answers."""

    name: str
    enrolment: Path
    switch_ovsdb: str
    gateway_ovsdb: dict[str, str]
    bmcs: dict[str, IPv4Address]
    here: IPv4Address  # this machine, on the out-of-band network


async def up(site: Site, described: RackDescription, *, kvm: bool = False) -> RackAddress:
    """Bring the rack up. Errors: Unavailable (no cloud runs here), Conflict (another rack is up), DeviceFailed."""
    rack = Rack(site, described)
    async with machine.locked(site):
        if not machine.wanted(site) or pid_of(central.daemons(site)[1]) is None:
            raise Unavailable("The rack joins the network of a running cloud, and none runs here: `hagane up` first.")
        known = rack_place.current(site)
        if known is not None and (known.name, known.switch) != (rack.name, rack.switch):
            raise Conflict(f"The rack {known.name} is up already; `hagane lab down` removes it.")
        await _free(rack)
        if known is not None:
            await _retire(known, rack)
        rack_place.want(rack)
        await repair(rack, kvm=kvm)
        rack_bmc.write_private(rack.enrolment, rack_enrolment.text(rack))
    return address(rack)


async def _retire(old: Rack, new: Rack) -> None:
    """What the old description had and the new one has not: machines, their cables, gateways. Disks stay."""
    gone = {one.name for one in old.machines} - {one.name for one in new.machines}
    await together(*(one.off() for one in rack_bmc.machines(old) if one.spec.name in gone))
    space = old.site.netns(old.switch)
    for port in sorted(set(old.ports) - set(new.ports)):
        await netns.remove_link(space, port)
    for name in sorted(set(old.gateways) - set(new.gateways)):
        await rack_tor.cut(old, name)
        await rack_gateway.down(old, name)


async def repair(rack: Rack, *, kvm: bool) -> None:
    """Everything that is missing, except what somebody broke on purpose."""
    await rack_bmc.network(rack)
    if _standing(rack, rack.switch):
        await rack_tor.up(rack, unplugged=Trouble.of(rack).unplugged)
    await together(
        rack_bmc.up(rack, kvm=kvm),
        *(rack_gateway.up(rack, name) for name in rack.gateways if _standing(rack, name)),
        *(host.trunk(rack.site, name) for name in rack.site.hosts if netns.exists(rack.site.netns(name))),
    )


async def _free(rack: Rack) -> None:
    """Whether the out-of-band network may be used on this machine. Raises Conflict."""
    for line in (await run("ip", "-4", "-brief", "address", "show")).splitlines():
        link, _, *addresses = line.split()
        taken = [word for word in addresses if "/" in word and ip_interface(word).network.overlaps(rack.network)]
        if taken and link.partition("@")[0] != rack.oob_link:
            raise Conflict(f"{link} has {taken[0]}: choose another `out_of_band` network for the rack.")


def address(rack: Rack) -> RackAddress:
    """Where it answers once it is up."""
    return RackAddress(
        name=rack.name,
        enrolment=rack.enrolment,
        switch_ovsdb=f"tcp:{rack.address(rack.switch)}:{rack_place.OVSDB_PORT}",
        gateway_ovsdb={name: f"tcp:{rack.address(name)}:{rack_place.OVSDB_PORT}" for name in rack.gateways},
        bmcs={one.name: rack.address(one.name) for one in rack.machines},
        here=rack.here,
    )


def parts(rack: Rack, *, kvm: bool) -> list[Part]:
    """What is watched and repaired, each by itself. What is broken on purpose is not watched."""
    watched: dict[str, Sequence[Daemon]] = {rack.name: [rack_bmc.daemon(rack)], rack.switch: rack_tor.daemons(rack)}
    watched |= {name: rack_gateway.daemons(rack, name) for name in rack.gateways}
    return [
        Part(name, daemons, partial(repair, rack, kvm=kvm), partial(_standing, rack, name))
        for name, daemons in watched.items()
        if _standing(rack, name)
    ]


def _standing(rack: Rack, part: str) -> bool:
    """Whether the part is wanted, and not broken on purpose."""
    trouble = Trouble.of(rack)
    return rack_place.current(rack.site) == rack and not (trouble.has(part, "dead") or trouble.has(part, "hang"))


def daemons(rack: Rack) -> tuple[Daemon, ...]:
    gateways = (daemon for name in rack.gateways for daemon in rack_gateway.daemons(rack, name))
    return (rack_bmc.daemon(rack), *rack_tor.daemons(rack), *gateways)


def status(site: Site) -> list[DaemonSeen]:
    """Every daemon of the rack as it is now; none if there is no rack."""
    rack = rack_place.current(site)
    return [seen(daemon) for daemon in daemons(rack)] if rack is not None else []


async def down(site: Site, *, keep_data: bool = False) -> bool:
    """Remove the rack; with `keep_data` the disks stay. False: there was none."""
    async with machine.locked(site):
        rack = rack_place.current(site)
        if rack is None:
            return False
        rack_place.mark(site).unlink()
        for name in rack.trunks:
            await rack_tor.cut(rack, name)
        await together(*(rack_gateway.down(rack, name) for name in rack.gateways), rack_bmc.down(rack))
        await rack_tor.down(rack)
        await together(*(host.trunk(site, name) for name in site.hosts if pid_of(ovs_of(site, name)) is not None))
        await asyncio.to_thread(_sweep, rack, keep_data=keep_data)
    return True


def ovs_of(site: Site, name: str) -> Daemon:
    """The switch daemon of a Host."""
    return ovs.daemons(host.switch(site, name))[1]


def _sweep(rack: Rack, *, keep_data: bool) -> None:
    for part in (rack.name, rack.switch, *rack.gateways):
        folder = rack.site.folder(part)
        shutil.rmtree(folder.run, ignore_errors=True)
        if not keep_data:
            shutil.rmtree(folder.state, ignore_errors=True)
    rack.enrolment.unlink(missing_ok=True)
