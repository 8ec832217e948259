"""Networks: each one segment (geneve, vlan or flat), possibly shared with other projects or external.

`shared` is told per caller: a network is shared for a project if an RBAC row names it or everyone (rbac.py). Deleting a
network takes its subnets and the ports that this service made itself with it.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from hagane.api.http import Request
from hagane.api.resource import Attr
from hagane.network import dependent, metadata, plugged, qos_row, rbac, segment, segment_row, subnet_row, topology_row
from hagane.network.agent import check_zones
from hagane.network.attr import UNSET, Given, Special, standard
from hagane.network.base import NetResource
from hagane.network.dns_value import dns_domain
from hagane.network.errors import error
from hagane.network.permit import Target, shared_sql
from hagane.network.present import Made
from hagane.network.shared_filter import by_shared
from hagane.network.value import Checked, Flag, Id, Text, Whole, words
from hagane.state import work
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Sql

AUTOMATIC = ("network:dhcp", "network:distributed", "network:provisioning")
"""Owners of ports that go with their network."""


class Network(NetResource):
    name, plural, missing, quota, rbac = "network", "networks", "NetworkNotFound", "network", "network"
    table_name = "network"
    marked = True
    attrs = (
        *standard(),
        Attr("admin_state_up", Flag(), write="cu", default=True),
        Attr("status", Text()),
        Attr("subnets", Checked(), filter=False, sort=False),
        Attr("shared", Flag(), write="cu", default=False, stored=False, rule=True),
        Attr("router_external", Flag(), write="cu", default=False, wire="router:external", rule=True),
        Attr("is_default", Flag(), write="cu", default=False, rule=True),
        Attr("port_security_enabled", Flag(), write="cu", default=True, rule=True),
        Attr("mtu", Whole(0), write="cu", default=0),
        Attr("network_type", Text(32, nullable=True), write="cu", default=UNSET, wire="provider:network_type",
             rule=True),
        Attr("physical_network", Text(64, nullable=True), write="cu", default=UNSET, wire="provider:physical_network",
             rule=True),
        Attr("segmentation_id", Whole(nullable=True), write="cu", default=UNSET, wire="provider:segmentation_id",
             rule=True),
        Attr("vlan_transparent", Flag(nullable=True), write="c", default=None, sort=False),
        Attr("dns_domain", Checked(rule=dns_domain, kind="text"), write="cu", default=""),
        Attr("availability_zone_hints", Checked(rule=words), write="c", default=list, filter=False),
        Attr("availability_zones", Checked(), stored=False, filter=False, sort=False),
        Attr("ipv4_address_scope", Id(), filter=False),
        Attr("ipv6_address_scope", Id(), filter=False),
        Attr("qos_policy_id", Id(nullable=True), write="cu", default=None),
    )  # fmt: skip
    indexes = ("project_id", "name")
    special: ClassVar[Mapping[str, Special]] = {"shared": by_shared("network", "network.id")}

    def visible_to(self, request: Request) -> list[str]:
        external = shared_sql("network", "access_as_external")
        return [*super().visible_to(request), f"network.id IN ({external})"]

    async def computed(self, request: Request, reader: Reader, rows: Sequence[Row]) -> list[Made]:
        shared = await rbac.shared_with(reader, "network", [row["id"] for row in rows], request.caller.project_id)
        return [{"shared": row["id"] in shared, "availability_zones": []} for row in rows]

    async def targets_of(self, request: Request, reader: Reader, rows: Sequence[Row]) -> list[Target]:
        targets = await super().targets_of(request, reader, rows)
        await self.with_shared(request, reader, rows, targets)
        return targets

    async def making(self, request: Request, tx: Tx, row: Row, given: Given) -> None:
        row |= {"status": "ACTIVE", "subnets": [], "ipv4_address_scope": None, "ipv6_address_scope": None}
        check_zones(self.cloud, row["availability_zone_hints"])
        await segment.choose(tx, self.cloud, row)
        row["mtu"] = segment.mtu(row)
        if row["is_default"]:
            await self._only_default(tx, row)
        row["qos_policy_id"] = row["qos_policy_id"] or await qos_row.default_of(tx, row["project_id"])
        await qos_row.check(tx, row["qos_policy_id"], request.caller.project_id, sees_all=self.sees_all(request))
        await segment_row.follow_new(tx, row)
        await rbac.network_flags(tx, row, shared=row.pop("shared"), external=row["router_external"])
        await plugged.moving(tx, self.cloud, row, request_id=request.id)
        await work.wake(tx, "network", row["id"], request_id=request.id)

    async def _only_default(self, tx: Tx, row: Row) -> None:
        if not row.get("router_external"):
            raise error("InvalidInput", reason="The default external network must be external")
        others = [r["id"] for r in await self.table.select(tx, {"is_default": True}) if r["id"] != row["id"]]
        if others:
            raise error("DefaultExternalNetworkExists", id=others[0])

    async def changing(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        await segment.change(tx, self.cloud, old, changes)
        await segment_row.follow_change(tx, old, changes)
        if "mtu" in changes:
            changes["mtu"] = segment.mtu(old | changes)
            await self._check_mtu(tx, old, changes["mtu"])
        if changes.get("is_default"):
            await self._only_default(tx, old | changes)
        if "shared" in changes or "router_external" in changes:
            await rbac.change_flags(tx, old, changes)
        if "segmentation_id" in changes:
            await plugged.moving(tx, self.cloud, old | changes, request_id=request.id)
        me = request.caller.project_id
        if await qos_row.check_change(tx, old, changes, me, sees_all=self.sees_all(request)):
            await qos_row.wake_network(tx, old["id"], request_id=request.id)
            await plugged.moving(tx, self.cloud, old | changes, request_id=request.id)
        if changes.get("dns_domain", old["dns_domain"]) != old["dns_domain"]:
            await dependent.wake_named(tx, old["id"], request_id=request.id)
        await dependent.wake(tx, old["id"], request_id=request.id)

    async def _check_mtu(self, tx: Tx, network: Row, mtu: int) -> None:
        """IPv4 needs 68 bytes (RFC 791), IPv6 1280 (RFC 8200)."""
        versions = {subnet["ip_version"] for subnet in await subnet_row.of_network(tx, network["id"])}
        if versions and mtu < 68:
            raise error("NetworkMTUSubnetConflict", id=network["id"], mtu=68)
        if 6 in versions and mtu < 1280:
            raise error("NetworkMTUSubnetConflict", id=network["id"], mtu=1280)

    async def unmaking(self, request: Request, tx: Tx, row: Row) -> None:
        if row["router_external"]:
            await self._end_floating(request, tx, row)
        held = await tx.fetch_tuples(
            f"SELECT id FROM port WHERE network_id = :id AND device_owner NOT IN {AUTOMATIC} ORDER BY created_at",
            {"id": row["id"]},
        )
        if held:
            ids = ",".join(port_id for (port_id,) in held)
            reason = f"There are one or more ports still in use on the network, id for these ports is: {ids}"
            raise error("NetworkInUse", id=row["id"], reason=reason)
        await metadata.remove(tx, row["id"])
        await subnet_row.remove_of_network(tx, row["id"])
        await rbac.forget(tx, "network", row["id"])
        await segment.release(tx, row)
        await segment_row.follow_gone(tx, row["id"])
        await topology_row.network_gone(tx, row["id"])
        await plugged.moving(tx, self.cloud, row, request_id=request.id)
        await work.wake(tx, "network", row["id"], request_id=request.id)

    async def _end_floating(self, request: Request, tx: Tx, row: Row) -> None:
        """Floating IPs that lead nowhere end with their external network, whoever's they are."""
        from hagane.network.floatingip import FloatingIp  # it needs networks itself

        resource = FloatingIp(self.cloud)
        free = {"floating_network_id": row["id"], "port_id": None, "router_id": None}
        for floating in await resource.table.select(tx, free):
            await resource.unmake(request, tx, floating)


async def get(reader: Reader, network_id: str) -> Row | None:
    """A network by its id, whoever asks."""
    return await Network.table.get(reader, id=network_id)


async def usable(reader: Reader, network_id: str, project: str | None) -> Row | None:
    """A network if a project may see it: its own, shared with it, or external. `project` None: whoever's it is."""
    if project is None:
        return await get(reader, network_id)
    seen = Sql(
        f"project_id = :me OR id IN ({shared_sql('network')}) OR id IN ({shared_sql('network', 'access_as_external')})",
        {"me": project},
    )
    rows = await Network.table.select(reader, {"id": network_id}, conditions=[seen])
    return rows[0] if rows else None
