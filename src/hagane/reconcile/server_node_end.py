"""What came of the work on a Server that is a Node, into both rows, in one transaction with events and claims.

As in server_end.py, the Server's row changes only if its generation is still the one that was worked on. A Node that
failed is let go of within the transaction that looks for another: it is undeployed and cleaned like any other, its
history keeps the cause, and as the one that was available for the shortest time it is the last to be given away.

Why something failed is told in two forms: to the Server's owner without what is the operator's (server_node_words.py),
and whole in the details of its fault, which administrators see.
"""

from typing import Any

from hagane.baremetal import claim, plug
from hagane.baremetal.command import command
from hagane.baremetal.node import NODE
from hagane.baremetal.node_state import possible
from hagane.cloud import Cloud
from hagane.compute import migration_row, nic, past, quota
from hagane.compute.console import TOKEN
from hagane.compute.row import KIND, NOSTATE, SERVER, Task, VmState, fault
from hagane.reconcile import server_node_volume, server_volume_rows
from hagane.reconcile.engine import Done, Failed, Outcome, Wait
from hagane.reconcile.server_end import MOST_TRIES
from hagane.reconcile.server_node_events import close, mirrored
from hagane.reconcile.server_node_words import public
from hagane.state import clock, event, work
from hagane.state.database import Database, Row, Tx
from hagane.state.secret import Secrets


async def store(tx: Tx, row: Row, changes: dict[str, Any]) -> bool:
    """Change the Server's row if nobody has wanted anything else meanwhile."""
    where = {"id": row["id"], "generation": row["generation"]}
    return bool(await SERVER.update(tx, where, changes | {"updated_at": clock.now()}))


def plain(nics: list[Row]) -> list[Row]:
    """NICs that are there: none is new or going any more."""
    return [{name: one[name] for name in ("port_id", "owned", "tag")} for one in nics if not one.get("gone")]


async def finished(db: Database, row: Row, node: Row, changes: dict[str, Any]) -> Outcome:
    """What was asked for is so."""
    building = row["vm_state"] == VmState.BUILDING
    changes = changes | {
        "task_state": None, "observed_generation": row["generation"], "soft": False, "secret": None, "progress": 100,
    }  # fmt: skip
    if building or row["launched_at"] is None:
        changes["launched_at"] = clock.now()
    if building and row["power"] == "off":  # it was evacuated for its owner to start it
        changes |= {"task_state": Task.POWERING_OFF, "generation": row["generation"] + 1}
    if changes.get("vm_state") != VmState.ERROR:
        changes["fault"] = None

    async def write(tx: Tx) -> None:
        if await store(tx, row, changes):
            await event.record(tx, KIND, row["id"], row["request_id"], row["action"], mirrored(row, node))
            await event.end_all(tx, KIND, row["id"], row["request_id"])
            if building and row["action"] == "evacuate":
                await migration_row.evacuated(tx, row, "done")
            if changes["task_state"]:
                await work.wake(tx, KIND, row["id"])

    await db.write(write)
    return Done()


async def noticed(db: Database, row: Row, changes: dict[str, Any], why: str) -> Outcome:
    """The Node changed by itself."""
    if changes.get("vm_state") == VmState.ERROR:
        told = public(why, await NODE.get(db, id=row["node_id"]))
        changes = changes | {"fault": fault(500, told, f"{why} {_advice(row)}", clock.now())}
    elif "vm_state" in changes and row["vm_state"] == VmState.ERROR:
        changes = changes | {"fault": None}
    await db.write(lambda tx: store(tx, row, changes))
    return Done()


def _advice(row: Row) -> str:
    return (
        f"The bare-metal node was {row['node_id']}. A rebuild deploys the server anew; deleting the server lets go of "
        "what is left of it."
    )


async def failed(db: Database, row: Row, why: str, *, fatal: bool) -> Outcome:
    """The action ends here, and says why."""
    told = public(why, await NODE.get(db, id=row["node_id"]) if row["node_id"] else None)
    changes: dict[str, Any] = {
        "task_state": None, "observed_generation": row["generation"], "soft": False, "terminate": False,
        "fault": fault(500, told, f"{why} {_advice(row)}", clock.now()), "nics": plain(row["nics"]),
    }  # fmt: skip
    if fatal:
        changes["vm_state"] = VmState.ERROR

    async def write(tx: Tx) -> None:
        if await store(tx, row, changes):
            await event.end_all(tx, KIND, row["id"], row["request_id"], error=told)
            await work.wake(tx, KIND, row["id"])  # what the Node shows after that is looked at once more

    await db.write(write)
    return Failed(why)


