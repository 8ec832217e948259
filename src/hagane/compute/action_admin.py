"""Verbs that a cloud without waiting deletions and without agents in guests has little to do for."""

from typing import Any

from hagane.api.http import Request, Response, empty
from hagane.cloud import Cloud
from hagane.compute.action import Action, refuse_state
from hagane.compute.base import api, need
from hagane.compute.row import KIND
from hagane.compute.server import find, refuse_locked
from hagane.state import work
from hagane.state.database import Tx

SOFT_DELETED = "soft-delete"
"""No Server is ever in this state: what is deleted goes at once, as with the real service by default."""


def actions(cloud: Cloud) -> dict[str, Action]:
    """name -> Action."""

    async def restore(request: Request, _: Any) -> Response:
        row = await find(cloud.db, request)
        need(request, api("os-deferred-delete:restore"), row)
        refuse_state(row, "restore", [SOFT_DELETED])
        return empty(202)

    async def inject(request: Request, _: Any) -> Response:
        """Guests ask for their network themselves; the Server's NICs are looked at anew."""

        async def write(tx: Tx) -> None:
            row = await find(tx, request)
            need(request, api("os-admin-actions:inject_network_info"), row)
            refuse_locked(request, row)
            await work.wake(tx, KIND, row["id"], request_id=request.id)

        await cloud.db.write(write)
        return empty(202)

    return {
        "restore": Action(restore, "os-deferred-delete:restore"),
        "injectNetworkInfo": Action(inject, "os-admin-actions:inject_network_info"),
    }
