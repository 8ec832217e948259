"""The switch on top of the rack: an Open vSwitch that switches by VLAN, managed over OVSDB like any other.

A port to a machine is born dead: it carries only VLAN 4095, which nobody may use (IEEE 802.1Q-2018, 9.6). Whoever
manages the switch gives it a VLAN. Ports to gateways and Hosts are trunks of all VLANs. What is set on a port that
exists is never changed here, for it is somebody's configuration; it outlives a reboot of the switch.
"""

import asyncio
from pathlib import Path

from hagane.lab import netns, ovs
from hagane.lab.netns import End
from hagane.lab.process import Daemon, stop, together
from hagane.lab.rack_place import BRIDGE, MTU, OOB, TRUNK, Rack

NOWHERE = 4095
DEAD = ("vlan_mode=trunk", f"trunks={NOWHERE}")
ACCESS_MTU = 1500


def daemons(rack: Rack) -> tuple[Daemon, ...]:
    return ovs.daemons(rack.ovs(rack.switch))


async def up(rack: Rack, *, unplugged: frozenset[str] = frozenset()) -> None:
    """Namespace, cables, TAPs, daemons, ports, whatever of them is missing. The out-of-band network must be there.
    `unplugged`: ports whose cable somebody pulled."""
    place = rack.ovs(rack.switch)
    await netns.create(place.netns, ipv6=False)
    await join(rack, rack.switch)
    await together(*(trunk(rack, name) for name in rack.trunks), _taps(rack, unplugged))
    await ovs.up(place)
    await ovs.vsctl(place, *await _bridge(rack))
    listed = set((await ovs.vsctl(place, "list-ports", BRIDGE)).split())
    await ovs.vsctl(place, *_ports(rack, listed))


async def join(rack: Rack, part: str) -> None:
    """The cable to the out-of-band network, and the address on it."""
    near, far = End(rack.oob, f"oob-{part}"), End(rack.site.netns(part), OOB)
    await netns.cable(near, far, mtu=ACCESS_MTU)
    await netns.batch(rack.oob, f"link set {near.name} master br-oob")
    await netns.batch(far.netns, f"address replace {rack.address(part)}/{rack.network.prefixlen} dev {OOB}")


async def trunk(rack: Rack, name: str) -> None:
    """The cable to a gateway or a Host; a Host that is not there has none yet."""
    space = rack.site.netns(name)
    if name in rack.gateways:
        await netns.create(space, ipv6=False)
    if netns.exists(space):
        await netns.cable(End(rack.site.netns(rack.switch), name), End(space, TRUNK), mtu=MTU)


async def cut(rack: Rack, name: str) -> None:
    """Remove the cable to a gateway or a Host. By itself it would go some time after a namespace at one of its ends,
    and be in the way of the next one until then."""
    space = rack.site.netns(rack.switch)
    if netns.exists(space):
        await netns.remove_link(space, name)


async def _taps(rack: Rack, unplugged: frozenset[str]) -> None:
    """A TAP for every NIC: it has a carrier exactly while the machine runs. All bear the switch's own MAC, because that
    is what Open vSwitch calls the chassis in LLDP."""
    space = rack.site.netns(rack.switch)
    there = await netns.links(space)
    lines = [f"tuntap add {port} mode tap" for port in rack.ports if port not in there]
    for port in rack.ports:
        state = "down" if port in unplugged else "up"
        lines.append(f"link set {port} address {rack.chassis_id} mtu {ACCESS_MTU} {state}")
    await netns.batch(space, *lines)


async def _bridge(rack: Rack) -> list[str]:
    kind = await ovs.datapath()
    words = ["--", "--may-exist", "add-br", BRIDGE]
    words += ["--", "set", "Bridge", BRIDGE, f"datapath_type={kind}", "fail-mode=standalone"]
    words += [f'other-config:hwaddr="{rack.chassis_id}"', "other-config:disable-in-band=true"]
    return [*words, "--", "set", "Open_vSwitch", ".", f"external-ids:hostname={rack.switch}"]


def _ports(rack: Rack, listed: set[str]) -> list[str]:
    words: list[str] = []
    for port in (*rack.ports, *rack.trunks):
        if port not in listed:
            mode = ("vlan_mode=trunk",) if port in rack.trunks else DEAD
            words += ["--", "add-port", BRIDGE, port, *mode]
        if rack.described.lldp and port in rack.ports:
            words += ["--", "set", "Interface", port, "lldp:enable=true"]
    for port in sorted(listed - {*rack.ports, *rack.trunks}):
        words += ["--", "del-port", BRIDGE, port]
    return words


async def down(rack: Rack) -> None:
    """End the daemons and every machine, remove the namespace."""
    await together(*(stop(daemon) for daemon in reversed(daemons(rack))))
    await netns.delete(rack.site.netns(rack.switch))


async def forget(rack: Rack) -> None:
    """As new from the factory. The daemons must not run."""
    await asyncio.to_thread(_unlink, rack.ovs(rack.switch).db)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)
