"""Interfaces of routers: a port made on a subnet's gateway address, or a port that the caller made before."""

from typing import TYPE_CHECKING, Any

from hagane.api.http import Request
from hagane.api.types import is_uuid
from hagane.network import address, forward_row, port_make, port_row, router_row, subnet_row, subnet_rule
from hagane.network.address import INTERFACE
from hagane.network.errors import error
from hagane.network.network import get
from hagane.network.port import Port
from hagane.network.router_row import FLOATING, GATEWAY, interfaces
from hagane.network.subnet import Subnet
from hagane.state.database import Row, Tx

if TYPE_CHECKING:
    from hagane.network.router import Router


def refuse(reason: str) -> Exception:
    return error("BadRequest", resource="router", reason=reason)


def _named(body: dict[str, Any], *, both: bool) -> None:
    """Check what the body names: a subnet or a port. Raises BadRequest."""
    if "port_id" not in body and "subnet_id" not in body:
        raise refuse("Either subnet_id or port_id must be specified")
    for key in ("port_id", "subnet_id"):
        if key in body and not is_uuid(body[key]):
            raise refuse(f"'{body[key]}' is not a valid UUID")
    if not both and "port_id" in body and "subnet_id" in body:
        raise refuse("Cannot specify both subnet-id and port-id")


def _answer(router: Row, port: Row, subnet_ids: list[str]) -> dict[str, Any]:
    return {
        "id": router["id"], "project_id": router["project_id"],
        "port_id": port["id"], "network_id": port["network_id"], "subnet_id": subnet_ids[0], "subnet_ids": subnet_ids,
    }  # fmt: skip


async def add(resource: "Router", request: Request, tx: Tx, router: Row, body: dict[str, Any]) -> dict[str, Any]:
    """Attach a subnet or a port; the answer of the API."""
    _named(body, both=False)
    if "port_id" in body:
        port = await _add_port(resource, request, tx, router, body["port_id"])
        return _answer(router, port, [fixed["subnet_id"] for fixed in port["fixed_ips"]])
    subnet = await Subnet(resource.cloud).find(request, tx, body["subnet_id"])
    port = await _add_subnet(resource, request, tx, router, subnet)
    return _answer(router, port, [subnet["id"]])


async def _add_subnet(resource: "Router", request: Request, tx: Tx, router: Row, subnet: Row) -> Row:
    if not subnet["gateway_ip"]:
        raise refuse("Subnet for router interface must have a gateway IP")
    network = await get(tx, subnet["network_id"])
    if network is None:
        raise error("NetworkNotFound", id=subnet["network_id"])
    me = request.caller.project_id
    if me not in (subnet["project_id"], network["project_id"]) and not resource.sees_all(request):
        sql = "SELECT 1 FROM rbac_policy WHERE object_id = :id AND action = 'access_as_shared' AND target_project = :me"
        if not await tx.fetch_tuples(sql, {"id": network["id"], "me": me}):
            raise refuse(f"Cannot add interface to router because subnet {subnet['id']} is not owned by project making "
                         "the request")  # fmt: skip
    _check_mode(subnet)
    await _check_overlap(tx, router, [subnet])
    fixed = {"subnet_id": subnet["id"], "ip_address": subnet["gateway_ip"]}
    if subnet["ip_version"] == 6 and (port := await _sixth(tx, router, network)):
        return await _extend(request, tx, port, subnet, fixed)
    return await port_make.make(tx, network, project=router["project_id"], owner=INTERFACE, device=router["id"],
                                fixed=[fixed], groups=[], request_id=request.id)  # fmt: skip


async def _sixth(tx: Tx, router: Row, network: Row) -> Row | None:
    """The router's port that announces IPv6 prefixes on a network already; one port announces them all."""
    for port in await interfaces(tx, router["id"]):
        if port["network_id"] == network["id"] and any(":" in f["ip_address"] for f in port["fixed_ips"]):
            return port
    return None


async def _extend(request: Request, tx: Tx, port: Row, subnet: Row, fixed: dict[str, str]) -> Row:
    added = await address.take_wishes(tx, port, [fixed], [subnet])
    changes = {"fixed_ips": port["fixed_ips"] + added}
    await port_row.change(tx, port["id"], changes, request_id=request.id)
    return port | changes


async def _add_port(resource: "Router", request: Request, tx: Tx, router: Row, port_id: str) -> Row:
    port = await Port(resource.cloud).find(request, tx, port_id)
    if port["device_id"]:
        raise error("PortInUse", id=port_id, network_id=port["network_id"], device_id=port["device_id"])
    if not port["fixed_ips"]:
        raise refuse("Router port must have at least one fixed IP")
    ids = [fixed["subnet_id"] for fixed in port["fixed_ips"]]
    subnets = await subnet_row.SUBNET.select(tx, {"id": ids})
    for subnet in subnets:
        _check_mode(subnet)
    await _check_overlap(tx, router, subnets)
    if sum(subnet["ip_version"] == 4 for subnet in subnets) > 1:
        raise refuse("Cannot have multiple IPv4 subnets on router port")
    if not resource.sees_all(request):
        _check_in_range(request, port, subnets)
    changes = {"device_id": router["id"], "device_owner": INTERFACE, "security_groups": [],
               "port_security_enabled": False}  # fmt: skip
    await port_row.leave_groups(tx, port_id)
    await port_row.change(tx, port_id, changes, request_id=request.id)
    return port | changes


