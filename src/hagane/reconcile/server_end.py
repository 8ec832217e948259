"""What came of the work on a Server, into its row, in one transaction with its events and claims.

Each changes the row only if its generation is still the one that was worked on: an intent that came meanwhile has woken
the reconciler again, and its work is not called done by the end of an earlier one.
"""

from collections.abc import Collection
from typing import Any

from hagane.cloud import Cloud
from hagane.compute import device, migration_row, nic, past, quota
from hagane.compute.console import TOKEN
from hagane.compute.row import NOSTATE, SERVER, Task, VmState, fault
from hagane.drivers.hypervisor.base import Seen
from hagane.errors import HaganeError
from hagane.image import store
from hagane.placement.inventory import release
from hagane.reconcile import server_plan, server_volume_rows
from hagane.reconcile.engine import Done, Failed, Outcome, Wait
from hagane.reconcile.server_steps import Steps
from hagane.state import clock, work
from hagane.state.database import Database, Row, Tx
from hagane.state.secret import Secrets

MOST_TRIES = 3  # Hosts on which a Server is tried, as the real service does
REVERTED = {  # what an action that failed leaves, where that is not ERROR
    Task.POWERING_ON: {"power": "off"}, Task.POWERING_OFF: {"power": "on"},
    Task.PAUSING: {"power": "on"}, Task.UNPAUSING: {"power": "paused"},
    Task.RESIZE_CONFIRMING: {},
    Task.SUSPENDING: {"power": "on"}, Task.RESUMING: {"power": "suspended"},
    Task.SNAPSHOT: {}, Task.UPLOADING: {}, Task.BACKUP: {}, None: {},
}  # fmt: skip


def plain_nic(one: Row) -> Row:
    """A NIC about which nothing is being done."""
    return {name: one[name] for name in ("port_id", "owned", "tag")}


async def drop_nics(tx: Tx, row: Row) -> None:
    """The machine has let go of the NICs that are to leave it, or is no more: their ports go or are free again."""
    for one in row["nics"]:
        if one.get("gone"):
            await nic.drop(tx, row, one["port_id"], owned=one["owned"])


async def store_row(tx: Tx, row: Row, changes: dict[str, Any]) -> bool:
    """Change the row if nobody has wanted anything else meanwhile."""
    where = {"id": row["id"], "generation": row["generation"]}
    return bool(await SERVER.update(tx, where, changes | {"updated_at": clock.now()}))


async def finished(db: Database, row: Row, steps: Steps, seen: Seen, ports: list[Row]) -> Outcome:
    """The machine is as the row asks; it has these ports."""
    changes = server_plan.finished(row, seen) | {"progress": 100, "secret": None}
    if row["launched_at"] is None:
        changes["launched_at"] = clock.now()
    if row["vm_state"] == VmState.ERROR:
        changes["fault"] = None

    left = {port["id"] for port in ports}
    changes["nics"] = [plain_nic(one) for one in row["nics"] if one["port_id"] in left]

    async def write(tx: Tx) -> None:
        if not await store_row(tx, row, changes):
            return
        if row["devices"]:
            await SERVER.update(tx, {"id": row["id"]}, {"devices": await server_volume_rows.settled(tx, row)})
        await drop_nics(tx, row)
        if row["action"] == "evacuate":
            await migration_row.evacuated(tx, row, "done")
        if row["task_state"] == Task.RESIZE_FINISH:
            await migration_row.tell(tx, row["move"]["uuid"], "finished")
        await steps.end(tx, whole=row["task_state"] is not None or row["observed_generation"] < row["generation"])

    await db.write(write)
    return Done()


async def notice(db: Database, row: Row, changes: dict[str, Any]) -> Outcome:
    """The world changed by itself. A machine that is gone is an error; what went off is off."""
    changes = dict(changes)
    if changes.get("vm_state") == VmState.ERROR:
        changes["fault"] = fault(500, "The machine is not on its Host any more.", (
            f"Somebody removed it from {row['host']}, not through this API. A hard reboot defines it again from its "
            "disk if that is still there; a rebuild makes it anew."
        ), clock.now())  # fmt: skip

    async def write(tx: Tx) -> None:
        await store_row(tx, row, changes)

    await db.write(write)
    return Done()


async def progress(tx: Tx, row: Row, steps: Steps) -> None:
    await SERVER.update(tx, {"id": row["id"], "generation": row["generation"]}, {"progress": steps.percent})
    await steps.write(tx)


