"""Rows of port forwardings: TCP or UDP ports of a floating IP that lead to ports of an inner address.

The compiler reads them with their floating IP, and so every change of one wakes "floatingip". One with a port each is
kept as a range of one: `external_port` and `external_port_range` say the same.
"""

from collections.abc import Collection, Sequence
from typing import Any

from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import BadValue
from hagane.network.attr import UNSET
from hagane.network.errors import error
from hagane.network.value import Checked, Id, OneOf, Text, ip
from hagane.state import clock, work
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Table

PROTOCOLS = ("tcp", "udp", "sctp")
"""What OVN balances. The real service also takes ICMP and DCCP, and forwards none of it."""
_SPAN = "Port range must be two integers separated by a colon"


def _port(field: str, value: Any) -> int | None:
    if value is None:
        return None
    try:
        number = int(value)
    except (ValueError, TypeError):
        raise error("InvalidInput", reason=f"'{value}' is not an integer") from None
    if number < 1:
        raise BadValue(field, value, f"'{number}' is too small - must be at least '1'")
    if number > 65535:
        raise BadValue(field, value, f"'{number}' is too large - must be no larger than '65535'")
    return number


def _ports(field: str, value: Any) -> str | None:
    """A port, or two with a colon between them."""
    if value is None:
        return None
    parts = str(value).split(":")
    if len(parts) > 2 or not all(parts):
        raise BadValue(field, value, _SPAN)
    for part in parts:
        if not (part.isascii() and part.isdigit() and len(part) < 6 and int(part) <= 65535):
            raise BadValue(field, value, f"Invalid port: {part}")
        if int(part) < 1:
            raise BadValue(field, value, f"Invalid port: {part}, the port must be in the range [1, 65535]")
    if int(parts[0]) > int(parts[-1]):
        raise BadValue(field, value, "First port in a port range must be lower than the second port")
    return spelled(*span(str(value)))


def span(text: str) -> tuple[int, int]:
    first, _, last = text.partition(":")
    return int(first), int(last or first)


def spelled(first: int, last: int) -> str:
    return f"{first}:{last}"


_PORT = (("type", ["integer", "string", "null"]), ("minimum", 1), ("maximum", 65535))
ATTRS = (
    Attr("id", Id(), key=True),
    Attr("project_id", Text(255), write="c", default=UNSET, shown=False, filter=False, sort=False),
    Attr("tenant_id", Text(255), write="c", default=UNSET, stored=False, shown=False, filter=False, sort=False),
    Attr("floatingip_id", Id(), shown=False, filter=False, sort=False),
    Attr("external_port", Checked(rule=_port, kind="int", json_schema=_PORT), write="cu", default=None),
    Attr("external_port_range", Checked(rule=_ports, kind="text"), write="cu", default=None),
    Attr("internal_port", Checked(rule=_port, kind="int", json_schema=_PORT), write="cu", default=None, filter=False,
         sort=False),
    Attr("internal_port_range", Checked(rule=_ports, kind="text"), write="cu", default=None, filter=False, sort=False),
    Attr("internal_ip_address", Checked(rule=ip, kind="text"), write="cu", default=UNSET, filter=False, sort=False),
    Attr("protocol", OneOf(values=PROTOCOLS), write="cu", default=REQUIRED),
    Attr("internal_port_id", Id(), write="cu", default=REQUIRED),
    Attr("description", Text(1024), write="cu", default="", sort=False),
)  # fmt: skip
INDEXES = ("floatingip_id, protocol", "internal_port_id")
FORWARD = Table("port_forwarding", tuple(Column(a.name, a.type.column, a.key) for a in ATTRS if a.stored), INDEXES)
_IN_FLOATING = ("id", "internal_ip_address", "protocol", "internal_port", "external_port", "internal_port_id")


async def of(reader: Reader, floating_ids: Collection[str]) -> dict[str, list[Row]]:
    """floating IP -> its forwardings."""
    found: dict[str, list[Row]] = {key: [] for key in floating_ids}
    for row in await FORWARD.select(reader, {"floatingip_id": sorted(found)}, order="id") if found else []:
        found[row["floatingip_id"]].append(row)
    return found


def in_floating(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Forwardings as their floating IP's answer holds them: a range has no single port to show."""
    return [{name: row[name] for name in _IN_FLOATING if row[name] is not None} for row in rows]


async def exist(reader: Reader, floating_id: str) -> bool:
    return bool(await FORWARD.count(reader, {"floatingip_id": floating_id}))


async def unlink(
    tx: Tx, port_id: str, addresses: Collection[str] | None = None, *, request_id: str | None = None
) -> None:
    """Forwardings to a port that goes (or to addresses of it that go) go as well."""
    where: dict[str, Any] = {"internal_port_id": port_id}
    if addresses is not None:
        where["internal_ip_address"] = sorted(addresses)
    gone = await FORWARD.select(tx, where)
    if not gone:
        return
    await FORWARD.delete(tx, {"id": [row["id"] for row in gone]})
    for floating_id in sorted({row["floatingip_id"] for row in gone}):
        await touch(tx, floating_id, request_id=request_id)


_FREE = """UPDATE floatingip SET router_id = NULL WHERE id = :id AND port_id IS NULL
AND NOT EXISTS (SELECT 1 FROM port_forwarding WHERE floatingip_id = :id)"""
_BUMP = "UPDATE floatingip SET generation = generation + 1, updated_at = :now WHERE id = :id"
_ON_ROUTER = """SELECT DISTINCT floatingip.id AS key FROM floatingip JOIN port_forwarding
ON port_forwarding.floatingip_id = floatingip.id WHERE floatingip.router_id = :router"""


async def touch(tx: Tx, floating_id: str, *, request_id: str | None) -> None:
    """After a change of a floating IP's forwardings: with the last of them it leaves its router."""
    await tx.execute(_FREE, {"id": floating_id})
    await tx.execute(_BUMP, {"id": floating_id, "now": clock.now()})
    await work.wake(tx, "floatingip", floating_id, request_id=request_id)


async def router_changed(tx: Tx, router_id: str, *, request_id: str | None) -> None:
    """A router has other interfaces: forwardings are also known on the networks behind it."""
    await work.wake_all(tx, "floatingip", _ON_ROUTER, {"router": router_id}, request_id=request_id)
