"""rescue and unrescue: a small system in memory instead of the one on the disk, and back. Of bare metal only."""

from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.types import Custom, Obj
from hagane.cloud import Cloud
from hagane.compute.action import Action, intend, refuse_state
from hagane.compute.base import api, need
from hagane.compute.kinds import IMAGE_REF, PASSWORD
from hagane.compute.row import Task, VmState
from hagane.compute.server import find, refuse_locked
from hagane.compute.server_create import password, seal
from hagane.compute.steel import refuse_virtual
from hagane.state.database import Tx


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
            refuse_virtual(row, "rescued")
            refuse_state(row, "rescue", [VmState.ACTIVE, VmState.STOPPED])
            await intend(request, tx, row, "rescue", {"task_state": Task.RESCUING, "secret": seal(request, secret)})

        await cloud.db.write(write)
        return json_response(200, {"adminPass": secret})

    async def unrescue(request: Request, _: Any) -> Response:
        async def write(tx: Tx) -> None:
            row = await find(tx, request)
            need(request, api("os-unrescue"), row)
            refuse_locked(request, row)
            refuse_state(row, "unrescue", [VmState.RESCUED])
            await intend(request, tx, row, "unrescue", {"task_state": Task.UNRESCUING, "power": "on"})

        await cloud.db.write(write)
        return empty(202)

    return {
        "rescue": Action(rescue, "os-rescue", body=lambda _: RESCUE),
        "unrescue": Action(unrescue, "os-unrescue"),
    }
