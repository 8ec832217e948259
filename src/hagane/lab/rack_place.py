"""Names, folders and addresses of a rack, all derived from the lab's `Site` and the rack's description.

    root namespace      hagane-oob                       hagane-tor1                    hagane-gw1
    hagane-oob0 ─────── br-oob ─┬─ oob-tor1 ──────────── oob0   br-tor ── gw1 ══════════ trunk0 ── br-trunk
    172.30.1.1          │       └─ oob-gw1 ─┐                     ├ host1 ══▶ the same    br-int, br-phy, br-ex
                        BMCs .11 .12 ..     │                     ├ bm1-0, bm1-1 (TAPs)  OVS, ovn-controller
                                            └──────────────────── │ ─────────────────▶ oob0
                                                                  └ QEMU of the machines

One rack per lab. That a rack is wanted is said by a file: its description, in the lab's run folder.
"""

import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import msgspec

from hagane.lab.ovs import Ovs
from hagane.lab.rack_description import MachineDescription, RackDescription
from hagane.lab.site import Folder, Site

BRIDGE, TRUNK_BRIDGE, TRUNK, OOB = "br-tor", "br-trunk", "trunk0", "oob0"
OVSDB_PORT, REDFISH_PORT, IPMI_PORT = 6640, 443, 623
MTU = 1600  # of every cable that carries tagged frames
_SPACE = uuid.UUID("6e0d4f3c-9a57-4d21-9f0e-0a3c6d1b7f52")


@dataclass(frozen=True, slots=True)
class Rack:
    """One rack of one lab."""

    site: Site
    described: RackDescription

    @property
    def name(self) -> str:
        return self.described.name

    @property
    def switch(self) -> str:
        return self.described.switch

    @property
    def gateways(self) -> tuple[str, ...]:
        return tuple(f"gw{number}" for number in range(1, self.described.gateways + 1))

    @property
    def machines(self) -> tuple[MachineDescription, ...]:
        return self.described.machine

    @property
    def folder(self) -> Folder:
        """Of what is neither switch nor gateway: machines and their BMCs."""
        return self.site.folder(self.name)

    @property
    def enrolment(self) -> Path:
        """What `hagane enroll` reads."""
        return self.site.state_folder / f"{self.name}.toml"

    # The out-of-band network

    @property
    def oob(self) -> str:
        """Its namespace."""
        return self.site.netns("oob")

    @property
    def oob_link(self) -> str:
        """This machine's own interface on it."""
        return f"{self.site.prefix}-oob0"

    @property
    def network(self) -> IPv4Network:
        if self.described.out_of_band:
            return IPv4Network(self.described.out_of_band)
        return IPv4Network("172.30.1.0/24" if not self._number else f"172.29.{self._number}.0/24")

    @property
    def here(self) -> IPv4Address:
        """This machine's own address on it."""
        return self.network[1]

    def address(self, part: str) -> IPv4Address:
        """The out-of-band address of the switch, of a gateway, or of a machine's BMC."""
        order = {self.switch: 2}
        order |= {gateway: 3 + number for number, gateway in enumerate(self.gateways)}
        order |= {machine.name: 11 + number for number, machine in enumerate(self.machines)}
        return self.network[order[part]]

    # Switch and gateways

    def ovs(self, part: str) -> Ovs:
        """The OVS of the switch or of a gateway; its database answers on the out-of-band network too."""
        folder = self.site.folder(part)
        listen = f"{OVSDB_PORT}:{self.address(part)}"
        database = folder.state / "ovs" / "conf.db"
        return Ovs(part, self.site.netns(part), folder.run / "ovs", database, folder.log, listen)

    @property
    def chassis_id(self) -> str:
        """The MAC by which LLDP names the switch."""
        return f"52:54:01:{self._number:02x}:00:02"

    def tunnel_ip(self, gateway: str) -> IPv4Address:
        """The gateway's address on the underlay, after those of the Hosts."""
        return self.site.underlay[201 + self.gateways.index(gateway)]

    # Machines

    def uuid(self, machine: str) -> str:
        return str(uuid.uuid5(_SPACE, f"{self.site.prefix}/{self.name}/{machine}"))

    def nics(self, machine: MachineDescription) -> Iterator[tuple[str, str]]:
        """(MAC, port of the switch) of each of its NICs. The port is a TAP of the same name."""
        place = self.machines.index(machine)
        for number in range(machine.nics):
            yield f"52:54:02:{self._number:02x}:{place:02x}:{number:02x}", f"{machine.name}-{number}"

    def machine_folder(self, machine: str) -> Path:
        """Sockets and the memory of its BMC."""
        return self.folder.run / machine

    def disks(self, machine: MachineDescription) -> tuple[Path, ...]:
        folder = self.folder.state / machine.name
        return tuple(folder / f"disk{number}.raw" for number in range(len(machine.disks_gb)))

    @property
    def ports(self) -> tuple[str, ...]:
        """The switch's ports to machines."""
        return tuple(port for machine in self.machines for _, port in self.nics(machine))

    @property
    def trunks(self) -> tuple[str, ...]:
        """The switch's ports to gateways and Hosts, named like what hangs there."""
        return (*self.gateways, *self.site.hosts)

    @property
    def _number(self) -> int:
        """Tells labs on one machine apart; 0 is the usual one."""
        return 0 if self.site.prefix == "hagane" else zlib.crc32(self.site.prefix.encode()) % 250 + 1


def mark(site: Site) -> Path:
    """The file that says that a rack is wanted, and which."""
    return site.run_folder / "rack.json"


def current(site: Site) -> Rack | None:
    """The rack that was brought up and not taken down since."""
    try:
        return Rack(site, msgspec.json.decode(mark(site).read_bytes(), type=RackDescription))
    except (OSError, msgspec.DecodeError):
        return None


def want(rack: Rack) -> None:
    """Remember that this rack is to be up."""
    path = mark(rack.site)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(rack.described))
    fresh.replace(path)
