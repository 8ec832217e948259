"""Rows of ports, and what other modules do with them without asking who may."""

import random
from collections.abc import Sequence

from hagane.api.resource import REQUIRED, Attr
from hagane.network import address, dns, forward_row, log_row, quota, tag, trunk_row
from hagane.network.attr import UNSET, standard
from hagane.network.dns_value import dns_domain, dns_name
from hagane.network.errors import error
from hagane.network.port_value import VNIC_TYPES, dhcp_opts, pairs
from hagane.network.value import Checked, Flag, Id, OneOf, Text, fixed_ips, ids, mac_or_none, mapping
from hagane.state import clock, work
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Table, listed

ATTRS = (
    *standard(tags="c"),
    Attr("network_id", Id(), write="c", default=REQUIRED),
    Attr("admin_state_up", Flag(), write="cu", default=True),
    Attr("status", Text()),
    Attr("mac_address", Checked(rule=mac_or_none, kind="text"), write="cu", default=UNSET, rule=True),
    Attr("fixed_ips", Checked(rule=fixed_ips), write="cu", default=UNSET, rule=True, filter=False),
    Attr("ip_allocation", Text()),
    Attr("device_id", Text(255), write="cu", default="", rule=True),
    Attr("device_owner", Text(255), write="cu", default="", rule=True),
    Attr("security_groups", Checked(rule=ids), write="cu", default=UNSET, filter=False),
    Attr("allowed_address_pairs", Checked(rule=pairs), write="cu", default=UNSET, rule=True, filter=False),
    Attr("extra_dhcp_opts", Checked(rule=dhcp_opts), write="cu", default=UNSET, filter=False),
    Attr("port_security_enabled", Flag(), write="cu", default=UNSET, rule=True),
    Attr("binding_host_id", Text(255, nullable=True), write="cu", default=UNSET, wire="binding:host_id", rule=True),
    Attr("binding_profile", Checked(rule=mapping), write="cu", default=UNSET, wire="binding:profile", rule=True,
         filter=False),
    Attr("binding_vif_type", Text(), wire="binding:vif_type"),
    Attr("binding_vif_details", Checked(), wire="binding:vif_details", filter=False),
    Attr("binding_vnic_type", OneOf(values=VNIC_TYPES), write="cu", default="normal", wire="binding:vnic_type",
         rule=True),
    Attr("dns_name", Checked(rule=dns_name, kind="text"), write="cu", default=""),
    Attr("dns_domain", Checked(rule=dns_domain, kind="text"), write="cu", default=""),
    Attr("dns_assignment", Checked(), filter=False),
    Attr("propagate_uplink_status", Flag(), write="cu", default=True),
    Attr("qos_policy_id", Id(nullable=True), write="cu", default=None),
)  # fmt: skip

INDEXES = ("network_id, mac_address", "network_id, device_owner", "project_id", "device_id", "binding_host_id",
           "qos_policy_id")  # fmt: skip
PORT = Table("port", tuple(Column(a.name, a.type.column, a.key) for a in ATTRS if a.stored), INDEXES)

MEMBERSHIP = Table(
    "port_security_group",
    (Column("port_id", key=True), Column("security_group_id", key=True)),
    ("security_group_id",),
)
"""Which ports are in which security groups: the same as `port.security_groups`, the other way round."""

_MAC_TAKEN = "SELECT 1 FROM port WHERE network_id = :network AND mac_address = :mac LIMIT 1"


_DETAILS = {"port_filter": True, "connectivity": "l2", "bound_drivers": {"0": "ovn"}}


MIGRATING = "migrating_to"
"""The key of a binding profile that says on which Host the port's machine will be; the real services' own."""


def binding(host: str) -> Row:
    """The binding columns of a port on a host ("": on none)."""
    kind, details = ("ovs", _DETAILS) if host else ("unbound", {})
    return {"binding_host_id": host, "binding_vif_type": kind, "binding_vif_details": details}


async def get(reader: Reader, port_id: str) -> Row | None:
    return await PORT.get(reader, id=port_id)


