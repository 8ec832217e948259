"""resize, migrate, confirmResize, revertResize: a Server with another flavor, on its Host or another.

    ACTIVE ──resize──▶ RESIZE ──▶ VERIFY_RESIZE ──confirmResize──▶ ACTIVE, what was left behind is gone
                         │ refused: ACTIVE as before   └─revertResize──▶ REVERT_RESIZE ──▶ ACTIVE as before

The Host is chosen by reconcile/server_move.py. Until all is confirmed the Server holds both places and counts as the
larger of both flavors.
"""

from typing import Any

from hagane.api.http import Request, Response, empty
from hagane.api.types import BadValue, Custom, Enum, Obj, Str
from hagane.cloud import Cloud
from hagane.compute import device, migration_row, quota
from hagane.compute.action import Action, intend, refuse_state
from hagane.compute.base import api, need
from hagane.compute.flavor import find as find_flavor
from hagane.compute.flavor import snapshot
from hagane.compute.flavor_node import wish_of
from hagane.compute.row import Task, VmState
from hagane.compute.server import find, refuse_locked
from hagane.compute.steel import refuse_steel
from hagane.errors import Conflict, HaganeError, Invalid
from hagane.placement.host import HOST
from hagane.state.database import Row, Tx


def _flavor_ref(field: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise BadValue(field, value, f"{value!r} is not of type 'string', 'integer'")
    return str(value)


_FLAVOR_REF = Custom(rule=_flavor_ref, json_schema={"type": ["string", "integer"]})
RESIZE = Obj(fields={"flavorRef": _FLAVOR_REF, "OS-DCF:diskConfig": Enum(values=("AUTO", "MANUAL"))},
             required=("flavorRef",))  # fmt: skip
_HOST = Obj(fields={"host": Str(255, min=1, nullable=True)})
TO_HOST = Custom(rule=lambda field, value: None if value is None else _HOST.check(field, value), nullable=True)
NOTHING = Custom(rule=lambda field, value: value, nullable=True)


def actions(cloud: Cloud) -> dict[str, Action]:
    verbs = Verbs(cloud)
    return {
        "resize": Action(verbs.resize, "servers:resize", body=lambda _: RESIZE),
        "confirmResize": Action(verbs.confirm, "servers:confirm_resize"),
        "revertResize": Action(verbs.revert, "servers:revert_resize"),
        "migrate": Action(verbs.migrate, "os-migrate-server:migrate",
                          body=lambda version: TO_HOST if version >= (2, 56) else NOTHING),
    }  # fmt: skip


class Verbs:
    """The handlers."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def resize(self, request: Request, value: Any) -> Response:
        async def write(tx: Tx) -> None:
            row = await self._fit(request, tx, "servers:resize", "resize")
            flavor = await _flavor(request, tx, row, value["flavorRef"])
            changes = {"disk_config": value["OS-DCF:diskConfig"]} if "OS-DCF:diskConfig" in value else {}
            await _begin(request, tx, row, "resize", flavor, None, changes)

        await self.db.write(write)
        return empty(202)

    async def migrate(self, request: Request, value: Any) -> Response:
        async def write(tx: Tx) -> None:
            row = await self._fit(request, tx, "os-migrate-server:migrate", "migrate")
            host = (value or {}).get("host")
            if host is not None:
                need(request, api("os-migrate-server:migrate:host"), row)
                await _check_host(tx, row, host)
            await _begin(request, tx, row, "migrate", row["flavor"], host, {})

        await self.db.write(write)
        return empty(202)

    async def _fit(self, request: Request, tx: Tx, rule: str, verb: str) -> Row:
        row = await find(tx, request)
        need(request, api(rule), row)
        refuse_locked(request, row)
        refuse_steel(row, "resized" if verb == "resize" else "migrated")
        refuse_state(row, verb, [VmState.ACTIVE, VmState.STOPPED])
        return row

    async def confirm(self, request: Request, _: Any) -> Response:
        async def write(tx: Tx) -> None:
            row = await _resized(request, tx, "servers:confirm_resize", "confirmResize")
            await migration_row.tell(tx, row["move"]["uuid"], "confirming")
            await intend(request, tx, row, "confirmResize", {"task_state": Task.RESIZE_CONFIRMING})

        await self.db.write(write)
        return empty(204)

    async def revert(self, request: Request, _: Any) -> Response:
        async def write(tx: Tx) -> None:
            row = await _resized(request, tx, "servers:revert_resize", "revertResize")
            await migration_row.tell(tx, row["move"]["uuid"], "reverting")
            await intend(request, tx, row, "revertResize", {"task_state": Task.RESIZE_REVERTING})

        await self.db.write(write)
        return empty(202)


async def _resized(request: Request, tx: Tx, rule: str, verb: str) -> Row:
    row = await find(tx, request)
    need(request, api(rule), row)
    refuse_locked(request, row)
    refuse_state(row, verb, [VmState.RESIZED])
    if not row["move"]:
        raise Invalid("Instance has not been resized.")
    return row


async def _flavor(request: Request, tx: Tx, row: Row, flavor_id: str) -> Row:
    """The flavor that a Server is to have. Raises Invalid."""
    try:
        flavor = await find_flavor(tx, request, flavor_id)
    except HaganeError as error:
        raise Invalid(error.message, code=error.code) from error
    if flavor["disabled"]:
        raise Invalid(f"Flavor {flavor_id} could not be found.")
    if flavor["id"] == row["flavor_id"]:
        raise Invalid("When resizing, instances must change flavor!")
    if wish_of(flavor) is not None:
        raise Invalid("A server on a Host cannot become a bare-metal server: choose another flavor.")
    if row["flavor"]["disk"] and not flavor["disk"] and device.root(row) is None:
        raise Invalid("Server disk was unable to be resized because: Resize to zero disk flavor is not allowed.")
    return snapshot(flavor)


async def _check_host(tx: Tx, row: Row, name: str) -> None:
    host = await HOST.get(tx, name=name)
    if host is None:
        raise Invalid(f"Compute host {name} could not be found.")
    if name == row["host"]:
        raise Invalid("Cannot migrate to the host where the server exists.")


async def _begin(
    request: Request, tx: Tx, row: Row, action: str, flavor: Row, host: str | None, changes: dict[str, Any]
) -> None:
    if row["host"] is None:
        raise Conflict(f"Instance {row['id']} is not ready")
    await quota.grow(tx, row["project_id"], row["flavor"], flavor)
    kind = "resize" if action == "resize" else "migration"
    uuid = await migration_row.begin(tx, row, kind, new_flavor=flavor["id"])
    old = {name: row[name] for name in ("host", "flavor", "flavor_id", "disk_version", "disk_image", "power", "boots")}
    move = {"uuid": uuid, "kind": kind, "host": host, "to": None, "old": old, "new": {"flavor": flavor}}
    await intend(request, tx, row, action, changes | {"task_state": Task.RESIZE_PREP, "move": move, "tried": []})
