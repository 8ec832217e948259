"""rebuild: the same Server with a new disk, from the same image or another; from 2.93 on also where the disk is a
volume, which gets the image's content again."""

from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.cloud import Cloud
from hagane.compute import device, device_image, image_property, personality, quota, storage
from hagane.compute.action import Action, intend, refuse_state
from hagane.compute.base import api, at, links, need
from hagane.compute.row import Task, VmState
from hagane.compute.server import changed_view, find, refuse_locked
from hagane.compute.server_body import rebuild_type
from hagane.compute.server_create import check_fit, check_image, check_memory, check_metadata, key_of, password, seal
from hagane.compute.steel import refuse_steel
from hagane.errors import Conflict, Invalid, NotFound
from hagane.image.store import ImageInfo, base_image
from hagane.state.database import Row, Tx
from hagane.volume import attach

_COLUMNS = {"name": "name", "OS-DCF:diskConfig": "disk_config", "accessIPv4": "access_ipv4",
            "accessIPv6": "access_ipv6", "description": "description", "hostname": "hostname", "metadata": "metadata",
            "user_data": "user_data", "personality": "files"}  # fmt: skip


def actions(cloud: Cloud) -> dict[str, Action]:
    async def rebuild(request: Request, value: Any) -> Response:
        secret = value.get("adminPass") or password()
        row = await cloud.db.write(lambda tx: _rebuild(request, tx, value, secret))
        view = await changed_view(request, cloud.db, row, rebuilt=True) | {"adminPass": secret}
        if at(request, 57):
            view["user_data"] = row["user_data"]
        return json_response(202, {"server": view}, {"location": links(request, "servers", row["id"])[0]["href"]})

    return {"rebuild": Action(rebuild, "servers:rebuild", body=rebuild_type)}


async def _rebuild(request: Request, tx: Tx, value: dict[str, Any], secret: str) -> Row:
    row = await find(tx, request)
    need(request, api("servers:rebuild"), row)
    if value.get("trusted_image_certificates"):
        raise Invalid("Signed images are not verified by this cloud: leave out trusted_image_certificates.")
    refuse_locked(request, row)
    refuse_state(row, "rebuild", [VmState.ACTIVE, VmState.STOPPED, VmState.ERROR])
    try:
        image = await base_image(tx, request.cloud, value["imageRef"], caller=request.caller)
    except NotFound as error:
        raise Invalid("Cannot find image for rebuild", code="ImageNotFound") from error
    check_image(image)
    root = device.root(row)
    if root:
        await _check_volumes(request, tx, row, root, image)
    else:
        check_fit(request, row["flavor"], image)
    limits = await quota.limits_of(tx, row["project_id"], row["user_id"])
    check_metadata(value.get("metadata", {}), limits)
    personality.check(value.get("personality", []), limits)
    changes: dict[str, Any] = {column: value[label] for label, column in _COLUMNS.items() if label in value}
    if "key_name" in value:
        keypair = await key_of(request, tx, value["key_name"])
        changes |= {"keypair": keypair, "key_name": keypair and keypair["name"]}
    changes |= {
        "image_id": row["image_id"] if root else image.id, "disk_version": row["disk_version"] + 1,
        "boots": row["boots"] + 1, "soft": False, "image_properties": image_property.of(image.properties),
        "progress": 0, "task_state": Task.REBUILDING, "disk_image": None, "rescue": None,
        "secret": seal(request, secret) if row["config_drive"] else None,
    }  # fmt: skip
    if row["vm_state"] == VmState.ERROR:
        changes |= {"power": "on", "tried": []}
    if root and at(request, 93):
        refuse_steel(row, "rebuilt with another content of its volume")
        changes["devices"] = device.change(row, root, reimage={"image": image.id, "begun": False})
    return await intend(request, tx, row, "rebuild", changes)


async def _check_volumes(request: Request, tx: Tx, row: Row, root: device.Entry, image: ImageInfo) -> None:
    """Whether a volume-backed Server may be made anew of an image: before 2.93 only of its own, and then its volume is
    left as it is. Raises Invalid, Conflict."""
    facts = await device_image.facts_of(tx, row)
    if facts.get("image_id") != image.id and not at(request, 93):
        raise Invalid(f"Image {image.id} is unacceptable: Unable to rebuild with a different image for a volume-backed"
                      " server.", code="ImageUnacceptable")  # fmt: skip
    check_memory(row["flavor"], image.min_ram)
    volumes = await storage.volumes_of(tx, row)
    for one in device.volumes(row):
        volume = volumes.get(one["volume_id"])
        if volume and one is root:
            device_image.fits(volume["size"], image.min_disk)
        if volume is None or volume["status"] != "in-use":
            status = volume["status"] if volume else "deleted"
            raise Conflict(f"Invalid volume: volume '{one['volume_id']}' status must be 'in-use'. Currently in"
                           f" '{status}' status", code="InvalidVolume")  # fmt: skip
    if at(request, 93) and len(await attach.attachments(tx, root["volume_id"])) > 1:
        raise Conflict("Cannot re-image a volume which is attached to more than one server.", code="Attached")
