"""The devices of this machine that belong to a state folder."""

from ipaddress import IPv4Interface, IPv6Interface, IPv6Network, ip_network

from hagane.config import Config
from hagane.lab.site import External, Site


def site(config: Config) -> Site:
    """What the settings say of the lab: Hosts, folders, the external network."""
    prefix = ip_network(config.external_network)
    external = External(ipv4=IPv4Interface(f"{prefix[1]}/{prefix.prefixlen}"), ipv6=_v6(config.external_network_v6))
    hosts = tuple(f"host{n}" for n in range(1, config.hosts + 1))
    return Site(prefix=config.prefix, state=config.state, run=config.run, hosts=hosts, external=external)


def _v6(text: str) -> IPv6Interface | None:
    if not text:
        return None
    prefix = IPv6Network(text)
    return IPv6Interface(f"{prefix[1]}/{prefix.prefixlen}")
