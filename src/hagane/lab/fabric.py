"""The cables of the lab: the underlay between Hosts, and the external network that this machine itself is on.

Both are plain Linux bridges in one namespace; VLAN tags pass through. The machine's own end of the external network is
a veth in the root namespace, so that a floating IP answers in the user's own shell.
"""

from hagane.lab import netns
from hagane.lab.netns import End
from hagane.lab.process import together
from hagane.lab.site import Site

UNDERLAY, EXTERNAL = "br-ul", "br-ext"


async def up(site: Site) -> None:
    """The namespace, both bridges, and the cable to this machine, whatever of them is missing."""
    await netns.create(site.fabric, ipv6=False)
    await netns.bridge(site.fabric, UNDERLAY, mtu=site.underlay_mtu)
    await netns.bridge(site.fabric, EXTERNAL, mtu=site.underlay_mtu)
    here, plug = End("", site.external_link), End(site.fabric, "ext0")
    await netns.cable(here, plug, mtu=site.external.mtu)
    await netns.batch(site.fabric, f"link set {plug.name} master {EXTERNAL}")
    addresses = [address for address in (site.external.ipv4, site.external.ipv6) if address is not None]
    # nodad: the address must be usable at once, and nobody else is on this cable yet.
    flags = {4: "", 6: " nodad"}
    await netns.batch("", *(f"address replace {a} dev {here.name}{flags[a.version]}" for a in addresses))


async def attach(site: Site, host: str) -> tuple[str, str]:
    """Cables from a Host to the underlay and the external network; returns the names of the Host's ends."""
    space = site.netns(host)
    pairs = ((f"ul-{host}", "ul0", UNDERLAY), (f"ex-{host}", "ext0", EXTERNAL))
    ends = [(End(site.fabric, near), End(space, far)) for near, far, _ in pairs]
    await together(*(netns.cable(near, far, mtu=site.underlay_mtu) for near, far in ends))
    await netns.batch(site.fabric, *(f"link set {near} master {bridge}" for near, _, bridge in pairs))
    return pairs[0][1], pairs[1][1]


async def detach(site: Site, host: str) -> None:
    """Remove the Host's cables now: they would go some time after its namespace, and be in the way until then."""
    if netns.exists(site.fabric):
        await together(*(netns.remove_link(site.fabric, f"{kind}-{host}") for kind in ("ul", "ex")))
