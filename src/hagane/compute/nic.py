"""NICs of Servers: network Ports whose device is the Server, by way of network/attach.py.

A Server's row keeps, in the order of its NICs, {"port_id", "owned", "tag"}: ports that were made for it end with it,
others are free again. What the network API refuses is said here in the compute API's words.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hagane.api.http import Request
from hagane.compute.base import own
from hagane.compute.pattern import check
from hagane.errors import Conflict, Forbidden, HaganeError, Invalid, NotFound, QuotaExceeded
from hagane.network import attach
from hagane.network.network import Network
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Sql

AMBIGUOUS = "Multiple possible networks found, use a Network ID to be more specific."


@dataclass(frozen=True)
class Wish:
    """One NIC of an order: a port that is there, or a network to make one on."""

    network: Row
    port: Row | None = None
    fixed_ip: str | None = None
    tag: str | None = None
    groups: tuple[str, ...] | None = None


# -- what is shown -------------------------------------------------------------------------------------------------


def _known(servers: Sequence[Row]) -> tuple[list[str], set[str]]:
    """Ids of the Servers, and of the ports that are theirs: not of each port that says so."""
    return [row["id"] for row in servers], {one["port_id"] for row in servers for one in row["nics"]}


async def addresses(reader: Reader, servers: Sequence[Row]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """server id -> network name -> addresses in the form of the wire."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for server_id, those in (await attach.addresses_of(reader, *_known(servers))).items():
        networks = found[server_id] = {}
        for one in those:
            view = {"version": one.version, "addr": one.ip, "OS-EXT-IPS:type": one.kind}
            networks.setdefault(one.network, []).append(view | {"OS-EXT-IPS-MAC:mac_addr": one.mac})
    return found


async def floating_ips(reader: Reader, server: Row) -> list[str]:
    found = await attach.addresses_of(reader, *_known([server]))
    return [one.ip for one in found[server["id"]] if one.kind == "floating"]


async def group_names(reader: Reader, servers: Sequence[Row]) -> dict[str, list[str]]:
    """server id -> names of the security groups of its ports, each once."""
    return await attach.groups_of(reader, *_known(servers))


async def ports_of(reader: Reader, servers: Sequence[Row]) -> dict[str, list[Row]]:
    """server id -> its port rows, each with the `mtu` of its network."""
    found = await attach.ports_of(reader, *_known(servers))
    ids = list({port["network_id"] for ports in found.values() for port in ports})
    networks = {row["id"]: row for row in await Network.table.select(reader, {"id": ids})} if ids else {}
    for ports in found.values():
        for port in ports:
            port["mtu"] = networks[port["network_id"]]["mtu"]
    return found


async def networks_of(reader: Reader, ports: Iterable[Row]) -> dict[str, Row]:
    """network id -> what a guest must know of it, with its subnets as `subnet_rows`."""
    return await attach.networks_of(reader, ports)


def with_address(text: str, version: int, dialect: str) -> Sql:
    """Servers that have an address that matches a pattern. Raises Invalid."""
    check(text)
    name, family = f"address_{version}", "LIKE '%:%'" if version == 6 else "NOT LIKE '%:%'"
    return Sql(
        "server.id IN (SELECT port.device_id FROM port JOIN allocation ON allocation.owner = port.id "
        f"WHERE allocation.kind = 'ip' AND allocation.item {family} "
        f"AND allocation.item {'~' if dialect == 'postgresql' else 'REGEXP'} :{name})",
        {name: text},
    )


# -- orders --------------------------------------------------------------------------------------------------------


async def plan(request: Request, tx: Tx, networks: Any, groups: list[str] | None, count: int) -> list[Wish]:
    """The NICs of each Server of an order, everything looked up and allowed. Raises what the compute API answers."""
    if networks == "none":
        return []
    group_ids = await _group_ids(request, tx, groups)
    if not networks or networks == "auto":
        network = await _only(request, tx, auto=networks == "auto")
        return [Wish(network, groups=group_ids)] if network else []
    wishes = [await _wish(request, tx, entry, group_ids) for entry in networks]
    ports = [wish.port["id"] for wish in wishes if wish.port]
    for port_id in ports:
        if ports.count(port_id) > 1:
            raise Invalid(f"Port ID '{port_id}' was specified twice: you cannot attach a port multiple times.")
    if count > 1 and ports:
        raise Invalid("Unable to launch multiple instances with a single configured port ID. Please launch your "
                      "instance one by one with different ports.")  # fmt: skip
    if count > 1 and any(wish.fixed_ip for wish in wishes):
        raise Invalid("Invalid fixed IP and max count request: max_count cannot be greater than 1 if an fixed_ip is "
                      "specified.")  # fmt: skip
    return wishes


