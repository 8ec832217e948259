"""The BMCs of a rack in one process: which machines there are, and where each answers, from one JSON file.

    python -m hagane.lab.bmc.serve rack.json pid-file [--detach]

With --detach it goes to the background once it answers. The process lets its machines run on when it ends (SIGTERM),
and finds them again when it starts. It is started with the pid file on its command line, so that the lab can tell it
from a stranger. Faults: see faults.py.

    {"machines": [{"name": "bm-1", "uuid": "...", "folder": "/run/x/bm-1", "disks": ["/run/x/bm-1.raw"],
                   "nics": [{"mac": "52:54:00:00:00:01", "tap": "bm-1-0"}], "mode": "uefi",
                   "username": "admin", "password": "...",
                   "redfish": ["127.0.0.1", 8001], "ipmi": ["127.0.0.1", 6231]}],
     "certificate": null, "key": null}
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hagane.errors import ConfigError
from hagane.lab.bmc.ipmi import IpmiFront, IpmiServer
from hagane.lab.bmc.machine import Machine
from hagane.lab.bmc.qemu import MachineSpec, Nic
from hagane.lab.bmc.redfish import RedfishFront, RedfishServer

_PLAIN = ("name", "uuid", "memory_mb", "vcpus", "mode", "netns", "kvm", "paused", "option_roms", "secure_boot")


@dataclass(slots=True)
class Rack:
    """Machines, and the services of their BMCs."""

    machines: dict[str, Machine]
    redfish: RedfishServer
    ipmi: IpmiServer

    async def start(self) -> None:
        await self.ipmi.start()
        await self.redfish.start()

    async def stop(self) -> None:
        """The services end; the machines run on."""
        await self.redfish.stop()
        await self.ipmi.stop()


def rack(described: dict[str, Any]) -> Rack:
    """Build it from its description. Errors: ConfigError."""
    machines: dict[str, Machine] = {}
    redfish: list[RedfishFront] = []
    ipmi: list[IpmiFront] = []
    for entry in described["machines"]:
        try:
            machine = machines[entry["name"]] = Machine(spec(entry))
            who = (machine, str(entry["username"]), str(entry["password"]))
            redfish += [RedfishFront(*who, *entry["redfish"])] if entry.get("redfish") else []
            ipmi += [IpmiFront(*who, *entry["ipmi"])] if entry.get("ipmi") else []
        except (KeyError, TypeError) as error:
            raise ConfigError(f"machine {entry.get('name', '?')}: {error!r} is missing or wrong") from error
    pair = (described.get("certificate"), described.get("key"))
    tls = (Path(pair[0]), Path(pair[1])) if pair[0] and pair[1] else None
    return Rack(machines, RedfishServer(redfish, tls=tls), IpmiServer(ipmi))


def spec(entry: dict[str, Any]) -> MachineSpec:
    """The machine that an entry describes."""
    plain = {name: entry[name] for name in _PLAIN if name in entry}
    disks = tuple(Path(disk) for disk in entry.get("disks", ()))
    nics = tuple(Nic(**nic) for nic in entry.get("nics", ()))
    return MachineSpec(**plain, folder=Path(entry["folder"]), disks=disks, nics=nics)


def main(description: Path, pid_file: Path, *, ready: Callable[[], object] = lambda: None) -> None:
    """Serve until SIGTERM or SIGINT. The pid file is there while the BMCs answer; `ready` is called when they do."""
    whole = rack(json.loads(description.read_text()))

    def answers() -> None:
        pid_file.write_text(f"{os.getpid()}\n")
        ready()

    try:
        asyncio.run(_serve(whole, answers))
    finally:
        pid_file.unlink(missing_ok=True)


def detach() -> Callable[[], object]:
    """Go on in the background; the one who started us waits until the returned function is called, or we end."""
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        os._exit(0 if os.read(reading, 1) else 1)
    os.close(reading)
    return lambda: os.write(writing, b"1")


async def _serve(whole: Rack, ready: Callable[[], object]) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await whole.start()
    ready()
    try:
        await ended.wait()
    finally:
        await whole.stop()


if __name__ == "__main__":
    told = detach() if "--detach" in sys.argv[3:] else lambda: None
    main(Path(sys.argv[1]), Path(sys.argv[2]), ready=told)
