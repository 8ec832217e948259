"""What the rows say of a Server's volumes once its machine is changed, gone, or as it was; all within the transaction
that writes the Server's own row. server_volume.py has what comes before: the way to the volumes.

    new, in the machine ─▶ in-use        gone, out of it ─▶ available, or deleted with its Server
    new, refused ─▶ gone again, undone   gone, refused ─▶ in-use, as it was
"""

import logging
from collections.abc import Collection
from typing import Any
from uuid import uuid4

from hagane.compute import device
from hagane.compute.row import KIND
from hagane.errors import Invalid, NotFound
from hagane.reconcile.server_machine import volume_key
from hagane.state import clock, event
from hagane.state.database import Row, Tx
from hagane.volume import attach, end
from hagane.volume.row import ATTACHMENT, VOLUME

log = logging.getLogger(__name__)
Entry = device.Entry
MAKING = ("creating", "downloading")
UNCONNECTED: Row = {"connector": {attach.OURS: True}, "connection": {}, "secret": None, "attached_host": None}


def under_way(row: Row) -> bool:
    """Whether volumes are coming into the machine or leaving it; not those that the Host has refused already."""
    return any(one.get("new") or (one.get("gone") and not one.get("undone")) for one in device.volumes(row))


def leaving(row: Row) -> list[str]:
    """Attachments of volumes that are not to be in the machine."""
    gone = [one["attachment_id"] for one in device.volumes(row) if one.get("gone")]
    return [
        one for one in (*gone, *(one["old"]["attachment_id"] for one in device.volumes(row) if one.get("old"))) if one
    ]


def held(row: Row) -> list[str]:
    """All attachments of a Server."""
    return [one["attachment_id"] for one in device.volumes(row) if one["attachment_id"]] + [
        one["old"]["attachment_id"] for one in device.volumes(row) if one.get("old")
    ]


async def settled(tx: Tx, row: Row) -> list[Entry]:
    """The machine is as the row says: what is in it is in use, what has left it is free. Returns the devices."""
    kept = []
    for one in device.devices(row):
        if one["destination"] != "volume":
            kept.append(one)
        elif one.get("gone"):
            await attach.detach(tx, one["attachment_id"])
            await _told(tx, row, one, "It could not be attached." if one.get("undone") else "")
        elif await _completed(tx, one):
            if one.get("old"):
                await attach.detach(tx, one["old"]["attachment_id"])
            await _told(tx, row, one)
            kept.append(device.plain(one))
    return kept


async def _completed(tx: Tx, one: Entry) -> bool:
    """Whether the attachment is still there; somebody may have ended it by force."""
    if not one.get("new"):
        return await ATTACHMENT.count(tx, {"id": one["attachment_id"]}) > 0
    try:
        await attach.complete(tx, one["attachment_id"], device=one["device"])
    except NotFound:
        return False
    return True


async def _told(tx: Tx, row: Row, one: Entry, error: str = "") -> None:
    """The end of the action that changed this device, with its steps: several may be under way at once."""
    if one.get("request"):
        where = {"kind": KIND, "key": row["id"], "request_id": one["request"], "finished_at": None}
        changes: Row = {"finished_at": clock.now(), "result": "Error" if error else "Success"}
        await event.EVENT.update(tx, where, changes | ({"message": error} if error else {}))


async def undone(tx: Tx, row: Row, why: str, there: Collection[str] | None) -> list[Entry]:
    """The Host refused: what was to come into the machine is to leave it, what was to leave it stays. What came or
    left all the same is kept as it is, for the next run to settle; `there`: keys of the disks that the machine has,
    None: its Host does not say."""
    found: list[Entry] = []
    for one in device.devices(row):
        if await _happened(tx, row, one, there):
            found.append(one | {"late": True})
        elif one.get("new"):
            found += await _taken_back(tx, row, one, why)
        elif one.get("gone") and not one.get("undone"):
            await _told(tx, row, one, why)
            await _stays(tx, one["volume_id"])
            found.append(device.plain(one))
        else:
            found.append(device.plain(one) if one.get("reimage") else one)
    return found


async def _happened(tx: Tx, row: Row, one: Entry, there: Collection[str] | None) -> bool:
    """Whether a device came or left, whatever the Host said of the whole. A copy that nobody can look at may be done:
    what the guest wrote since is on the new volume only."""
    if there is None:
        return bool(one.get("new") and one.get("old")) and not await _untouched(tx, one)
    here = volume_key(row, one) in there
    return here if one.get("new") else bool(one.get("gone") and not one.get("undone") and not here)


async def _taken_back(tx: Tx, row: Row, one: Entry, why: str) -> list[Entry]:
    """What is left of a device that was to come: what a Host was told of has to leave, what it replaced is back."""
    await _told(tx, row, one, why)
    found: list[Entry] = []
    if await _untouched(tx, one):
        await attach.detach(tx, one["attachment_id"])
    else:
        found.append(device.plain(one) | {"gone": True, "undone": True})
    if old := one.get("old"):
        if found:
            found[-1] |= {"id": str(uuid4()), "boot_index": None}
        found.append(device.plain(one) | {name: old[name] for name in ("volume_id", "attachment_id", "size")})
        await _stays(tx, old["volume_id"])
    return found


def asked_for(row: Row, left: list[Entry]) -> bool:
    """Whether one of the devices that are `left` half-way is what the last action is about: it goes on."""
    return any(one.get("request") == row["request_id"] for one in left)


async def _untouched(tx: Tx, one: Entry) -> bool:
    """Whether no Host was ever told of this volume."""
    attachment = await ATTACHMENT.get(tx, id=one["attachment_id"])
    return attachment is None or not attachment["connector"]


async def _stays(tx: Tx, volume_id: str) -> None:
    volume = await VOLUME.get(tx, id=volume_id)
    if volume is not None:
        await attach.roll_detaching(tx, volume)


def version_before(row: Row, left: list[Entry]) -> dict[str, Any]:
    """The root disk's version of before a swap that came to nothing, as the devices that are `left` tell."""
    kept = {one["id"] for one in left if one.get("old")}
    undone = [one["old"] for one in device.volumes(row) if one.get("old") and one["id"] not in kept]
    return next(({"disk_version": old["disk_version"]} for old in undone if "disk_version" in old), {})


async def released(tx: Tx, row: Row, *, made: bool = False) -> None:
    """The Server is gone, or came to nothing: its volumes are free again, or end with it; with `made`, all that were
    made for it do."""
    for attachment_id in held(row):
        await attach.detach(tx, attachment_id)
    for one in device.volumes(row):
        ends = one["delete"] or (made and one["source"] != "volume")
        volume = await VOLUME.get(tx, id=one["volume_id"]) if ends and one["volume_id"] else None
        if volume is not None and volume["status"] != "deleting":
            await _end(tx, row, volume)


async def _end(tx: Tx, row: Row, volume: Row) -> None:
    """A volume that has snapshots stays, as the real service leaves it; so does one that others have as well."""
    try:
        await end.delete(tx, volume, force=volume["status"] in MAKING, request_id=row["request_id"])
    except Invalid as error:
        log.warning("server %s is gone, volume %s stays: %s", row["id"], volume["id"], error.message)


async def shelved(tx: Tx, row: Row) -> None:
    """No Host has the Server: its volumes are its own, and connected nowhere."""
    if ids := held(row):
        await ATTACHMENT.update(tx, {"id": ids}, UNCONNECTED)
