"""Racks: which switches and rack gateways there are, and what each SwitchPort of ours carries.

    rack ─┬─ switch ──── switch_port (one for each Nic that was ever plugged; `native`: the VLAN that it shall carry)
          └─ rack_gateway (an OVS chassis that the rack's trunk enters)

A Nic (or a group of Nics, which acts as one) takes a private VLAN of its rack when it is plugged for the first time,
and keeps it until it is deleted. Private VLANs and the VLAN networks of the rack's physical network are allocations of
one pool, so they never meet. A SwitchPort whose Nic went stays here as `gone`, and its VLAN stays taken, until the
switch has confirmed that the port carries nothing: otherwise the next Nic with that VLAN would share a wire with it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from hagane.errors import Conflict
from hagane.network import sequence
from hagane.state import allocation, work
from hagane.state.database import Reader, Row, Tx
from hagane.state.secret import Secrets
from hagane.state.table import Column, Table, listed

RACK = Table(
    "rack",
    (
        Column("id", key=True),
        Column("name"),
        Column("physical_network"),
        Column("vlan_first", "int"),
        Column("vlan_last", "int"),
        Column("created_at"),
        Column("updated_at"),
    ),
    ("unique name", "unique physical_network"),
)
SWITCH = Table(
    "switch",
    (
        Column("id", key=True),
        Column("rack_id"),
        Column("name"),
        Column("driver"),
        Column("chassis_id"),  # the MAC by which LLDP and Nics' local_link_connection name it
        Column("access", "json"),  # address, port, username, options: what is no secret
        Column("secrets"),
        Column("uplinks", "json"),  # ports to other switches of the rack, which carry every VLAN
        Column("state"),  # up or down; NULL: not asked yet
        Column("reason"),
        Column("seen", "json"),  # model, chassis_id
        Column("seen_at"),
    ),
    ("unique name", "rack_id", "chassis_id"),
)
GATEWAY = Table(
    "rack_gateway",
    (
        Column("id", key=True),
        Column("rack_id"),
        Column("name"),  # of its chassis (system-id)
        Column("ovsdb"),
        Column("trunk_bridge"),
        Column("integration_bridge"),
        Column("switch"),  # where its trunk hangs: a switch's name and port
        Column("switch_port"),
        Column("priority", "int"),  # the highest that is alive is chosen
        Column("state"),
        Column("reason"),
        Column("seen_at"),
    ),
    ("unique name", "rack_id"),
)
SWITCH_PORT = Table(
    "switch_port",
    (
        Column("switch_id", key=True),
        Column("name", key=True),
        Column("nic_id"),
        Column("owner"),  # who holds the private VLAN: the Nic, or its group
        Column("vlan", "int"),  # the private VLAN
        Column("native", "int"),  # what untagged frames shall belong to; NULL: they go nowhere
        Column("lag", "bool"),  # a member of the link aggregation of `owner`
        Column("gone", "bool"),
        Column("applied", "bool"),  # whether the switch has confirmed it
    ),
    ("nic_id", "owner"),
)
TABLES = (RACK, SWITCH, GATEWAY, SWITCH_PORT)
UP, DOWN = "up", "down"


def pool(physical_network: str) -> str:
    """The pool of VLANs of a physical network: its networks' and its Nics' (see network/segment.py)."""
    return f"vlan:{physical_network}"


async def reserve(tx: Tx, rack: Row) -> None:
    """Networks that choose no VLAN themselves get none of the rack's private ones."""
    first, last = rack["vlan_first"], rack["vlan_last"]
    await sequence.define(tx, pool(rack["physical_network"]), [
        (low, high) for low, high in ((2, first - 1), (last + 1, 4094)) if low <= high
    ])  # fmt: skip


async def private_vlan(tx: Tx, rack: Row, owner: str) -> int:
    """The private VLAN of a Nic or a group; taken if it has none of this rack. Raises Conflict when all are taken."""
    first, last, name = rack["vlan_first"], rack["vlan_last"], pool(rack["physical_network"])
    mine = await allocation.ALLOCATION.get(tx, owner=owner, kind="segment", pool=name)
    if mine is not None:
        return int(mine["item"])
    held = await allocation.held(tx, "segment", name)
    for number in range(first, last + 1):
        if str(number) not in held and await allocation.take(tx, "segment", name, str(number), owner):
            return number
    raise Conflict(f"Rack {rack['name']} has no private VLAN left: all of {first}-{last} are taken.")


async def switches_of(reader: Reader, links: Sequence[Mapping[str, Any] | None]) -> list[Row | None]:
    """The switch that each Link of a Nic names: by the MAC that LLDP says, or by its name."""
    chassis = [str((link or {}).get("switch_id") or "").lower() for link in links]
    names = [str((link or {}).get("switch_info") or "") for link in links]
    found: dict[tuple[str, str], Row] = {}
    for column, wanted in (("chassis_id", {*chassis} - {""}), ("name", {*names} - {""})):
        rows = await SWITCH.select(reader, {column: sorted(wanted)}) if wanted else []
        found |= {(column, row[column]): row for row in rows}
    return [
        found.get(("chassis_id", one)) or found.get(("name", other)) for one, other in zip(chassis, names, strict=True)
    ]


async def gateways_of(reader: Reader, rack_ids: Collection[str]) -> list[Row]:
    """Gateways of racks, best first."""
    return await GATEWAY.select(reader, {"rack_id": list(rack_ids)}, order="priority DESC, name") if rack_ids else []


