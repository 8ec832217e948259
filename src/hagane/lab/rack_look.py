"""A rack as it is now: every port of the switch with its VLANs and carrier, every machine with its power."""

import json
from dataclasses import dataclass
from typing import Any

from hagane.errors import HaganeError
from hagane.lab import rack_bmc, rack_fault, rack_tor
from hagane.lab.process import pid_of, run
from hagane.lab.rack_place import Rack

SECONDS = 3


@dataclass(frozen=True, slots=True)
class PortSeen:
    """One port of the switch. `native` None and no `tagged`: it is dead; `tagged` None: all VLANs."""

    name: str
    native: int | None
    tagged: tuple[int, ...] | None
    carrier: bool
    to: str  # what hangs there, in words


@dataclass(frozen=True, slots=True)
class MachineSeen:
    """One machine. `boot` is the boot device that was set by its BMC, "" none."""

    name: str
    power: bool
    mode: str
    boot: str
    address: str
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RackSeen:
    """The whole rack. `ports` is empty when the switch does not answer; then `silent` says why."""

    ports: tuple[PortSeen, ...]
    silent: str
    machines: tuple[MachineSeen, ...]
    faults: dict[str, list[str]]


async def look(rack: Rack) -> RackSeen:
    """Look at everything, in well under a second."""
    faults = rack_fault.present(rack)
    try:
        ports, silent = await _ports(rack), ""
    except HaganeError:
        ports, silent = (), "Its database does not answer."
    return RackSeen(ports, silent, _machines(rack, faults), faults)


def _machines(rack: Rack, faults: dict[str, list[str]]) -> tuple[MachineSeen, ...]:
    return tuple(
        MachineSeen(
            one.spec.name, one.pid() is not None, one.settings.mode, one.settings.boot,
            str(rack.address(one.spec.name)), tuple(faults.get(one.spec.name, ())),
        )
        for one in rack_bmc.machines(rack)
    )  # fmt: skip


async def _ports(rack: Rack) -> tuple[PortSeen, ...]:
    place = rack.ovs(rack.switch)
    if pid_of(rack_tor.daemons(rack)[0]) is None:
        return ()
    listed = "name,tag,trunks,vlan_mode"
    ask = ("ovs-vsctl", f"--db={place.remote}", f"--timeout={SECONDS}", "--format=json", f"--columns={listed}")
    rows = json.loads(await run(*ask, "list", "Port"))
    space = ("ip", "-n", place.netns, "-json", "link", "show")
    up = {link["ifname"] for link in json.loads(await run(*space)) if "LOWER_UP" in link["flags"]}
    found = {row[0]: row for row in rows["data"]}
    ends = _ends(rack)
    return tuple(_port(found[name], ends[name], carrier=name in up) for name in ends if name in found)


def _ends(rack: Rack) -> dict[str, str]:
    ends = {name: f"rack gateway {name}" for name in rack.gateways}
    ends |= {name: f"Host {name}" for name in rack.site.hosts}
    for machine in rack.machines:
        for number, (mac, port) in enumerate(rack.nics(machine)):
            ends[port] = f"{machine.name} NIC {number}, {mac}"
    return ends


def _port(row: list[Any], to: str, *, carrier: bool) -> PortSeen:
    """Open vSwitch's way to say VLANs (ovs-vswitchd.conf.db(5), Port): a tag makes an access port, trunks a trunk."""
    name, tag, trunks, mode = row
    native = tag if isinstance(tag, int) else None
    carried = set(trunks[1]) if isinstance(trunks, list) else {trunks}
    if mode == "access" or (native is not None and mode != "native-untagged"):
        return PortSeen(name, native, (), carrier, to)
    tagged = tuple(sorted(carried - {0, rack_tor.NOWHERE, native})) if carried else None
    return PortSeen(name, native, tagged, carrier, to)
