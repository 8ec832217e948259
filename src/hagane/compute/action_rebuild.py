"""rebuild: the same Server with a new disk, from the same image or another."""

from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.cloud import Cloud
from hagane.compute import personality, quota
from hagane.compute.action import Action, intend, refuse_state
from hagane.compute.base import api, at, links, need
from hagane.compute.row import Task, VmState
from hagane.compute.server import changed_view, find, refuse_locked
from hagane.compute.server_body import rebuild_type
from hagane.compute.server_create import check_fit, check_image, check_metadata, key_of, password, seal
from hagane.errors import Invalid, NotFound
from hagane.image.store import base_image
from hagane.state.database import Row, Tx

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
    check_fit(request, row["flavor"], image)
    limits = await quota.limits_of(tx, row["project_id"], row["user_id"])
    check_metadata(value.get("metadata", {}), limits)
    personality.check(value.get("personality", []), limits)
    changes: dict[str, Any] = {column: value[label] for label, column in _COLUMNS.items() if label in value}
    if "key_name" in value:
        keypair = await key_of(request, tx, value["key_name"])
        changes |= {"keypair": keypair, "key_name": keypair and keypair["name"]}
    changes |= {
        "image_id": image.id, "disk_version": row["disk_version"] + 1, "boots": row["boots"] + 1, "soft": False,
        "progress": 0, "task_state": Task.REBUILDING, "disk_image": None, "rescue": None,
        "secret": seal(request, secret) if row["config_drive"] else None,
    }  # fmt: skip
    if row["vm_state"] == VmState.ERROR:
        changes |= {"power": "on", "tried": []}
    return await intend(request, tx, row, "rebuild", changes)
