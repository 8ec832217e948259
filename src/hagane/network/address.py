"""Addresses of ports: which a port gets, and taking them. One address costs the same on an empty and a full subnet.

What a caller wishes            what the port gets
nothing                         one address of an IPv4 subnet, one of a stateful IPv6 one, and of each automatic one
{"subnet_id"}                   one address of that subnet
{"ip_address"}                  that address, of the subnet that holds it
Automatic subnets (SLAAC, stateless DHCPv6) give the address that the port's MAC address makes (EUI-64, RFC 4291).
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from hagane.network import sequence
from hagane.network.errors import error, invalid
from hagane.network.subnet_row import SUBNET, is_auto
from hagane.network.subnet_rule import network_of, ranges
from hagane.state import allocation
from hagane.state.database import Row, Tx

Fixed = dict[str, str]
ROUTER_OWNERS = frozenset({"network:router_interface", "network:router_gateway", "network:router_centralized_snat"})
INTERFACE = "network:router_interface"


async def allocate(tx: Tx, port: Row, wishes: Sequence[Fixed] | None, subnets: Sequence[Row]) -> list[Fixed]:
    """Take addresses for a new port; `wishes` None means as the subnets offer. `port` needs id, MAC and owner."""
    usable = [s for s in subnets if fits_owner(s, port["device_owner"])]
    if not usable and subnets and wishes is None:
        raise error("IpAddressGenerationFailureNoMatchingSubnet", network_id=port["network_id"],
                    service_type=port["device_owner"])  # fmt: skip
    usable.sort(key=lambda subnet: not subnet["service_types"])
    if wishes is None:
        fixed = [await _any(tx, port, group) for group in _groups(usable)]
        return fixed + await automatic(tx, port, usable)
    fixed = await take_wishes(tx, port, wishes, subnets)
    return fixed + await automatic(tx, port, usable, {f["subnet_id"] for f in fixed})


def fits_owner(subnet: Row, owner: str) -> bool:
    """Whether ports of this owner may have addresses of the subnet (its service types)."""
    return not subnet["service_types"] or owner in subnet["service_types"]


def _groups(subnets: Sequence[Row]) -> list[list[Row]]:
    """IPv4 subnets and stateful IPv6 ones: a port gets one address of each group."""
    fours = [s for s in subnets if s["ip_version"] == 4]
    sixes = [s for s in subnets if s["ip_version"] == 6 and not is_auto(s)]
    return [group for group in (fours, sixes) if group]


async def _any(tx: Tx, port: Row, subnets: Sequence[Row]) -> Fixed:
    for subnet in subnets:
        if (address := await _next(tx, port, subnet)) is not None:
            return {"subnet_id": subnet["id"], "ip_address": address}
    raise error("IpAddressGenerationFailure", network_id=port["network_id"])


async def take_wishes(tx: Tx, port: Row, wishes: Sequence[Fixed], subnets: Sequence[Row]) -> list[Fixed]:
    """Take what a caller asked for. Raises InvalidInput, InvalidIpForSubnet, IpAddressAlreadyAllocated and others."""
    fixed = []
    for wish in wishes:
        subnet = await _subnet_of(tx, wish, subnets, port)
        auto = is_auto(subnet)
        if "ip_address" in wish:
            address = wish["ip_address"]
            if auto and port["device_owner"] != INTERFACE and address != eui64(subnet["cidr"], port["mac_address"]):
                raise error("AllocationOnAutoAddressSubnet", ip=address, subnet_id=subnet["id"])
            await _take(tx, port, subnet, address)
            fixed.append({"subnet_id": subnet["id"], "ip_address": address})
        elif not auto or port["device_owner"] in ROUTER_OWNERS:
            fixed.append(await _any(tx, port, [subnet]))
    return fixed


async def _subnet_of(tx: Tx, wish: Fixed, subnets: Sequence[Row], port: Row) -> Row:
    if not subnets:
        raise invalid("IP allocation requires subnets for network")
    address = wish.get("ip_address")
    if "subnet_id" in wish:
        found = [s for s in subnets if s["id"] == wish["subnet_id"]]
        if not found:
            if await SUBNET.get(tx, id=wish["subnet_id"]) is None:
                raise error("SubnetNotFound", id=wish["subnet_id"])
            raise invalid(
                f"Failed to create port on network {port['network_id']}, because fixed_ips included invalid subnet "
                f"{wish['subnet_id']}"
            )
        if address is not None and not _is_host(found[0], address, port["device_owner"]):
            raise error("InvalidIpForSubnet", ip=address)
        return found[0]
    if address is None:
        raise invalid("IP allocation requires subnet_id or ip_address")
    for subnet in subnets:
        if _is_host(subnet, address, port["device_owner"]):
            return subnet
    raise error("InvalidIpForNetwork", ip=address)


def _is_host(subnet: Row, text: str, owner: str) -> bool:
    """Whether a port may have the address. Routers may have the first of an IPv6 prefix (the anycast address)."""
    address, prefix = ip_address(text), network_of(subnet["cidr"])
    if address not in prefix:
        return False
    if prefix.version == 4:
        return prefix.prefixlen > 30 or address not in (prefix.network_address, prefix.broadcast_address)
    return address != prefix.network_address or owner in ROUTER_OWNERS or prefix.prefixlen == 128


async def automatic(tx: Tx, port: Row, subnets: Sequence[Row], but: set[str] | None = None) -> list[Fixed]:
    """The addresses of all automatic subnets, which every port but a router's has."""
    if port["device_owner"] in ROUTER_OWNERS:
        return []
    fixed = []
    for subnet in subnets:
        if subnet["ip_version"] == 6 and is_auto(subnet) and subnet["id"] not in (but or ()):
            address = eui64(subnet["cidr"], port["mac_address"])
            await _take(tx, port, subnet, address)
            fixed.append({"subnet_id": subnet["id"], "ip_address": address})
    return fixed


async def _take(tx: Tx, port: Row, subnet: Row, address: str) -> None:
    if not await allocation.take(tx, "ip", subnet["id"], address, port["id"]):
        raise error("IpAddressAlreadyAllocated", ip=address, subnet_id=subnet["id"])


async def _next(tx: Tx, port: Row, subnet: Row) -> str | None:
    kind = IPv4Address if subnet["ip_version"] == 4 else IPv6Address

    def inside(item: str) -> bool:
        number = int(ip_address(item))
        return any(first <= number <= last for first, last in ranges(subnet))

    return await sequence.take_next(tx, "ip", subnet["id"], port["id"], lambda n: str(kind(n)), inside)


def eui64(cidr: str, mac: str) -> str:
    """The address that a prefix of 64 bits and an Ethernet address make."""
    digits = mac.replace(":", "")
    identifier = int(digits[:6] + "fffe" + digits[6:], 16) ^ (2 << 56)
    return str(IPv6Address(int(network_of(cidr).network_address) | identifier))


async def release(tx: Tx, port_id: str, fixed: Sequence[Fixed]) -> None:
    """Give some of a port's addresses back."""
    for entry in fixed:
        await sequence.give_back_one(tx, "ip", entry["subnet_id"], entry["ip_address"])


async def release_all(tx: Tx, port_id: str) -> None:
    """Give all of a port's addresses back."""
    await sequence.give_back(tx, "ip", port_id)