async def _only(request: Request, tx: Tx, *, auto: bool) -> Row | None:
    """The one network that a project's Servers get when none is named."""
    project = request.caller.project_id or ""
    found = await attach.networks(tx, project)
    usable = [network for network in found if network["subnets"]] if auto else found
    if len(usable) > 1:
        raise Conflict(AMBIGUOUS, code="NetworkAmbiguous")
    if not usable:
        if auto:
            raise Invalid(f"Unable to automatically allocate a network for project {project}")
        return None
    _check_subnet(usable[0])
    return usable[0]


def _check_subnet(network: Row) -> None:
    if not network["subnets"]:
        raise Invalid(f"Network {network['id']} requires a subnet in order to boot instances on.")


async def _wish(request: Request, tx: Tx, entry: dict[str, Any], groups: tuple[str, ...] | None) -> Wish:
    fixed_ip, tag = entry.get("fixed_ip"), entry.get("tag")
    if port_id := entry.get("port"):
        if fixed_ip:
            raise Invalid(f"Specified Fixed IP '{fixed_ip}' cannot be used with port '{port_id}': the two cannot be "
                          "specified together.")  # fmt: skip
        return await port_wish(request, tx, port_id, tag)
    if "uuid" not in entry:
        raise Invalid("Bad network format: missing 'uuid'")
    return await network_wish(request, tx, entry["uuid"], fixed_ip, tag, groups)


async def port_wish(request: Request, tx: Tx, port_id: str, tag: str | None) -> Wish:
    """A port that is there: the caller's, not in use, with an address."""
    port = await attach.port_for(tx, _project(request), port_id)
    network = await attach.network_for(tx, None, port["network_id"]) if port else None
    if port is None or network is None:
        raise Invalid(f"Port id {port_id} could not be found.", code="PortNotFound")
    if port["device_id"]:
        raise Conflict(f"Port {port_id} is still in use.", code="PortInUse")
    if not port["fixed_ips"]:
        raise Invalid(f"Port {port_id} requires a FixedIP in order to be used.", code="PortRequiresFixedIP")
    return Wish(network, port=port, tag=tag)


async def network_wish(
    request: Request, tx: Tx, network_id: str, fixed_ip: str | None, tag: str | None, groups: tuple[str, ...] | None
) -> Wish:
    """A network that the caller may use, and a Server be on."""
    network = await attach.network_for(tx, _project(request), network_id)
    if network is None:
        raise Invalid(f"Network {network_id} could not be found.", code="NetworkNotFound")
    inside = not network["router_external"] or await attach.may_attach(tx, network, request.caller.project_id or "")
    if not inside and not request.allowed("network:attach_external_network", own(request)):
        raise Forbidden(f"It is not allowed to create an interface on external network {network_id}")
    _check_subnet(network)
    return Wish(network, fixed_ip=fixed_ip, tag=tag, groups=groups)


def _project(request: Request) -> str | None:
    """Whose networks may be used: administrators use anybody's."""
    return None if request.caller.is_admin else request.caller.project_id or ""


async def _group_ids(request: Request, tx: Tx, names: list[str] | None) -> tuple[str, ...] | None:
    """Ids of the security groups of an order; None: the default one."""
    if not names or names == ["default"]:
        return None
    found = await attach.groups_named(tx, request.caller.project_id or "", names)
    ids = []
    for name, matches in found.items():
        if not matches:
            raise Invalid(f"Security group {name} not found.", code="SecurityGroupNotFound")
        if len(matches) > 1:
            raise Conflict(f"Multiple security_group matches found for name '{name}', use an ID to be more specific.")
        ids.append(matches[0])
    return tuple(ids)


async def make(request: Request, tx: Tx, server: Row, wishes: Sequence[Wish]) -> list[dict[str, Any]]:
    """The NICs of one new Server, their ports made or taken over."""
    return [await add(request, tx, server, wish, host="") for wish in wishes]


