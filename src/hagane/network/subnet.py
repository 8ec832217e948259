"""Subnets: a prefix of a network with its pools, gateway, nameservers and routes; of version 4, or 6 with its modes.

Every change wakes "network": what is compiled from a subnet belongs to its network. The metadata port follows.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from hagane.api.http import Request
from hagane.network import (
    address,
    dependent,
    gateway_row,
    metadata,
    port_row,
    segment_row,
    sequence,
    subnet_row,
    subnet_rule,
    subnetpool_rule,
)
from hagane.network.attr import Given, Special
from hagane.network.base import NetResource
from hagane.network.errors import error
from hagane.network.network import Network
from hagane.network.permit import Target, shared_sql
from hagane.network.present import Made
from hagane.network.shared_filter import by_external, by_shared
from hagane.network.subnet_row import SUBNET, is_auto
from hagane.network.subnetpool import SubnetPool
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx


class Subnet(NetResource):
    name, plural, missing, quota = "subnet", "subnets", "SubnetNotFound", "subnet"
    attrs, indexes = subnet_row.ATTRS, subnet_row.INDEXES
    special: ClassVar[Mapping[str, Special]] = {
        "shared": by_shared("network", "subnet.network_id"),
        "router:external": by_external,
    }
    needs = ("id", "network_id")

    def visible_to(self, request: Request) -> list[str]:
        """As their networks: owned by the caller, shared with it, or external."""
        external = shared_sql("network", "access_as_external")
        return [
            *super().visible_to(request),
            "subnet.network_id IN (SELECT id FROM network WHERE project_id = :me)",
            f"subnet.network_id IN ({shared_sql('network')})",
            f"subnet.network_id IN ({external})",
        ]

    async def computed(self, request: Request, reader: Reader, rows: Sequence[Row]) -> list[Made]:
        ids = list({row["network_id"] for row in rows})
        external = {n["id"]: n["router_external"] for n in await Network.table.select(reader, {"id": ids})}
        return [{"router:external": external.get(row["network_id"], False)} for row in rows]

    async def targets_of(self, request: Request, reader: Reader, rows: Sequence[Row]) -> list[Target]:
        targets = await super().targets_of(request, reader, rows)
        ids = list({row["network_id"] for row in rows})
        networks = await Network.table.select(reader, {"id": ids})
        seen = await Network(self.cloud).targets_of(request, reader, networks)
        known = {network["id"]: target for network, target in zip(networks, seen, strict=True)}
        for row, target in zip(rows, targets, strict=True):
            network = known.get(row["network_id"])
            if network is None:
                raise error("NetworkNotFound", id=row["network_id"])
            target |= {"network:project_id": network["project_id"], "network:shared": network["shared"],
                       "router:external": network["router:external"]}  # fmt: skip
        return targets

    async def making(self, request: Request, tx: Tx, row: Row, given: Given) -> None:
        network = await Network(self.cloud).find(request, tx, row["network_id"])
        others = await subnet_row.of_network(tx, network["id"])
        row.pop("router_external", None)
        await self._choose_prefix(request, tx, row, others)
        subnet_rule.check(row)
        subnet_rule.check_overlap(row, others)
        await segment_row.check_subnet(tx, row, others)
        if "gateway_ip" not in row:
            row["gateway_ip"] = subnet_rule.default_gateway(row["cidr"])
        if row.get("allocation_pools"):
            subnet_rule.check_pools(row)
            subnet_rule.check_gateway_outside(row)
        else:
            row["allocation_pools"] = subnet_rule.default_pools(row["cidr"], row["gateway_ip"])
        self._check_mtu(row, network)

    async def _choose_prefix(self, request: Request, tx: Tx, row: Row, others: list[Row]) -> None:
        """The subnet's prefix: as asked for, or cut out of a pool. Raises BadRequest and what the pool refuses."""
        prefixlen, use_default = row.pop("prefixlen", None), row.pop("use_default_subnetpool", False)
        if row["cidr"] is not None and prefixlen is not None:
            raise self._refuse("cidr and prefixlen must not be supplied together")
        if row["cidr"] is not None:
            row["cidr"] = str(subnet_rule.network_of(row["cidr"]))
        if use_default and row["subnetpool_id"]:
            raise self._refuse("subnetpool_id and use_default_subnetpool cannot both be specified")
        if use_default:
            row["subnetpool_id"] = await self._default_pool(request, tx, row)
        if row["subnetpool_id"]:
            await self._cut(request, tx, row, prefixlen)
        elif row["cidr"] is None:
            raise self._refuse("a subnetpool must be specified in the absence of a cidr")
        await self._check_pools_agree(tx, row, others)

    def _refuse(self, reason: str) -> Exception:
        return error("BadRequest", resource="subnets", reason=reason)

    async def _default_pool(self, request: Request, tx: Tx, row: Row) -> str:
        version = subnet_rule.network_of(row["cidr"]).version if row["cidr"] else row["ip_version"]
        pools = SubnetPool(self.cloud)
        found = await pools.table.select(
            tx, {"is_default": True, "ip_version": version}, conditions=pools.visible(request)
        )
        if not found:
            raise self._refuse(f"No default subnetpool found for IPv{version}")
        return str(found[0]["id"])

    async def _cut(self, request: Request, tx: Tx, row: Row, prefixlen: int | None) -> None:
        pool = await SubnetPool(self.cloud).find(request, tx, row["subnetpool_id"])
        if row["ip_version"] != pool["ip_version"]:
            raise self._refuse(
                f"Cannot allocate IPv{row['ip_version']} subnet from IPv{pool['ip_version']} subnet pool"
            )
        if "allocation_pools" in row and row["cidr"] is None:
            raise self._refuse("allocation_pools allowed only for specific subnet requests.")
        taken = await SUBNET.select(tx, {"subnetpool_id": pool["id"]})
        row["cidr"] = subnetpool_rule.cut(pool, taken, row["project_id"], cidr=row["cidr"], prefixlen=prefixlen)

    async def _check_pools_agree(self, tx: Tx, row: Row, others: list[Row]) -> None:
        """All subnets of one IP version on a network come from the same pool or from none."""
        same = [other for other in others if other["ip_version"] == row["ip_version"]]
        if any(other["subnetpool_id"] != row["subnetpool_id"] for other in same):
            raise error("NetworkSubnetPoolAffinityError")

    def _check_mtu(self, row: Row, network: Row) -> None:
        least = 68 if row["ip_version"] == 4 else 1280
        if network["mtu"] < least:
            raise error("NetworkMTUSubnetConflict", id=network["id"], mtu=least)

    async def made(self, request: Request, tx: Tx, row: Row) -> None:
        """A new subnet brings its pool, its place in the network, and addresses for ports that need one."""
        network = await Network.table.get(tx, id=row["network_id"])
        if network is None:
            raise error("NetworkNotFound", id=row["network_id"])
        await sequence.define(tx, row["id"], subnet_rule.ranges(row))
        await self._list_in_network(tx, network, [*network["subnets"], row["id"]], await self._scopes(tx, network, row))
        await metadata.follow(tx, network, request_id=request.id)
        if row["ip_version"] == 6 and is_auto(row):
            await self._address_ports(request, tx, row)
        if network["router_external"]:
            await gateway_row.follow(tx, row, request_id=request.id)
        await dependent.wake(tx, network["id"], request_id=request.id)

    async def _scopes(self, tx: Tx, network: Row, row: Row) -> Row:
        """The address scope that a network has by its subnets' pools."""
        if not row["subnetpool_id"]:
            return {}
        pool = await SubnetPool.table.get(tx, id=row["subnetpool_id"])
        return {f"ipv{row['ip_version']}_address_scope": pool["address_scope_id"] if pool else None}

    async def _list_in_network(self, tx: Tx, network: Row, ids: list[str], scopes: Row) -> None:
        """Keep what a network's answer tells of its subnets."""
        changes = {"subnets": ids, "generation": network["generation"] + 1, "updated_at": clock.now()} | scopes
        await Network.table.update(tx, {"id": network["id"]}, changes)

    async def _address_ports(self, request: Request, tx: Tx, subnet: Row) -> None:
        """Ports that are there already get their automatic address of the new subnet too."""
        for port in await port_row.PORT.select(tx, {"network_id": subnet["network_id"]}):
            if port["device_owner"] != metadata.OWNER and address.fits_owner(subnet, port["device_owner"]):
                added = await address.automatic(tx, port, [subnet])
                if added:
                    fixed = {"fixed_ips": port["fixed_ips"] + added}
                    await port_row.change(tx, port["id"], fixed, request_id=request.id)

    async def changing(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        new = old | changes
        subnet_rule.check(new, old=old)
        if new["segment_id"] != old["segment_id"]:
            if old["segment_id"]:
                raise error("SubnetSegmentAssociationChangeNotAllowed")
            await segment_row.check_subnet(tx, new, [s for s in await subnet_row.of_network(tx, old["network_id"])
                                                     if s["id"] != old["id"]])  # fmt: skip
        if new["gateway_ip"] != old["gateway_ip"]:
            await self._check_gateway_free(tx, old)
        if "allocation_pools" in changes:
            subnet_rule.check_pools(new)
            await sequence.define(tx, old["id"], subnet_rule.ranges(new))
        if "allocation_pools" in changes or "gateway_ip" in changes:
            subnet_rule.check_gateway_outside(new)
        await SUBNET.update(tx, {"id": old["id"]}, {"enable_dhcp": new["enable_dhcp"]})
        network = await Network.table.get(tx, id=old["network_id"])
        if network is not None:
            await metadata.follow(tx, network, request_id=request.id)
        await dependent.wake(tx, old["network_id"], request_id=request.id)
        if new["enable_dhcp"] != old["enable_dhcp"]:
            await dependent.wake_addressed(tx, old["id"], request_id=request.id)

    async def _check_gateway_free(self, tx: Tx, subnet: Row) -> None:
        """The gateway's address may not change while a router's port has it."""
        sql = """SELECT port.id FROM allocation JOIN port ON port.id = allocation.owner WHERE allocation.kind = 'ip' AND
        pool = :subnet AND item = :ip AND port.device_owner = 'network:router_interface'"""
        rows = await tx.fetch_tuples(sql, {"subnet": subnet["id"], "ip": subnet["gateway_ip"] or ""})
        if rows:
            raise error("GatewayIpInUse", ip=subnet["gateway_ip"], port_id=rows[0][0])

    async def unmaking(self, request: Request, tx: Tx, row: Row) -> None:
        await SUBNET.update(tx, {"id": row["id"]}, {"enable_dhcp": False})
        network = await Network.table.get(tx, id=row["network_id"])
        if network is not None:
            await metadata.follow(tx, network, request_id=request.id)
            rest = [s for s in network["subnets"] if s != row["id"]]
            left = {s["ip_version"] for s in await subnet_row.of_network(tx, network["id"]) if s["id"] != row["id"]}
            scopes = {} if row["ip_version"] in left else {f"ipv{row['ip_version']}_address_scope": None}
            await self._list_in_network(tx, network, rest, scopes)
        await self._release_ports(request, tx, row)
        await sequence.forget(tx, row["id"])
        await dependent.wake(tx, row["network_id"], request_id=request.id)

    async def _release_ports(self, request: Request, tx: Tx, subnet: Row) -> None:
        """Automatic addresses go with their subnet; others keep it. Raises SubnetInUse."""
        sql = """SELECT port.id, port.device_owner FROM allocation JOIN port ON port.id = allocation.owner
        WHERE allocation.kind = 'ip' AND allocation.pool = :subnet"""
        holders = await tx.fetch_tuples(sql, {"subnet": subnet["id"]})
        auto = subnet["ip_version"] == 6 and is_auto(subnet)
        if holders and (not auto or any(owner in address.ROUTER_OWNERS for _, owner in holders)):
            raise error(
                "SubnetInUse", id=subnet["id"], reason="One or more ports have an IP allocation from this subnet"
            )
        for port_id, _ in holders:
            port = await port_row.get(tx, port_id)
            if port is not None:
                gone = [f for f in port["fixed_ips"] if f["subnet_id"] == subnet["id"]]
                await address.release(tx, port_id, gone)
                fixed = {"fixed_ips": [f for f in port["fixed_ips"] if f not in gone]}
                await port_row.change(tx, port_id, fixed, request_id=request.id)
