"""Volumes of a Server that is there: /servers/{id}/os-volume_attachments.

Attaching reserves the volume and notes the device, detaching marks both; the answer goes out then, and
reconcile/server_volume.py moves the machine. A Server on its shelf has no machine: its volumes change at once.
"""

from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import Obj, Type
from hagane.cloud import Cloud
from hagane.compute import attachment_change, device, query, storage
from hagane.compute.action import begin, intend, refuse_state
from hagane.compute.base import V21, api, at, need
from hagane.compute.kinds import BOOLEAN, DEVICE, TAG, UUID
from hagane.compute.row import SERVER, VmState
from hagane.compute.server import find, refuse_locked
from hagane.compute.steel import refuse_steel
from hagane.errors import Conflict, Forbidden, Invalid, NotFound
from hagane.placement.host import HOST, is_up
from hagane.state import clock, event
from hagane.state.database import Row, Tx
from hagane.volume import attach, end
from hagane.volume.base import bad_volume

PATH = V21 + "/servers/{id}/os-volume_attachments"
RULE = "os-volumes-attachments"
FIT = (VmState.ACTIVE, VmState.PAUSED, VmState.STOPPED, VmState.RESIZED, VmState.SHELVED, VmState.SHELVED_OFFLOADED)
SHELVES = (VmState.SHELVED, VmState.SHELVED_OFFLOADED)


def _body(version: tuple[int, int]) -> Obj:
    fields: dict[str, Type] = {"volumeId": UUID, "device": DEVICE}
    if version >= (2, 49):
        fields["tag"] = TAG
    if version >= (2, 79):
        fields["delete_on_termination"] = BOOLEAN
    return Obj(fields={"volumeAttachment": Obj(fields=fields, required=("volumeId",))}, required=("volumeAttachment",))


