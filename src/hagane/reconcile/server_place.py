"""Finding Hosts for new Servers, many in one transaction. A Server that fits nowhere says why, Host by Host."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hagane.compute import device, migration_row, nic
from hagane.compute.row import KIND, SERVER, Task, VmState, fault
from hagane.compute.server_group import GROUP
from hagane.placement.choose import Choice, Wanted, choose, resources_of
from hagane.placement.host import all_hosts
from hagane.placement.inventory import claim, usages
from hagane.reconcile import server_volume_rows
from hagane.state import clock, event
from hagane.state.database import Row, Tx

NOWHERE = "No valid host was found. There are not enough hosts available."


async def place(tx: Tx, keys: Sequence[str]) -> dict[str, Row]:
    """Claim a Host for each of these Servers; returns their rows as they are then."""
    rows = await SERVER.select(tx, {"id": list(keys), "host": None, "terminate": False})
    hosts, inventories = await all_hosts(tx), await usages(tx)
    placed: dict[str, Row] = {}
    for row in rows:
        started = clock.now()
        choice = choose(hosts, inventories, await wanted(tx, row))
        host = await _claim(tx, row, choice, inventories)
        changes = _on(row, host) if host else _nowhere(row, choice)
        if not host and row["vm_state"] == VmState.BUILDING:
            await server_volume_rows.released(tx, row, made=True)
            changes["devices"] = []
        await SERVER.update(tx, {"id": row["id"]}, changes)
        if host:
            await nic.bind(tx, row, host["name"])
        elif row["action"] == "evacuate":
            await migration_row.evacuated(tx, row, "error")
        await _tell(tx, row, started, host["name"] if host else "", choice)
        placed[row["id"]] = row | changes
    return placed


async def _claim(tx: Tx, row: Row, choice: Choice, inventories: dict[str, dict[str, Row]]) -> Row | None:
    resources = resources_of(device.on_host(row))
    for host in choice.hosts:
        if await claim(tx, host["id"], row["id"], resources, project_id=row["project_id"], user_id=row["user_id"]):
            for resource_class, amount in resources.items():
                if amount:
                    inventories[host["id"]][resource_class]["used"] += amount
            return host
    return None


def _on(row: Row, host: Row) -> Row:
    moment = clock.now()  # deadlines count from here: each Host has its own
    return {"host": host["name"], "task_state": Task.SPAWNING, "acted_at": moment, "updated_at": moment}


def _nowhere(row: Row, choice: Choice) -> Row:
    moment, message = clock.now(), NOWHERE
    if row["tried"]:
        message = (
            "Exceeded maximum number of retries. Exhausted all hosts available for retrying build failures for "
            f"instance {row['id']}."
        )
    told = [f"{one['host']}: {one['why']}" for one in row["tried"]] + [choice.why()]
    shelved = row["vm_state"] == VmState.SHELVED_OFFLOADED
    return {
        "vm_state": VmState.SHELVED_OFFLOADED if shelved else VmState.ERROR,
        "task_state": None,
        "fault": fault(500, message, "; ".join(dict.fromkeys(told)), moment),
        "observed_generation": row["generation"],
        "updated_at": moment,
    }


async def _tell(tx: Tx, row: Row, started: str, host: str, choice: Choice) -> None:
    name = f"schedule-{len(row['tried']) + 1}" if row["tried"] else "schedule"
    step: dict[str, Any] = {"step": name, "started_at": started, "finished_at": clock.now(), "host": host or None}
    error = "" if host else f"{NOWHERE} {choice.why()}"
    step |= {"result": "Error" if error else "Success", "message": error}
    await event.record(tx, KIND, row["id"], row["request_id"], row["action"], [step])
    if error:
        await event.end(tx, event.identity(row["id"], row["request_id"]), error=NOWHERE)


async def wanted(tx: Tx, row: Row) -> Wanted:
    """What the row asks of its Host, hints and group looked up."""
    hints, place = row["hints"] or {}, row["wanted_host"] or {}
    near: frozenset[str] | None = None
    apart: frozenset[str] = frozenset()
    if ids := _listed(hints.get("same_host")):
        near = frozenset(await _hosts_of(tx, {"id": ids}))
    if ids := _listed(hints.get("different_host")):
        apart = frozenset(await _hosts_of(tx, {"id": ids}))
    found = Wanted(
        resources_of(device.on_host(row)), row["zone"], place.get("host"), bool(place.get("forced")), near, apart,
        frozenset(one["host"] for one in row["tried"]),
    )  # fmt: skip
    return await _grouped(tx, row, found) if row["group_id"] else found


async def _grouped(tx: Tx, row: Row, wanted: Wanted) -> Wanted:
    """The group's policy: a Host that must, must not, should or should not be shared with the others."""
    group = await GROUP.get(tx, id=row["group_id"])
    if group is None:
        return wanted
    others = await _hosts_of(tx, {"group_id": row["group_id"]}, but=row["id"])
    match group["policy"]:
        case "affinity" if others:
            near = frozenset(others) if wanted.near is None else wanted.near & set(others)
            return replace(wanted, near=near)
        case "anti-affinity":
            most = (group["rules"] or {}).get("max_server_per_host", 1)
            return replace(wanted, apart=wanted.apart | {name for name, count in others.items() if count >= most})
        case "soft-affinity":
            return replace(wanted, burden={name: -count for name, count in others.items()})
        case "soft-anti-affinity":
            return replace(wanted, burden=others)
    return wanted


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


async def _hosts_of(tx: Tx, where: Row, *, but: str = "") -> Counter[str]:
    """How many of these Servers are on which Host."""
    return Counter(row["host"] for row in await SERVER.select(tx, where) if row["host"] and row["id"] != but)
