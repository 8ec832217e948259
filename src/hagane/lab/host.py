"""A Host of the lab: a namespace with its own OVS, ovn-controller, virtlogd and libvirtd. Nothing of Hagane runs on it.

`up` may be repeated at any time: it starts what does not run and puts right what is not right, and nothing else. That
is also the whole answer to a daemon that died (supervise.py calls `up` again).
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from hagane.lab import central, fabric, libvirtd, netns, ovs
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
    controller = ovs.detached(place, "ovn-controller", place.remote)
    return (*ovs.daemons(place), controller, *libvirtd.daemons(host, site.netns(host), site.folder(host), kvm=kvm))


async def address(site: Site, host: str, *, kvm: bool) -> HostAddress:
    """Where the Host answers once it is up."""
    folder = site.folder(host)
    return HostAddress(
        name=host,
        system_id=host,
        libvirt_uri=f"qemu+unix:///system?socket={libvirtd.socket(folder)}",
        ovs_db=switch(site, host).remote,
        netns=site.netns(host),
        bridge_mappings={site.external.physical_network: EXTERNAL},
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
    underlay_end, external_end = await fabric.attach(site, host)
    place = switch(site, host)
    await ovs.up(place)
    await ovs.vsctl(place, *await _wiring(site, host, underlay_end, external_end))
    ip, mtu = f"{site.tunnel_ip(host)}/{site.underlay.prefixlen}", site.underlay_mtu
    await netns.batch(place.netns, f"address replace {ip} dev {TUNNEL}", f"link set {TUNNEL} mtu {mtu} up")
    await start(daemons(site, host, kvm=False)[2])


async def _wiring(site: Site, host: str, underlay_end: str, external_end: str) -> list[str]:
    """One ovs-vsctl transaction: the three bridges, and what ovn-controller must know."""
    kind = await ovs.datapath()
    bridges = (
        (TUNNEL, "standalone", underlay_end),
        (EXTERNAL, "standalone", external_end),
        (INTEGRATION, "secure", ""),
    )
    words = []
    for name, fail_mode, uplink in bridges:
        words += ["--", "--may-exist", "add-br", name]
        words += ["--", "set", "Bridge", name, f"datapath_type={kind}", f"fail-mode={fail_mode}"]
        words += ["--", "--may-exist", "add-port", name, uplink] if uplink else []
    words += ["--", "set", "Bridge", INTEGRATION, "other-config:disable-in-band=true"]
    facts = {
        "system-id": host,
        "hostname": host,
        "ovn-remote": central.address(site).sb,
        "ovn-encap-type": "geneve",
        "ovn-encap-ip": str(site.tunnel_ip(host)),
        "ovn-encap-csum": "false" if kind == "netdev" else "true",
        "ovn-bridge-datapath-type": kind,
        "ovn-bridge-mappings": f"{site.external.physical_network}:{EXTERNAL}",
        "ovn-cms-options": "enable-chassis-as-gw",
        "ovn-monitor-all": "true",
    }
    quoted = (f'external-ids:{key}="{value}"' for key, value in facts.items())
    return [*words, "--", "set", "Open_vSwitch", ".", *quoted]


async def down(site: Site, host: str) -> None:
    """End every daemon and machine of the Host and remove its namespace. Files stay."""
    for daemon in reversed(daemons(site, host, kvm=False)):
        await stop(daemon)
    await netns.delete(site.netns(host))
