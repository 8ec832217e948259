"""PUT /servers/{id}/os-volume_attachments/{volume}: whether the volume ends with the Server (2.85), or another volume.

A swap copies a volume into another while the Server runs, and goes on there. It is for administrators and services.
"""

from typing import Any

from hagane.api.http import Request
from hagane.api.types import Obj, Type
from hagane.compute import device, storage
from hagane.compute.action import intend, refuse_state
from hagane.compute.base import api, at, need
from hagane.compute.kinds import BOOLEAN, DEVICE, TAG, UUID
from hagane.compute.row import KIND, SERVER, VmState
from hagane.compute.server import find, refuse_locked
from hagane.compute.steel import refuse_steel
from hagane.errors import Invalid, NotFound
from hagane.state import clock, work
from hagane.state.database import Row, Tx
from hagane.volume import attach
from hagane.volume.attachment_row import ATTACHED
from hagane.volume.base import bad_volume

RULE = "os-volumes-attachments"
_FIXED = {"id": "volume_id", "device": "device", "tag": "tag"}
RUNNING = (VmState.ACTIVE, VmState.PAUSED, VmState.RESIZED)


def body_type(version: tuple[int, int]) -> Obj:
    fields: dict[str, Type] = {"volumeId": UUID}
    if version >= (2, 85):
        fields |= {"device": DEVICE, "tag": TAG, "delete_on_termination": BOOLEAN, "serverId": UUID, "id": UUID}
    return Obj(fields={"volumeAttachment": Obj(fields=fields, required=("volumeId",))}, required=("volumeAttachment",))


async def change(request: Request, tx: Tx, body: dict[str, Any]) -> None:
    """One request. Raises Invalid, NotFound, Conflict."""
    row = await find(tx, request)
    key, wanted = request.params["volume"], body["volumeId"]
    swaps = not at(request, 85) or wanted != key
    need(request, api(f"{RULE}:{'swap' if swaps else 'update'}"), {} if swaps else row)
    if at(request, 85):
        row = await _update(request, tx, row, body)
    if swaps:
        await _swap(request, tx, row, key, wanted)


async def _update(request: Request, tx: Tx, row: Row, body: dict[str, Any]) -> Row:
    one = device.find(row, request.params["volume"])
    if one is None:
        raise NotFound(f"No volume Block Device Mapping with id {request.params['volume']}.")
    for name, column in _FIXED.items():
        if name in body and body[name] != (request.params["volume"] if name == "id" else one[column]):
            raise Invalid(f"The {name} property is not mutable")
    if body.get("serverId", row["id"]) != row["id"]:
        raise Invalid("The serverId property is not mutable")
    if "delete_on_termination" not in body or body["delete_on_termination"] == one["delete"]:
        return row
    # Work that is under way begins anew with this: it would write the devices as it read them.
    settled = row["generation"] == row["observed_generation"]
    changes: Row = {
        "devices": device.change(row, one, delete=body["delete_on_termination"]), "updated_at": clock.now(),
        "generation": row["generation"] + 1,
    }  # fmt: skip
    if settled:
        changes["observed_generation"] = changes["generation"]
    else:
        await work.wake(tx, KIND, row["id"], request_id=request.id)
    await SERVER.update(tx, {"id": row["id"]}, changes)
    return row | changes


async def _swap(request: Request, tx: Tx, row: Row, old_id: str, new_id: str) -> None:
    old = await storage.volume_of(request, tx, old_id)
    try:
        new = await storage.volume_of(request, tx, new_id)
    except NotFound as error:
        raise storage.refused(error) from error
    refuse_locked(request, row)
    refuse_state(row, "swap_volume", RUNNING)
    refuse_steel(row, "given another volume while it runs")
    one = device.find(row, old_id)
    attachments = await attach.attachments(tx, old_id)
    if not any(other["instance_uuid"] == row["id"] for other in attachments):
        raise bad_volume("Old volume is attached to a different instance.")
    if new["attach_status"] == ATTACHED:
        raise bad_volume("New volume must be detached in order to swap.")
    if new["size"] < old["size"]:
        raise bad_volume("New volume must be the same size or larger.")
    if one is None:
        raise NotFound(f"No volume Block Device Mapping with id {old_id}.")
    try:
        await attach.begin_detaching(tx, old)
    except Invalid as error:
        raise bad_volume(f"Invalid input received: {error.message}") from error
    if sum((other["attach_mode"] or "rw") == "rw" for other in attachments) > 1:
        raise Invalid("Swapping multi-attach volumes with more than one read/write attachment is not supported.")
    await storage.refuse_twice(tx, row, new)
    with storage.worded():
        attachment = await attach.reserve(tx, new, row["id"])
    before = {name: one[name] for name in ("volume_id", "attachment_id", "size")}
    changes: dict[str, Any] = {}
    if one["boot_index"] == 0:  # the root disk's key is the machine's own
        before["disk_version"] = row["disk_version"]
        changes["disk_version"] = row["disk_version"] + 1
    changes["devices"] = device.change(row, one, volume_id=new_id, attachment_id=attachment["id"], size=new["size"],
                                       old=before, new=True, request=request.id)  # fmt: skip
    await intend(request, tx, row, "swap_volume", changes)
