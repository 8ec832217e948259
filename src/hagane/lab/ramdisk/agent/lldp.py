"""Which switch port each NIC hangs on: what switches announce of themselves every few seconds (IEEE 802.1AB)."""

import contextlib
import socket
import struct
import threading
import time

ETHERTYPE = 0x88CC
GROUP = bytes.fromhex("0180c200000e")  # nearest bridge: no switch forwards it
SOL_PACKET, ADD_MEMBERSHIP, MULTICAST = 263, 1, 0

Tlvs = list[tuple[int, str]]


class Listener:
    """Listens on all NICs from the moment it is made, so that waiting is over as soon as each has heard."""

    def __init__(self, names: list[str]) -> None:
        self.heard: dict[str, Tlvs] = {}
        self.names = names
        self.changed = threading.Condition()
        for name in names:
            threading.Thread(target=self._listen, args=(name,), daemon=True).start()

    def wait(self, names: list[str], seconds: float) -> dict[str, Tlvs]:
        """What was heard, once all of `names` have heard or the time is over."""
        end = time.monotonic() + seconds
        with self.changed:
            while set(names) - set(self.heard) and (left := end - time.monotonic()) > 0:
                self.changed.wait(left)
            return {name: self.heard.get(name, []) for name in self.names}

    def _listen(self, name: str) -> None:
        with (
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE)) as tap,
            contextlib.suppress(OSError),
        ):
            tap.bind((name, ETHERTYPE))
            request = struct.pack("iHH8s", socket.if_nametoindex(name), MULTICAST, len(GROUP), GROUP)
            tap.setsockopt(SOL_PACKET, ADD_MEMBERSHIP, request)
            while True:
                found = tlvs(tap.recv(9216)[14:])
                if found:
                    with self.changed:
                        self.heard[name] = found
                        self.changed.notify_all()


def tlvs(packet: bytes) -> Tlvs:
    """Type and value (in hexadecimal digits) of each field up to the end mark; a cut-off field is left out."""
    found: Tlvs = []
    at = 0
    while at + 2 <= len(packet):
        head = packet[at] << 8 | packet[at + 1]
        kind, length = head >> 9, head & 0x1FF
        at += 2
        if kind == 0 or at + length > len(packet):
            break
        found.append((kind, packet[at : at + length].hex()))
        at += length
    return found
