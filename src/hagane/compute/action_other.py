"""Verbs that are not a matter of power: reboot, delete at once, lock, reset of a state, security groups, passwords."""

from typing import Any

from hagane.api.http import Request, Response, empty
from hagane.api.types import Custom, Enum, Obj, Str
from hagane.cloud import Cloud
from hagane.compute import device, nic
from hagane.compute.action import Action, intend, refuse_state, told
from hagane.compute.base import api, need
from hagane.compute.kinds import NAME, PASSWORD
from hagane.compute.row import KIND, NOSTATE, RUNNING, Task, VmState
from hagane.compute.server import find, refuse_locked, terminate
from hagane.errors import Conflict, Invalid
from hagane.state import work
from hagane.state.database import Row, Tx

REBOOT = Obj(fields={"type": Enum(values=("HARD", "Hard", "hard", "SOFT", "Soft", "soft"))}, required=("type",))
RESET = Obj(fields={"state": Enum(values=("active", "error"))}, required=("state",))
GROUP = Obj(fields={"name": NAME}, required=("name",))
CHANGE = Obj(fields={"adminPass": PASSWORD}, required=("adminPass",))


def _lock(field: str, value: Any) -> Any:
    return None if value is None else Obj(fields={"locked_reason": Str(255, min=1)}).check(field, value)


LOCK = Custom(rule=_lock, nullable=True)


def actions(cloud: Cloud) -> dict[str, Action]:
    """name -> Action."""
    verbs = Verbs(cloud)
    return {
        "reboot": Action(verbs.reboot, "servers:reboot", body=lambda _: REBOOT),
        "forceDelete": Action(verbs.force_delete, "os-deferred-delete:force"),
        "lock": Action(verbs.lock, "os-lock-server:lock", body=lambda version: LOCK if version >= (2, 73) else _ANY),
        "unlock": Action(verbs.unlock, "os-lock-server:unlock"),
        "os-resetState": Action(verbs.reset, "os-admin-actions:reset_state", body=lambda _: RESET),
        "addSecurityGroup": Action(verbs.add_group, "os-security-groups:add", body=lambda _: GROUP),
        "removeSecurityGroup": Action(verbs.remove_group, "os-security-groups:remove", body=lambda _: GROUP),
        "changePassword": Action(verbs.password, "os-admin-password", body=lambda _: CHANGE),
    }


_ANY = Custom(rule=lambda field, value: value, nullable=True)
_REBOOTING = (None, Task.REBOOTING, Task.REBOOTING_HARD, Task.PAUSING, Task.UNPAUSING, Task.SUSPENDING)


