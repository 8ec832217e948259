"""`hagane lab`: a rack of virtual bare-metal servers beside a running cloud."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import click

from hagane.config import Config, load
from hagane.errors import Invalid, NotFound, Unavailable
from hagane.lab import guest, netns, rack, rack_description, rack_fault, rack_look, rack_place
from hagane.lab import kvm as kvm_check
from hagane.lab.site import Site
from hagane.operate import lab_picture
from hagane.operate.site import site

CONFIG = click.option("--config", "path", type=click.Path(dir_okay=False, path_type=Path), help="Settings (TOML).")
STATE = click.option("--state", type=click.Path(file_okay=False, path_type=Path), help="Folder that keeps everything.")


@click.group()
def lab() -> None:
    """A rack of virtual bare-metal servers, with a switch and BMCs, beside the cloud of this machine."""


def _place(path: Path | None, state: Path | None) -> tuple[Config, Site]:
    """The lab as it runs now: its Hosts are those that there are. Raises Unavailable without root."""
    if os.geteuid() != 0:
        raise Unavailable("The rack is made of real network devices: that needs root.")
    config = load(path, state=str(state.absolute()) if state else None)
    here = site(config)
    prefix = here.netns("host")
    names = sorted((name for name in netns.named(prefix) if name.removeprefix(prefix).isdecimal()), key=len)
    hosts = tuple(name.removeprefix(f"{here.prefix}-") for name in names)
    return config, replace(here, hosts=hosts) if hosts else here


@lab.command()
@CONFIG
@STATE
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def up(path: Path | None, state: Path | None, file: Path | None) -> None:
    """Build the rack that FILE describes (default: two Redfish machines, one IPMI machine); repeat it to repair."""
    _, here = _place(path, state)
    described = rack_description.load(file)
    address = asyncio.run(_up(here, described))
    click.echo(f"{address.name} is up: switch {described.switch} ({address.switch_ovsdb})")
    click.echo("  gateways  " + ", ".join(f"{name} ({remote})" for name, remote in address.gateway_ovsdb.items()))
    for machine in described.machine:
        kind = "Redfish and IPMI" if machine.bmc == "redfish" else "IPMI"
        firmware = machine.boot_mode.upper()
        click.echo(f"  {machine.name}  {firmware}, {machine.memory_mb} MB, {kind} at {address.bmcs[machine.name]}")
    click.echo(f"Now take it into the cloud:\n  hagane enroll {address.enrolment}")


async def _up(here: Site, described: rack_description.RackDescription) -> rack.RackAddress:
    image = await asyncio.to_thread(guest.build)
    return await rack.up(here, described, kvm=await kvm_check.usable(image.kernel))


@lab.command()
@CONFIG
@STATE
def down(path: Path | None, state: Path | None) -> None:
    """Remove the rack: machines, their disks, switch, gateways. The cloud runs on."""
    _, here = _place(path, state)
    click.echo("The rack is gone." if asyncio.run(rack.down(here)) else "There is no rack.")


@lab.command()
@CONFIG
@STATE
def status(path: Path | None, state: Path | None) -> None:
    """Draw the rack: the switch's ports with VLANs and carriers, machines with power, BMCs, daemons."""
    _, here = _place(path, state)
    found = rack_place.current(here)
    if found is None:
        click.echo("There is no rack. Build one with: hagane lab up")
        return
    seen = asyncio.run(rack_look.look(found))
    for line in lab_picture.draw(found, seen, rack.status(here)):
        click.echo(line)


@lab.command()
@CONFIG
@STATE
@click.argument("part", required=False)
@click.argument("faults", nargs=-1)
@click.option("--clear", is_flag=True, help="Mend the part; without one, everything.")
def fault(path: Path | None, state: Path | None, part: str | None, faults: tuple[str, ...], *, clear: bool) -> None:
    """Break PART on purpose, or mend it; without arguments, say what is broken.

    \b
    machine  bmc-slow=SECONDS bmc-dead bmc-wrong-answers bmc-password bmc-stuck
             power-loss cable-pulled=NIC disk-full disk-bad
    switch   reboot wiped hang dead
    gateway  dead
    """
    _, here = _place(path, state)
    found = rack_place.current(here)
    if found is None:
        raise NotFound("There is no rack. Build one with: hagane lab up")
    asyncio.run(_fault(found, part, faults, clear=clear))
    broken = rack_fault.present(found)
    for name, listed in broken.items():
        click.echo(f"{name}: {', '.join(listed)}")
    if not broken:
        click.echo("Nothing is broken on purpose.")


async def _fault(found: rack_place.Rack, part: str | None, faults: tuple[str, ...], *, clear: bool) -> None:
    if clear:
        for name in [part] if part else list(rack_fault.present(found)):
            await rack_fault.clear(found, name)
    elif part and not faults:
        raise Invalid(f"{part} can have: {', '.join(rack_fault.faults_of(found, part))}; --clear mends it.")
    for name in faults if part else ():
        await rack_fault.inject(found, str(part), name)
