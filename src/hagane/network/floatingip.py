"""Floating IPs: an address of an external network for a port behind a router that has its gateway there.

    DOWN (free) ──port──▶ ACTIVE (translated by the port's router) ──no port──▶ DOWN

The address is held by a port of this service's own (`network:floatingip`, no project), so it is counted and protected
as every other address. Every change wakes "floatingip".
"""

from collections.abc import Sequence

from hagane.api.http import Request
from hagane.network import floating_link, forward_row, port_make, port_row, qos_row, router_row, subnet_row
from hagane.network.attr import Given
from hagane.network.base import NetResource
from hagane.network.errors import error
from hagane.network.network import Network
from hagane.network.present import Made
from hagane.state import work
from hagane.state.database import Reader, Row, Tx

OWNER = "network:floatingip"


class FloatingIp(NetResource):
    name, plural, missing, quota = "floatingip", "floatingips", "FloatingIPNotFound", "floatingip"
    attrs, indexes = router_row.FLOATING_ATTRS, router_row.FLOATING_INDEXES
    needs = ("id", "port_id")

    async def computed(self, request: Request, reader: Reader, rows: Sequence[Row]) -> list[Made]:
        ids = [row["port_id"] for row in rows if row["port_id"]]
        found = {port["id"]: port for port in await port_row.PORT.select(reader, {"id": ids})} if ids else {}
        keys = ("name", "network_id", "mac_address", "admin_state_up", "status", "device_id", "device_owner")
        forwards = await forward_row.of(reader, [row["id"] for row in rows])
        return [
            {
                "port_details": {key: found[row["port_id"]][key] for key in keys} if row["port_id"] in found else None,
                "port_forwardings": forward_row.in_floating(forwards[row["id"]]),
            }
            for row in rows
        ]

    async def making(self, request: Request, tx: Tx, row: Row, given: Given) -> None:
        network = await Network(self.cloud).find(request, tx, row["floating_network_id"])
        await qos_row.check(tx, row["qos_policy_id"], request.caller.project_id, sees_all=self.sees_all(request))
        if not network["router_external"]:
            raise self._refuse(f"Network {network['id']} is not a valid external network")
        subnets = [s for s in await subnet_row.of_network(tx, network["id"]) if s["ip_version"] == 4]
        if not subnets:
            raise self._refuse(f"Network {network['id']} does not contain any IPv4 subnet")
        port = await self._take_address(request, tx, row, network, subnets)
        row["floating_ip_address"] = port["fixed_ips"][0]["ip_address"]
        chosen = row.get("router_id")
        row |= {"floating_port_id": port["id"], "router_id": None, "status": "DOWN"}
        row |= await floating_link.link(self, request, tx, row, row["port_id"], row["fixed_ip_address"], chosen)
        await work.wake(tx, "floatingip", row["id"], request_id=request.id)

    async def _take_address(self, request: Request, tx: Tx, row: Row, network: Row, subnets: list[Row]) -> Row:
        subnet_id = row.pop("subnet_id", None)
        wish: dict[str, str] = {}
        if subnet_id:
            wish["subnet_id"] = subnet_id
        if row["floating_ip_address"]:
            wish["ip_address"] = row["floating_ip_address"]
        wishes = [wish] if wish else [{"subnet_id": subnets[0]["id"]}]
        try:
            return await port_make.make(tx, network, project="", owner=OWNER, device=row["id"], fixed=wishes,
                                        groups=[], limited=False, request_id=request.id)  # fmt: skip
        except Exception as failure:
            if getattr(failure, "code", "") == "IpAddressGenerationFailure":
                raise error("ExternalIpAddressExhausted", id=network["id"]) from failure
            raise

    def _refuse(self, reason: str) -> Exception:
        return error("BadRequest", resource="floatingip", reason=reason)

    async def changing(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        if not changes:
            changes["port_id"] = None  # an empty change was the first way to say that it shall stand for no port
        chosen = changes.pop("router_id", None)
        forwards = await forward_row.exist(tx, old["id"])
        if forwards and changes.get("port_id"):
            raise error("FipInUseByPortForwarding", id=old["id"])
        if forwards:
            changes.pop("fixed_ip_address", None)
        elif chosen or changes.keys() & {"port_id", "fixed_ip_address"}:
            kept = old if chosen else {}  # another way to the same port
            fixed = changes.get("fixed_ip_address", kept.get("fixed_ip_address") if "port_id" not in changes else None)
            port_id = changes.get("port_id", old["port_id"] if fixed else None)
            changes |= await floating_link.link(self, request, tx, old, port_id, fixed, chosen)
        await qos_row.check_change(tx, old, changes, request.caller.project_id, sees_all=self.sees_all(request))
        await work.wake(tx, "floatingip", old["id"], request_id=request.id)

    async def unmaking(self, request: Request, tx: Tx, row: Row) -> None:
        if await forward_row.exist(tx, row["id"]):
            raise error("FipInUseByPortForwarding", id=row["id"])
        port = await port_row.get(tx, row["floating_port_id"])
        if port is not None:
            await port_row.remove(tx, port, request_id=request.id)
        await work.wake(tx, "floatingip", row["id"], request_id=request.id)
