"""A machine that is only a namespace and a veth, plugged into a Host's switch under a Port's id.

It costs nothing, and as sockets can be opened in it from this process, it can be asked and made to send anything.
"""

import os
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

from hagane.drivers.metadata import space as netspace
from hagane.errors import HaganeError
from hagane.lab.process import tool
from tests.dataplane import dhcp6
from tests.dataplane.cloud import Cloud, until

ETH_P_ALL = 3
# What a lease brings, one NAME=value a line, and the address put on the interface, as a guest's own script would do.
SCRIPT = """#!/bin/sh
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
env > "$LEASE"
ip address flush dev $interface scope global
ip address add $ip/$mask dev $interface
[ -z "$mtu" ] || ip link set $interface mtu $mtu
set -- ${staticroutes:-0.0.0.0/0 $router}
while [ $# -ge 2 ]; do
  if [ $2 = 0.0.0.0 ]; then ip route replace $1 dev $interface; else ip route replace $1 via $2 dev $interface onlink; fi
  shift 2
done
exit 0
"""


class Guest:
    """One of them. `port` is the network API's."""

    def __init__(self, cloud: Cloud, host: str, port: Any) -> None:
        self._cloud, self.host, self.port = cloud, host, port
        self.space = f"{cloud.site.prefix}-vm-{port.id[:8]}"
        self._plug = f"v-{port.id[:11]}"
        self.lease: dict[str, str] = {}

    @property
    def ip(self) -> str:
        return next(f["ip_address"] for f in self.port.fixed_ips if ":" not in f["ip_address"])

    @property
    def ip6(self) -> str:
        return next(f["ip_address"] for f in self.port.fixed_ips if ":" in f["ip_address"])

    @property
    def mac(self) -> str:
        return str(self.port.mac_address)

    # -- its life ------------------------------------------------------------------------------------------------

    def make(self) -> "Guest":
        """The namespace and the cable, not plugged in yet."""
        there = self._cloud.site.netns(self.host)
        tool("ip", "netns", "add", self.space)
        tool(
            "ip", "link", "add", self._plug, "netns", there, "type", "veth", "peer", "name", "eth0", "netns", self.space
        )
        for space, link in ((there, self._plug), (self.space, "eth0")):
            tool("ip", "netns", "exec", space, "ethtool", "-K", link, "tx", "off")
        tool("ip", "-n", there, "link", "set", self._plug, "mtu", "1500", "up")
        self.ip_batch("link set lo up", f"link set eth0 address {self.mac} up")
        return self

    def plug(self) -> "Guest":
        """Into the switch, as libvirt would do with a tap."""
        ids = (f"external-ids:iface-id={self.port.id}", f"external-ids:attached-mac={self.mac}")
        self._cloud.switch(self.host, "--may-exist", "add-port", "br-int", self._plug, "--", "set", "Interface",
                           self._plug, *ids)  # fmt: skip
        return self

    def unplug(self) -> None:
        self._cloud.switch(self.host, "--if-exists", "del-port", "br-int", self._plug)

    def end(self) -> None:
        """The machine is gone: unplugged, its cable and namespace removed. A connection that was cut may keep a namespace
        without a name alive for a while, so the cable does not go with it by itself."""
        self.unplug()
        tool("ip", "-n", self._cloud.site.netns(self.host), "link", "delete", self._plug)
        tool("ip", "netns", "delete", self.space)

    def dhcp(self, *ask: str, seconds: float = 10.0) -> dict[str, str]:
        """Get a lease, and do what it says; `ask`: names of further options to ask for."""
        with tempfile.TemporaryDirectory() as name:
            script, lease = Path(name) / "script", Path(name) / "lease"
            script.write_text(SCRIPT)
            script.chmod(0o755)
            wishes = [word for option in ("mtu", "staticroutes", *ask) for word in ("-O", option)]
            argv = ["ip", "netns", "exec", self.space, "busybox", "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t",
                    str(int(seconds)), "-T", "1", "-s", str(script), *wishes]  # fmt: skip
            done = subprocess.run(argv, env={**os.environ, "LEASE": str(lease)}, capture_output=True, text=True)
            assert done.returncode == 0, f"no lease: {done.stderr}"
            pairs = (line.partition("=") for line in lease.read_text().splitlines())
            self.lease = {key: value for key, _, value in pairs if key.islower()}
        return self.lease

    def dhcp6(self) -> dict[str, str]:
        """What DHCPv6 offers. Raises OSError."""
        return netspace.inside(self.space, lambda: dhcp6.ask("eth0", self.mac))

    def ip_batch(self, *lines: str) -> None:
        tool("ip", "-n", self.space, "-batch", "-", stdin="".join(f"{line}\n" for line in lines))

    # -- what it can do --------------------------------------------------------------------------------------------

    def run(self, *argv: str) -> str:
        """A program in its namespace. Raises HaganeError."""
        return tool("ip", "netns", "exec", self.space, *argv)

    def pings(self, address: str, *, size: int = 56, whole: bool = False, wait: float = 1.0) -> bool:
        """Whether one ping is answered; `whole`: packets must not be cut into fragments."""
        try:
            self.run("ping", "-c1", f"-W{wait:g}", f"-s{size}", *(("-M", "do") if whole else ()), address)
        except HaganeError:
            return False
        return True

    def reaches(self, address: str, seconds: float = 10.0) -> None:
        """A ping is answered before the time is up."""
        until(lambda: self.pings(address), seconds, f"{self.ip} reaches {address}")

    def listen(self, port: int) -> socket.socket:
        """A socket that takes TCP connections over both IP versions."""

        def make() -> socket.socket:
            server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
            server.settimeout(5)
            return server

        return netspace.inside(self.space, make)

    def connect(self, address: str, port: int, *, wait: float = 2.0) -> socket.socket:
        """A TCP connection. Raises OSError."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        link = netspace.inside(self.space, lambda: socket.socket(family, socket.SOCK_STREAM))
        try:
            link.settimeout(wait)
            link.connect((address, port))
        except OSError:
            link.close()
            raise
        return link

    def wire(self) -> socket.socket:
        """A socket that sends frames as they are, and hears all that arrive."""

        def make() -> socket.socket:
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            wire.bind(("eth0", 0))
            wire.settimeout(3)
            return wire

        return netspace.inside(self.space, make)


def blocked(source: Guest, address: str, port: int, *, wait: float = 1.0) -> bool:
    """Whether a connection is neither made nor refused: its packets vanish."""
    try:
        source.connect(address, port, wait=wait).close()
    except TimeoutError:
        return True
    except ConnectionRefusedError:
        return False
    return False


def serve_once(server: socket.socket, client: socket.socket) -> socket.socket:
    """The server's end of a connection that the client has made."""
    link, _ = server.accept()
    link.settimeout(5)
    client.settimeout(5)
    return link


def exchange(one: socket.socket, other: socket.socket, size: int = 200_000) -> None:
    """Bytes there and back: small packets would hide a wrong checksum or size."""
    data = os.urandom(size)
    for source, target in ((one, other), (other, one)):
        sender = threading.Thread(target=source.sendall, args=(data,))
        sender.start()
        got = b""
        while len(got) < size and (more := target.recv(65536)):
            got += more
        sender.join()
        assert got == data
