"""Shelving: the machine is stopped, its disk becomes an image, and the Host is free of it.

    shelving ─▶ applied, switched off ─▶ its disk into the image ─▶ removed from the Host ─▶ SHELVED_OFFLOADED

A kill anywhere in between begins again with the first step; once the image has its bytes, it goes on with the removal.
A Host that refuses ends it: the image goes, and the Server is started again if it ran.
"""

from typing import Any

from hagane.compute import nic
from hagane.compute.row import KIND, SERVER, SHUTDOWN, VmState, fault
from hagane.errors import HaganeError
from hagane.placement.inventory import release
from hagane.reconcile import server_volume_rows
from hagane.reconcile.server_end import drop_nics, plain_nic, store_row
from hagane.reconcile.server_steps import Steps
from hagane.state import clock, work
from hagane.state.database import Row, Tx


def image_of(row: Row) -> str | None:
    """The image that the disk becomes; none for a root that is a volume."""
    return row["snapshot"]["image_id"] if row["snapshot"] else None


async def shelved(tx: Tx, row: Row, steps: Steps) -> None:
    """It is on no Host."""
    changes = {
        "vm_state": VmState.SHELVED_OFFLOADED, "task_state": None, "power_state": SHUTDOWN, "host": None,
        "disk_image": image_of(row), "snapshot": None, "observed_generation": row["generation"],
        "soft": False, "nics": [plain_nic(one) for one in row["nics"] if not one.get("gone")],
    }  # fmt: skip
    if await store_row(tx, row, changes):
        # What was to leave its machine has, and what was to come is its own.
        await drop_nics(tx, row)
        await _leave(tx, row)
        left = await server_volume_rows.settled(tx, row)
        await SERVER.update(tx, {"id": row["id"]}, {"devices": left})
        await server_volume_rows.shelved(tx, row | {"devices": left})
        await steps.end(tx)


async def kept(tx: Tx, row: Row, steps: Steps, error: HaganeError) -> None:
    """It could not be shelved: as before, but for a memory that is lost."""
    changes: dict[str, Any] = {
        "task_state": None, "snapshot": None, "soft": False, "generation": row["generation"] + 1,
        "power": "off" if row["vm_state"] == VmState.STOPPED else "on",
        "fault": fault(500, error.message, error.detail or error.message, clock.now()),
    }  # fmt: skip
    if await store_row(tx, row, changes):
        await steps.end(tx, error=error.message)
        await work.wake(tx, KIND, row["id"])


async def returned(tx: Tx, row: Row, steps: Steps, error: HaganeError) -> None:
    """It could not be unshelved: it is on its shelf, and what is left of the try is swept."""
    changes: dict[str, Any] = {
        "task_state": None, "host": None, "power": "off", "observed_generation": row["generation"],
        "fault": fault(500, error.message, error.detail or error.message, clock.now()),
    }  # fmt: skip
    if await store_row(tx, row, changes):
        await _leave(tx, row)
        await server_volume_rows.shelved(tx, row)
        await steps.end(tx, error=error.message)


async def _leave(tx: Tx, row: Row) -> None:
    """Nothing of it is on its Host any more."""
    await release(tx, row["id"])
    await nic.unbind(tx, row)
    if row["host"]:
        await work.wake(tx, "host", row["host"])