async def leave(tx: Tx, nic_ids: Collection[str], *, request_id: str | None = None) -> None:
    """These Nics hang on their SwitchPorts no more: the ports shall carry nothing."""
    found = await SWITCH_PORT.select(tx, {"nic_id": list(nic_ids), "gone": False}) if nic_ids else []
    for row in found:
        await clear(tx, row, request_id=request_id)


async def clear(tx: Tx, row: Row, *, request_id: str | None = None) -> None:
    """A SwitchPort shall carry nothing."""
    key = {"switch_id": row["switch_id"], "name": row["name"]}
    await SWITCH_PORT.update(tx, key, {"gone": True, "native": None, "lag": False, "applied": False})
    await work.wake(tx, "switch", row["switch_id"], request_id=request_id)


async def leave_node(tx: Tx, node_id: str, *, request_id: str | None = None) -> None:
    """A Node goes with all its Nics."""
    found = await tx.fetch_tuples("SELECT id FROM nic WHERE node_id = :id", {"id": node_id})
    await leave(tx, [str(row[0]) for row in found], request_id=request_id)


_TRUNKS = "SELECT s.id AS key FROM switch s JOIN rack r ON r.id = s.rack_id WHERE r.physical_network = :name"


async def wake_trunks(tx: Tx, physical_network: str | None, *, request_id: str | None = None) -> None:
    """The VLANs of a physical network are others than before: trunks of its racks carry them."""
    await work.wake_all(tx, "switch", _TRUNKS, {"name": physical_network}, request_id=request_id)


async def forget_ports(tx: Tx, rows: Iterable[Row], *, of_nics: bool = False) -> None:
    """SwitchPorts that carry nothing and shall not: their rows go, and VLANs that nobody else holds are free.
    `of_nics`: also when a Nic that is still there had it; it takes one anew when it is plugged again."""
    for row in rows:
        await SWITCH_PORT.delete(tx, {"switch_id": row["switch_id"], "name": row["name"], "gone": True})
        await release(tx, row["owner"], of_nics=of_nics)


_RELEASE = """DELETE FROM allocation WHERE kind = 'segment' AND owner = :owner
AND NOT EXISTS (SELECT 1 FROM switch_port WHERE owner = :owner)"""
_OWNERLESS = """ AND NOT EXISTS (SELECT 1 FROM nic WHERE id = :owner)
AND NOT EXISTS (SELECT 1 FROM nic_group WHERE id = :owner)"""


async def release(tx: Tx, owner: str, *, of_nics: bool = True) -> None:
    """Give a private VLAN back, unless it is on a wire; or (not `of_nics`) its Nic or group is still there."""
    await tx.execute(_RELEASE + ("" if of_nics else _OWNERLESS), {"owner": owner})


_CARRIED = """SELECT owner, vlan, port_id, details FROM (
SELECT sp.owner AS owner, sp.vlan AS vlan, n.plugged AS port_id FROM switch_port sp
JOIN switch s ON s.id = sp.switch_id JOIN nic n ON n.id = sp.owner WHERE s.rack_id = :rack AND n.plugged IS NOT NULL
UNION
SELECT sp.owner, sp.vlan, g.plugged FROM switch_port sp
JOIN switch s ON s.id = sp.switch_id JOIN nic_group g ON g.id = sp.owner
WHERE s.rack_id = :rack AND g.plugged IS NOT NULL
) AS carried JOIN (SELECT id, binding_vif_details AS details FROM port) AS p ON p.id = port_id"""


async def guarded_on(reader: Reader, rack_id: str) -> dict[str, tuple[int, str]]:
    """Nic or group -> (private VLAN, Port) of all that a rack's gateways shall carry: one query."""
    rows = await reader.fetch_tuples(_CARRIED, {"rack": rack_id})
    return {
        owner: (int(vlan), port_id)
        for owner, vlan, port_id, details in rows
        if msgspec.json.decode(details or "{}").get("binding") == "guarded"
    }


async def plugged_nodes(reader: Reader, port_ids: Collection[str]) -> list[str]:
    """The Nodes whose Nics carry any of these Ports."""
    if not port_ids:
        return []
    among = listed("port", port_ids)
    sql = " UNION ".join(f"SELECT node_id FROM {table} WHERE plugged IN {among.text}" for table in ("nic", "nic_group"))
    return sorted(str(node_id) for (node_id,) in await reader.fetch_tuples(sql, among.params))


_TAGS = """SELECT sp.vlan FROM switch_port sp JOIN switch s ON s.id = sp.switch_id
WHERE s.rack_id = :rack AND sp.gone = 0 AND sp.vlan IS NOT NULL
UNION SELECT n.segmentation_id FROM network n JOIN rack r ON r.physical_network = n.physical_network
WHERE r.id = :rack AND n.network_type = 'vlan' AND n.segmentation_id IS NOT NULL"""


async def trunk_tags(reader: Reader, rack_id: str) -> frozenset[int]:
    """The VLANs that a gateway's trunk and the cables between switches carry."""
    return frozenset(int(row[0]) for row in await reader.fetch_tuples(_TAGS, {"rack": rack_id}))


def opened(secrets: Secrets, switch: Row) -> dict[str, str]:
    """What a switch's row hides: its password and secret options."""
    found: dict[str, str] = msgspec.json.decode(secrets.decrypt(switch["secrets"])) if switch["secrets"] else {}
    return found


def sealed(secrets: Secrets, hidden: Mapping[str, str]) -> str:
    return secrets.encrypt(msgspec.json.encode(dict(hidden)).decode()) if hidden else ""
