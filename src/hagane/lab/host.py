"""A Host of the lab: a namespace with its own OVS, ovn-controller, virtlogd and libvirtd. Nothing of Hagane runs on it.

`up` may be repeated at any time: it starts what does not run and puts right what is not right, and nothing else. That
is also the whole answer to a daemon that died (supervise.py calls `up` again).
"""

import shutil
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from hagane.lab import central, fabric, libvirtd, netns, ovs, rack_trunk
from hagane.lab.ovs import Ovs
from hagane.lab.process import Daemon, start, stop, together
from hagane.lab.site import Site

INTEGRATION, EXTERNAL, TUNNEL = "br-int", "br-ex", "br-phy"


@dataclass(frozen=True, slots=True)
class HostAddress:
    """Everything that Hagane needs to know of a Host."""

    name: str  # host name as libvirt, OVN and the API say it
    system_id: str  # Chassis.name in the Southbound database
    libvirt_uri: str
    ovs_db: str  # OVSDB remote of the Host's switch: "unix:/..."
    netns: str  # name of its network namespace under /run/netns
    bridge_mappings: dict[str, str]  # physical network -> bridge
    integration_bridge: str
    datapath: str  # "system" (kernel) or "netdev" (userspace: NICs must offer no offloads)
    kvm: bool  # machines run under KVM; otherwise QEMU emulates the CPU
    tunnel_ip: str
    pool: Path  # folder for disks, as the Host sees it
    pool_here: Path  # the same folder as this process sees it


def switch(site: Site, host: str) -> Ovs:
    """The Host's OVS."""
    folder = site.folder(host)
    return Ovs(host, site.netns(host), folder.run / "ovs", folder.state / "ovs" / "conf.db", folder.log)


def daemons(site: Site, host: str, *, kvm: bool) -> tuple[Daemon, ...]:
    """All daemons of a Host, in the order of their start."""
    place = switch(site, host)
    return (
        *ovs.daemons(place),
        controller(place),
        *libvirtd.daemons(host, site.netns(host), site.folder(host), kvm=kvm),
    )


async def address(site: Site, host: str, *, kvm: bool) -> HostAddress:
    """Where the Host answers once it is up."""
    folder = site.folder(host)
    return HostAddress(
        name=host,
        system_id=host,
        libvirt_uri=f"qemu+unix:///system?socket={libvirtd.socket(folder)}",
        ovs_db=switch(site, host).remote,
        netns=site.netns(host),
        bridge_mappings={site.external.physical_network: EXTERNAL} | rack_trunk.mappings(site),
        integration_bridge=INTEGRATION,
        datapath=await ovs.datapath(),
        kvm=kvm,
        tunnel_ip=str(site.tunnel_ip(host)),
        pool=libvirtd.POOL,
        pool_here=libvirtd.pool(folder),
    )


async def up(site: Site, host: str, *, kvm: bool) -> HostAddress:
    """Bring the Host up. The fabric must be there; the OVN databases may come later."""
    if not netns.exists(site.netns(host)):
        _forget(site, host)
    await netns.create(site.netns(host), ipv6=False)
    await together(_network(site, host), libvirtd.up(host, site.netns(host), site.folder(host), kvm=kvm))
    return await address(site, host, kvm=kvm)


def _forget(site: Site, host: str) -> None:
    """Without the namespace nothing of the Host can be running: what its switch and libvirt noted of it is void."""
    shutil.rmtree(site.folder(host).run, ignore_errors=True)
    switch(site, host).db.unlink(missing_ok=True)


async def _network(site: Site, host: str) -> None:
    await chassis(site, switch(site, host), site.tunnel_ip(host))


async def chassis(site: Site, place: Ovs, ip: IPv4Address) -> None:
    """An OVS with ovn-controller, on underlay and external network: of a Host, or of a rack's gateway."""
    underlay_end, external_end = await fabric.attach(site, place.name)
    await ovs.up(place)
    await ovs.without_zero_snat(place)
    await ovs.vsctl(place, *await _wiring(site, place.name, ip, underlay_end, external_end))
    mtu = site.underlay_mtu
    lines = f"address replace {ip}/{site.underlay.prefixlen} dev {TUNNEL}", f"link set {TUNNEL} mtu {mtu} up"
    await netns.batch(place.netns, *lines)
    await start(controller(place))


async def trunk(site: Site, host: str) -> None:
    """Put the trunk of the rack that is up into the Host's switch, or take out that of one that is gone."""
    place, racks = switch(site, host), rack_trunk.mappings(site)
    words: list[str] = []
    for bridge in racks.values():
        words += await _bridge(bridge, "standalone", rack_trunk.LINK)
    if not racks:
        words += ["--", "--if-exists", "del-br", rack_trunk.BRIDGE]
    await ovs.vsctl(place, *words, "--", "set", "Open_vSwitch", ".", _mapped(site))


def controller(place: Ovs) -> Daemon:
    """The ovn-controller of an OVS."""
    return ovs.detached(place, "ovn-controller", place.remote)


async def _wiring(site: Site, name: str, ip: IPv4Address, underlay_end: str, external_end: str) -> list[str]:
    """One ovs-vsctl transaction: the bridges, and what ovn-controller must know."""
    kind = await ovs.datapath()
    words = await _bridge(TUNNEL, "standalone", underlay_end)
    words += await _bridge(EXTERNAL, "standalone", external_end)
    words += await _bridge(INTEGRATION, "secure", "")
    words += ["--", "set", "Bridge", INTEGRATION, "other-config:disable-in-band=true"]
    for bridge in rack_trunk.mappings(site).values():
        words += await _bridge(bridge, "standalone", rack_trunk.LINK)
    facts = {
        "system-id": name,
        "hostname": name,
        "ovn-remote": central.address(site).sb,
        "ovn-encap-type": "geneve",
        "ovn-encap-ip": str(ip),
        "ovn-encap-csum": "false" if kind == "netdev" else "true",
        "ovn-bridge-datapath-type": kind,
        "ovn-cms-options": "enable-chassis-as-gw",
        "ovn-monitor-all": "true",
    }
    quoted = (f'external-ids:{key}="{value}"' for key, value in facts.items())
    return [*words, "--", "set", "Open_vSwitch", ".", _mapped(site), *quoted]


async def _bridge(name: str, fail_mode: str, uplink: str) -> list[str]:
    words = ["--", "--may-exist", "add-br", name]
    words += ["--", "set", "Bridge", name, f"datapath_type={await ovs.datapath()}", f"fail-mode={fail_mode}"]
    return [*words, *(("--", "--may-exist", "add-port", name, uplink) if uplink else ())]


def _mapped(site: Site) -> str:
    mapped = {site.external.physical_network: EXTERNAL} | rack_trunk.mappings(site)
    words = ",".join(f"{network}:{bridge}" for network, bridge in mapped.items())
    return f'external-ids:ovn-bridge-mappings="{words}"'


async def down(site: Site, host: str) -> None:
    """End every daemon and machine of the Host and remove its namespace. Files stay."""
    for daemon in reversed(daemons(site, host, kvm=False)):
        await stop(daemon)
    await netns.delete(site.netns(host))
