"""The devices of this machine that belong to a state folder."""

from ipaddress import IPv4Interface, ip_network

from hagane.config import Config
from hagane.lab.site import External, Site


def site(config: Config) -> Site:
    """What the settings say of the lab: Hosts, folders, the external network."""
    prefix = ip_network(config.external_network)
    external = External(ipv4=IPv4Interface(f"{prefix[1]}/{prefix.prefixlen}"))
    hosts = tuple(f"host{n}" for n in range(1, config.hosts + 1))
    return Site(prefix=config.prefix, state=config.state, run=config.run, hosts=hosts, external=external)
