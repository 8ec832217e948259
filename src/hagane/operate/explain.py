"""`hagane explain`: why a thing is in its state, what it waits for, since when, until when, what to do.

Everything it says is read from rows that exist anyway: the thing itself, its work (cause, attempts, deadline), its
events, and the same of what it depends on.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from hagane.baremetal.binding import BOUND
from hagane.baremetal.node import NODE
from hagane.baremetal.rack import DOWN, SWITCH_PORT
from hagane.compute.row import SERVER
from hagane.errors import Invalid, NotFound
from hagane.network.address import INTERFACE
from hagane.network.port_row import PORT
from hagane.network.router_row import GATEWAY
from hagane.operate.explain_node import carried_by, detail_of, facts_of
from hagane.operate.kinds import KINDS, Kind
from hagane.reconcile.server_node_words import public
from hagane.state import clock, event
from hagane.state.database import Reader, Row
from hagane.state.work import WORK
from hagane.volume.attach import OURS, attachments
from hagane.volume.attachment_row import ATTACHED
from hagane.volume.backup_row import BACKUP
from hagane.volume.pool import POOL, is_up
from hagane.volume.row import SNAPSHOT

_SHOT = ("id", "name", "status", "fault")
_BACKUP = ("id", "name", "status", "volume_id", "task", "fail_reason")


@dataclass
class Wait:
    """Work that is not done: the cause, since and until when (epoch seconds), how often it was tried."""

    kind: str
    key: str
    reason: str
    since: float
    until: float | None
    again: float
    attempts: int


@dataclass
class Explanation:
    """What can be said about one thing."""

    kind: str
    id: str
    name: str
    state: str
    facts: list[str] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    whole: bool = True  # for operators; others are told nothing of BMCs, switches, Hosts, backends and tracebacks


Detail = Callable[[Reader, Row, Explanation], Awaitable[None]]


async def find(reader: Reader, kind: str, name: str, project: str | None = None) -> tuple[Kind, Row]:
    """The row that a person means by an id or a name, of one project if that is given. Raises Invalid (unknown kind,
    ambiguous name), NotFound."""
    known = KINDS.get(kind.replace("-", "_"))
    if known is None:
        raise Invalid(f"There is no kind '{kind}'. Known are: {', '.join(sorted(KINDS))}.")
    rows: list[Row] = []
    if project is None or known.owner_column:
        mine = {} if project is None else {known.owner_column: project}
        rows = await known.table.select(reader, {"id": name} | mine)
        rows = rows or await known.table.select(reader, {known.name_column: name} | mine, limit=2)
    if not rows:
        raise NotFound(f"There is no {kind} '{name}'.")
    if len(rows) > 1:
        raise Invalid(f"Several {kind}s are called '{name}': use the id.")
    return known, rows[0]


async def explain(reader: Reader, kind: Kind, row: Row, *, whole: bool = True) -> Explanation:
    """Gather what is known of one row. `whole` False: for its owner, who is no operator."""
    name = str(row.get(kind.name_column) or "")
    found = Explanation(kind.name, str(row["id"]), name, kind.state(row), whole=whole)
    await _waits(reader, found, kind.name, [found.id])
    if detail := DETAILS.get(kind.name):
        await detail(reader, row, found)
    if not found.waits and kind.settled(row):
        found.facts.append("Nothing is pending: what was asked for is what is so.")
    if not whole:
        node = await NODE.get(reader, id=row["node_id"]) if row.get("node_id") else None
        for wait in found.waits:
            wait.reason = public(wait.reason, node)
    return found


async def _waits(reader: Reader, found: Explanation, kind: str, keys: list[str]) -> None:
    now = time.time()
    for row in await WORK.select(reader, {"kind": kind, "key": keys}):
        if not row["reason"] and row["due"] > now >= row["lease_until"]:
            continue  # nothing is open: it is only looked at again some time
        reason = row["reason"] or ("is being worked on" if row["lease_until"] > now else "is due")
        found.waits.append(
            Wait(kind, row["key"], reason, row["since"], row["deadline"], row["due"], row["attempts"] or 0)
        )


async def _server(reader: Reader, row: Row, found: Explanation) -> None:
    if row["node_id"]:
        if found.whole:
            facts, advice = await facts_of(reader, row["node_id"])
            found.facts += facts
            found.advice += advice
        await _waits(reader, found, "node", [row["node_id"]])
    elif row["host"]:
        found.facts.append(f"It is placed on Host {row['host']}." if found.whole else "It is placed on a Host.")
    for tried in (row["tried"] or ()) if found.whole else ():
        what = f"Node {tried['name']}" if "name" in tried else f"Host {tried['host']}"
        found.facts.append(f"{what} was tried: {tried['why']}")
    if row["fault"]:
        _fault(row, found)
    ports = [nic["port_id"] for nic in row["nics"] or ()]
    for port in await PORT.select(reader, {"id": ports}):
        addresses = ", ".join(f["ip_address"] for f in port["fixed_ips"] or ()) or "no address"
        found.facts.append(f"Port {port['id']} ({addresses}) is {port['status']}.")
    await _waits(reader, found, "port", ports)
    found.steps = [_step(entry) for entry in (await event.of(reader, "server", row["id"]))[-20:]]
    if row["vm_state"] == "stopped" and not row["task_state"]:
        found.advice.append("It is stopped. Start it: openstack server start " + row["id"])


def _fault(row: Row, found: Explanation) -> None:
    """A Server that is not in error lost nothing by what failed: nobody is sent to build it anew."""
    message, lost = row["fault"]["message"], row["vm_state"] == "error"
    found.facts.append(f"Fault: {message}" if lost else f"The last thing that failed: {message}")
    if found.whole:
        details = str(row["fault"].get("details") or "").splitlines()
        found.facts.extend(line for line in details[:8] if line != message)
    found.advice.append(
        "Mend the cause, then: openstack server rebuild (or delete it and create it again)."
        if lost
        else "The Server itself is well: mend the cause, then ask for the same again."
    )


def _step(row: Row) -> dict[str, Any]:
    end = row["finished_at"]
    seconds = (clock.seconds(end) if end else time.time()) - clock.seconds(row["started_at"])
    return {
        "action": row["action"], "step": row["step"] or row["action"], "seconds": round(seconds, 3),
        "result": row["result"] or "running", "percent": row["percent"], "message": row["message"] or "",
        "started_at": row["started_at"],
    }  # fmt: skip


async def _port(reader: Reader, row: Row, found: Explanation) -> None:
    if carried := await carried_by(reader, row["id"]):
        found.facts += carried if found.whole else ["A bare-metal machine carries it."]
    elif not row["binding_host_id"] and str(row["device_owner"]).startswith("compute:"):
        found.facts.append("It belongs to a Server that has no Host yet.")
    elif not row["device_id"]:
        found.facts.append("Nothing is plugged into it, so it is DOWN.")
        found.advice.append("Give it to a Server: openstack server create --port " + row["id"])
    elif row["status"] == "DOWN" and row["binding_host_id"]:
        where = f"Host {row['binding_host_id']}" if found.whole else "its Host"
        found.facts.append(f"OVN does not see it plugged in on {where}.")
        found.advice.append(
            "Is the Host alive? openstack network agent list; openstack server show " + row["device_id"]
        )
    if not row["admin_state_up"]:
        found.advice.append("It is switched off: openstack port set --enable " + row["id"])


async def _router(reader: Reader, row: Row, found: Explanation) -> None:
    ports = await PORT.select(reader, {"device_id": row["id"], "device_owner": [GATEWAY, INTERFACE]})
    found.facts.append(f"It has {len(ports)} ports.")
    if not any(port["device_owner"] == GATEWAY for port in ports):
        found.facts.append("It has no external gateway: nothing behind it reaches the outside.")
        found.advice.append("Give it one: openstack router set --external-gateway public " + row["id"])
    await _waits(reader, found, "port", [port["id"] for port in ports])


async def _floatingip(reader: Reader, row: Row, found: Explanation) -> None:
    if not row["port_id"]:
        found.facts.append("It points to no port.")
        found.advice.append(f"Point it to one: openstack floating ip set --port PORT {row['id']}")
    elif not row["router_id"]:
        found.facts.append("No router connects its port to the external network.")


async def _host(reader: Reader, row: Row, found: Explanation) -> None:
    count = await SERVER.count(reader, {"host": row["name"]})
    found.facts.append(f"{count} Servers are placed on it.")


async def _switch(reader: Reader, row: Row, found: Explanation) -> None:
    for port in await SWITCH_PORT.select(reader, {"switch_id": row["id"]}, order="name"):
        if not port["applied"]:
            wanted = "nothing" if port["native"] is None else f"VLAN {port['native']}"
            found.facts.append(f"Port {port['name']} does not carry {wanted} yet.")
    found.steps = [_step(entry) for entry in (await event.of(reader, "switch", row["id"]))[-20:]]
    if row["state"] == DOWN:
        where = row["access"]["address"] or "its address"
        found.advice.append(f"Does {where} answer, and is the password right? It is tried again every few seconds.")


async def _gateway(reader: Reader, row: Row, found: Explanation) -> None:
    where: Row = {"binding_host_id": row["name"], "binding_vif_type": BOUND}
    found.facts.append(f"{await PORT.count(reader, where)} Ports of Nics are on it.")
    if row["state"] == DOWN:
        found.advice.append(f"Are its ovsdb-server ({row['ovsdb']}) and ovn-controller alive?")


async def _node(reader: Reader, row: Row, found: Explanation) -> None:
    facts, found.steps, advice = await detail_of(reader, row)
    found.facts += facts
    found.advice += advice


async def _volume(reader: Reader, row: Row, found: Explanation) -> None:
    if row["host"]:
        if found.whole:
            found.facts.append(f"It is on the backend {row['host']}.")
        pool = await POOL.get(reader, name=row["host"])
        if pool is None or not is_up(pool):
            why = (pool and pool["reason"]) or "nobody has looked at it lately"
            found.facts.append(
                f"That backend does not answer: {why}" if found.whole else "Its backend does not answer."
            )
    if row["fault"]:
        found.facts.append(f"Fault: {row['fault']}")
        found.advice.append(
            f"Mend the cause, then delete it, or: openstack volume set --state available {row['id']}"
            if row["host"]
            else "It has no bytes anywhere: mend the cause, delete it and order it again."
        )
    if row["status"] == "creating" and row["percent"]:
        found.facts.append(f"{row['percent']} % of its bytes are there.")
    for entry in await attachments(reader, row["id"]):
        host = entry["attached_host"] if found.whole or not entry["attached_host"] else "a machine"
        where = entry["instance_uuid"] or host or "nobody yet"
        found.facts.append(f"It is {entry['attach_status']} to {where}.")
        if entry["attach_status"] != ATTACHED and not (entry["connector"] or {}).get(OURS):
            give_up = f"openstack --os-volume-api-version 3.27 volume attachment delete {entry['id']}"
            found.advice.append(f"A client of its own has begun that and not completed it. To give it up: {give_up}")
    shots = await SNAPSHOT.select(reader, {"volume_id": row["id"]}, columns=_SHOT)
    for shot in shots:
        if shot["fault"]:
            found.facts.append(f"Its snapshot {shot['name'] or shot['id']} is in error: {shot['fault']}")
    if shots:
        found.facts.append(f"It has {len(shots)} snapshots, and cannot be deleted without them.")
    await _waits(reader, found, "snapshot", [shot["id"] for shot in shots])
    await _backups_of(reader, row, found)


async def _backups_of(reader: Reader, row: Row, found: Explanation) -> None:
    """Those of a volume that failed, and the one that it waits for: made of it, or going back over it."""
    for backup in await BACKUP.select(reader, {"volume_id": row["id"], "status": "error"}, columns=_BACKUP):
        found.facts.append(f"Its backup {backup['name'] or backup['id']} is in error: {backup['fail_reason']}")
    if row["status"] not in ("backing-up", "restoring-backup"):
        return
    for backup in await BACKUP.select(reader, {"status": ["creating", "restoring"]}, columns=_BACKUP):
        of = backup["volume_id"] if backup["status"] == "creating" else (backup["task"] or {}).get("volume_id")
        if of == row["id"]:
            found.facts.append(f"Its backup {backup['name'] or backup['id']} is {backup['status']}.")
            await _waits(reader, found, "backup", [backup["id"]])


async def _backup(reader: Reader, row: Row, found: Explanation) -> None:
    found.facts.append(f"It is a backup of the volume {row['volume_id']}.")
    if row["parent_id"]:
        found.facts.append(f"It builds on the backup {row['parent_id']}.")
    if row["fail_reason"]:
        found.facts.append(f"Fault: {row['fail_reason']}")
        if row["status"] == "error":
            found.advice.append(f"Mend the cause, then: openstack volume backup delete {row['id']}, and order another.")


async def _group(reader: Reader, row: Row, found: Explanation) -> None:
    if row["fault"]:
        found.facts.append(f"Fault: {row['fault']}")


async def _snapshot(reader: Reader, row: Row, found: Explanation) -> None:
    found.facts.append(f"It is a snapshot of the volume {row['volume_id']}.")
    if row["fault"]:
        found.facts.append(f"Fault: {row['fault']}")


DETAILS: dict[str, Detail] = {
    "node": _node,
    "rack_gateway": _gateway,
    "switch": _switch,
    "server": _server,
    "port": _port,
    "router": _router,
    "floatingip": _floatingip,
    "host": _host,
    "volume": _volume,
    "snapshot": _snapshot,
    "backup": _backup,
    "volume_group": _group,
    "volume_group_snapshot": _group,
}
