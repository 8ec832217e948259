"""evacuate: a Server whose Host is dead is made anew on another.

The disks are on the Host that is gone, so the new machine starts from the Server's image, or from its volume; volumes,
addresses, id and name are as before. What the dead Host still has of it is swept when that comes back.
"""

from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.types import Obj, Str, Type
from hagane.cloud import Cloud
from hagane.compute import evacuate_node, migration_row, nic
from hagane.compute.action import Action, intend, refuse_state
from hagane.compute.base import api, at, need
from hagane.compute.kinds import BOOLEAN, PASSWORD
from hagane.compute.row import Task, VmState
from hagane.compute.server import find, refuse_locked
from hagane.compute.server_create import password, seal
from hagane.compute.steel import is_node
from hagane.errors import Invalid, NotFound
from hagane.placement.host import HOST, is_up
from hagane.placement.inventory import release
from hagane.state.database import Row, Tx

NAME_OF_HOST = Str(255, min=1)


def _evacuate(version: tuple[int, int]) -> Type:
    fields: dict[str, Any] = {"host": NAME_OF_HOST, "adminPass": PASSWORD}
    if version < (2, 14):
        return Obj(fields=fields | {"onSharedStorage": BOOLEAN}, required=("onSharedStorage",))
    return Obj(fields=fields | ({"force": BOOLEAN} if (2, 29) <= version < (2, 68) else {}))


def actions(cloud: Cloud) -> dict[str, Action]:
    async def evacuate(request: Request, value: Any) -> Response:
        secret = value.get("adminPass") or password()
        await cloud.db.write(lambda tx: _move(request, tx, value, secret))
        return empty(200) if at(request, 14) else json_response(200, {"adminPass": secret})

    return {"evacuate": Action(evacuate, "os-evacuate", body=_evacuate)}


async def _move(request: Request, tx: Tx, value: dict[str, Any], secret: str) -> None:
    row = await find(tx, request)
    need(request, api("os-evacuate"), row)
    refuse_locked(request, row)
    if is_node(row):
        await _leave(request, tx, row, await evacuate_node.wanted(tx, row, value.get("host")), secret, {})
        return
    wanted = await _wanted(tx, row, value.get("host"))
    await release(tx, row["id"])
    await nic.unbind(tx, row)
    await _leave(request, tx, row, wanted, secret, {"host": None, "disk_image": None})


async def _wanted(tx: Tx, row: Row, target: str | None) -> Row | None:
    """The Host that the Server is to go to, if one is named. Raises Invalid, Conflict, NotFound."""
    if target is not None:
        if await HOST.get(tx, name=target) is None:
            raise NotFound(f"Compute host {target} not found.")
        if target == row["host"]:
            raise Invalid("The target host can't be the same one.")
    refuse_state(row, "evacuate", [VmState.ACTIVE, VmState.STOPPED, VmState.ERROR])
    host = await HOST.get(tx, name=row["host"]) if row["host"] else None
    if host is not None and is_up(host):
        raise Invalid(f"Compute service of {row['host']} is still in use.")
    return {"host": target, "forced": False} if target else None


async def _leave(request: Request, tx: Tx, row: Row, wanted: Row | None, secret: str, more: Row) -> None:
    """Another machine is looked for. A Host has nothing of the Server from now on, as far as this cloud is concerned
    (`more`); a Node is cut off first, by the reconciler."""
    await migration_row.begin(tx, row, "evacuation", new_flavor=row["flavor_id"], status="accepted")
    changes: dict[str, Any] = more | {
        "wanted_host": wanted, "task_state": Task.SCHEDULING, "tried": [], "soft": False, "rescue": None,
        "disk_version": row["disk_version"] + 1, "boots": row["boots"] + 1,
        "secret": seal(request, secret) if row["config_drive"] else None,
    }  # fmt: skip
    if at(request, 95):
        changes["power"] = "off"  # from this version on its owner starts it
    elif row["vm_state"] == VmState.ERROR:
        changes["power"] = "on"
    await intend(request, tx, row, "evacuate", changes)
