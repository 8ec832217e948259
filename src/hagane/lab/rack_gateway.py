"""A rack gateway: an OVS with ovn-controller, on the underlay like a Host, and with the rack's trunk in a bridge.

What enters by the trunk becomes Ports by patch ports that somebody else makes (over OVSDB, on the out-of-band network).
They are left alone here.
"""

import shutil

from hagane.lab import central, fabric, host, netns, ovs, rack_tor
from hagane.lab.process import Daemon, pid_of, run, stop
from hagane.lab.rack_place import Rack


def daemons(rack: Rack, name: str) -> tuple[Daemon, ...]:
    place = rack.ovs(name)
    return (*ovs.daemons(place), host.controller(place))


async def up(rack: Rack, name: str) -> None:
    """Bring the gateway up. The fabric, the out-of-band network and the switch's end of the trunk must be there."""
    place = rack.ovs(name)
    if not netns.exists(place.netns):
        shutil.rmtree(rack.site.folder(name).run, ignore_errors=True)
    await netns.create(place.netns, ipv6=False)
    await rack_tor.join(rack, name)
    await host.chassis(rack.site, place, rack.tunnel_ip(name))


async def down(rack: Rack, name: str) -> None:
    """End the daemons, take the chassis out of OVN (a signal leaves it there), remove the namespace."""
    for daemon in reversed(daemons(rack, name)):
        await stop(daemon)
    if pid_of(central.daemons(rack.site)[1]) is not None:
        where = central.address(rack.site).sb
        await run("ovn-sbctl", f"--db={where}", "--timeout=10", "--if-exists", "chassis-del", name)
    await fabric.detach(rack.site, name)
    await netns.delete(rack.site.netns(name))
