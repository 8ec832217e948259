"""Values of a security group rule's attributes, refused in the words that clients match on."""

from ipaddress import ip_interface, ip_network
from typing import Any

from hagane.api.text import natural, unscoped
from hagane.network.errors import error

NUMBERS = {
    "ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "hopopt": 0, "icmp": 1, "igmp": 2, "ip": 0, "ipip": 4,
    "ipv6-encap": 41, "ipv6-frag": 44, "ipv6-icmp": 58, "icmpv6": 58, "ipv6-nonxt": 59, "ipv6-opts": 60,
    "ipv6-route": 43, "ospf": 89, "pgm": 113, "rsvp": 46, "sctp": 132, "tcp": 6, "udp": 17, "udplite": 136, "vrrp": 112,
}  # fmt: skip
"""IP protocols by name (IANA). The compiler reads a rule's `protocol` as one of these names or a number in text."""
SUPPORTED: tuple[Any, ...] = (None, "any", *NUMBERS)
ANY = (None, "any")
WITH_PORTS = ("sctp", "tcp", "udp")
"""The real service also takes ports of DCCP and UDP-Lite; OVN cannot match them, so they are refused, not ignored."""
ICMP = ("icmp", "ipv6-icmp", "icmpv6", "1", "58")
ONLY_V6 = ("ipv6-encap", "ipv6-frag", "ipv6-icmp", "icmpv6", "ipv6-nonxt", "ipv6-opts", "ipv6-route")


def protocol(field: str, value: Any) -> str | None:
    if value in ANY:
        return None
    text = str(value).lower() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    number = natural(text)
    if text in NUMBERS or (number is not None and number <= 255):
        return text
    raise error("SecurityGroupRuleInvalidProtocol", protocol=value, values=SUPPORTED)


def ethertype(field: str, value: Any) -> str:
    for known in ("IPv4", "IPv6"):
        if isinstance(value, str) and value.lower() == known.lower():
            return known
    raise error("SecurityGroupRuleInvalidEtherType", ethertype=value, values=["IPv4", "IPv6"])


def port_number(field: str, value: Any) -> int | None:
    if value is None:
        return None
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if 0 <= number <= 65535 and not isinstance(value, bool):
        return number
    raise error("SecurityGroupInvalidPortValue", port=value)


def prefix(field: str, value: Any) -> str | None:
    """A remote prefix as it was written; a bare address becomes one of full length."""
    if not value:
        return None
    try:
        return str(ip_interface(unscoped(value)))
    except ValueError:
        raise error("InvalidCIDR", value=value) from None


def normalized(cidr: str | None) -> str | None:
    return None if cidr is None else str(ip_network(cidr, strict=False))
