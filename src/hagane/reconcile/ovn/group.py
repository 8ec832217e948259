"""Security groups: one Port_Group each, one ACL a rule; and the group that drops what no rule allows. Pure functions.

Rules are stateful (`allow-related`): answers come back by connection tracking, and when a rule goes, OVN blocks the
connections it had allowed at their next packet. A remote group is the address set that OVN keeps for its Port_Group.
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_network

from hagane.ovn.desired import Desired
from hagane.ovn.northbound import Table
from hagane.state.database import Row

DROP = "group:drop"
DROP_NAME = "hagane_drop"
DROPPED, ALLOWED = 1001, 1002  # priorities
_PROTOCOLS = {
    "ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "icmp": 1, "icmpv6": 58, "igmp": 2, "ipip": 4,
    "ipv6-encap": 41, "ipv6-frag": 44, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "ipv6-route": 43,
    "ospf": 89, "pgm": 113, "rsvp": 46, "sctp": 132, "tcp": 6, "udp": 17, "udplite": 136, "vrrp": 112,
}  # fmt: skip


def owner(group_id: str) -> str:
    return f"security_group:{group_id}"


def name(group_id: str) -> str:
    """A Port_Group's name is an identifier of OVN's expression language: no dashes, no digit in front."""
    return "pg_" + group_id.replace("-", "_")


def drop() -> list[Desired]:
    """The group of all ports with port security: nothing passes, but asking for an address."""
    asking = "(ip4 && udp.src == 68 && udp.dst == 67) || (ip6 && udp.src == 546 && udp.dst == 547)"
    return [
        Desired(Table.PORT_GROUP, DROP, {"name": DROP_NAME}, exclusive=("acls",)),
        _acl(DROP, "in", "to-lport", DROPPED, f"outport == @{DROP_NAME} && ip", "drop"),
        _acl(DROP, "out", "from-lport", DROPPED, f"inport == @{DROP_NAME} && ip", "drop"),
        _acl(DROP, "dhcp", "from-lport", ALLOWED, f"inport == @{DROP_NAME} && ({asking})", "allow"),
    ]


def group(row: Row, rules: Sequence[Row], prefixes: Mapping[str, Sequence[str]]) -> list[Desired]:
    """All rows that a security group owns. `prefixes`: address group id -> its prefixes."""
    me = owner(row["id"])
    action = "allow-related" if row.get("stateful", True) else "allow-stateless"
    return [
        Desired(Table.PORT_GROUP, me, {"name": name(row["id"])}, exclusive=("acls",)),
        *(_rule(me, name(row["id"]), rule, action, prefixes) for rule in rules),
    ]


def _rule(me: str, group_name: str, rule: Row, action: str, prefixes: Mapping[str, Sequence[str]]) -> Desired:
    ingress = rule["direction"] == "ingress"
    direction = "to-lport" if ingress else "from-lport"
    return _acl(me, rule["id"], direction, ALLOWED, match(rule, group_name, prefixes), action)


def _acl(me: str, part: str, direction: str, priority: int, expression: str, action: str) -> Desired:
    columns = {"direction": direction, "priority": priority, "match": expression, "action": action}
    return Desired(Table.ACL, f"{me}/rule:{part}", columns, parent=(Table.PORT_GROUP, me, "acls"))


def match(rule: Row, group_name: str, prefixes: Mapping[str, Sequence[str]]) -> str:
    """A rule in OVN's expression language (ovn-sb(5), "Expressions")."""
    ingress = rule["direction"] == "ingress"
    version = "ip4" if rule["ethertype"] == "IPv4" else "ip6"
    side = "src" if ingress else "dst"
    parts = [f"{'outport' if ingress else 'inport'} == @{group_name}", version]
    if rule.get("remote_ip_prefix") and not rule["remote_ip_prefix"].endswith("/0"):
        parts.append(f"{version}.{side} == {_network(rule['remote_ip_prefix'])}")
    if rule.get("remote_group_id"):
        parts.append(f"{version}.{side} == ${name(rule['remote_group_id'])}_{version}")
    if rule.get("remote_address_group_id"):
        known = prefixes.get(rule["remote_address_group_id"], ())
        mine = [_network(prefix) for prefix in known if (":" in prefix) == (version == "ip6")]
        parts.append(f"{version}.{side} == {{{', '.join(mine)}}}" if mine else "0")
    return " && ".join([*parts, *_protocol(rule)])


def _network(prefix: str) -> str:
    """OVN refuses an expression whose prefix has bits set behind it, as users write them."""
    return str(ip_network(prefix, strict=False))


def _protocol(rule: Row) -> list[str]:
    protocol = str(rule.get("protocol") or "any")
    if protocol in ("any", "ip", "hopopt", "0"):
        return []
    number = _PROTOCOLS.get(protocol) or int(protocol)
    low, high = rule.get("port_range_min"), rule.get("port_range_max")
    if number in (1, 58):
        word = "icmp4" if rule["ethertype"] == "IPv4" else "icmp6"
        parts = [word]
        if low is not None:
            parts.append(f"{word}.type == {low}")
        if high is not None:
            parts.append(f"{word}.code == {high}")
        return parts
    word = {6: "tcp", 17: "udp", 132: "sctp"}.get(number, "")
    if not word:
        return [f"ip.proto == {number}"]
    if low is None and high is None:
        return [word]
    if low == high:
        return [word, f"{word}.dst == {low}"]
    return [
        word,
        f"{word}.dst >= {low if low is not None else 0}",
        f"{word}.dst <= {high if high is not None else 65535}",
    ]
