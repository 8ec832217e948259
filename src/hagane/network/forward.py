"""Port forwardings: some ports of a floating IP that stands for no port as a whole lead to ports behind a router."""

from ipaddress import ip_address
from typing import Any

from hagane.api.http import Request
from hagane.errors import NotFound
from hagane.network import floating_link, forward_row, router_row
from hagane.network.attr import Given
from hagane.network.child import Child
from hagane.network.errors import error
from hagane.network.floatingip import FloatingIp
from hagane.network.forward_row import FORWARD, span, spelled
from hagane.network.port import Port
from hagane.state.database import Row, Tx

_ENDS = ("external", "internal")


def refuse(reason: str) -> Exception:
    return error("BadRequest", resource="port_forwarding", reason=reason)


class PortForwarding(Child):
    name, plural, missing, link = "port_forwarding", "port_forwardings", "PortForwardingNotFound", "floatingip_id"
    path = "/network/v2.0/floatingips/{floatingip_id}/port_forwardings"
    bulk = True
    attrs, indexes = forward_row.ATTRS, forward_row.INDEXES

    def __init__(self, cloud: Any) -> None:
        super().__init__(cloud)
        self._floating = FloatingIp(cloud)

    def above(self) -> FloatingIp:
        return self._floating

    async def making(self, request: Request, tx: Tx, row: Row, given: Given) -> None:
        _complete(row, row)
        floating = await self.parent(request, tx)
        port = await Port(self.cloud).find(request, tx, row["internal_port_id"])
        await self._refuse_bound(tx, row)
        if floating["port_id"]:
            raise error("FloatingIPPortAlreadyAssociated", address=floating["floating_ip_address"], id=floating["id"],
                        port_id=row["internal_port_id"], fixed_ip=row.get("internal_ip_address"),
                        network_id=floating["floating_network_id"])  # fmt: skip
        await self._route(request, tx, floating, port, row)
        await self._refuse_collision(tx, row)

    async def made(self, request: Request, tx: Tx, row: Row) -> None:
        await forward_row.touch(tx, row["floatingip_id"], request_id=request.id)

    async def changing(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        _complete(old, changes)
        new = old | changes
        if new["internal_port_id"] != old["internal_port_id"]:
            await self._refuse_bound(tx, new)
        port = await Port(self.cloud).find(request, tx, new["internal_port_id"])
        if "internal_port_id" in changes and "internal_ip_address" not in changes:
            new.pop("internal_ip_address")
        elif new["internal_ip_address"] not in (f["ip_address"] for f in port["fixed_ips"]):
            raise refuse("The internal IP does not correspond to an address on the internal port, which has fixed_ips "
                         f"{port['fixed_ips']}")  # fmt: skip
        await self._route(request, tx, await self.parent(request, tx), port, new)
        changes["internal_ip_address"] = new["internal_ip_address"]
        await self._refuse_collision(tx, new)
        await forward_row.touch(tx, old["floatingip_id"], request_id=request.id)

    async def unmake(self, request: Request, tx: Tx, row: Row) -> None:
        await super().unmake(request, tx, row)
        await forward_row.touch(tx, row["floatingip_id"], request_id=request.id)

    async def _refuse_bound(self, tx: Tx, row: Row) -> None:
        """Raises PortHasBindingFloatingIP."""
        for other in await router_row.FLOATING.select(tx, {"port_id": row["internal_port_id"]}):
            raise error("PortHasBindingFloatingIP", address=other["floating_ip_address"], id=other["id"],
                        port_id=row["internal_port_id"], fixed_ip=row.get("internal_ip_address"))  # fmt: skip

    async def _route(self, request: Request, tx: Tx, floating: Row, port: Row, row: Row) -> None:
        """Choose the inner address, and the router that leads there: the floating IP's, if it has one already."""
        entries = [e for e in port["fixed_ips"] if ip_address(e["ip_address"]).version == 4]
        if not entries:
            raise refuse(f"Requested internal port {port['id']} must allocate an IPv4 address at least.")
        wanted = row.get("internal_ip_address")
        entry = next((e for e in entries if wanted in (None, e["ip_address"])), None)
        if entry is None:
            raise refuse(f"Requested internal IP address {wanted} is not suitable for internal neutron port "
                         f"{port['id']}, as its fixed_ips are {entries}")  # fmt: skip
        row["internal_ip_address"] = entry["ip_address"]
        try:
            router_id = await floating_link.router_of(tx, floating, port, entry)
        except NotFound:
            raise refuse(f"External network {floating['floating_network_id']} is not reachable from subnet "
                         f"{entry['subnet_id']}. Cannot set Port forwarding for port {port['id']} with Floating IP "
                         f"{floating['id']}") from None  # fmt: skip
        if floating["router_id"] and floating["router_id"] != router_id:
            raise refuse(f"The Floating IP {floating['id']} had been set on router {floating['router_id']}, the "
                         f"internal Neutron port {port['id']} can not reach it")  # fmt: skip
        await router_row.FLOATING.update(tx, {"id": floating["id"]}, {"router_id": router_id})

    async def _refuse_collision(self, tx: Tx, row: Row) -> None:
        """A port outside leads to one place, and a place inside is led to from one port."""
        inner = {name: row[name] for name in ("internal_port_id", "protocol", "internal_ip_address")}
        outer = {name: row[name] for name in ("floatingip_id", "protocol")}
        for name, where in (("internal_port_range", inner), ("external_port_range", outer)):
            for other in await FORWARD.select(tx, where):
                first, last = span(other[name])
                mine = span(row[name])
                if other["id"] != row["id"] and max(first, mine[0]) <= min(last, mine[1]):
                    raise refuse(f"There is a port collision with the {name}. The following ranges collide: "
                                 f"{other[name]} and {row[name]}")  # fmt: skip


def _complete(old: Row, changes: Row) -> None:
    """Bring a port and its range into agreement, for either end. Raises BadRequest."""
    for end in _ENDS:
        port, ports = f"{end}_port", f"{end}_port_range"
        if changes.get(ports):
            first, last = span(changes[ports])
            changes[port] = first if first == last else None
        elif changes.get(port):
            changes[ports] = spelled(changes[port], changes[port])
        else:
            changes.pop(port, None)
            changes.pop(ports, None)
    new = old | changes
    for end in _ENDS:
        if not new.get(f"{end}_port_range"):
            raise refuse(f"Invalid value for port None: an {end} port or a range of them is needed")
        new.setdefault(f"{end}_port", None)
    outer, inner = (span(new[f"{end}_port_range"]) for end in _ENDS)
    if inner[1] > inner[0] and inner[1] - inner[0] != outer[1] - outer[0]:
        raise refuse("Invalid ranges of internal and/or external ports. The relation between internal and external "
                     "ports must be N-N or 1-N")  # fmt: skip
