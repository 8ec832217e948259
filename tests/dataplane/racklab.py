"""A rack of real switches and gateways, in a cloud that runs in this process; its machines are namespaces.

    namespace bm1: eth0 (TAP, the Nic's MAC) ── relay ── TAP bm1-0 of the rack ── br-tor ══ gw1, gw2 ── OVN

A machine that is only a namespace starts at once; what it sends takes the same way as a real one's: SwitchPort, private
VLAN, trunk, gateway.
"""

import asyncio
import fcntl
import os
import select
import struct
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hagane.app import Hagane
from hagane.baremetal.provision import Provision
from hagane.config import Config
from hagane.drivers.metadata import space as netspace
from hagane.errors import Unavailable
from hagane.lab import machine, ovs, rack
from hagane.lab.process import tool
from hagane.lab.rack_description import MachineDescription, RackDescription
from hagane.lab.rack_place import Rack
from hagane.operate.enroll_file import load
from hagane.reconcile.devices import Devices
from hagane.state.database import Row
from tests.dataplane.hostlab import site
from tests.dataplane.space import Guest
from tests.scenarios.rack_world import RackWorld, authenticate

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000


class Relay:
    """A cable between two TAPs in different namespaces."""

    def __init__(self, *ends: tuple[str, str]) -> None:
        self._taps = [netspace.inside(space, lambda name=name: _tap(name)) for space, name in ends]
        self._stop = os.pipe()
        self._thread = threading.Thread(target=self._run, name=f"relay {ends}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        other = dict(zip(self._taps, reversed(self._taps), strict=True))
        while True:
            ready, _, _ = select.select([*self._taps, self._stop[0]], [], [])
            if self._stop[0] in ready:
                return
            for tap in ready:
                with suppress(OSError):  # an interface that is down, or full: the frame is lost, as on a cable
                    os.write(other[tap], os.read(tap, 65536))

    def close(self) -> None:
        os.write(self._stop[1], b"x")
        self._thread.join()
        for fd in (*self._taps, *self._stop):
            os.close(fd)


def _tap(name: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return fd


class Metal(Guest):
    """A machine of the rack on one of its Nics. `port`: what it may know of the Port that the Nic carries."""

    def __init__(self, lab: "RackLab", name: str, mac: str, switch_port: str) -> None:
        super().__init__(lab, "", SimpleNamespace(id=f"{name:0<11}", fixed_ips=[], mac_address=mac))  # type: ignore[arg-type]
        self.space = f"{lab.site.prefix}-{name}"
        self._switch_port, self._relay, self._lab = switch_port, None, lab

    def make(self) -> "Metal":
        tool("ip", "netns", "add", self.space)
        tool("ip", "-n", self.space, "tuntap", "add", "eth0", "mode", "tap")
        self.ip_batch("link set lo up", f"link set eth0 address {self.mac} mtu 1442 up")
        self._relay = Relay((self.space, "eth0"), (self._lab.site.netns("tor1"), self._switch_port))  # type: ignore[assignment]
        return self

    def end(self) -> None:
        if self._relay is not None:
            self._relay.close()
        tool("ip", "netns", "delete", self.space)

    def has(self, port: Row) -> "Metal":
        """It has the Port's addresses, as if by DHCP."""
        self.port = SimpleNamespace(**port)
        self.ip_batch("address flush dev eth0 scope global", f"address add {self.ip}/24 dev eth0")
        return self


class RackLab(RackWorld):
    """A scenario's world, on real devices."""

    def __init__(self, hagane: Hagane, rack_: Rack) -> None:
        super().__init__(hagane, {}, {})
        self.rack_, self.site = rack_, rack_.site
        self.file = load(rack_.enrolment)
        self.guests: list[Guest] = []

    def switch(self, host: str, *words: str) -> str:
        """ovs-vsctl on a Host (for `Guest`)."""
        from hagane.lab import host as hosts

        place = hosts.switch(self.site, host)
        return tool("ovs-vsctl", f"--db={place.remote}", "--timeout=10", *words)

    async def vsctl(self, part: str, *words: str) -> str:
        """ovs-vsctl on the switch or a gateway."""
        return await ovs.vsctl(self.rack_.ovs(part), *words)

    async def enrol(self) -> None:
        """The rack, and the network of the ramdisk."""
        answer = await self.admin.put(f"/hagane/v1/racks/{self.rack_.name}", json=self.file.document())
        assert answer.status_code == 200, answer.text
        self.network_id = await self.network("provisioning", "172.30.16.0/24", gateway_ip=None)
        await self.until(self.all_up, 30)

    async def network(self, name: str, cidr: str, http: Any = None, **more: Any) -> str:
        """As the base does, for networks; `gateway_ip` is of the subnet."""
        gateway = {"gateway_ip": more.pop("gateway_ip")} if "gateway_ip" in more else {}
        answer = await (http or self.admin).post("/network/v2.0/networks", json={"network": {"name": name, **more}})
        key: str = answer.json()["network"]["id"]
        subnet = {"network_id": key, "cidr": cidr, "ip_version": 4, **gateway}
        answer = await (http or self.admin).post("/network/v2.0/subnets", json={"subnet": subnet})
        assert answer.status_code == 201, answer.text
        return key

    async def service(self) -> str:
        """The address of the provisioning service, when it is there."""
        provision, found = self.cloud.use(Provision), []  # type: ignore[type-abstract]

        async def there() -> bool:
            with suppress(Unavailable):
                found.append(await provision.url(self.db, self.network_id))
            return bool(found)

        await self.until(there)
        return str(found[0])

    async def metal(self, name: str, number: int = 0) -> tuple[Row, Metal]:
        """One machine of the rack as a Node with one Nic, and as a namespace."""
        described = next(node for node in self.file.node if node.name == name)
        nic = described.nic[number]
        body = {"name": name, "driver": "fake-hardware", "network_interface": "neutron",
                "driver_info": {f"{role}_network": self.network_id for role in ("provisioning", "cleaning")}}  # fmt: skip
        answer = await self.admin.post("/baremetal/v1/nodes", json=body)
        assert answer.status_code == 201, answer.text
        key = answer.json()["uuid"]
        body = {"node_uuid": key, "address": nic.mac, "local_link_connection": self.file.link(nic)}
        answer = await self.admin.post("/baremetal/v1/ports", json=body)
        assert answer.status_code == 201, answer.text
        made = await asyncio.to_thread(Metal(self, name, nic.mac, nic.port).make)
        self.guests.append(made)
        return await self.row(key), made

    async def virtual(self, network_id: str, **more: Any) -> Guest:
        """A machine on host1, on a Port of its own."""
        return await self.virtual_of(await self.port(network_id, **{"binding:host_id": "host1", **more}))

    async def virtual_of(self, port: dict[str, Any]) -> Guest:
        guest = Guest(self, "host1", SimpleNamespace(**port))  # type: ignore[arg-type]
        await asyncio.to_thread(lambda: guest.make().plug())
        guest.ip_batch(f"address add {guest.ip}/24 dev eth0", "link set eth0 mtu 1442")
        self.guests.append(guest)
        return guest

    async def answers(self, source: Guest, target: str) -> bool:
        return await asyncio.to_thread(source.pings, target, wait=0.5)

    async def pings(self, source: Guest, target: str, seconds: float = 10) -> None:
        """A ping is answered before the time is up."""
        await self.until(lambda: self.answers(source, target), seconds)


@asynccontextmanager
async def rack_lab(folder: Path, prefix: str, *, gateways: int = 2) -> AsyncIterator[RackLab]:
    """A cloud with one Host and a rack of three machines, all gone afterwards."""
    where = site(folder / "lab", prefix)
    machines = tuple(MachineDescription(f"bm{number}", nics=2) for number in (1, 2, 3))
    described = RackDescription(machine=machines, gateways=gateways)
    try:
        cloud = await machine.up(where, kvm=False)
        await rack.up(where, described)
        first = cloud.hosts[0]
        devices = Devices(northbound=cloud.central.nb, southbound=cloud.central.sb, local_switch=first.ovs_db,
                          local_namespace=first.netns)  # fmt: skip
        hagane = Hagane(Config(state=folder / "state", prefix=prefix), devices, authenticate)
        (folder / "state").mkdir(exist_ok=True)
        await hagane.start()
        lab = RackLab(hagane, Rack(where, described))
        try:
            await lab.enrol()
            yield lab
        finally:
            for guest in lab.guests:
                await asyncio.to_thread(guest.end)
            await lab.admin.aclose()
            await lab.member.aclose()
            await hagane.stop()
    finally:
        await rack.down(where)
        await machine.down(where)
