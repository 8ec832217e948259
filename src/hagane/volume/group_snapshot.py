"""/group_snapshots (3.14): all volumes of a group as they were at one moment, a snapshot of each.

Request: a row for the whole and one for each volume, in one transaction. The reconciler then has them all taken at once
(reconcile/volume_group.py): exactly of one moment where nobody writes to the volumes, and as near as backends and
machines follow each other where somebody does. A group type that insists (`consistent_group_snapshot_enabled`) gets
the former or an error.
"""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import Type
from hagane.cloud import Cloud
from hagane.errors import Invalid
from hagane.state import clock
from hagane.state.database import Row, Tx
from hagane.state.work import wake
from hagane.volume import base, end, query, snapshot
from hagane.volume.base import at, bad_volume, body_of, both, need, target
from hagane.volume.group_end import STATUSES, status_type
from hagane.volume.group_row import GROUP, GROUP_SNAPSHOT, bad_group, find, find_snapshot, insists
from hagane.volume.kinds import ID, TEXT_OR_NULL
from hagane.volume.row import SNAPSHOT, VOLUME, zero
from hagane.volume.verb import Answer, Verb, act

SINCE = "3.14"
_CREATE: dict[str, Type] = {"group_id": ID, "name": TEXT_OR_NULL, "description": TEXT_OR_NULL}
_SAME = {name: name for name in ("id", "name", "status", "group_id", "created_at", "updated_at", "project_id",
                                 "user_id")}  # fmt: skip
FILTERS = query.Filters(
    "group_snapshot", GROUP_SNAPSHOT,
    columns=_SAME | {"description": "description", "group_type_id": "type_id"},
    usual=("name", "status", "group_id"), like=("name", "status"), sorts=_SAME, noun="GroupSnapshot",
)  # fmt: skip
_SENTENCE = f"Group snapshot status: {{}} is invalid, valid statuses are: {STATUSES}."


def summary(row: Row) -> dict[str, Any]:
    return {"id": row["id"], "name": row["name"]}


def view(request: Request, row: Row) -> dict[str, Any]:
    found = {name: row[name] for name in ("id", "group_id", "status", "created_at", "name", "description")}
    found["group_type_id"] = row["type_id"]
    if at(request, 58) and request.allowed("group:group_snapshot_project_attribute", target(row)):
        found["project_id"] = row["project_id"]
    return found


