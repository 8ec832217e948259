"""Ethernet frames made by hand, for machines that lie about who they are. Checksums are right, so that nothing but the
lie is a reason to drop them."""

import struct
from ipaddress import ip_address

IP4, IP6, ARP = 0x0800, 0x86DD, 0x0806


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def frame(source: str, target: str, kind: int, payload: bytes) -> bytes:
    return mac(target) + mac(source) + struct.pack("!H", kind) + payload


def checksum(data: bytes) -> int:
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp(source: str, target: str, payload: bytes, port: int = 4000) -> tuple[int, bytes]:
    """EtherType and packet of a UDP datagram, of either IP version."""
    one, other = ip_address(source).packed, ip_address(target).packed
    length = 8 + len(payload)
    pseudo = one + other + struct.pack("!HH", 17, length)
    head = struct.pack("!HHH", port, port, length)
    body = head + struct.pack("!H", checksum(pseudo + head + b"\0\0" + payload) or 0xFFFF) + payload
    if len(one) == 16:
        return IP6, struct.pack("!IHBB", 6 << 28, length, 17, 64) + one + other + body
    before = struct.pack("!BBHHHBB", 0x45, 0, 20 + length, 1, 0, 64, 17)
    return IP4, before + struct.pack("!H", checksum(before + b"\0\0" + one + other)) + one + other + body


def arp_claim(hardware: str, address: str, to_mac: str, to: str) -> tuple[int, bytes]:
    """An ARP answer that says: this address is at this MAC."""
    head = struct.pack("!HHBBH", 1, IP4, 6, 4, 2)
    return ARP, head + mac(hardware) + ip_address(address).packed + mac(to_mac) + ip_address(to).packed


def neighbour_claim(hardware: str, address: str, source: str, to: str) -> tuple[int, bytes]:
    """An IPv6 neighbour advertisement that says: this address is at this MAC (RFC 4861)."""
    one, other, about = (ip_address(text).packed for text in (source, to, address))
    body = struct.pack("!BBHI", 136, 0, 0, 0x60000000) + about + struct.pack("!BB", 2, 1) + mac(hardware)
    total = checksum(one + other + struct.pack("!II", len(body), 58) + body)
    body = body[:2] + struct.pack("!H", total) + body[4:]
    return IP6, struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + one + other + body
