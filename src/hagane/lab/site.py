"""What one lab on this machine consists of, and where: names, folders and addresses, all derived from one `Site`.

    root namespace        hagane-fabric               hagane-host1                     hagane-host2 ...
    hagane-ext0 ────────── br-ext ── ex-host1 ─────── ext0 ── br-ex ─┐
    172.24.4.1/24          │                                      br-int ── taps of the machines
                           br-ul ─── ul-host1 ─────── ul0 ── br-phy ─┘ (geneve)
    NB, SB, northd                                    OVS, ovn-controller, virtlogd, libvirtd, QEMU

Two labs on one machine need different prefixes, folders and external addresses, nothing else.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface
from pathlib import Path

from hagane.errors import Invalid

LONGEST_SOCKET = 100  # bytes; the kernel takes 107
_IPV4 = IPv4Interface("172.24.4.1/24")  # private, as the public network of the field's development clouds
_IPV6 = IPv6Interface("2001:db8:cafe::1/64")  # RFC 3849: for documentation, routed nowhere
_UNDERLAY = IPv4Network("172.30.0.0/24")


@dataclass(frozen=True, slots=True)
class External:
    """The external network as this machine's own end of it: what provider networks on `physical_network` reach."""

    physical_network: str = "ext"
    ipv4: IPv4Interface = _IPV4
    ipv6: IPv6Interface | None = _IPV6
    mtu: int = 1500


@dataclass(frozen=True, slots=True)
class Site:
    """One lab. `state` keeps what must survive a reboot; `run` keeps sockets and pid files."""

    prefix: str = "hagane"
    state: Path = Path("/var/lib/hagane")
    run: Path = Path("/run/hagane")
    hosts: tuple[str, ...] = ("host1",)
    external: External = External()
    underlay: IPv4Network = _UNDERLAY
    underlay_mtu: int = 1600

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9]{0,8}", self.prefix):
            raise Invalid(f"A lab's prefix is up to nine lower-case letters and digits, not {self.prefix!r}.")
        if not self.hosts or len(set(self.hosts)) != len(self.hosts):
            raise Invalid("A lab needs at least one Host, and every Host a name of its own.")
        for name in self.hosts:
            if not re.fullmatch(r"[a-z][a-z0-9-]{0,10}[a-z0-9]", name) or name in ("central", "fabric"):
                raise Invalid(f"{name!r} cannot be a Host's name: two to twelve of a-z, 0-9 and '-', not 'central'.")
        longest = self.folder("x" * 12).run / "libvirt" / "libvirt-admin-sock"
        if len(str(longest)) > LONGEST_SOCKET:
            raise Invalid(f"The folder {self.run} is too long a name: Unix sockets in it could not be opened.")

    def folder(self, part: str) -> "Folder":
        """The folders of "central" or of one Host."""
        return Folder(self.run_folder / part, self.state_folder / part)

    @property
    def run_folder(self) -> Path:
        return self.run / "lab"

    @property
    def state_folder(self) -> Path:
        return self.state / "lab"

    def netns(self, part: str) -> str:
        """The namespace of "fabric" or of one Host."""
        return f"{self.prefix}-{part}"

    def tunnel_ip(self, host: str) -> IPv4Address:
        """The Host's address on the underlay."""
        return self.underlay[11 + self.hosts.index(host)]

    @property
    def fabric(self) -> str:
        return self.netns("fabric")

    @property
    def external_link(self) -> str:
        """This machine's interface on the external network."""
        return f"{self.prefix}-ext0"


@dataclass(frozen=True, slots=True)
class Folder:
    """The folders of one part of the lab."""

    run: Path
    state: Path

    @property
    def log(self) -> Path:
        return self.state / "log"
