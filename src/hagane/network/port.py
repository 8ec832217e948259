"""Ports: one NIC of a machine or router on a network, with its addresses, security groups and binding.

`status` and the binding's `vif_*` are written by others (the reconciler; attach.py when a machine is placed). A port
without a host is DOWN and unbound. Every change wakes "port".
"""

from typing import Any

from hagane.api.http import Request
from hagane.network import address, metadata, port_row
from hagane.network.base import Given, NetResource, shared_sql
from hagane.network.errors import error
from hagane.network.network import Network
from hagane.network.port_filter import FILTERS
from hagane.network.port_make import complete
from hagane.state import work
from hagane.state.database import Reader, Row, Tx

INTERFACES = ("network:router_interface", "network:router_gateway", "network:router_centralized_snat")


class Port(NetResource):
    name, plural, missing, quota = "port", "ports", "PortNotFound", "port"
    attrs, indexes = port_row.ATTRS, port_row.INDEXES
    special = FILTERS

    def visible_to(self, request: Request) -> list[str]:
        return [*super().visible_to(request), "port.network_id IN (SELECT id FROM network WHERE project_id = :me)"]

    async def target_of(self, request: Request, reader: Reader, row: Row) -> dict[str, Any]:
        target = await super().target_of(request, reader, row)
        network = await Network.table.get(reader, id=row["network_id"])
        if network is not None:
            target["network:project_id"] = network["project_id"]
            own = network["project_id"] == request.caller.project_id
            target["network:shared"] = own or await self._is_shared(request, reader, row["network_id"])
        return target

    async def _is_shared(self, request: Request, reader: Reader, network_id: str) -> bool:
        sql = f"SELECT 1 FROM network WHERE id = :id AND id IN ({shared_sql('network')})"
        return bool(await reader.fetch_tuples(sql, {"id": network_id, "me": request.caller.project_id or ""}))

    async def making(self, request: Request, tx: Tx, row: Row, given: Given) -> None:
        network = await Network(self.cloud).find(request, tx, row["network_id"])
        await complete(tx, row, network)
        await work.wake(tx, "port", row["id"], request_id=request.id)

    async def made(self, request: Request, tx: Tx, row: Row) -> None:
        await port_row.join_groups(tx, row["id"], row["security_groups"])

    async def unmaking(self, request: Request, tx: Tx, row: Row) -> None:
        if row["device_owner"] in INTERFACES or row["device_owner"] in ("network:floatingip", metadata.OWNER):
            reason = f"has device owner {row['device_owner']}"
            raise error("ServicePortInUse", id=row["id"], reason=reason)
        await port_row.unlink_floating(tx, row["id"], request_id=request.id)
        await address.release_all(tx, row["id"])
        await port_row.leave_groups(tx, row["id"])
        await work.wake(tx, "port", row["id"], request_id=request.id)
