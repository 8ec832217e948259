"""Ports: one NIC of a machine or router on a network, with its addresses, security groups and binding.

`status` is the reconciler's: DOWN until OVN says that the port is up. The binding's `vif_*` follow `binding:host_id`.
Every change wakes "port".
"""

from collections.abc import Sequence
from typing import Any

from hagane.api.http import Request
from hagane.network import (
    address,
    dependent,
    log_row,
    metadata,
    plugged,
    port_change,
    port_row,
    qos_row,
    quota,
    rbac,
    tag,
    trunk_row,
)
from hagane.network.attr import Given
from hagane.network.base import NetResource
from hagane.network.errors import error
from hagane.network.network import Network
from hagane.network.permit import Target
from hagane.network.port_filter import FILTERS
from hagane.network.port_make import complete
from hagane.network.present import Made
from hagane.state import work
from hagane.state.database import Reader, Row, Tx


class Port(NetResource):
    name, plural, missing, quota = "port", "ports", "PortNotFound", "port"
    attrs, indexes = port_row.ATTRS, port_row.INDEXES
    special = FILTERS
    marked = True

    def __init__(self, cloud: Any) -> None:
        super().__init__(cloud)
        self._networks = Network(cloud)

    def visible_to(self, request: Request) -> list[str]:
        return [*super().visible_to(request), "port.network_id IN (SELECT id FROM network WHERE project_id = :me)"]

    async def targets_of(self, request: Request, reader: Reader, rows: Sequence[Row]) -> list[Target]:
        targets = await super().targets_of(request, reader, rows)
        ids = list({row["network_id"] for row in rows})
        networks = await Network.table.select(reader, {"id": ids})
        known = await self._of_networks(request, reader, networks)
        for row, target in zip(rows, targets, strict=True):
            target |= known.get(row["network_id"], {})
        return targets

    async def _of_networks(self, request: Request, reader: Reader, networks: Sequence[Row]) -> dict[str, Target]:
        """What policy rules ask about ports' networks. Their owner need not be told whether they are shared."""
        me = request.caller.project_id
        foreign = [network["id"] for network in networks if network["project_id"] != me]
        shared = await rbac.shared_with(reader, "network", foreign, me) if foreign else set()
        return {n["id"]: {"network:project_id": n["project_id"], "network:shared": n["id"] in shared} for n in networks}

    async def views(self, request: Request, reader: Reader, rows: list[Row]) -> list[Made]:
        return await self._with_trunks(
            request, reader, await super().views(request, reader, rows), [r["id"] for r in rows]
        )

    async def list_views(self, request: Request, found: Sequence[Sequence[Any]]) -> list[Made]:
        place = self.table.names.index("id")
        return await self._with_trunks(request, self.db, await super().list_views(request, found),
                                       [values[place] for values in found])  # fmt: skip

    async def _with_trunks(self, request: Request, reader: Reader, made: list[Made], ids: list[str]) -> list[Made]:
        """`trunk_details`, which only the parent of a trunk has."""
        fields = [value for name, value in request.query if name == "fields" and value]
        if not ids or request.method == "POST" or (fields and "trunk_details" not in fields):
            return made  # a new port is no parent yet
        found = await trunk_row.details(reader, ids)
        for key, view in zip(ids, made, strict=True):
            if key in found:
                view["trunk_details"] = found[key]
        return made

    async def make(self, request: Request, tx: Tx, row: Row, given: Given) -> Row:
        """As the base does it, but the network is looked up once and for all."""
        row = dict(row)
        self.stamp(row)
        network = await self._networks.find(request, tx, row["network_id"])
        [target] = await super().targets_of(request, tx, [row])
        target |= (await self._of_networks(request, tx, [network]))[network["id"]]
        self.check(request, "create", target, row, given)
        if row["device_owner"]:
            await port_change.refuse_foreign_router(tx, row, sees_all=self.sees_all(request))
        me, sees_all = request.caller.project_id, self.sees_all(request)
        await qos_row.check(tx, row["qos_policy_id"], me, sees_all=sees_all)
        await quota.charge(tx, row["project_id"], "port")
        await complete(tx, row, network)
        await self.table.insert(tx, row)
        await port_row.join_groups(tx, row["id"], row["security_groups"])
        if row["tags"]:
            await tag.store(tx, self.plural, row["id"], row["tags"])
        await work.wake(tx, "port", row["id"], request_id=request.id)
        return row

    async def changing(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        network = await Network.table.get(tx, id=old["network_id"])
        if network is None:
            raise error("NetworkNotFound", id=old["network_id"])
        if "device_id" in changes or "device_owner" in changes:
            await port_change.refuse_foreign_router(tx, old | changes, sees_all=self.sees_all(request))
        me, sees_all = request.caller.project_id, self.sees_all(request)
        await qos_row.check_change(tx, old, changes, me, sees_all=sees_all)
        await port_change.complete(tx, network, old, changes)
        await plugged.changing(tx, self.cloud, network, old, changes, request_id=request.id)
        await work.wake(tx, "port", old["id"], request_id=request.id)
        if old["device_owner"] == metadata.OWNER:
            await dependent.wake(tx, old["network_id"], request_id=request.id)  # machines hear from DHCP where it is

    async def unmaking(self, request: Request, tx: Tx, row: Row) -> None:
        await port_change.refuse_service_port(tx, row)
        tied = await port_row.ties(tx, row["id"])
        if "trunk" in tied:
            await trunk_row.refuse_in_use(tx, row["id"])
        await plugged.removing(tx, self.cloud, row, request_id=request.id)
        if "floatingip" in tied:
            await port_row.unlink_floating(tx, row["id"], request_id=request.id)
        if "log" in tied:
            await log_row.port_gone(tx, row["id"], request_id=request.id)
        await address.release_all(tx, row["id"])
        await port_row.leave_groups(tx, row["id"])
        await work.wake(tx, "port", row["id"], request_id=request.id)
        if row["device_owner"].startswith("compute:"):
            await work.wake(tx, "server", row["device_id"], request_id=request.id)  # it loses a NIC