async def add(request: Request, tx: Tx, server: Row, wish: Wish, *, host: str) -> dict[str, Any]:
    """One NIC more."""
    common: Any = {
        "device": server["id"], "owner": f"compute:{server['zone'] or 'nova'}", "host": host,
        "dns_name": server["hostname"], "request_id": request.id,
    }  # fmt: skip
    with _worded(wish):
        if wish.port:
            port = await attach.take(tx, wish.port, **common)
        else:
            port = await attach.make(tx, wish.network, project=server["project_id"], fixed_ip=wish.fixed_ip,
                                     groups=_groups(wish), **common)  # fmt: skip
    return {"port_id": port["id"], "owned": wish.port is None, "tag": wish.tag}


def _groups(wish: Wish) -> list[str] | None:
    """A network without port security takes no groups."""
    if wish.groups is None or not wish.network["port_security_enabled"]:
        return None
    return list(wish.groups)


@contextmanager
def _worded(wish: Wish) -> Iterator[None]:
    """The network API's refusals in the compute API's words."""
    network_id = wish.network["id"]
    try:
        yield
    except HaganeError as error:
        match error.code:
            case "OverQuota":
                raise QuotaExceeded("Maximum number of ports exceeded") from error
            case "PortInUse" if wish.port:
                raise Conflict(f"Port {wish.port['id']} is still in use.") from error
            case "IpAddressGenerationFailure":
                raise Conflict(f"No fixed IP addresses available for network: {network_id}") from error
            case "IpAddressAlreadyAllocated":
                raise Invalid(f"Fixed IP address {wish.fixed_ip} is already in use.") from error
            case "InvalidIpForNetwork" | "InvalidIpForSubnet" | "InvalidInput":
                text = f"Fixed IP {wish.fixed_ip} is not a valid ip address for network {network_id}."
                raise Invalid(text) from error
        raise


async def change_groups(request: Request, tx: Tx, server: Row, *, add: str = "", remove: str = "") -> None:
    """Give all ports of a Server one security group more, or less. Raises NotFound."""
    name = add or remove
    found = await attach.groups_named(tx, server["project_id"], [name])
    ids = found.get(name, [])
    if not ids:
        raise NotFound(f"Security group {name} not found.", code="SecurityGroupNotFound")
    if len(ids) > 1:
        raise Conflict(f"Multiple security_group matches found for name '{name}', use an ID to be more specific.")
    ports = (await attach.ports_of(tx, *_known([server])))[server["id"]]
    having = [port for port in ports if ids[0] in port["security_groups"]]
    if remove and not having:
        raise NotFound(
            f"Security group {ids[0]} not associated with the instance {server['id']}", code="SecurityGroupNotFound"
        )
    for port in having if remove else [port for port in ports if port["port_security_enabled"] and port not in having]:
        groups = [one for one in port["security_groups"] if one != ids[0]] + ([ids[0]] if add else [])
        await attach.set_groups(tx, port, groups, request_id=request.id)


# -- the Server's way through its life -----------------------------------------------------------------------------


async def bind(tx: Tx, server: Row, host: str) -> None:
    """The Server's ports are to be on this Host."""
    if server["nics"]:
        await attach.bind(tx, server["id"], host, request_id=server["request_id"])


async def going(tx: Tx, server: Row, host: str) -> None:
    """The Server goes to this Host while it runs."""
    if server["nics"]:
        await attach.going(tx, server["id"], host, request_id=server["request_id"])


async def unbind(tx: Tx, server: Row) -> None:
    """The Server's ports are on no Host."""
    if server["nics"]:
        await attach.unbind(tx, server["id"], request_id=server["request_id"])


async def release(tx: Tx, server: Row) -> None:
    """The Server ends: ports that were made for it go, others are free again."""
    if not server["nics"]:
        return
    owned = {nic["port_id"] for nic in server["nics"] if nic["owned"]}
    for port in (await attach.ports_of(tx, *_known([server])))[server["id"]]:
        await drop(tx, server, port["id"], owned=port["id"] in owned)


async def drop(tx: Tx, server: Row, port_id: str, *, owned: bool) -> None:
    """A NIC ends."""
    end = attach.remove if owned else attach.free
    await end(tx, port_id, request_id=server["request_id"])
    if server["node_id"] and not owned:  # the address was that of the Node's Nic
        await attach.set_mac(tx, port_id, None, request_id=server["request_id"])
