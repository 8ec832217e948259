"""The port from which a network's machines get 169.254.169.254: one per network that has a subnet with DHCP.

It is this service's own (`network:distributed`, device `ovnmeta-<network>`), comes with the first such subnet, has an
address of each IPv4 one, and goes with the last: over IPv6 it is asked at a link-local address, for which it needs no
other. In OVN it is an ordinary port, bound where its sockets are.
"""

from hagane.network import address, port_make, port_row, subnet_row
from hagane.state.database import Row, Tx

OWNER = "network:distributed"


def device(network_id: str) -> str:
    return f"ovnmeta-{network_id}"


def _serves(subnet: Row) -> bool:
    return bool(subnet["enable_dhcp"]) and address.fits_owner(subnet, OWNER)


async def follow(tx: Tx, network: Row, *, request_id: str | None = None) -> None:
    """Give the network's metadata port the addresses that its subnets call for; make or remove it as needed."""
    served = [s for s in await subnet_row.of_network(tx, network["id"]) if _serves(s)]
    subnets = [s for s in served if s["ip_version"] == 4]
    port = await port_row.PORT.get(tx, network_id=network["id"], device_id=device(network["id"]))
    if not served:
        if port is not None:
            await port_row.remove(tx, port, request_id=request_id)
        return
    if port is None:
        wishes = [{"subnet_id": s["id"]} for s in subnets]
        await port_make.make(tx, network, project=network["project_id"], owner=OWNER, device=device(network["id"]),
                             fixed=wishes, groups=[], limited=False, request_id=request_id)  # fmt: skip
        return
    wanted = {s["id"] for s in served}
    kept = [f for f in port["fixed_ips"] if f["subnet_id"] in wanted]
    gone = [f for f in port["fixed_ips"] if f["subnet_id"] not in wanted]
    new = [s for s in subnets if s["id"] not in {f["subnet_id"] for f in kept}]
    if gone or new:
        await address.release(tx, port["id"], gone)
        added = await address.take_wishes(tx, port, [{"subnet_id": s["id"]} for s in new], new) if new else []
        await port_row.change(tx, port["id"], {"fixed_ips": kept + added}, request_id=request_id)


async def remove(tx: Tx, network_id: str, *, request_id: str | None = None) -> None:
    """Remove all ports of this service's own from a network that goes."""
    sql = "SELECT id FROM port WHERE network_id = :id"
    for (port_id,) in await tx.fetch_tuples(sql, {"id": network_id}):
        port = await port_row.get(tx, str(port_id))
        if port is not None:
            await port_row.remove(tx, port, request_id=request_id)
