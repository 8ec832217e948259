"""An answer to router solicitations, which says that there is no router: it saves a start of iPXE 13 seconds.

iPXE asks for IPv4 and IPv6 addresses at once and goes on when both are settled; where nobody answers for IPv6, it
waits for its time-out, however soon IPv4 was there. An advertisement with a router lifetime of 0, no prefix and no
DHCPv6 (RFC 4861, 4.2: "not a default router") ends the wait and gives nobody a route.
"""

import asyncio
import contextlib
import socket
import struct

ALL_NODES, ALL_ROUTERS = "ff02::1", "ff02::2"
SOLICITATION, ADVERTISEMENT = 133, 134
_ICMP6_FILTER = 1  # linux/icmpv6.h
# Type, code, checksum (the kernel's work), hop limit 0 and flags 0 (nothing to say), lifetime 0, timers 0.
MESSAGE = struct.pack("!BBHBBHII", ADVERTISEMENT, 0, 0, 0, 0, 0, 0, 0)


def listen(interface: str) -> socket.socket:
    """A socket in the current namespace that hears router solicitations on an interface. Raises OSError."""
    one = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
                        socket.IPPROTO_ICMPV6)  # fmt: skip
    try:
        index = socket.if_nametoindex(interface)
        blocked = [0xFFFFFFFF] * 8
        blocked[SOLICITATION >> 5] &= ~(1 << (SOLICITATION & 31))
        one.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *blocked))
        group = socket.inet_pton(socket.AF_INET6, ALL_ROUTERS) + struct.pack("=I", index)
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        # Whoever hears it checks that it came from this very link (RFC 4861, 6.1.2).
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    except BaseException:
        one.close()
        raise
    return one


class Advertiser:
    """Answers on one network."""

    def __init__(self, one: socket.socket) -> None:
        self._socket = one
        asyncio.get_running_loop().add_reader(one.fileno(), self._asked)

    def _asked(self) -> None:
        with contextlib.suppress(OSError):  # a full queue, or a network that just goes: they ask again
            self._socket.recv(2048)
            self._socket.sendto(MESSAGE, (ALL_NODES, 0))

    async def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
