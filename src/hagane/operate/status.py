"""`hagane status`: what runs, in one screen."""

import os
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from hagane import process
from hagane.config import Config
from hagane.errors import HaganeError
from hagane.operate import client


def show(config: Config) -> None:
    """Print the process, its Hosts and its work, and on a real cloud every daemon."""
    console = Console(highlight=False)
    known = process.find(config)
    if known is None:
        console.print(f"No Hagane runs from {config.state}. Start it with: hagane up")
    else:
        kind = "simulated" if known.sim else "real"
        console.print(f"Hagane {kind} at [bold]{known.url}[/] since {_ago(known.started)} (process {known.pid})")
        _cloud(console, config)
    if not config.sim and os.geteuid() == 0:
        _daemons(console, config)


def _ago(moment: float) -> str:
    seconds = int(time.time() - moment)
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s"


def _cloud(console: Console, config: Config) -> None:
    try:
        facts = client.call(config, "GET", "/hagane/v1/status")
    except HaganeError as error:
        console.print(f"[red]It does not answer:[/] {error.message}")
        return
    table = Table("Host", "state", "servers", "vCPUs", "memory", box=None, pad_edge=False)
    for host in facts["hosts"]:
        table.add_row(host["name"], host["state"], str(host["servers"]), host["vcpus"], host["memory"])
    console.print(table)
    if facts["racks"]:
        console.print(_racks(facts["racks"]))
    console.print("  ".join(f"{name}: {count}" for name, count in facts["counts"].items()))
    waiting = facts["waiting"]
    console.print("All work is done." if not waiting else f"{len(waiting)} keys wait:")
    for entry in waiting[:10]:
        console.print(f"  {entry['kind']} {entry['key']}: {entry['reason']} (for {entry['seconds']:.0f} s)")


def _racks(racks: list[dict[str, Any]]) -> Table:
    table = Table("rack", "part", "name", "state", "", box=None, pad_edge=False)
    for rack in racks:
        for part, rows in (("switch", rack["switches"]), ("gateway", rack["gateways"])):
            for row in rows:
                mark = "[green]up[/]" if row["state"] == "up" else f"[red]{row['state']}[/]"
                table.add_row(rack["name"], part, row["name"], mark, row["reason"])
    return table


def _daemons(console: Console, config: Config) -> None:
    from hagane.lab import machine, rack
    from hagane.operate.site import site

    table = Table("daemon", "state", "pid", "restarts", box=None, pad_edge=False)
    for daemon in (*machine.status(site(config)), *rack.status(site(config))):
        state = "[green]running[/]" if daemon.pid else "[red]stopped[/]"
        table.add_row(daemon.name, state, str(daemon.pid or ""), str(daemon.restarts))
    console.print(table)