async def failed(
    db: Database,
    row: Row,
    steps: Steps,
    error: HaganeError,
    *,
    final: bool = False,
    there: Collection[str] | None = None,
) -> Outcome:
    """The Host said no. A new Server goes to another Host unless that is `final`; anything else ends here, and says
    why. `there`: keys of the disks that the machine has now.
    """
    if row["vm_state"] == VmState.BUILDING:
        return await _build_failed(db, row, steps, error, final=final)
    task, moment = row["task_state"], clock.now()
    changes: dict[str, Any] = {"task_state": None, "observed_generation": row["generation"], "soft": False}
    changes["fault"] = fault(500, error.message, error.detail or error.message, moment)
    # What could not be plugged is given up, what could not be unplugged stays.
    changes["nics"] = [plain_nic(one) for one in row["nics"] if not one.get("new")]
    if task in REVERTED:
        changes |= REVERTED[task]
    elif not row["move"]:
        changes["vm_state"] = VmState.ERROR
    if task == Task.RESCUING:  # it starts its own system again
        power = "off" if row["vm_state"] == VmState.STOPPED else "on"
        changes |= {"rescue": None, "power": power, "boots": row["boots"] + 1, "generation": row["generation"] + 1,
                    "vm_state": row["vm_state"]}  # fmt: skip
    if task in server_plan.SNAPSHOTS:
        changes["snapshot"] = None
    moved = [one for one in device.devices(row) if one.get("new") or one.get("gone") or one.get("reimage")]
    half = moved or len(changes["nics"]) != len(row["nics"]) or any(one.get("gone") for one in row["nics"])
    if half and changes.get("vm_state") != VmState.ERROR:  # from that it comes by a hard reboot or a rebuild
        changes["generation"] = row["generation"] + 1  # the machine may be half-way: bring it to what the row says now

    left: list[device.Entry] = []

    async def write(tx: Tx) -> None:
        nonlocal left
        if await store_row(tx, row, changes):
            if row["action"] == "evacuate":
                await migration_row.evacuated(tx, row, "error")
            left = await _given_up(tx, row, error.message, there) if half else []
            await steps.end(tx, error=error.message, whole=not server_volume_rows.asked_for(row, left))

    await db.write(write)
    if moved and left == row["devices"]:
        return Wait(10.0, error.message)  # what is half-way is so still, and what came cannot be taken out
    return Wait(0.0, error.message)  # what the Host shows after that is looked at once more


async def _given_up(tx: Tx, row: Row, why: str, there: Collection[str] | None) -> list[device.Entry]:
    """NICs that could not be plugged are let go; returns the devices, as far as they came or left."""
    for one in row["nics"]:
        if one.get("new"):
            await nic.drop(tx, row, one["port_id"], owned=one["owned"])
    left = await server_volume_rows.undone(tx, row, why, there)
    await SERVER.update(tx, {"id": row["id"]}, {"devices": left} | server_volume_rows.version_before(row, left))
    return left


async def _build_failed(db: Database, row: Row, steps: Steps, error: HaganeError, *, final: bool) -> Outcome:
    tried = [*row["tried"], {"host": row["host"], "why": error.message}]
    again = len(tried) < MOST_TRIES and not final
    changes: dict[str, Any] = {"tried": tried, "host": None}
    if again:
        changes["task_state"] = Task.SCHEDULING
    else:
        told = "; ".join(f"{one['host']}: {one['why']}" for one in tried)
        message = (
            error.message
            if final
            else (
                f"Exceeded maximum number of retries. Exceeded max scheduling attempts {MOST_TRIES} for instance "
                f"{row['id']}. Last exception: {error.message}"
            )
        )
        changes |= {
            "task_state": None, "vm_state": VmState.ERROR, "power_state": NOSTATE, "secret": None,
            "observed_generation": row["generation"], "fault": fault(500, message, told, clock.now()), "devices": [],
        }  # fmt: skip

    async def write(tx: Tx) -> None:
        if await store_row(tx, row, changes):
            # What is left of it on that Host is nobody's now: the Host's own pass sweeps it.
            await release(tx, row["id"])
            await nic.unbind(tx, row)
            if not again:
                await server_volume_rows.released(tx, row)
            await steps.end(tx, error=error.message, whole=not again)
            await work.wake(tx, "host", row["host"])

    await db.write(write)
    return Wait(0.0, error.message) if again else Failed(error.message)


async def stuck(db: Database, row: Row, steps: Steps, error: HaganeError) -> Outcome:
    """The Host refuses to let go of a machine: the Server is in error, and may be deleted again."""
    changes = {
        "task_state": None, "vm_state": VmState.ERROR, "terminate": False, "observed_generation": row["generation"],
        "fault": fault(500, error.message, error.detail or error.message, clock.now()),
    }  # fmt: skip

    async def write(tx: Tx) -> None:
        if await store_row(tx, row, changes):
            await steps.end(tx, error=error.message)

    await db.write(write)
    return Failed(error.message)


def observed(row: Row) -> dict[str, Any]:
    """That all is done that the row asks for; nothing, while a device is on its way into the machine or out of it."""
    half = any(one.get("new") or one.get("gone") for one in (*row["nics"], *device.devices(row)))
    return {} if half else {"observed_generation": row["generation"]}


async def taken(db: Database, row: Row, steps: Steps) -> Outcome:
    """The snapshot is an image now."""
    changes = {"task_state": None, "snapshot": None} | observed(row)

    async def write(tx: Tx) -> None:
        if await store_row(tx, row, changes):
            await steps.end(tx)

    await db.write(write)
    return Done() if observed(row) else Wait(0.0, "A device is still on its way.")


async def forget(cloud: Cloud, row: Row, steps: Steps) -> Outcome:
    """The last of a Server: its claims, ports and count go with its row."""

    async def write(tx: Tx) -> None:
        if not await SERVER.delete(tx, {"id": row["id"]}):
            return
        await release(tx, row["id"])
        await nic.release(tx, row)
        await server_volume_rows.released(tx, row)
        if row["move"]:
            await release(tx, row["move"]["uuid"])
        await quota.add(tx, row["project_id"], quota.charged(row), -1)
        await past.keep(tx, row)
        await TOKEN.delete(tx, {"server_id": row["id"]})
        await steps.end(tx)

    # First, and it may be repeated: once the row is gone, nobody would know of them.
    if row["snapshot"]:
        await store.discard(cloud, row["snapshot"]["image_id"])
    if row["vm_state"] == VmState.SHELVED_OFFLOADED and row["disk_image"]:
        await store.discard(cloud, row["disk_image"])
    await cloud.db.write(write)
    return Done()


def unseal(cloud: Cloud, secret: str | None) -> str | None:
    """A sealed text of a row."""
    return None if secret is None else cloud.use(Secrets).decrypt(secret)