async def elsewhere(cloud: Cloud, row: Row, why: str, *, final: bool = False) -> Outcome:
    """This Node failed: let go of it and look for another, three in all unless that is `final`. Raises Unavailable."""
    await server_node_volume.cut(cloud, row, row["node_id"])  # while it is known: its targets go, its BMC may be dead
    known = await NODE.get(cloud.db, id=row["node_id"])
    name = (known or {}).get("name") or row["node_id"]
    tried = [*row["tried"], {"host": row["node_id"], "name": name, "why": why}]
    public_why = public(why, known)
    again = len(tried) < MOST_TRIES and not final
    changes: dict[str, Any] = {"tried": tried, "host": None, "node_id": None, "progress": 0}
    if again:
        changes["task_state"] = Task.SCHEDULING
    else:
        told = "; ".join(f"{one.get('name') or one['host']}: {one['why']}" for one in tried)
        message = public_why if final else (
            f"Exceeded maximum number of retries. Exceeded max scheduling attempts {MOST_TRIES} for instance "
            f"{row['id']}. Last exception: {public_why}"
        )  # fmt: skip
        changes |= {
            "task_state": None, "vm_state": VmState.ERROR, "power_state": NOSTATE, "secret": None,
            "observed_generation": row["generation"], "fault": fault(500, message, told, clock.now()),
        }  # fmt: skip

    async def write(tx: Tx) -> None:
        if not await store(tx, row, changes):
            return
        await _part(tx, cloud, row, public_why)
        if not again:
            await migration_row.evacuated(tx, row, "error")
            await event.end_all(tx, KIND, row["id"], row["request_id"], error=public_why)

    await cloud.db.write(write)
    return Wait(0.0, why) if again else Failed(why)


async def fenced(cloud: Cloud, row: Row) -> Outcome:
    """The Node is cut off, whatever it does and whether or not its BMC answers: first from the volume, where its
    session ends by force and its password is void, then from every network. Then it is nobody's, and undeployed as far
    as that is possible; the Server looks for another. Raises Unavailable."""
    await server_node_volume.cut(cloud, row, row["node_id"])

    async def write(tx: Tx) -> None:
        if await store(tx, row, {"host": None, "node_id": None, "progress": 0}):
            await _part(tx, cloud, row)

    await cloud.db.write(write)
    return Wait(0.0, f"Node {row['node_id']} is cut off; another one is looked for.")


async def _part(tx: Tx, cloud: Cloud, row: Row, why: str | None = None) -> None:
    """The Server's Node is given up, and its Ports are for the next one. `why`: what its deployment ended with."""
    node = await NODE.get(tx, id=row["node_id"])
    if node is not None and node["instance_id"] == row["id"]:
        if why is not None:
            steps = close(row, mirrored(row, node), why)
            await event.record(tx, KIND, row["id"], row["request_id"], row["action"], steps)
        await plug.unplug(tx, cloud, node, request_id=row["request_id"])
        await _let_go(tx, cloud.use(Secrets), row, node)
    await nic.unbind(tx, row)


async def _let_go(tx: Tx, secrets: Secrets, row: Row, node: Row) -> None:
    """The Node is nobody's at once; what was begun on it is undone by its own reconciler."""
    await claim.let_go(tx, node["id"])
    node = await claim.disown(tx, node, written=possible(node["provision_state"], "delete"))
    if possible(node["provision_state"], "delete"):
        await command(tx, secrets, node, "deleted", {}, request_id=row["request_id"], user=row["user_id"],
                      project=row["project_id"])  # fmt: skip
    await work.wake(tx, "node", node["id"])


async def forget(cloud: Cloud, row: Row, *, release: bool) -> Outcome:
    """The last of a Server: its Ports, volumes and count go with its row. `release`: its Node was never written."""
    if row["node_id"]:
        await server_node_volume.cut(cloud, row, row["node_id"])

    async def write(tx: Tx) -> None:
        if not await SERVER.delete(tx, {"id": row["id"]}):
            return
        node = await NODE.get(tx, id=row["node_id"]) if row["node_id"] and release else None
        if node is not None and node["instance_id"] == row["id"]:
            await claim.let_go(tx, node["id"])
            await claim.disown(tx, node, written=False)
            await work.wake(tx, "node", node["id"])
        await nic.release(tx, row)
        await server_volume_rows.released(tx, row)
        await quota.add(tx, row["project_id"], row["flavor"], -1)
        await past.keep(tx, row)
        await TOKEN.delete(tx, {"server_id": row["id"]})
        await event.end_all(tx, KIND, row["id"], row["request_id"])

    await cloud.db.write(write)
    return Done()
