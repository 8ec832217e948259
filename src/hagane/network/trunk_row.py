"""Rows of trunks and subports, and what others do with them.

A trunk makes one port carry others: a frame with a subport's VLAN tag, seen at the trunk's port, is the subport's. The
compiler reads a subport's parent and tag; `port.device_owner` of a subport is `trunk:subport`.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import BadValue, is_uuid
from hagane.network import quota, tag
from hagane.network.attr import standard
from hagane.network.errors import error, invalid
from hagane.network.value import Checked, Flag, Id, Text, bounded
from hagane.state import clock, work
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Table, listed

OWNER = "trunk:subport"
VLAN, INHERIT = "vlan", "inherit"


def subports(field: str, value: Any) -> list[dict[str, Any]]:
    """Subports of a body: each a port, and what its frames are tagged with. Raises BadValue."""
    if wrong := _wrong(value):
        raise BadValue(field, value, wrong)
    bounded(field, value)
    return [dict(entry) for entry in value]


def subports_of_body(body: Any) -> list[dict[str, Any]]:
    """Subports of an action's body. Raises HTTPBadRequest, InvalidInput."""
    if not isinstance(body, dict) or "sub_ports" not in body:
        raise error("HTTPBadRequest", reason="Body contains invalid data")
    if wrong := _wrong(body["sub_ports"]):
        raise invalid(wrong)
    bounded("sub_ports", body["sub_ports"])
    return [dict(entry) for entry in body["sub_ports"]]


def _wrong(value: Any) -> str:
    if not isinstance(value, list):
        return f"Invalid data format for subports: '{value}' is not a list"
    ports: set[str] = set()
    tags: set[tuple[str, str]] = set()
    for entry in value:
        if not isinstance(entry, dict):
            return f"Invalid data format for subport: '{entry}' is not a dict"
        if "port_id" not in entry:
            return "A valid port UUID must be specified"
        if not is_uuid(entry["port_id"]):
            return f"Invalid UUID for subport: '{entry['port_id']}'"
        if entry["port_id"] in ports:
            return f"Non unique UUID for subport: '{entry['port_id']}'"
        ports.add(entry["port_id"])
        kind, number = entry.get("segmentation_type"), entry.get("segmentation_id")
        if kind == INHERIT:
            continue
        if (not kind or number is None) and len(entry) > 1:
            return (f"Invalid subport details '{entry}': missing segmentation information. Must specify both "
                    "segmentation_id and segmentation_type")  # fmt: skip
        if (str(kind), str(number)) in tags:
            return f"Segmentation ID '{number}' for '{entry['port_id']}' is not unique"
        tags.add((str(kind), str(number)))
    return ""


ATTRS = (
    *standard(),
    Attr("admin_state_up", Flag(), write="cu", default=True),
    Attr("port_id", Id(), write="c", default=REQUIRED),
    Attr("status", Text(), stored=False, sort=False),
    Attr("sub_ports", Checked(rule=subports), write="c", default=list, stored=False, filter=False, sort=False),
)
INDEXES = ("unique port_id", "project_id")
TRUNK = Table("trunk", tuple(Column(a.name, a.type.column, a.key) for a in ATTRS if a.stored), INDEXES)
SUBPORT = Table(
    "subport",
    (
        Column("port_id", key=True),
        Column("trunk_id"),
        Column("segmentation_type"),
        Column("segmentation_id", "int"),
        Column("profile", "json"),
    ),
    ("unique trunk_id, segmentation_id",),
)
"""`profile` is the binding:profile that the port had before."""

_SHOWN = ("port_id", "segmentation_type", "segmentation_id")
_PARENTS = """SELECT subport.port_id, trunk.port_id, subport.segmentation_id FROM subport
JOIN trunk ON trunk.id = subport.trunk_id WHERE subport.port_id IN {}"""


