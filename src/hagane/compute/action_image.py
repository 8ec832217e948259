"""createImage, createBackup: a Server's disk as a new image. The image is there at once, and has its bytes when
they are copied; of backups of one kind only so many are kept."""

from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.types import Obj, Str
from hagane.cloud import Cloud
from hagane.compute import device, device_image, quota
from hagane.compute.action import Action, intend, refuse_state
from hagane.compute.base import api, at, need
from hagane.compute.kinds import METADATA, NAME, Count
from hagane.compute.row import Task, VmState
from hagane.compute.server import find
from hagane.compute.server_create import check_metadata
from hagane.compute.steel import refuse_steel
from hagane.errors import Invalid, NotFound
from hagane.image.store import ImageInfo, base_image, new_image
from hagane.state.database import Row, Tx

BODY = Obj(fields={"name": NAME, "metadata": METADATA}, required=("name",))
BACKUP = Obj(
    fields={"name": NAME, "backup_type": Str(255), "rotation": Count(min=0), "metadata": METADATA},
    required=("name", "backup_type", "rotation"),
)
# What an image says of its own bytes or birth is not true of the snapshot's.
_NOT_INHERITED = {"cache_in_nova", "bittorrent", "img_signature", "img_signature_hash_method",
                  "img_signature_key_type", "img_signature_certificate_uuid", "signature_verified"}  # fmt: skip


def actions(cloud: Cloud) -> dict[str, Action]:
    async def create_image(request: Request, value: Any) -> Response:
        image_id = await cloud.db.write(lambda tx: _snapshot(request, tx, value))
        if at(request, 45):
            return json_response(202, {"image_id": image_id})
        return empty(202, {"location": f"{request.base_url}/image/images/{image_id}"})

    async def create_backup(request: Request, value: Any) -> Response:
        image_id = await cloud.db.write(lambda tx: _backup(request, tx, value))
        if at(request, 45):
            return json_response(202, {"image_id": image_id})
        place = {"location": f"{request.base_url}/image/images/{image_id}"} if int(value["rotation"]) else {}
        return empty(202, place)

    return {
        "createImage": Action(create_image, "servers:create_image", body=lambda _: BODY),
        "createBackup": Action(create_backup, "os-create-backup", body=lambda _: BACKUP),
    }


async def _snapshot(request: Request, tx: Tx, value: dict[str, Any]) -> str:
    row = await _found(request, tx, value, "servers:create_image", "createImage")
    return await _order(request, tx, row, value, "createImage", {"task_state": Task.SNAPSHOT})


async def _backup(request: Request, tx: Tx, value: dict[str, Any]) -> str:
    row = await _found(request, tx, value, "os-create-backup", "backup")
    kind = {"image_type": "backup", "backup_type": value["backup_type"]}
    wanted = {"kind": value["backup_type"], "keep": int(value["rotation"])}
    changes = {"task_state": Task.BACKUP, "snapshot": wanted}
    return await _order(request, tx, row, value, "createBackup", changes, kind)


async def _found(request: Request, tx: Tx, value: dict[str, Any], rule: str, verb: str) -> Row:
    row = await find(tx, request)
    need(request, api(rule), row)
    refuse_steel(row, "made an image of while it runs")
    if not at(request, 39):
        check_metadata(value.get("metadata", {}), await quota.limits_of(tx, request.caller.project_id or ""))
    refuse_state(row, verb, [VmState.ACTIVE, VmState.STOPPED, VmState.PAUSED, VmState.SUSPENDED])
    return row


async def _order(
    request: Request,
    tx: Tx,
    row: Row,
    value: dict[str, Any],
    action: str,
    changes: Row,
    kind: dict[str, str] | None = None,
) -> str:
    """The image, and the intent to fill it."""
    metadata = value.get("metadata", {})
    if device.root(row):
        return await _of_volumes(request, tx, row, value, changes)
    base = await base_of(request, tx, row)
    image_id = await new_image(
        tx, name=value["name"], owner=request.caller.project_id,
        properties=inherited(row, base) | (kind or {}) | metadata,
        min_disk=max(base.min_disk if base else 0, row["flavor"]["disk"]), min_ram=base.min_ram if base else 0,
    )  # fmt: skip
    snapshot = (changes.get("snapshot") or {}) | {"image_id": image_id}
    await intend(request, tx, row, action, changes | {"snapshot": snapshot})
    return image_id


async def _of_volumes(request: Request, tx: Tx, row: Row, value: dict[str, Any], changes: Row) -> str:
    """An image without bytes, and snapshots of the volumes."""
    if "keep" in (changes.get("snapshot") or {}):
        raise Invalid("Backup is not supported for volume-backed instances.")
    facts = await device_image.facts_of(tx, row)
    mapping, ids = await device_image.freeze(request, tx, row, value["name"])
    kept = {name: text for name, text in device_image.properties_of(facts).items() if name not in _NOT_INHERITED}
    image_id = await new_image(
        tx, name=value["name"], owner=request.caller.project_id,
        properties=kept | inherited(row, None) | value.get("metadata", {}) | mapping,
        min_disk=device_image.least(facts, "min_disk"), min_ram=device_image.least(facts, "min_ram"),
    )  # fmt: skip
    snapshot = {"image_id": image_id, "volumes": ids}
    await intend(request, tx, row, "createImage", changes | {"snapshot": snapshot})
    return image_id


async def base_of(request: Request, tx: Tx, row: Row) -> ImageInfo | None:
    try:
        return await base_image(tx, request.cloud, row["image_id"])
    except NotFound:
        return None  # deleted since


def inherited(row: Row, base: ImageInfo | None) -> dict[str, str]:
    kept = {name: value for name, value in (base.properties if base else {}).items() if name not in _NOT_INHERITED}
    return kept | {
        "image_type": "snapshot", "instance_uuid": row["id"], "user_id": row["user_id"], "image_location": "snapshot",
        "image_state": "available", "owner_id": row["project_id"], "base_image_ref": row["image_id"] or "",
    }  # fmt: skip
