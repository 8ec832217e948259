"""Hearing whether a machine is there, from the metadata Port of its network: with one raw socket, and without anything
on the machine.

A logical network answers ARP for its Ports by itself, so an answer to ARP proves nothing. What does: a packet from the
machine's MAC and IP address (a request for metadata, an answer to the ping that is sent now and then), or its own ARP
request. Security groups may keep pings out; the machine's own words they do not.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from enum import IntEnum
from ipaddress import ip_address

from hagane.drivers.metadata import space

ALL = 0x0003  # ETH_P_ALL
_IPV4, _ARP, _IPV6 = 0x0800, 0x0806, 0x86DD


class Sign(IntEnum):
    """What was heard; a later one says more."""

    ADDRESS = 1  # it uses its address
    PACKET = 2  # it sends packets from it to us


def sign(frame: bytes, mac: str, address: str) -> Sign | None:
    """What a frame on the metadata Port tells of a machine; None: nothing."""
    if len(frame) < 34 or frame[6:12] != bytes.fromhex(mac.replace(":", "")):
        return None
    kind, mine = struct.unpack("!H", frame[12:14])[0], ip_address(address).packed
    if kind == _ARP:  # a request; answers may be the network's own
        asks = frame[20:22] == b"\x00\x01"
        return Sign.ADDRESS if asks and mine in (frame[28:32], frame[38:42]) else None
    if kind == _IPV4 and frame[26:30] == mine:
        return Sign.PACKET
    if kind == _IPV6 and frame[22:38] == mine:
        return Sign.PACKET
    return None


class Ear:
    """An open pair of sockets in a namespace: one that hears everything, one that pings."""

    def __init__(self, hearing: socket.socket, pinging: socket.socket) -> None:
        self._hearing, self._pinging = hearing, pinging

    @classmethod
    async def open(cls, name: str, interface: str) -> "Ear":
        """Raises DeviceFailed where there is no such namespace or interface."""
        return cls(*await asyncio.to_thread(space.inside, name, lambda: _sockets(interface)))

    async def wait(self, mac: str, address: str, heard: Callable[[Sign], None], *, every: float = 1.0) -> None:
        """Listen until packets come from the machine; each new sign is told at once."""
        loop, best, done = asyncio.get_running_loop(), 0, asyncio.Event()

        def ready() -> None:
            nonlocal best
            with contextlib.suppress(BlockingIOError):
                while True:
                    found = sign(self._hearing.recv(256), mac, address)
                    if found is not None and found > best:
                        best = found
                        heard(found)
                        if found is Sign.PACKET:
                            done.set()

        loop.add_reader(self._hearing, ready)
        try:
            while not done.is_set():
                self._ping(address)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(every):
                        await done.wait()
        finally:
            loop.remove_reader(self._hearing)

    def _ping(self, address: str) -> None:
        if ":" in address:
            return
        head = struct.pack("!BBHHH", 8, 0, 0, 0x4861, 1)
        echo = struct.pack("!BBHHH", 8, 0, _checksum(head), 0x4861, 1)
        with contextlib.suppress(OSError):  # no route yet, or nobody there
            self._pinging.sendto(echo, (address, 0))

    def close(self) -> None:
        self._hearing.close()
        self._pinging.close()


def _sockets(interface: str) -> tuple[socket.socket, socket.socket]:
    hearing = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(ALL))
    try:
        hearing.bind((interface, ALL))
        pinging = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
    except OSError:
        hearing.close()
        raise
    return hearing, pinging


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
