"""shelve, shelveOffload, unshelve: a Server that takes no Host, its disk kept as an image, its addresses its own.

    ACTIVE, SHUTOFF, PAUSED, SUSPENDED ──shelve──▶ SHELVED_OFFLOADED ──unshelve──▶ ACTIVE, on any Host

The Host is freed as soon as the image is there, as by the real service's default, so nothing is ever SHELVED only, and
shelveOffload is refused in the words for a Server that is not.
"""

from typing import Any

from hagane.api.http import Request, Response, empty
from hagane.api.types import BadValue, Custom, Obj, Str
from hagane.cloud import Cloud
from hagane.compute import device
from hagane.compute.action import Action, intend, refuse_state
from hagane.compute.action_image import base_of, inherited
from hagane.compute.base import api, need
from hagane.compute.row import Task, VmState
from hagane.compute.server import find, refuse_locked
from hagane.compute.steel import refuse_steel
from hagane.errors import Invalid
from hagane.image.store import new_image
from hagane.placement.host import DEFAULT_ZONE, HOST
from hagane.state.database import Tx

_ZONE = Obj(fields={"availability_zone": Str(255, min=1)}, required=("availability_zone",))
_PLACE = Obj(fields={"availability_zone": Str(255, min=1, nullable=True), "host": Str(255, min=1)})


def _place(field: str, value: Any) -> Any:
    if value is None:
        return None
    if value == {}:
        raise BadValue(field, value, f"{value!r} does not have enough properties")
    return _PLACE.check(field, value)


_SCHEMA = {"type": ["object", "null"], "properties": {"availability_zone": {"type": "string"}}, "minProperties": 1}
UNSHELVE = Custom(rule=_place, nullable=True, json_schema=_SCHEMA)
ZONE = Custom(rule=lambda field, value: None if value is None else _ZONE.check(field, value), nullable=True)
NOTHING = Custom(rule=lambda field, value: None, nullable=True)


def _body(version: tuple[int, int]) -> Custom:
    if version >= (2, 91):
        return UNSHELVE
    return ZONE if version >= (2, 77) else NOTHING


def actions(cloud: Cloud) -> dict[str, Action]:
    async def shelve(request: Request, _: Any) -> Response:
        await cloud.db.write(lambda tx: _shelve(request, tx))
        return empty(202)

    async def offload(request: Request, _: Any) -> Response:
        row = await find(cloud.db, request)
        need(request, api("os-shelve:shelve_offload"), row)
        refuse_steel(row, "shelved")
        refuse_state(row, "shelveOffload", [VmState.SHELVED])
        return empty(202)

    async def unshelve(request: Request, value: Any) -> Response:
        await cloud.db.write(lambda tx: _unshelve(request, tx, value or {}))
        return empty(202)

    return {
        "shelve": Action(shelve, "os-shelve:shelve"),
        "shelveOffload": Action(offload, "os-shelve:shelve_offload"),
        "unshelve": Action(unshelve, "os-shelve:unshelve", body=_body),
    }


async def _shelve(request: Request, tx: Tx) -> None:
    row = await find(tx, request)
    need(request, api("os-shelve:shelve"), row)
    refuse_locked(request, row)
    refuse_steel(row, "shelved")
    refuse_state(row, "shelve", [VmState.ACTIVE, VmState.STOPPED, VmState.PAUSED, VmState.SUSPENDED])
    changes: dict[str, Any] = {"task_state": Task.SHELVING, "power": "off", "soft": True}
    if device.root(row) is None:  # a volume is kept as it is
        base = await base_of(request, tx, row)
        image_id = await new_image(
            tx, name=f"{row['name']}-shelved", owner=row["project_id"], properties=inherited(row, base),
            min_disk=max(base.min_disk if base else 0, row["flavor"]["disk"]), min_ram=base.min_ram if base else 0,
        )  # fmt: skip
        changes["snapshot"] = {"image_id": image_id}
    await intend(request, tx, row, "shelve", changes)


async def _unshelve(request: Request, tx: Tx, value: dict[str, Any]) -> None:
    row = await find(tx, request)
    need(request, api("os-shelve:unshelve"), row)
    refuse_locked(request, row)
    refuse_steel(row, "shelved")
    refuse_state(row, "unshelve", [VmState.SHELVED, VmState.SHELVED_OFFLOADED])
    changes: dict[str, Any] = {
        "task_state": Task.UNSHELVING, "power": "on", "soft": False, "boots": row["boots"] + 1, "tried": [],
        "disk_version": row["disk_version"] + 1, "wanted_host": None, "devices": device.named(row),
    }  # fmt: skip
    if "availability_zone" in value:
        await _check_zone(tx, value["availability_zone"])
        changes["zone"] = value["availability_zone"]
    if "host" in value:
        need(request, api("os-shelve:unshelve_to_host"), row)
        if await HOST.get(tx, name=value["host"]) is None:
            raise Invalid(f"Compute host {value['host']} could not be found.")
        changes["wanted_host"] = {"host": value["host"], "forced": False}
    await intend(request, tx, row, "unshelve", changes)


async def _check_zone(tx: Tx, zone: str | None) -> None:
    if zone not in (None, DEFAULT_ZONE) and not await HOST.count(tx, {"zone": zone, "state": "up", "disabled": False}):
        raise Invalid("The requested availability zone is not available")
