"""What a subnet may look like. Pure functions over the requested values; each refuses with the real service's words."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from hagane.network.errors import error, invalid
from hagane.network.subnet_row import is_auto
from hagane.state.database import Row

MAX_NAMESERVERS, MAX_ROUTES = 5, 20
Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network


def network_of(cidr: str) -> Prefix:
    return ip_network(cidr, strict=False)


def check(row: Row, *, old: Row | None = None) -> None:
    """Everything about a new or changed subnet but its pools and its neighbours. Raises InvalidInput."""
    version = row["ip_version"]
    prefix = network_of(row["cidr"])
    _same_version(version, row["cidr"], "cidr", prefix.version)
    if version == 6 and int(prefix.network_address) == 0:
        raise invalid("IPv6 subnet '::' is not supported")
    if row["enable_dhcp"] and not (old and old["enable_dhcp"]):
        _check_dhcp(prefix)
    if row.get("gateway_ip"):
        _check_gateway(row, prefix)
    name = row["id"] if old else "new subnet"
    _check_nameservers(row, version, name)
    _check_routes(row, version, name)
    _check_modes(row, old)
    if prefix.prefixlen == 0:
        raise invalid("0 is not allowed as CIDR prefix length")


def _same_version(version: int, value: str, name: str, found: int) -> None:
    if found != version:
        raise invalid(f"{name} '{value}' does not match the ip_version '{version}'")


def _check_dhcp(prefix: Prefix) -> None:
    if prefix.prefixlen > (30 if prefix.version == 4 else 126):
        raise invalid("Subnet has a prefix length that is incompatible with DHCP service enabled")
    if prefix.is_multicast:
        raise invalid("Multicast IP subnet is not supported if enable_dhcp is True")
    if prefix.is_loopback:
        raise invalid("Loopback IP subnet is not supported if enable_dhcp is True")
    if prefix.version == 4 and int(prefix.network_address) == 0:
        raise invalid("First IP '0.0.0.0' of network is not supported if enable_dhcp is True.")


def _check_gateway(row: Row, prefix: Prefix) -> None:
    """A gateway inside an IPv4 prefix must be a host's address; one outside of it is reached on the link."""
    address = ip_address(row["gateway_ip"])
    _same_version(row["ip_version"], row["gateway_ip"], "gateway_ip", address.version)
    if prefix.version == 4 and address in (prefix.network_address, prefix.broadcast_address):
        raise invalid("Gateway is not valid on subnet")


def _check_nameservers(row: Row, version: int, name: str) -> None:
    if len(row["dns_nameservers"]) > MAX_NAMESERVERS:
        raise error("DNSNameServersExhausted", id=name, quota=MAX_NAMESERVERS)
    for server in row["dns_nameservers"]:
        _same_version(version, server, "dns_nameserver", ip_address(server).version)


def _check_routes(row: Row, version: int, name: str) -> None:
    if len(row["host_routes"]) > MAX_ROUTES:
        raise error("HostRoutesExhausted", id=name, quota=MAX_ROUTES)
    for route in row["host_routes"]:
        _same_version(version, route["nexthop"], "nexthop", ip_address(route["nexthop"]).version)
        _same_version(version, route["destination"], "destination", ip_network(route["destination"]).version)


def _check_modes(row: Row, old: Row | None) -> None:
    ra, address = row["ipv6_ra_mode"], row["ipv6_address_mode"]
    if row["ip_version"] == 4:
        for name in ("ipv6_ra_mode", "ipv6_address_mode"):
            if row[name]:
                raise invalid(f"{name} is not valid when ip_version is 4")
        return
    if old is not None:
        if (ra or address) and not row["enable_dhcp"]:
            raise invalid("Cannot disable enable_dhcp with ipv6 attributes set")
        return
    if (ra or address) and not row["enable_dhcp"]:
        raise invalid("ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False")
    if ra and address and ra != address:
        raise invalid(
            f"ipv6_ra_mode set to '{ra}' with ipv6_address_mode set to '{address}' is not valid. "
            "If both attributes are set, they must be the same value"
        )
    if is_auto(row) and network_of(row["cidr"]).prefixlen != 64:
        raise invalid(
            f"Invalid CIDR {row['cidr']} for IPv6 address mode. OpenStack uses the EUI-64 address format, "
            "which requires the prefix to be /64"
        )


def default_gateway(cidr: str) -> str:
    """The first address of a host; of an IPv6 prefix the routers' anycast address (RFC 4291, 2.6.1)."""
    prefix = network_of(cidr)
    if prefix.version == 6:
        return str(prefix.network_address)
    gateway = prefix.network_address + 1
    if gateway == prefix.broadcast_address:
        raise error(
            "IpamValueInvalid", reason=f"Gateway IP {gateway} cannot be the network or broadcast IP address {cidr}"
        )
    return str(gateway)


def hosts(prefix: Prefix) -> tuple[int, int]:
    """The first and the last address, as numbers, that a port may have."""
    first, last = int(prefix.network_address), int(prefix.broadcast_address)
    if prefix.version == 4:
        return (first + 1, last - 1) if prefix.prefixlen <= 30 else (first, last)
    return (first + 1, last) if prefix.prefixlen < 128 else (first, last)


def default_pools(cidr: str, gateway: str | None) -> list[dict[str, str]]:
    """All addresses of hosts but the gateway's."""
    prefix = network_of(cidr)
    first, last = hosts(prefix)
    kind = type(prefix.network_address)
    taken = int(ip_address(gateway)) if gateway else -1
    parts = [(first, last)] if not first <= taken <= last else [(first, taken - 1), (taken + 1, last)]
    return [{"start": str(kind(a)), "end": str(kind(b))} for a, b in parts if a <= b]


def check_pools(row: Row) -> None:
    """Pools of the caller's own: inside the prefix, apart from each other, without the gateway."""
    prefix = network_of(row["cidr"])
    first, last = hosts(prefix)
    ranges: list[tuple[int, int, str]] = []
    for pool in row["allocation_pools"]:
        start, end = ip_address(pool["start"]), ip_address(pool["end"])
        text = f"{start}-{end}"
        if start.version != prefix.version or end.version != prefix.version or int(start) > int(end):
            raise error("InvalidAllocationPool", pool=pool)
        if int(start) < first or int(end) > last:
            raise error("OutOfBoundsAllocationPool", pool=text, cidr=row["cidr"])
        for other in ranges:
            if other[0] <= int(end) and int(start) <= other[1]:
                raise error("OverlappingAllocationPools", pool_1=other[2], pool_2=text, cidr=row["cidr"])
        ranges.append((int(start), int(end), text))


def check_gateway_outside(row: Row) -> None:
    if not row.get("gateway_ip"):
        return
    gateway = int(ip_address(row["gateway_ip"]))
    for pool in row["allocation_pools"]:
        if int(ip_address(pool["start"])) <= gateway <= int(ip_address(pool["end"])):
            raise error(
                "GatewayConflictWithAllocationPools", ip=row["gateway_ip"], pool=f"{pool['start']}-{pool['end']}"
            )


def check_overlap(row: Row, others: list[Row]) -> None:
    prefix: Any = network_of(row["cidr"])
    for other in others:
        theirs = network_of(other["cidr"])
        if theirs.version == prefix.version and prefix.overlaps(theirs):
            raise invalid(
                f"Requested subnet with cidr: {row['cidr']} for network: {row['network_id']} overlaps with another "
                "subnet"
            )


def ranges(row: Row) -> list[tuple[int, int]]:
    return [(int(ip_address(p["start"])), int(ip_address(p["end"]))) for p in row["allocation_pools"]]
