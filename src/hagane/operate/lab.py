"""`hagane lab`: a rack of virtual bare-metal servers beside a running cloud."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import click

from hagane.config import Config, load
from hagane.errors import Unavailable
from hagane.lab import guest, netns, rack, rack_description
from hagane.lab import kvm as kvm_check
from hagane.lab.site import Site
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
