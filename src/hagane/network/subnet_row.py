"""Rows of subnets, and what other modules do with them without asking who may."""

from hagane.api.resource import REQUIRED, Attr
from hagane.network import quota, sequence, tag
from hagane.network.attr import UNSET, standard
from hagane.network.value import (
    Checked,
    Flag,
    Id,
    OneOf,
    Whole,
    cidr_or_none,
    ip_or_none,
    nameservers,
    pools,
    routes,
    service_types,
)
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Table

MODES = ("dhcpv6-stateful", "dhcpv6-stateless", "slaac")

ATTRS = (
    *standard(),
    Attr("network_id", Id(), write="c", default=REQUIRED),
    Attr("ip_version", Whole(values=(4, 6)), write="c", default=REQUIRED),
    Attr("subnetpool_id", Id(nullable=True), write="c", default=None),
    Attr("prefixlen", Whole(0, nullable=True), write="c", default=None, stored=False, shown=False),
    Attr("use_default_subnetpool", Flag(), write="c", default=False, stored=False, shown=False),
    Attr("cidr", Checked(rule=cidr_or_none, kind="text"),
         write="c", default=None),
    Attr("gateway_ip", Checked(rule=ip_or_none, kind="text"), write="cu", default=UNSET),
    Attr("allocation_pools", Checked(rule=pools), write="cu", default=UNSET, filter=False),
    Attr("dns_nameservers", Checked(rule=nameservers), write="cu", default=list, filter=False),
    Attr("host_routes", Checked(rule=routes), write="cu", default=list, filter=False),
    Attr("enable_dhcp", Flag(), write="cu", default=True),
    Attr("ipv6_ra_mode", OneOf(values=MODES, nullable=True), write="c", default=None),
    Attr("ipv6_address_mode", OneOf(values=MODES, nullable=True), write="c", default=None),
    Attr("service_types", Checked(rule=service_types), write="cu", default=list, filter=False),
    Attr("segment_id", Id(nullable=True), write="cu", default=None, rule=True),
    Attr("router_external", Flag(), wire="router:external", stored=False, sort=False),
)  # fmt: skip

INDEXES = ("network_id", "project_id", "subnetpool_id", "segment_id")
SUBNET = Table("subnet", tuple(Column(a.name, a.type.column, a.key) for a in ATTRS if a.stored), INDEXES)


async def of_network(reader: Reader, network_id: str) -> list[Row]:
    """A network's subnets, oldest first."""
    return await SUBNET.select(reader, {"network_id": network_id}, order="created_at, id")


async def remove(tx: Tx, row: Row) -> None:
    """Delete a subnet's row and its pool; nothing may hold an address of it any more."""
    await SUBNET.delete(tx, {"id": row["id"]})
    await sequence.forget(tx, row["id"])
    await tag.forget(tx, row["id"])
    await quota.charge(tx, row["project_id"], "subnet", -1)


async def remove_of_network(tx: Tx, network_id: str) -> list[Row]:
    """Delete all subnets of a network that has no ports any more; returns them as they were."""
    rows = await of_network(tx, network_id)
    for row in rows:
        await remove(tx, row)
    return rows


def is_auto(subnet: Row) -> bool:
    """Whether ports get their address of it from their own MAC address (SLAAC, or DHCPv6 without addresses)."""
    modes = ("slaac", "dhcpv6-stateless")
    return subnet["ipv6_address_mode"] in modes or subnet["ipv6_ra_mode"] in modes


async def scoped(tx: Tx, pool: Row) -> None:
    """The networks of a pool's subnets are in the pool's address scope."""
    scope = f"ipv{pool['ip_version']}_address_scope"
    sql = (
        f"""UPDATE network SET {scope} = :scope WHERE id IN (SELECT network_id FROM subnet WHERE subnetpool_id = :id)"""
    )
    await tx.execute(sql, {"scope": pool["address_scope_id"], "id": pool["id"]})
