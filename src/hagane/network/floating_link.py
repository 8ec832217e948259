"""Which port a floating IP stands for, and through which router it is reached."""

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from hagane.api.http import Request
from hagane.network import router_row, subnet_row
from hagane.network.errors import error
from hagane.network.port import Port
from hagane.network.router import Router
from hagane.network.router_row import FLOATING, ROUTER
from hagane.state.database import Row, Tx

if TYPE_CHECKING:
    from hagane.network.floatingip import FloatingIp


def _refuse(reason: str) -> Exception:
    return error("BadRequest", resource="floatingip", reason=reason)


async def link(
    resource: "FloatingIp",
    request: Request,
    tx: Tx,
    row: Row,
    port_id: str | None,
    fixed: str | None,
    chosen: str | None = None,
) -> dict[str, Any]:
    """What changes in a floating IP's row when it stands for a port (None: for none). `chosen`: the router that its
    caller wants, which may be a further one on the way out. Raises BadRequest and others."""
    if port_id is None:
        if fixed is not None:
            raise _refuse("fixed_ip_address cannot be specified without a port_id")
        return {"port_id": None, "fixed_ip_address": None, "router_id": None, "status": "DOWN"}
    port = await Port(resource.cloud).find(request, tx, port_id)
    if port["project_id"] != row["project_id"] and not resource.sees_all(request):
        raise _refuse(f"Cannot process floating IP association with Port {port_id}, since that port is owned by a "
                      "different project")  # fmt: skip
    entry = _entry(row, port, fixed)
    router_id = await (_wanted(resource, request, tx, row, chosen) if chosen else router_of(tx, row, port, entry))
    await _check_single(tx, row, port, entry["ip_address"])
    return {"port_id": port_id, "fixed_ip_address": entry["ip_address"], "router_id": router_id, "status": "ACTIVE"}


def _entry(row: Row, port: Row, fixed: str | None) -> dict[str, str]:
    """The port's address that is meant."""
    entries: list[dict[str, str]] = [e for e in port["fixed_ips"] if ip_address(e["ip_address"]).version == 4]
    if fixed is not None:
        if ip_address(fixed).version != 4:
            raise _refuse(f"Cannot process floating IP association with {fixed}, since that is not an IPv4 address")
        found = [e for e in entries if e["ip_address"] == fixed]
        if not found:
            raise _refuse(f"Port {port['id']} does not have fixed ip {fixed}")
        return found[0]
    if not entries:
        raise _refuse(f"Cannot add floating IP to port {port['id']} that has no fixed IPv4 addresses")
    if len(entries) > 1:
        raise _refuse(f"Port {port['id']} has multiple fixed IPv4 addresses.  Must provide a specific IPv4 address "
                      "when assigning a floating IP")  # fmt: skip
    return entries[0]


async def router_of(tx: Tx, row: Row, port: Row, entry: dict[str, str]) -> str:
    """The router between the port's subnet and the external network: the one on the subnet's gateway address first."""
    subnet = await subnet_row.SUBNET.get(tx, id=entry["subnet_id"])
    gateway = subnet["gateway_ip"] if subnet else None
    found: list[tuple[bool, str]] = []
    for router_id, fixed_ips in await router_row.routers_of(tx, port["network_id"]):
        mine = [f["ip_address"] for f in fixed_ips if f["subnet_id"] == entry["subnet_id"]]
        if mine and await _leads_to(tx, router_id, row["floating_network_id"]):
            found.append((gateway not in mine, router_id))
    if not found:
        raise error("ExternalGatewayForFloatingIPNotFound", network_id=row["floating_network_id"],
                    subnet_id=entry["subnet_id"], port_id=port["id"])  # fmt: skip
    return min(found)[1]


async def _wanted(resource: "FloatingIp", request: Request, tx: Tx, row: Row, router_id: str) -> str:
    """The router that a caller names, if it sees it. Raises RouterNotFound, Conflict."""
    router = await Router(resource.cloud).find(request, tx, router_id)
    if not await _leads_to(tx, router["id"], row["floating_network_id"]):
        raise error("Conflict", reason=f"Router {router_id} has no external gateway on network "
                                       f"{row['floating_network_id']}.")  # fmt: skip
    return router_id


async def _leads_to(tx: Tx, router_id: str, network_id: str) -> bool:
    router = await ROUTER.get(tx, id=router_id)
    info = (router["external_gateway_info"] if router else None) or {}
    return bool(info.get("network_id") == network_id)


async def _check_single(tx: Tx, row: Row, port: Row, fixed: str) -> None:
    """One floating IP of an external network for one address."""
    where = {"port_id": port["id"], "fixed_ip_address": fixed, "floating_network_id": row["floating_network_id"]}
    for other in await FLOATING.select(tx, where):
        if other["id"] != row["id"]:
            raise error("FloatingIPPortAlreadyAssociated", address=row["floating_ip_address"], id=row["id"],
                        port_id=port["id"], fixed_ip=fixed, network_id=row["floating_network_id"])  # fmt: skip
