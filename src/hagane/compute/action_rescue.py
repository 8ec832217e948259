"""rescue and unrescue: another system than the one on the disk, and back.

A Node runs a small system from memory; a machine on a Host boots a fresh disk of the rescue image, its own disks behind
that one. Which image: the one asked for, else the Server's own.
"""

from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.types import Custom, Obj
from hagane.cloud import Cloud
from hagane.compute import device, device_image
from hagane.compute.action import Action, intend, refuse_state
from hagane.compute.base import api, at, need
from hagane.compute.kinds import IMAGE_REF, PASSWORD
from hagane.compute.row import Task, VmState
from hagane.compute.server import find, refuse_locked
from hagane.compute.server_create import check_image, password, seal
from hagane.compute.steel import is_node
from hagane.errors import Invalid, NotFound
from hagane.image.store import base_image
from hagane.state.database import Row, Tx


def _rescue(field: str, value: Any) -> Any:
    if value is None:
        return {}
    return Obj(fields={"adminPass": PASSWORD, "rescue_image_ref": IMAGE_REF}).check(field, value)


RESCUE = Custom(rule=_rescue, nullable=True)


def actions(cloud: Cloud) -> dict[str, Action]:
    async def rescue(request: Request, value: Any) -> Response:
        secret = (value or {}).get("adminPass") or password()

        async def write(tx: Tx) -> None:
            row = await find(tx, request)
            need(request, api("os-rescue"), row)
            refuse_locked(request, row)
            fit = [VmState.ACTIVE, VmState.STOPPED] + ([] if is_node(row) else [VmState.ERROR])
            refuse_state(row, "rescue", fit)
            changes: dict[str, Any] = {"task_state": Task.RESCUING, "secret": seal(request, secret)}
            if not is_node(row):
                changes |= await _system(request, tx, row, (value or {}).get("rescue_image_ref"))
            await intend(request, tx, row, "rescue", changes)

        await cloud.db.write(write)
        return json_response(200, {"adminPass": secret})

    async def unrescue(request: Request, _: Any) -> Response:
        async def write(tx: Tx) -> None:
            row = await find(tx, request)
            need(request, api("os-unrescue"), row)
            refuse_locked(request, row)
            refuse_state(row, "unrescue", [VmState.RESCUED])
            changes: dict[str, Any] = {"task_state": Task.UNRESCUING, "power": "on"}
            if not is_node(row):
                changes |= {"rescue": None, "boots": row["boots"] + 1, "soft": True}
            await intend(request, tx, row, "unrescue", changes)

        await cloud.db.write(write)
        return empty(202)

    return {
        "rescue": Action(rescue, "os-rescue", body=lambda _: RESCUE),
        "unrescue": Action(unrescue, "os-unrescue"),
    }


async def _system(request: Request, tx: Tx, row: Row, asked: str | None) -> dict[str, Any]:
    """What a machine on a Host is to boot. Raises Invalid."""
    backed = device.root(row) is not None
    key = asked or row["image_id"] or (await device_image.facts_of(tx, row)).get("image_id") or ""
    try:
        image = await base_image(tx, request.cloud, key, caller=request.caller if asked else None)
    except NotFound as error:
        if backed and not asked:
            raise _not_rescuable(row) from error
        raise Invalid(f"Image {key} could not be found.", code="ImageNotFound") from error
    if "block_device_mapping" in image.properties:
        raise Invalid(f"Requested rescue image '{image.id}' is not supported")
    if backed and not (at(request, 87) and {"hw_rescue_bus", "hw_rescue_device"} <= set(image.properties)):
        raise _not_rescuable(row)
    check_image(image)
    number = row["boots"] + 1  # a disk of its own for each rescue
    return {"rescue": {"image_id": image.id, "number": number}, "boots": number, "power": "on", "soft": True}


def _not_rescuable(row: Row) -> Invalid:
    return Invalid(f"Instance {row['id']} cannot be rescued: Cannot rescue a volume-backed instance")
