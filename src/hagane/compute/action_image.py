"""createImage: a Server's disk as a new image. The image is there at once, and has its bytes when they are copied."""

from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.types import Obj
from hagane.cloud import Cloud
from hagane.compute import quota
from hagane.compute.action import Action, intend, refuse_state
from hagane.compute.base import api, at, need
from hagane.compute.kinds import METADATA, NAME
from hagane.compute.row import Task, VmState
from hagane.compute.server import find
from hagane.compute.server_create import check_metadata
from hagane.compute.steel import refuse_steel
from hagane.errors import NotFound
from hagane.image.store import ImageInfo, base_image, new_image
from hagane.state.database import Row, Tx

BODY = Obj(fields={"name": NAME, "metadata": METADATA}, required=("name",))
# What an image says of its own bytes or birth is not true of the snapshot's.
_NOT_INHERITED = {"cache_in_nova", "bittorrent", "img_signature", "img_signature_hash_method",
                  "img_signature_key_type", "img_signature_certificate_uuid", "signature_verified"}  # fmt: skip


def actions(cloud: Cloud) -> dict[str, Action]:
    async def create_image(request: Request, value: Any) -> Response:
        image_id = await cloud.db.write(lambda tx: _snapshot(request, tx, value))
        if at(request, 45):
            return json_response(202, {"image_id": image_id})
        return empty(202, {"location": f"{request.base_url}/image/images/{image_id}"})

    return {"createImage": Action(create_image, "servers:create_image", body=lambda _: BODY)}


async def _snapshot(request: Request, tx: Tx, value: dict[str, Any]) -> str:
    row = await find(tx, request)
    need(request, api("servers:create_image"), row)
    refuse_steel(row, "made an image of while it runs")
    metadata = value.get("metadata", {})
    if not at(request, 39):
        check_metadata(metadata, await quota.limits_of(tx, request.caller.project_id or ""))
    refuse_state(row, "createImage", [VmState.ACTIVE, VmState.STOPPED, VmState.PAUSED, VmState.SUSPENDED])
    base = await base_of(request, tx, row)
    image_id = await new_image(
        tx, name=value["name"], owner=request.caller.project_id, properties=inherited(row, base) | metadata,
        min_disk=max(base.min_disk if base else 0, row["flavor"]["disk"]), min_ram=base.min_ram if base else 0,
    )  # fmt: skip
    changes = {"task_state": Task.SNAPSHOT, "snapshot": {"image_id": image_id}}
    await intend(request, tx, row, "createImage", changes)
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
        "image_state": "available", "owner_id": row["project_id"], "base_image_ref": row["image_id"],
    }  # fmt: skip
