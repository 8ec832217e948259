"""Security groups: one Port_Group each, one ACL a rule; and the group that drops what no rule allows. Pure functions.

Rules are stateful (`allow-related`): answers come back by connection tracking, and when a rule goes, OVN blocks the
connections it had allowed at their next packet. A remote group is the address set that OVN keeps for its Port_Group.

    1003  as a rule of a group, for one Port that a log hears of
    1002  allowed: the groups' rules, asking for an address
    1001  dropped and noted: what a log of a group or of a Port hears of
    1000  dropped
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from typing import Any

from hagane.network import log_row
from hagane.ovn.desired import Desired
from hagane.ovn.northbound import Table
from hagane.reconcile.ovn import acl_log
from hagane.state.database import Row

DROP = "group:drop"
DROP_NAME = "hagane_drop"
DROPPED, NOTED, ALLOWED, ALLOWED_NOTED = 1000, 1001, 1002, 1003  # priorities
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


def drop(logs: Sequence[Row] = ()) -> list[Desired]:
    """The group of all ports with port security: nothing passes, but asking for an address."""
    noted = acl_log.columns(acl_log.hears([log for log in logs if log["groups"] is None], log_row.DROP))
    asking = "(ip4 && udp.src == 68 && udp.dst == 67) || (ip6 && udp.src == 546 && udp.dst == 547)"
    return [
        Desired(Table.PORT_GROUP, DROP, {"name": DROP_NAME}, exclusive=("acls",)),
        _acl(DROP, "in", "to-lport", DROPPED, f"outport == @{DROP_NAME} && ip", "drop", noted),
        _acl(DROP, "out", "from-lport", DROPPED, f"inport == @{DROP_NAME} && ip", "drop", noted),
        _acl(DROP, "dhcp", "from-lport", ALLOWED, f"inport == @{DROP_NAME} && ({asking})", "allow"),
        *acl_log.meter(DROP),
        *(row for port, log in _of_ports(logs, log_row.DROP) for row in _noted(DROP, f'"{port}"', log, f"@{port}")),
    ]


def _of_ports(logs: Sequence[Row], event: str) -> list[tuple[str, Row]]:
    """(Port, the log that hears of it), for the logs with a target."""
    ports = dict.fromkeys(log["target_id"] for log in logs if log["target_id"])
    heard = ((port, acl_log.hears([log for log in logs if log["target_id"] == port], event)) for port in ports)
    return [(port, log) for port, log in heard if log is not None]


def _noted(me: str, where: str, log: Row | None, part: str = "") -> list[Desired]:
    """What would be dropped anyway is dropped here, and noted for the log."""
    if log is None:
        return []
    columns = acl_log.columns(log)
    return [
        _acl(me, f"in-noted{part}", "to-lport", NOTED, f"outport == {where} && ip", "drop", columns),
        _acl(me, f"out-noted{part}", "from-lport", NOTED, f"inport == {where} && ip", "drop", columns),
    ]


def group(
    row: Row, rules: Sequence[Row], prefixes: Mapping[str, Sequence[str]], logs: Sequence[Row] = ()
) -> list[Desired]:
    """All rows that a security group owns. `prefixes`: address group id -> its prefixes; `logs`: log_row.enabled()."""
    me, where = owner(row["id"]), f"@{name(row['id'])}"
    mine = [log for log in logs if log["groups"] is None or row["id"] in log["groups"]]
    whole = [log for log in mine if not log["target_id"]]
    named = [log for log in whole if log["groups"] is not None]
    accepts = acl_log.hears(whole, log_row.ACCEPT)
    ports = _of_ports(mine, log_row.ACCEPT)
    return [
        Desired(Table.PORT_GROUP, me, {"name": name(row["id"])}, exclusive=("acls",)),
        *(_rule(row, rule, where, prefixes, accepts) for rule in rules),
        *(_rule(row, rule, f'"{port}"', prefixes, log, f"@{port}") for rule in rules for port, log in ports),
        *_noted(me, where, acl_log.hears(named, log_row.DROP)),
    ]


def _rule(
    row: Row, rule: Row, where: str, prefixes: Mapping[str, Sequence[str]], log: Row | None, part: str = ""
) -> Desired:
    """A rule of a group; with `part`, once more for one of its Ports, of which a log hears."""
    stateful = row.get("stateful", True)
    return _acl(
        owner(row["id"]), f"{rule['id']}{part}", "to-lport" if rule["direction"] == "ingress" else "from-lport",
        ALLOWED_NOTED if part else ALLOWED, _match(rule, where, prefixes),
        "allow-related" if stateful else "allow-stateless",
        acl_log.columns(log, label=rule["id"] if stateful else ""),
    )  # fmt: skip


def _acl(
    me: str,
    part: str,
    direction: str,
    priority: int,
    expression: str,
    action: str,
    noted: Mapping[str, Any] = acl_log.SILENT,
) -> Desired:
    columns = {"direction": direction, "priority": priority, "match": expression, "action": action, **noted}
    return Desired(Table.ACL, f"{me}/rule:{part}", columns, parent=(Table.PORT_GROUP, me, "acls"))


def match(rule: Row, group_name: str, prefixes: Mapping[str, Sequence[str]]) -> str:
    """A rule in OVN's expression language (ovn-sb(5), "Expressions")."""
    return _match(rule, f"@{group_name}", prefixes)


def _match(rule: Row, where: str, prefixes: Mapping[str, Sequence[str]]) -> str:
    ingress = rule["direction"] == "ingress"
    version = "ip4" if rule["ethertype"] == "IPv4" else "ip6"
    side = "src" if ingress else "dst"
    parts = [f"{'outport' if ingress else 'inport'} == {where}", version]
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