def _check_in_range(request: Request, port: Row, subnets: list[Row]) -> None:
    """A stranger may not take a special address (the gateway's) of a shared network."""
    from ipaddress import ip_address

    by_id = {subnet["id"]: subnet for subnet in subnets}
    for fixed in port["fixed_ips"]:
        subnet = by_id[fixed["subnet_id"]]
        number = int(ip_address(fixed["ip_address"]))
        inside = any(first <= number <= last for first, last in subnet_rule.ranges(subnet))
        if not inside and subnet["project_id"] != request.caller.project_id:
            raise refuse(
                f"Cannot add interface to router because specified port {port['id']} has an IP address out of the "
                f"allocation pool of subnet {subnet['id']}, which is not owned by the project making the request"
            )


def _check_mode(subnet: Row) -> None:
    if subnet["ip_version"] == 6 and subnet["ipv6_ra_mode"] is None and subnet["ipv6_address_mode"] is not None:
        raise refuse(f"IPv6 subnet {subnet['id']} configured to receive RAs from an external router cannot be added to "
                     "Neutron Router.")  # fmt: skip


async def _check_overlap(tx: Tx, router: Row, new: list[Row]) -> None:
    """The router must have no other subnet with the same addresses: inner ones, and those of its external network."""
    ports = await port_row.PORT.select(tx, {"device_id": router["id"]})
    ports = [port for port in ports if port["device_owner"] in (INTERFACE, GATEWAY)]
    attached = router_row.subnets_of(ports)
    for subnet in new:
        if subnet["id"] in attached:
            raise_if_overlaps(subnet, subnet)
    external = [port["network_id"] for port in ports if port["device_owner"] == GATEWAY]
    known = await subnet_row.SUBNET.select(tx, {"id": attached}) if attached else []
    known += await subnet_row.SUBNET.select(tx, {"network_id": external}) if external else []
    for subnet in new:
        for other in known:
            raise_if_overlaps(subnet, other)


def raise_if_overlaps(subnet: Row, other: Row) -> None:
    one: Any = subnet_rule.network_of(subnet["cidr"])
    two: Any = subnet_rule.network_of(other["cidr"])
    if one.version == two.version and one.overlaps(two):
        raise refuse(
            f"Cidr {subnet['cidr']} of subnet {subnet['id']} overlaps with cidr {other['cidr']} of subnet {other['id']}"
        )


async def remove(resource: "Router", request: Request, tx: Tx, router: Row, body: dict[str, Any]) -> dict[str, Any]:
    """Detach a subnet or a port, if no floating IP and no route needs it; the answer of the API."""
    _named(body, both=True)
    ports = await interfaces(tx, router["id"])
    if "port_id" in body:
        found = [port for port in ports if port["id"] == body["port_id"]]
        if not found:
            raise error("RouterInterfaceNotFound", router_id=router["id"], port_id=body["port_id"])
        ids = [fixed["subnet_id"] for fixed in found[0]["fixed_ips"]]
        if "subnet_id" in body and body["subnet_id"] not in ids:
            raise error("SubnetMismatchForPort", port_id=body["port_id"], subnet_id=body["subnet_id"])
    else:
        await Subnet(resource.cloud).find(request, tx, body["subnet_id"])
        ids = [body["subnet_id"]]
        found = [port for port in ports if any(f["subnet_id"] == ids[0] for f in port["fixed_ips"])]
        if not found:
            raise error("RouterInterfaceNotFoundForSubnet", router_id=router["id"], subnet_id=ids[0])
    for subnet_id in ids:
        await _check_free(tx, router, subnet_id)
    rest = [fixed for fixed in found[0]["fixed_ips"] if fixed["subnet_id"] not in ids]
    if rest:
        await address.release(tx, found[0]["id"], [f for f in found[0]["fixed_ips"] if f not in rest])
        await port_row.change(tx, found[0]["id"], {"fixed_ips": rest}, request_id=request.id)
    else:
        await port_row.remove(tx, found[0], request_id=request.id)
    return _answer(router, found[0], ids)


async def _check_free(tx: Tx, router: Row, subnet_id: str) -> None:
    from ipaddress import ip_address

    subnet = await subnet_row.SUBNET.get(tx, id=subnet_id)
    if subnet is None:
        return
    prefix = subnet_rule.network_of(subnet["cidr"])
    floatings = await FLOATING.select(tx, {"router_id": router["id"]})
    forwards = await forward_row.of(tx, [floating["id"] for floating in floatings])
    inner = [row["internal_ip_address"] for rows in forwards.values() for row in rows]
    for address_ in [floating["fixed_ip_address"] for floating in floatings] + inner:
        if address_ and ip_address(address_) in prefix:
            raise error("RouterInterfaceInUseByFloatingIP", router_id=router["id"], subnet_id=subnet_id)
    for route in router["routes"]:
        if ip_address(route["nexthop"]) in prefix:
            raise error("RouterInterfaceInUseByRoute", router_id=router["id"], subnet_id=subnet_id)