async def of(reader: Reader, trunk_ids: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    """trunk -> its subports as answers show them."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in await SUBPORT.select(reader, {"trunk_id": sorted(trunk_ids)}, order="port_id") if trunk_ids else []:
        found[row["trunk_id"]].append({name: row[name] for name in _SHOWN})
    return found


async def details(reader: Reader, ports: Collection[str]) -> dict[str, dict[str, Any]]:
    """port -> the trunk that it is the parent of, as the port's answer shows it."""
    if not await reader.fetch_tuples("SELECT 1 FROM trunk LIMIT 1"):
        return {}
    trunks = await TRUNK.select(reader, {"port_id": sorted(ports)}, columns=("id", "port_id"))
    below = await of(reader, [trunk["id"] for trunk in trunks])
    macs = await _macs(reader, [entry["port_id"] for entries in below.values() for entry in entries])
    return {
        trunk["port_id"]: {
            "trunk_id": trunk["id"],
            "sub_ports": [entry | {"mac_address": macs[entry["port_id"]]} for entry in below[trunk["id"]]],
        }
        for trunk in trunks
    }


async def _macs(reader: Reader, ports: Collection[str]) -> dict[str, str]:
    if not ports:
        return {}
    among = listed("port", ports)
    rows = await reader.fetch_tuples(f"SELECT id, mac_address FROM port WHERE id IN {among.text}", among.params)
    return {str(key): str(mac) for key, mac in rows}


async def parents(reader: Reader, ports: Sequence[Row]) -> dict[str, tuple[str, int]]:
    """subport -> (the port that carries it, its tag)."""
    ids = [port["id"] for port in ports if port["device_owner"] == OWNER]
    if not ids:
        return {}
    among = listed("port", ids)
    rows = await reader.fetch_tuples(_PARENTS.format(among.text), among.params)
    return {str(port): (str(parent), int(number)) for port, parent, number in rows}


_USE = """SELECT 'PortInUseAsSubPort', trunk_id FROM subport WHERE port_id = :id UNION ALL
SELECT 'PortInUseAsTrunkParent', id FROM trunk WHERE port_id = :id"""


async def use_of(reader: Reader, port_id: str) -> tuple[str, str]:
    """(error, trunk) that tells how a trunk uses a port; empty when none does."""
    for name, trunk_id in await reader.fetch_tuples(_USE, {"id": port_id}):
        return str(name), str(trunk_id)
    return "", ""


async def refuse_in_use(reader: Reader, port_id: str) -> None:
    """Raises PortInUseAsSubPort, PortInUseAsTrunkParent."""
    name, trunk_id = await use_of(reader, port_id)
    if name:
        raise error(name, port_id=port_id, id=trunk_id)


_FREE = """UPDATE port SET device_owner = '', binding_profile = :profile, binding_vif_type = 'unbound',
generation = generation + 1, updated_at = :now WHERE id = :id AND device_owner = :owner"""


async def release(tx: Tx, rows: Sequence[Row], *, request_id: str | None) -> None:
    """Subports are ports as any others again."""
    for row in rows:
        await SUBPORT.delete(tx, {"port_id": row["port_id"]})
        params = {"id": row["port_id"], "owner": OWNER, "now": clock.now(), "profile": _encoded(row["profile"])}
        await tx.execute(_FREE, params)
        await work.wake(tx, "port", row["port_id"], request_id=request_id)


def _encoded(profile: Any) -> Any:
    return SUBPORT.encode("profile", profile)


async def forget(tx: Tx, port_id: str, *, request_id: str | None = None) -> None:
    """A port goes with its machine, whatever trunk uses it: as a subport it is taken out, a parent takes its trunk
    along."""
    name, trunk_id = await use_of(tx, port_id)
    if name == "PortInUseAsSubPort":
        await SUBPORT.delete(tx, {"port_id": port_id})
    elif name:
        await release(tx, await SUBPORT.select(tx, {"trunk_id": trunk_id}), request_id=request_id)
        [row] = await TRUNK.select(tx, {"id": trunk_id})
        await TRUNK.delete(tx, {"id": trunk_id})
        await tag.forget(tx, trunk_id)
        await quota.charge(tx, row["project_id"], "trunk", -1)