class Attachments:
    """The handlers."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def index(self, request: Request) -> Response:
        row = await find(self.db, request)
        need(request, api(f"{RULE}:index"), row)
        shown = query.window(request, _shown(request, row))
        return json_response(200, {"volumeAttachments": [view(request, row, one) for one in shown]})

    async def show(self, request: Request) -> Response:
        row = await find(self.db, request)
        need(request, api(f"{RULE}:show"), row)
        one = device.find({"devices": _shown(request, row)}, request.params["volume"])
        if one is None:
            raise _not_attached(request)
        return json_response(200, {"volumeAttachment": view(request, row, one)})

    async def create(self, request: Request) -> Response:
        body = _body(request.version).check("", await request.json())["volumeAttachment"]
        one = await self.db.write(lambda tx: _attach(request, tx, body))
        if at(request, 101):
            return empty(202)
        answer = {
            "id": one["volume_id"], "serverId": request.params["id"], "volumeId": one["volume_id"],
            "device": one["device"],
        }  # fmt: skip
        if at(request, 70):
            answer["tag"] = one["tag"]
        if at(request, 79):
            answer["delete_on_termination"] = one["delete"]
        return json_response(200, {"volumeAttachment": answer})

    async def update(self, request: Request) -> Response:
        body = attachment_change.body_type(request.version).check("", await request.json())["volumeAttachment"]
        await self.db.write(lambda tx: attachment_change.change(request, tx, body))
        return empty(202)

    async def delete(self, request: Request) -> Response:
        await self.db.write(lambda tx: _detach(request, tx))
        return empty(202)

    def routes(self) -> list[Route]:
        one = PATH + "/{volume}"
        return [
            Route("GET", PATH, self.index, "server_volume:list", rule=api(f"{RULE}:index")),
            Route("POST", PATH, self.create, "server_volume:create", rule=api(f"{RULE}:create"), body=_body((2, 96))),
            Route("GET", one, self.show, "server_volume:show", rule=api(f"{RULE}:show")),
            Route("PUT", one, self.update, "server_volume:update", rule=api(f"{RULE}:update"), status=202,
                  body=attachment_change.body_type((2, 96))),
            Route("DELETE", one, self.delete, "server_volume:delete", rule=api(f"{RULE}:delete"), status=202),
        ]  # fmt: skip


def view(request: Request, row: Row, one: device.Entry) -> dict[str, Any]:
    """A device as the list and `show` tell it."""
    found: dict[str, Any] = {} if at(request, 89) else {"id": one["volume_id"]}
    found |= {"volumeId": one["volume_id"], "serverId": row["id"]}
    if one["device"]:
        found["device"] = one["device"]
    if at(request, 70):
        found["tag"] = one["tag"]
    if at(request, 79):
        found["delete_on_termination"] = one["delete"]
    if at(request, 89):
        found |= {"attachment_id": one["attachment_id"], "bdm_uuid": one["id"]}
    return found


def _shown(request: Request, row: Row) -> list[device.Entry]:
    """From 2.89 on only what has its attachment, without which there is no valid answer."""
    found = [one for one in device.volumes(row) if one["volume_id"]]
    return [one for one in found if one["attachment_id"]] if at(request, 89) else found


def _not_attached(request: Request) -> NotFound:
    return NotFound(f"Instance {request.params['id']} is not attached to volume {request.params['volume']}")


def _shelved(request: Request, row: Row, verb: str) -> None:
    """Before 2.20 a Server on its shelf keeps its volumes. Raises Conflict."""
    if row["vm_state"] in SHELVES and not at(request, 20):
        refuse_state(row, verb, [], launched=False)


async def _fit(request: Request, tx: Tx, rule: str, verb: str) -> Row:
    row = await find(tx, request)
    need(request, api(f"{RULE}:{rule}"), row)
    _shelved(request, row, verb)
    return row


# -- attach ----------------------------------------------------------------------------------------------------------


async def _attach(request: Request, tx: Tx, body: dict[str, Any]) -> device.Entry:
    row = await _fit(request, tx, "create", "attach_volume")
    refuse_locked(request, row)
    refuse_state(row, "attach_volume", FIT)
    refuse_steel(row, "given a volume while it runs")
    volume = await storage.volume_of(request, tx, body["volumeId"])
    await storage.refuse_twice(tx, row, volume)
    shelved = row["vm_state"] == VmState.SHELVED_OFFLOADED
    if shelved and body.get("tag"):
        raise Invalid("Tagged volume attachment is not supported for shelved-offloaded instances.")
    if shelved and volume["multiattach"]:
        raise Invalid("Attaching multiattach volumes is not supported for shelved-offloaded instances.")
    storage.refuse_multiattach(request, volume)
    with storage.worded():
        attachment = await attach.reserve(tx, volume, row["id"])
    one = device.entry(
        source="volume", destination="volume", source_id=volume["id"], volume_id=volume["id"],
        attachment_id=attachment["id"], size=volume["size"], tag=body.get("tag"),
        delete=body.get("delete_on_termination", False), device=None if shelved else name_of(row),
    )  # fmt: skip
    if shelved:
        await attach.complete(tx, attachment["id"])
        await _at_once(request, tx, row, "attach_volume", [*device.devices(row), one])
    else:
        added = one | {"new": True, "request": request.id}
        await intend(request, tx, row, "attach_volume", {"devices": [*device.devices(row), added]})
    return one


def name_of(row: Row) -> str:
    """The name of one device more. Raises Forbidden."""
    name = device.next_name(row, None)
    if name is None:
        raise Forbidden(f"The maximum allowed number of disk devices ({device.MOST}) to attach to a single instance has"
                        " been exceeded.")  # fmt: skip
    return name


async def _at_once(request: Request, tx: Tx, row: Row, action: str, devices: list[device.Entry]) -> None:
    """Where there is no machine, rows are all."""
    moment = clock.now()
    await SERVER.update(tx, {"id": row["id"]}, {"devices": devices, "updated_at": moment})
    await event.end(tx, await begin(request, tx, row, action))


# -- detach ----------------------------------------------------------------------------------------------------------


async def _detach(request: Request, tx: Tx) -> None:
    row = await _fit(request, tx, "delete", "detach_volume")
    volume = await storage.volume_of(request, tx, request.params["volume"])
    one = device.find(row, volume["id"])
    if one is None:
        raise _not_attached(request)
    if one["boot_index"] == 0:
        raise Invalid("Cannot detach a root device volume")
    refuse_locked(request, row)
    refuse_state(row, "detach_volume", FIT)
    refuse_steel(row, "parted from a volume while it runs")
    if row["vm_state"] == VmState.SHELVED_OFFLOADED:
        await release(request, tx, row, one)
        await _at_once(request, tx, row, "detach_volume", device.without(row, [one]))
        return
    host = await HOST.get(tx, name=row["host"]) if row["host"] else None
    if host is None:
        raise Conflict(f"Instance {row['id']} is not ready")
    if not is_up(host):
        raise Conflict("Service is unavailable at this time.")
    try:
        await attach.begin_detaching(tx, volume)
    except Invalid as error:
        raise bad_volume(f"Invalid input received: {error.message}") from error
    gone = device.change(row, one, gone=True, request=request.id)
    await intend(request, tx, row, "detach_volume", {"devices": gone})


async def release(request: Request, tx: Tx, row: Row, one: device.Entry) -> None:
    """A Server without a machine lets a volume go; one that was to end with the Server ends."""
    await attach.detach(tx, one["attachment_id"])
    if one["delete"]:
        volume = await attach.get(tx, one["volume_id"])
        await end.delete(tx, volume, request_id=request.id)
