"""os-migrateLive: a Server goes to another Host while it runs. reconcile/server_live.py brings it there.

    ACTIVE, PAUSED ──os-migrateLive──▶ MIGRATING ──▶ as before, on another Host
                                          └─ refused, cancelled, took too long: as before, where it was

The Hosts share no storage: the disks that a Host keeps are copied with the memory ("block migration"). What is said as
`block_migration` is only what the caller believes of that; who is wrong is refused, as by the real service.
"""

from typing import Any

from hagane.api.http import Request, Response, empty
from hagane.api.types import Custom, Obj, Str, Type
from hagane.cloud import Cloud
from hagane.compute import device, migration_row
from hagane.compute.action import Action, intend, refuse_state
from hagane.compute.base import api, need
from hagane.compute.kinds import BOOLEAN
from hagane.compute.row import Task, VmState
from hagane.compute.server import find, refuse_locked
from hagane.compute.steel import refuse_steel
from hagane.errors import Conflict, Invalid
from hagane.placement.host import HOST, is_up
from hagane.state.database import Row, Tx

AUTO = "auto"


def _body(version: tuple[int, int]) -> Type:
    auto = Custom(rule=lambda field, value: value if value == AUTO else BOOLEAN.check(field, value),
                  json_schema={"type": ["boolean", "string"]})  # fmt: skip
    fields: dict[str, Any] = {"host": Str(255, min=1, nullable=True), "block_migration": BOOLEAN}
    if version < (2, 25):
        return Obj(fields=fields | {"disk_over_commit": BOOLEAN},
                   required=("block_migration", "disk_over_commit", "host"))  # fmt: skip
    fields["block_migration"] = auto
    return Obj(fields=fields | ({"force": BOOLEAN} if (2, 30) <= version < (2, 68) else {}),
               required=("block_migration", "host"))  # fmt: skip


def actions(cloud: Cloud) -> dict[str, Action]:
    async def live(request: Request, value: Any) -> Response:
        await cloud.db.write(lambda tx: _begin(request, tx, value))
        return empty(202)

    return {"os-migrateLive": Action(live, "os-migrate-server:migrate_live", body=_body)}


async def _begin(request: Request, tx: Tx, value: dict[str, Any]) -> None:
    row, host = await find(tx, request), value["host"]
    need(request, api("os-migrate-server:migrate_live"), row)
    forced = bool(value.get("force"))
    if forced and not host:
        raise Invalid("Can't force to a non-provided destination")
    if host:
        need(request, api("os-migrate-server:migrate_live:host"), row)
    refuse_locked(request, row)
    refuse_steel(row, "migrated")
    refuse_state(row, "os-migrateLive", [VmState.ACTIVE, VmState.PAUSED])
    if row["host"] is None:
        raise Conflict(f"Instance {row['id']} is not ready")
    if host:
        await _check_host(tx, row, host)
    _check_storage(row, value["block_migration"])
    uuid = await migration_row.begin(tx, row, migration_row.LIVE, new_flavor=row["flavor_id"], status="accepted")
    same = {"flavor": row["flavor"]}
    move = {"uuid": uuid, "kind": migration_row.LIVE, "host": host, "forced": forced, "to": None, "old": same,
            "new": same}  # fmt: skip
    await intend(request, tx, row, "live-migration", {"task_state": Task.MIGRATING, "move": move, "tried": []})


async def _check_host(tx: Tx, row: Row, name: str) -> None:
    host = await HOST.get(tx, name=name)
    if host is None:
        raise Invalid(f"Compute host {name} could not be found.")
    if name == row["host"]:
        raise Invalid(f"Unable to migrate instance ({row['id']}) to current host ({name}).")
    if not is_up(host):
        raise Invalid(f"Compute service of {name} is unavailable at this time.")


def _check_storage(row: Row, block: bool | str) -> None:
    """Raises Invalid for a caller who is wrong about what is to be copied."""
    if block == AUTO:
        return
    local = device.root(row) is None or bool(device.ephemerals(row)) or bool(device.swap(row))
    if local and not block:
        raise Invalid(f"{row['host']} is not on shared storage: Shared storage live-migration requires either shared "
                      "storage or boot-from-volume with no local disks.")  # fmt: skip
    if block and not local:
        raise Invalid(f"{row['host']} is not on local storage: Block migration can not be used with shared storage.")