async def new_mac(tx: Tx, network_id: str, wanted: str | None = None) -> str:
    """A MAC address that no other port of the network has. Raises MacAddressInUse."""
    while True:
        number = random.getrandbits(24)
        text = wanted or f"fa:16:3e:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
        if not await tx.fetch_tuples(_MAC_TAKEN, {"network": network_id, "mac": text}):
            return text
        if wanted:
            raise error("MacAddressInUse", network_id=network_id, mac=wanted)


async def join_groups(tx: Tx, port_id: str, groups: Sequence[str]) -> None:
    for group in groups:
        await MEMBERSHIP.insert(tx, {"port_id": port_id, "security_group_id": group})


async def leave_groups(tx: Tx, port_id: str) -> None:
    await MEMBERSHIP.delete(tx, {"port_id": port_id})


async def change(tx: Tx, port_id: str, changes: Row, *, request_id: str | None = None) -> None:
    """Write intent of this service's own into a port's row and wake its reconciler."""
    row = await PORT.get(tx, id=port_id)
    if row is None:
        return
    if "fixed_ips" in changes and "dns_assignment" not in changes:
        changes = changes | {"dns_assignment": await dns.assignment(tx, row | changes)}
    await PORT.update(tx, {"id": port_id}, changes | {"generation": row["generation"] + 1, "updated_at": clock.now()})
    await work.wake(tx, "port", port_id, request_id=request_id)


async def rebind(tx: Tx, port_ids: Sequence[str], host: str, *, request_id: str | None = None) -> None:
    """`change`, for many Ports at once that go to another host: they are dark until it is written."""
    among = listed("id", port_ids)
    await tx.execute(
        "UPDATE port SET binding_host_id = :host, generation = generation + 1, updated_at = :now"
        f" WHERE id IN {among.text}",
        {"host": host, "now": clock.now(), **among.params},
    )
    await work.wake_each(tx, "port", port_ids, request_id=request_id)


async def remove(tx: Tx, row: Row, *, request_id: str | None = None) -> None:
    """Delete a port's row, give back what it holds and wake its reconciler. Nobody is asked.

    Floating IPs that stood for it are free again.
    """
    tied = await ties(tx, row["id"])
    if "floatingip" in tied:
        await unlink_floating(tx, row["id"], request_id=request_id)
    if "trunk" in tied:
        await trunk_row.forget(tx, row["id"], request_id=request_id)
    if "log" in tied:
        await log_row.port_gone(tx, row["id"], request_id=request_id)
    await address.release_all(tx, row["id"])
    if row["security_groups"]:
        await leave_groups(tx, row["id"])
    if row.get("tags"):
        await tag.forget(tx, row["id"])
    await PORT.delete(tx, {"id": row["id"]})
    await quota.charge(tx, row["project_id"], "port", -1)
    await work.wake(tx, "port", row["id"], request_id=request_id)


_TIES = """SELECT 'floatingip' FROM floatingip WHERE port_id = :id
UNION ALL SELECT 'floatingip' FROM port_forwarding WHERE internal_port_id = :id
UNION ALL SELECT 'trunk' FROM subport WHERE port_id = :id UNION ALL SELECT 'trunk' FROM trunk WHERE port_id = :id
UNION ALL SELECT 'log' FROM network_log WHERE target_id = :id"""


async def ties(tx: Tx, port_id: str) -> set[str]:
    """What must hear of a port's end: floating IPs (and forwardings), trunks, logs. Asked at once: few have any."""
    return {str(kind) for (kind,) in await tx.fetch_tuples(_TIES, {"id": port_id})}


async def unlink_floating(tx: Tx, port_id: str, *, request_id: str | None = None) -> None:
    """Floating IPs that stand for a port that goes stand for none, and forward nothing to it."""
    await forward_row.unlink(tx, port_id, request_id=request_id)
    for (floating_id,) in await tx.fetch_tuples("SELECT id FROM floatingip WHERE port_id = :id", {"id": port_id}):
        sql = """UPDATE floatingip SET port_id = NULL, fixed_ip_address = NULL, router_id = NULL, status = 'DOWN',
        generation = generation + 1, updated_at = :now WHERE id = :id"""
        await tx.execute(sql, {"id": floating_id, "now": clock.now()})
        await work.wake(tx, "floatingip", str(floating_id), request_id=request_id)
