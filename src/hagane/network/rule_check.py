"""What a security group rule may say. Each refusal is the real service's."""

from ipaddress import ip_interface

from hagane.network.errors import error
from hagane.network.rule_value import ICMP, NUMBERS, ONLY_V6, WITH_PORTS
from hagane.network.security_group_row import RULE
from hagane.state.database import Row, Tx

_SAME = ("security_group_id", "direction", "ethertype", "port_range_min", "port_range_max", "remote_ip_prefix",
         "remote_group_id", "remote_address_group_id")  # fmt: skip


def check(row: Row) -> None:
    """Raises the errors SecurityGroup*."""
    _check_remote(row)
    _check_ports(row)
    _check_family(row)


def _check_remote(row: Row) -> None:
    named = [row[name] for name in ("remote_ip_prefix", "remote_group_id", "remote_address_group_id") if row[name]]
    if len(named) > 1:
        raise error("SecurityGroupMultipleRemoteEntites")


def _check_ports(row: Row) -> None:
    low, high, protocol = row["port_range_min"], row["port_range_max"], row["protocol"]
    if low is None and high is None:
        return
    if protocol is None:
        raise error("SecurityGroupProtocolRequiredWithPorts")
    if protocol in WITH_PORTS or protocol in {str(NUMBERS[name]) for name in WITH_PORTS}:
        if 0 in (low, high) and protocol in ("tcp", "udp", "6", "17"):
            raise error("SecurityGroupInvalidPortValue", port=0)
        if low is None or high is None or low > high:
            raise error("SecurityGroupInvalidPortRange")
    elif protocol in ICMP:
        for attr, name, value in (("port_range_min", "type", low), ("port_range_max", "code", high)):
            if value is not None and not 0 <= value <= 255:
                raise error("SecurityGroupInvalidIcmpValue", field=name, attr=attr, value=value)
        if low is None and high is not None:
            raise error("SecurityGroupMissingIcmpType", value=high)
    else:
        known = ", ".join(sorted(name.upper() for name in WITH_PORTS))
        raise error("SecurityGroupInvalidProtocolForPort", protocol=NUMBERS.get(protocol, protocol), protocols=known)


def _check_family(row: Row) -> None:
    version, protocol, prefix = row["ethertype"], row["protocol"], row["remote_ip_prefix"]
    if version == "IPv4" and (protocol in ONLY_V6 or protocol in ("41", "43", "44", "58", "59", "60")):
        raise error("SecurityGroupEthertypeConflictWithProtocol", ethertype=version, protocol=protocol)
    if prefix and ip_interface(prefix).version != (4 if version == "IPv4" else 6):
        raise error("SecurityGroupRuleParameterConflict", ethertype=version, cidr=prefix)


def sameness(row: Row) -> tuple[object, ...]:
    """What makes a rule: two with the same are one. `tcp` and `6` are the same, and so are all names of ICMPv6."""
    protocol = row["protocol"]
    number = None if protocol is None else str(NUMBERS.get(protocol, protocol))
    if row["ethertype"] == "IPv6" and protocol in ICMP:
        number = "58"
    return (number, *(row[name] for name in _SAME))


async def refuse_duplicate(tx: Tx, row: Row) -> None:
    """Raises SecurityGroupRuleExists."""
    for other in await RULE.select(tx, {name: row[name] for name in _SAME}):
        if sameness(other) == sameness(row):
            raise error("SecurityGroupRuleExists", rule_id=other["id"])
