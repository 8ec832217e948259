"""Gateways of routers whose external network gets another subnet."""

from hagane.network import address, port_row
from hagane.network.router_row import GATEWAY, ROUTER, bump
from hagane.network.subnet_row import is_auto
from hagane.state import work
from hagane.state.database import Row, Tx


async def follow(tx: Tx, subnet: Row, *, request_id: str | None = None) -> None:
    """Give each gateway on the subnet's network an address of it, unless it has one of that IP version."""
    if is_auto(subnet):
        return
    where = {"network_id": subnet["network_id"], "device_owner": GATEWAY}
    for port in await port_row.PORT.select(tx, where):
        if any((":" in f["ip_address"]) == (subnet["ip_version"] == 6) for f in port["fixed_ips"]):
            continue
        fixed = port["fixed_ips"] + await address.take_wishes(tx, port, [{"subnet_id": subnet["id"]}], [subnet])
        await port_row.change(tx, port["id"], {"fixed_ips": fixed}, request_id=request_id)
        router = await ROUTER.get(tx, id=port["device_id"])
        if router is not None and router["external_gateway_info"]:
            await bump(
                tx, router, external_gateway_info=router["external_gateway_info"] | {"external_fixed_ips": fixed}
            )
            await work.wake(tx, "router", router["id"], request_id=request_id)
