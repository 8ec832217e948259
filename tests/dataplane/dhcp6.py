"""As much of DHCPv6 (RFC 8415) as it takes to ask for an address: one Solicit, and what the Advertise offers."""

import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv6Address

from tests.dataplane.frames import mac

SERVERS = "ff02::1:2"
SOLICIT, ADVERTISE = 1, 2
CLIENT_ID, IA_NA, IA_ADDR, WISHES, RESOLVERS = 1, 3, 5, 6, 23


def ask(interface: str, hardware: str, *, seconds: float = 1.0) -> dict[str, str]:
    """Run it where the interface is. What is offered: "address", "dns". Raises TimeoutError."""
    number = os.urandom(3)
    wish = bytes([SOLICIT]) + number + _option(CLIENT_ID, struct.pack("!HH", 3, 1) + mac(hardware))
    wish += _option(IA_NA, struct.pack("!III", 1, 0, 0)) + _option(WISHES, struct.pack("!H", RESOLVERS))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asking:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        asking.bind(("::", 546))
        asking.settimeout(seconds)
        asking.sendto(wish, (SERVERS, 547, 0, socket.if_nametoindex(interface)))
        while True:
            answer = asking.recv(4096)
            if answer[0] == ADVERTISE and answer[1:4] == number:
                return dict(_offers(answer[4:]))


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("!HH", code, len(value)) + value


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        code, length = struct.unpack_from("!HH", data)
        yield code, data[4 : 4 + length]
        data = data[4 + length :]


def _offers(data: bytes) -> Iterator[tuple[str, str]]:
    for code, value in _options(data):
        if code == RESOLVERS:
            yield "dns", str(IPv6Address(value[:16]))
        if code == IA_NA:
            yield from (("address", str(IPv6Address(v[:16]))) for c, v in _options(value[12:]) if c == IA_ADDR)