class Verbs:
    """The handlers."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def reboot(self, request: Request, value: Any) -> Response:
        soft = value["type"].upper() == "SOFT"

        async def write(tx: Tx) -> None:
            row = await find(tx, request)
            need(request, api("servers:reboot"), row)
            refuse_locked(request, row)
            if soft:
                refuse_state(row, "reboot", [VmState.ACTIVE])
            else:
                fit = [VmState.ACTIVE, VmState.STOPPED, VmState.PAUSED, VmState.SUSPENDED, VmState.ERROR]
                refuse_state(row, "reboot", fit, _REBOOTING)
            changes = {"boots": row["boots"] + 1, "soft": soft, "power": "on"}
            task = Task.REBOOTING if soft else Task.REBOOTING_HARD
            await intend(request, tx, row, "reboot", changes | {"task_state": task})

        await self.db.write(write)
        return empty(202)

    async def force_delete(self, request: Request, _: Any) -> Response:
        async def write(tx: Tx) -> None:
            row = await find(tx, request)
            need(request, api("os-deferred-delete:force"), row)
            await terminate(request, tx, row)

        await self.db.write(write)
        return empty(202)

    async def lock(self, request: Request, value: Any) -> Response:
        async def write(tx: Tx) -> None:
            row = await find(tx, request)
            need(request, api("os-lock-server:lock"), row)
            by = "owner" if row["project_id"] == request.caller.project_id else "admin"
            reason = (value or {}).get("locked_reason") if isinstance(value, dict) else None
            await told(request, tx, row, "lock", {"locked_by": by, "locked_reason": reason})

        await self.db.write(write)
        return empty(202)

    async def unlock(self, request: Request, _: Any) -> Response:
        async def write(tx: Tx) -> None:
            row = await find(tx, request)
            need(request, api("os-lock-server:unlock"), row)
            if row["locked_by"] == "admin":
                need(request, api("os-lock-server:unlock:unlock_override"), row)
            await told(request, tx, row, "unlock", {"locked_by": None, "locked_reason": None})

        await self.db.write(write)
        return empty(202)

    async def reset(self, request: Request, value: Any) -> Response:
        """An administrator says what the state is; what the Host shows of it is looked at anew."""

        async def write(tx: Tx) -> None:
            row = await find(tx, request)
            need(request, api("os-admin-actions:reset_state"), row)
            active = value["state"] == "active"
            changes: dict[str, Any] = {
                "vm_state": VmState.ACTIVE if active else VmState.ERROR, "task_state": None, "terminate": False,
                "power_state": RUNNING if active else NOSTATE,
            }  # fmt: skip
            if active:
                changes |= {"power": "on", "fault": None}
            _keep_apart(row, changes)
            # What is being done about it is overtaken by this, but for volumes: they come in or leave to the end.
            changes["generation"] = row["generation"] + 1
            if not active or not any(one.get("new") or one.get("gone") for one in device.devices(row)):
                changes["observed_generation"] = changes["generation"]
            await told(request, tx, row, "resetState", changes)
            await work.wake(tx, KIND, row["id"], request_id=request.id)

        await self.db.write(write)
        return empty(202)

    async def add_group(self, request: Request, value: Any) -> Response:
        async def write(tx: Tx) -> None:
            row = await self._grouped(request, tx, "add")
            await nic.change_groups(request, tx, row, add=value["name"])

        await self.db.write(write)
        return empty(202)

    async def remove_group(self, request: Request, value: Any) -> Response:
        async def write(tx: Tx) -> None:
            row = await self._grouped(request, tx, "remove")
            await nic.change_groups(request, tx, row, remove=value["name"])

        await self.db.write(write)
        return empty(202)

    async def _grouped(self, request: Request, tx: Tx, verb: str) -> Row:
        row = await find(tx, request)
        need(request, api(f"os-security-groups:{verb}"), row)
        refuse_locked(request, row)
        if not row["nics"]:
            raise Invalid("Network requires port_security_enabled and subnet associated in order to apply security "
                          "groups.")  # fmt: skip
        return row

    async def password(self, request: Request, _: Any) -> Response:
        """Needs an agent in the guest, which this cloud does not ask for."""
        row = await find(self.db, request)
        need(request, api("os-admin-password"), row)
        refuse_locked(request, row)
        refuse_state(row, "changePassword", [VmState.ACTIVE])
        raise Conflict(f"QEMU guest agent is not enabled on the instance {row['id']}")


def _keep_apart(row: Row, changes: dict[str, Any]) -> None:
    """What is true of a Server whatever anybody says: a resize is confirmed or reverted, and a migration ends, before
    it is forgotten (two Hosts may have a machine of it); one on its shelf is on no Host; one that is rescued does not
    run its own system."""
    going = (Task.RESIZE_PREP, Task.RESIZE_MIGRATING, Task.RESIZE_FINISH, Task.MIGRATING)
    if row["move"] and row["task_state"] in going:
        changes |= {"task_state": row["task_state"], "vm_state": row["vm_state"], "power": row["power"]}
    elif row["vm_state"] == VmState.SHELVED_OFFLOADED:
        changes |= {"task_state": row["task_state"], "vm_state": row["vm_state"], "power": row["power"],
                    "power_state": row["power_state"]}  # fmt: skip
    elif changes["vm_state"] == VmState.ACTIVE and row["move"]:
        changes |= {"vm_state": VmState.RESIZED, "power": row["power"]}
    elif changes["vm_state"] == VmState.ACTIVE and row["rescue"]:
        changes["vm_state"] = VmState.RESCUED
