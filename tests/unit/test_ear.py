"""What a frame on a metadata Port tells of a machine."""

import struct
from ipaddress import ip_address

import pytest

from hagane.drivers.metadata.ear import Sign, sign

MAC, OTHER, IP = "52:54:02:00:00:01", "52:54:02:00:00:02", "10.0.0.5"


def _frame(mac: str, kind: int, payload: bytes) -> bytes:
    head = b"\xff" * 6 + bytes.fromhex(mac.replace(":", "")) + struct.pack("!H", kind)
    return (head + payload).ljust(60, b"\0")


def _arp(operation: int, sender: str, target: str, mac: str = MAC) -> bytes:
    raw = bytes.fromhex(mac.replace(":", ""))
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + raw + ip_address(sender).packed + b"\0" * 6
    return _frame(mac, 0x0806, body + ip_address(target).packed)


def _ipv4(source: str, mac: str = MAC) -> bytes:
    return _frame(mac, 0x0800, b"\x45" + b"\0" * 11 + ip_address(source).packed + ip_address("10.0.0.2").packed)


def _ipv6(source: str) -> bytes:
    return _frame(MAC, 0x86DD, b"\x60" + b"\0" * 7 + ip_address(source).packed + ip_address("ff02::1").packed)


CASES = (
    (_arp(1, IP, "10.0.0.1"), IP, Sign.ADDRESS),
    (_arp(1, "0.0.0.0", IP), IP, Sign.ADDRESS),  # it asks whether somebody else has it
    (_arp(2, IP, "10.0.0.1"), IP, None),  # an answer may be the network's own
    (_arp(1, "10.0.0.9", "10.0.0.1"), IP, None),
    (_arp(1, IP, "10.0.0.1", OTHER), IP, None),
    (_ipv4(IP), IP, Sign.PACKET),
    (_ipv4("10.0.0.9"), IP, None),
    (_ipv4("0.0.0.0"), IP, None),  # it asks for an address
    (_ipv4(IP, OTHER), IP, None),
    (_ipv6("2001:db8::5"), "2001:db8::5", Sign.PACKET),
    (_ipv6("fe80::1"), "2001:db8::5", None),
    (b"", IP, None),
)


@pytest.mark.parametrize(("frame", "address", "told"), CASES)
def test_sign(frame: bytes, address: str, told: Sign | None) -> None:
    assert sign(frame, MAC, address) is told
