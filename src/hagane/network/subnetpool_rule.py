"""Rules of subnet pools, and cutting a subnet out of one. Pure functions."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any

from hagane.network.errors import error
from hagane.state.database import Row

Prefix = IPv4Network | IPv6Network
_LEAST = {4: 8, 6: 64}  # prefix length of the largest subnet, unless the pool says otherwise
_MOST = {4: 32, 6: 128}
_UNIT = {4: 32, 6: 64}  # quotas count addresses of version 4, and /64 networks of version 6


def compact(cidrs: Iterable[str]) -> list[str]:
    """The same addresses in as few prefixes as possible."""
    networks: list[Any] = [ip_network(cidr, strict=False) for cidr in cidrs]
    return [str(network) for network in collapse_addresses(networks)]


def complete(row: Row) -> None:
    """Fill a new pool in and check it."""
    if not row["prefixes"]:
        raise error("EmptySubnetPoolPrefixList")
    versions = {ip_network(prefix, strict=False).version for prefix in row["prefixes"]}
    if len(versions) > 1:
        raise error("PrefixVersionMismatch")
    row["ip_version"] = version = versions.pop()
    row["prefixes"] = compact(row["prefixes"])
    row.setdefault("min_prefixlen", _LEAST[version])
    row.setdefault("max_prefixlen", _MOST[version])
    row.setdefault("default_prefixlen", row["min_prefixlen"])
    row.setdefault("default_quota", None)
    check_bounds(row)


def check_bounds(row: Row) -> None:
    """Raises IllegalSubnetPoolPrefixBounds."""
    version, least, most, default = (
        row[k] for k in ("ip_version", "min_prefixlen", "max_prefixlen", "default_prefixlen")
    )
    _order("min_prefixlen", least, "max_prefixlen", most)
    _order("max_prefixlen", most, "ip_version_max", _MOST[version])
    if default < least:
        raise _bounds("default_prefixlen", default, "min_prefixlen", least)
    _order("default_prefixlen", default, "max_prefixlen", most)


def _order(name: str, value: int, bound_name: str, bound: int) -> None:
    if value > bound:
        raise _bounds(name, value, bound_name, bound)


def _bounds(name: str, value: int, bound_name: str, bound: int) -> Exception:
    return error("IllegalSubnetPoolPrefixBounds", prefix_type=name, prefixlen=value, base_prefix_type=bound_name,
                 base_prefixlen=bound)  # fmt: skip


def widened(old: Row, wanted: Sequence[str]) -> list[str]:
    """New prefixes of a pool, which must hold all of its old ones. Raises IllegalSubnetPoolPrefixUpdate."""
    if any(ip_network(prefix, strict=False).version != old["ip_version"] for prefix in wanted):
        raise error("PrefixVersionMismatch")
    new = compact(wanted)
    if subtract(old["prefixes"], new):
        raise error("IllegalSubnetPoolPrefixUpdate", reason="Existing prefixes must be a subset of the new prefixes")
    return new


def narrowed(old: Row, gone: Sequence[str], taken: Sequence[str]) -> list[str]:
    """A pool's prefixes without some. Raises IllegalSubnetPoolPrefixUpdate while a subnet uses one of these."""
    if overlap(taken, gone):
        raise error("IllegalSubnetPoolPrefixUpdate",
                    reason="One or more the prefixes to be removed is in use by a subnet.")  # fmt: skip
    return compact(str(prefix) for prefix in subtract(old["prefixes"], gone))


def overlap(some: Sequence[str], others: Sequence[str]) -> bool:
    ones: list[Any] = [ip_network(cidr, strict=False) for cidr in some]
    twos: list[Any] = [ip_network(cidr, strict=False) for cidr in others]
    return any(a.version == b.version and a.overlaps(b) for a in ones for b in twos)


def subtract(cidrs: Sequence[str], taken: Iterable[str]) -> list[Prefix]:
    """What of `cidrs` is not in `taken`."""
    free: list[Any] = [ip_network(cidr, strict=False) for cidr in cidrs]
    for cidr in taken:
        gone: Any = ip_network(cidr, strict=False)
        rest: list[Any] = []
        for prefix in free:
            if prefix.version != gone.version or not prefix.overlaps(gone):
                rest.append(prefix)
            elif gone.prefixlen > prefix.prefixlen:
                rest.extend(prefix.address_exclude(gone))
        free = rest
    return free


def cut(pool: Row, subnets: Sequence[Row], project: str, *, cidr: str | None, prefixlen: int | None) -> str:
    """The prefix of a new subnet: the wanted one, or any of the wanted length out of the smallest gap."""
    length = ip_network(cidr).prefixlen if cidr else (prefixlen or pool["default_prefixlen"])
    if length > pool["max_prefixlen"]:
        raise error("MaxPrefixSubnetAllocationError", prefixlen=length, limit=pool["max_prefixlen"])
    if length < pool["min_prefixlen"]:
        raise error("MinPrefixSubnetAllocationError", prefixlen=length, limit=pool["min_prefixlen"])
    _check_quota(pool, subnets, project, length)
    free: list[Any] = sorted(subtract(pool["prefixes"], [s["cidr"] for s in subnets]), key=lambda p: (-p.prefixlen, p))
    if cidr:
        wanted: Any = ip_network(cidr)
        if any(wanted.subnet_of(prefix) for prefix in collapse_addresses(free)):
            return cidr
        raise error(
            "SubnetAllocationError", reason="Cannot allocate requested subnet from the available set of prefixes"
        )
    for prefix in free:
        if length >= prefix.prefixlen:
            return str(next(prefix.subnets(new_prefix=length)))
    raise error("SubnetAllocationError", reason=f"Insufficient prefix space to allocate subnet size /{length}")


def _check_quota(pool: Row, subnets: Sequence[Row], project: str, length: int) -> None:
    if not pool["default_quota"]:
        return
    unit = _UNIT[pool["ip_version"]]
    own = [ip_network(subnet["cidr"]).prefixlen for subnet in subnets if subnet["project_id"] == project]
    if sum(2.0 ** (unit - each) for each in [*own, length]) > pool["default_quota"]:
        raise error("SubnetPoolQuotaExceeded")