class GroupSnapshots:
    """/group_snapshots."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db
        self._verbs = {"reset_status": Verb(status_type("GroupSnapshot", _SENTENCE), self.reset, since=19)}

    async def index(self, request: Request) -> Response:
        return await self._list(request, detail=False)

    async def detail(self, request: Request) -> Response:
        return await self._list(request, detail=True)

    async def _list(self, request: Request, *, detail: bool) -> Response:
        need(request, "group:get_all_group_snapshots")
        found = await query.listed(request, self.db, FILTERS)
        views = [view(request, row) if detail else summary(row) for row in found.rows]
        return query.answer(request, found, "group_snapshots", views, links="group_snapshot_links")

    async def show(self, request: Request) -> Response:
        return json_response(200, {
            "group_snapshot": view(request, await find_snapshot(request, self.db, request.params["id"]))
        })  # fmt: skip

    async def create(self, request: Request) -> Response:
        body = (await body_of(request, base.wrapped("group_snapshot", _CREATE, ("group_id",))))["group_snapshot"]

        async def work(tx: Tx) -> Row:
            group = await find(request, tx, body["group_id"])
            need(request, "group:create_group_snapshot", target(group))
            if group["status"] != "available":
                raise bad_group(f"Group status must be available, but current status is: {group['status']}")
            volumes = await VOLUME.select(tx, {"group_id": group["id"]}, order="created_at, id")
            await _consistent(tx, group, volumes)
            return await _make(request, tx, group, volumes, body)

        row = await self.db.write(work)
        return json_response(202, {"group_snapshot": summary(row) | {"group_type_id": row["type_id"]}})

    async def delete(self, request: Request) -> Response:
        async def work(tx: Tx) -> None:
            row = await find_snapshot(request, tx, request.params["id"])
            need(request, "group:delete_group_snapshot", target(row))
            busy = await GROUP.get(tx, group_snapshot_id=row["id"], status="creating")
            if row["status"] not in ("available", "error") or busy is not None:
                text = ("Invalid GroupSnapshot: GroupSnapshot status must be available or error, and no Group can be"
                        " currently using it as source for its creation.")  # fmt: skip
                raise Invalid(text, code="InvalidGroupSnapshot")
            for part in await SNAPSHOT.select(tx, {"group_snapshot_id": row["id"]}):
                await end.begin_snapshot(tx, part, request_id=request.id)
            changes = {"status": "deleting", "updated_at": clock.now()}
            await GROUP_SNAPSHOT.update(tx, {"id": row["id"]}, changes)
            await wake(tx, base.GROUP_SNAPSHOT, row["id"], request_id=request.id)

        await self.db.write(work)
        return empty(202)

    async def action(self, request: Request) -> Response:
        return await act(request, self._verbs)

    async def reset(self, request: Request, body: dict[str, str]) -> Answer:
        async def work(tx: Tx) -> None:
            row = await find_snapshot(request, tx, request.params["id"])
            need(request, "group:reset_group_snapshot_status", target(row))
            changes: Row = body | {"updated_at": clock.now(), "fault": None}
            await GROUP_SNAPSHOT.update(tx, {"id": row["id"]}, changes)

        await self.db.write(work)
        return None

    def routes(self) -> Sequence[Route]:
        many, one, since = "/group_snapshots", "/group_snapshots/{id}", {"since": SINCE}
        rule = "group:get_all_group_snapshots"
        return [
            *both("GET", many, self.index, "group_snapshot:list", rule=rule, **since),
            *both("GET", many + "/detail", self.detail, "group_snapshot:detail", rule=rule, **since),
            *both("POST", many, self.create, "group_snapshot:create", rule="group:create_group_snapshot", status=202,
                  body=base.wrapped("group_snapshot", _CREATE, ("group_id",)), **since),
            *both("GET", one, self.show, "group_snapshot:show", rule="group:get_group_snapshot", **since),
            *both("DELETE", one, self.delete, "group_snapshot:delete", rule="group:delete_group_snapshot", status=202,
                  **since),
            *both("POST", one + "/action", self.action, "group_snapshot:action",
                  rule="group:reset_group_snapshot_status", status=202, **since),
        ]  # fmt: skip


async def _consistent(tx: Tx, group: Row, volumes: list[Row]) -> None:
    """Nobody may write to the volumes of a group whose type insists on one moment. Raises Invalid."""
    if not await insists(tx, group["type_id"]):
        return
    if busy := [volume["id"] for volume in volumes if volume["status"] != "available"]:
        raise bad_volume(f"The group's type asks for snapshots of exactly one moment, and volume {busy[0]} is not"
                         " available: detach it first.")  # fmt: skip


async def _make(request: Request, tx: Tx, group: Row, volumes: list[Row], body: dict[str, Any]) -> Row:
    row = zero(
        GROUP_SNAPSHOT, id=str(uuid4()), project_id=request.caller.project_id or group["project_id"],
        user_id=request.caller.user_id, group_id=group["id"], type_id=group["type_id"], name=body.get("name"),
        description=body.get("description"), status="creating", created_at=clock.now(),
    )  # fmt: skip
    await GROUP_SNAPSHOT.insert(tx, row)
    words = {"name": row["name"], "description": row["description"], "metadata": {}, "group_snapshot_id": row["id"]}
    for volume in volumes:
        await snapshot.make(tx, request, volume, words, in_use=True)
    await wake(tx, base.GROUP_SNAPSHOT, row["id"], request_id=request.id)
    return row
