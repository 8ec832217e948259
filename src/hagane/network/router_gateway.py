"""Gateways of routers: a port on an external network, SNAT on or off."""

from typing import TYPE_CHECKING, Any

from hagane.api.http import Request
from hagane.network import port_make, port_row, qos_row, router_interface, router_row, subnet_row
from hagane.network.errors import bad_request, error
from hagane.network.network import Network
from hagane.network.router_row import FLOATING, GATEWAY
from hagane.state.database import Row, Tx

if TYPE_CHECKING:
    from hagane.network.router import Router


def check_flags(row: Row) -> None:
    """What this service cannot do is refused, not ignored."""
    if row.get("ha") is False:
        raise bad_request("Every router of OVN fails over to another gateway by itself: ha cannot be false.")


async def set_gateway(
    resource: "Router", request: Request, tx: Tx, router: Row, info: dict[str, Any] | None
) -> dict[str, Any]:
    """Make the router's gateway as asked for (None: no gateway); returns what changes in its row."""
    port = await port_row.get(tx, router["gateway_port_id"]) if router["gateway_port_id"] else None
    if info is None:
        if port is not None:
            await _remove(request, tx, router, port)
        return {"external_gateway_info": None, "gateway_port_id": None, "enable_snat": True}
    policy = info.get("qos_policy_id", port["qos_policy_id"] if port else None)
    network = await Network(resource.cloud).find(request, tx, info["network_id"])
    if not network["router_external"]:
        raise router_interface.refuse(f"Network {network['id']} is not an external network")
    if port is not None and port["network_id"] != network["id"]:
        await _remove(request, tx, router, port)
        port = None
    if port is None:
        port = await _make(request, tx, router, network, info.get("external_fixed_ips"))
    elif info.get("external_fixed_ips") and not _same(port, info["external_fixed_ips"]):
        port = await _readdress(request, tx, router, network, port, info["external_fixed_ips"])
    await _limit(resource, request, tx, port, policy)
    snat = info.get("enable_snat", router["enable_snat"] if router["gateway_port_id"] else True)
    shown = {"network_id": network["id"], "external_fixed_ips": port["fixed_ips"], "enable_snat": snat}
    if policy:
        shown["qos_policy_id"] = policy
    return {"external_gateway_info": shown, "gateway_port_id": port["id"], "enable_snat": snat}


async def _limit(resource: "Router", request: Request, tx: Tx, port: Row, policy: str | None) -> None:
    """The gateway's QoS policy is its port's, which stays when the gateway moves."""
    if port.get("qos_policy_id") != policy:
        await qos_row.check(tx, policy, request.caller.project_id, sees_all=resource.sees_all(request))
        await port_row.change(tx, port["id"], {"qos_policy_id": policy}, request_id=request.id)


def _same(port: Row, wishes: list[dict[str, str]]) -> bool:
    """Whether the port's addresses are what is asked for already."""
    fixed = port["fixed_ips"]
    return len(fixed) == len(wishes) and all(any(wish.items() <= have.items() for have in fixed) for wish in wishes)


async def _make(request: Request, tx: Tx, router: Row, network: Row, wishes: list[dict[str, str]] | None) -> Row:
    subnets = await subnet_row.of_network(tx, network["id"])
    for wish in wishes or ():
        for subnet in subnets:
            if wish.get("ip_address") and wish["ip_address"] == subnet["gateway_ip"]:
                raise router_interface.refuse(f"External IP {wish['ip_address']} is the same as the gateway IP")
    await _check_overlap(tx, router, subnets)
    return await port_make.make(tx, network, project="", owner=GATEWAY, device=router["id"], fixed=wishes or None,
                                groups=[], limited=False, request_id=request.id)  # fmt: skip


async def _check_overlap(tx: Tx, router: Row, external: list[Row]) -> None:
    ports = await router_row.interfaces(tx, router["id"])
    ids = router_row.subnets_of(ports)
    if ids:
        for inner in await subnet_row.SUBNET.select(tx, {"id": ids}):
            for subnet in external:
                router_interface.raise_if_overlaps(inner, subnet)


async def _readdress(
    request: Request, tx: Tx, router: Row, network: Row, port: Row, wishes: list[dict[str, str]]
) -> Row:
    """Other addresses on the same external network: a new port, since nothing but the router uses the old one."""
    await port_row.remove(tx, port, request_id=request.id)
    return await _make(request, tx, router, network, wishes)


async def _remove(request: Request, tx: Tx, router: Row, port: Row) -> None:
    used = await FLOATING.count(tx, {"router_id": router["id"], "floating_network_id": port["network_id"]})
    if used:
        raise error("RouterExternalGatewayInUseByFloatingIp", router_id=router["id"], network_id=port["network_id"])
    await port_row.remove(tx, port, request_id=request.id)
