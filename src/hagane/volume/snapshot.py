"""/snapshots: a volume as it was at one moment; from it new volumes are made, or the same one reverted."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import Type
from hagane.cloud import Cloud
from hagane.errors import Invalid
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.work import wake
from hagane.volume import base, end, query, quota
from hagane.volume.base import at, bad_volume, body_of, both, missing, need, sees, target
from hagane.volume.kinds import BOOLEAN, ID_OR_NULL, PAIRS_OR_NULL, WORD
from hagane.volume.row import SNAPSHOT, USER, VOLUME, store_items, zero
from hagane.volume.type_row import names_of

_CREATE: dict[str, Type] = {
    "name": WORD, "display_name": WORD, "description": WORD, "volume_id": ID_OR_NULL, "force": BOOLEAN,
    "metadata": PAIRS_OR_NULL,
}  # fmt: skip
_CHANGE: dict[str, Type] = {"name": WORD, "description": WORD, "display_name": WORD, "display_description": WORD}
_SAME = {name: name for name in (
    "id", "name", "status", "volume_id", "created_at", "updated_at", "user_id", "project_id", "progress",
)}  # fmt: skip
FILTERS = query.Filters(
    "snapshot", SNAPSHOT,
    columns=_SAME | {"description": "description", "size": "size", "volume_size": "size", "display_name": "name",
                     "volume_type_id": "type_id", "group_snapshot_id": "group_snapshot_id"},
    usual=("name", "status", "volume_id", "metadata", "availability_zone", "consumes_quota"),
    since={"metadata": 22, "consumes_quota": 65},
    items={"metadata": USER},
    sorts=_SAME | {"display_name": "name", "volume_size": "size"}, noun="Snapshot",
)  # fmt: skip
QUERY = ("name", "status", "volume_id", "metadata", "limit", "marker", "offset", "sort", "sort_key", "sort_dir",
         "all_tenants", "with_count")  # fmt: skip
_FORCE = ("Since microversion 3.66 the 'force' flag is invalid for this request.  For backward compatability, however,"
          " when the 'force' flag is passed with a value evaluating to True, it is silently ignored.")  # fmt: skip


async def find(request: Request, reader: Reader, key: str) -> Row:
    """A snapshot that the caller may know of. Raises NotFound, Forbidden."""
    row = await SNAPSHOT.get(reader, id=key)
    if row is None or not sees(request, row):
        raise missing("Snapshot", key)
    need(request, "volume:get_snapshot", target(row))
    return row


def view(request: Request, row: Row, *, detail: bool = True, shown: bool = False) -> dict[str, Any]:
    """`shown`: with what extensions add to a shown snapshot, but not to one just made or changed."""
    found = {name: row[name] for name in ("id", "created_at", "updated_at", "name", "description", "volume_id",
                                          "status", "size")}  # fmt: skip
    found["metadata"] = row["metadata"] or {}
    if detail:
        if at(request, 14):
            found["group_snapshot_id"] = row["group_snapshot_id"]
        if at(request, 41):
            found["user_id"] = row["user_id"]
        if at(request, 65):
            found["consumes_quota"] = True
    if shown and request.allowed("volume_extension:extended_snapshot_attributes", target(row)):
        found["os-extended-snapshot-attributes:progress"] = row["progress"]
        found["os-extended-snapshot-attributes:project_id"] = row["project_id"]
    return found


class Snapshots:
    """/snapshots."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def index(self, request: Request) -> Response:
        return await self._list(request, detail=False)

    async def detail(self, request: Request) -> Response:
        return await self._list(request, detail=True)

    async def _list(self, request: Request, *, detail: bool) -> Response:
        need(request, "volume:get_all_snapshots")
        found = await query.listed(request, self.db, FILTERS)
        views = [view(request, row, detail=detail, shown=detail) for row in found.rows]
        return query.answer(request, found, "snapshots", views, detail=detail)

    async def show(self, request: Request) -> Response:
        row = await find(request, self.db, request.params["id"])
        return json_response(200, {"snapshot": view(request, row, shown=True)})

    async def create(self, request: Request) -> Response:
        body = (await body_of(request, base.wrapped("snapshot", _CREATE, ("volume_id",))))["snapshot"]
        force = body.get("force")
        if force is False and at(request, 66):
            raise Invalid(_FORCE, code="ForceFlag")

        async def work(tx: Tx) -> Row:
            volume = await VOLUME.get(tx, id=body["volume_id"] or "")
            if volume is None or not sees(request, volume) or not request.allowed("volume:get", target(volume)):
                raise missing("Volume", str(body["volume_id"]))
            need(request, "volume:create_snapshot", target(volume))
            in_use = bool(force) or at(request, 66)
            name = (body.get("name") or body.get("display_name") or "").strip() or body.get("name")
            words = {"name": name, "description": body.get("description"), "metadata": body.get("metadata") or {}}
            return await make(tx, request, volume, words, in_use=in_use)

        return json_response(202, {"snapshot": view(request, await self.db.write(work))})

    async def update(self, request: Request) -> Response:
        body = (await body_of(request, base.wrapped("snapshot", _CHANGE)))["snapshot"]
        if not body:
            raise Invalid(
                base.wording("snapshot", body, "{} is not valid under any of the given schemas"), code="Empty"
            )

        async def work(tx: Tx) -> Row:
            row = await find(request, tx, request.params["id"])
            need(request, "volume:update_snapshot", target(row))
            changes: Row = {"updated_at": clock.now()}
            for label, value in body.items():
                changes[label.removeprefix("display_")] = value.strip() if isinstance(value, str) else value
            await SNAPSHOT.update(tx, {"id": row["id"]}, changes)
            return row | changes

        return json_response(200, {"snapshot": view(request, await self.db.write(work))})

    async def delete(self, request: Request) -> Response:
        async def work(tx: Tx) -> None:
            row = await find(request, tx, request.params["id"])
            need(request, "volume:delete_snapshot", target(row))
            await end.delete_snapshot(tx, row, request_id=request.id)

        await self.db.write(work)
        return empty(202)

    def routes(self) -> Sequence[Route]:
        body = base.wrapped("snapshot", _CREATE, ("volume_id",))
        get = {"rule": "volume:get_all_snapshots", "query": QUERY}
        return [
            *both("GET", "/snapshots", self.index, "snapshot:list", **get),
            *both("GET", "/snapshots/detail", self.detail, "snapshot:detail", **get),
            *both("POST", "/snapshots", self.create, "snapshot:create", rule="volume:create_snapshot", status=202,
                  body=body),
            *both("GET", "/snapshots/{id}", self.show, "snapshot:show", rule="volume:get_snapshot"),
            *both("PUT", "/snapshots/{id}", self.update, "snapshot:update", rule="volume:update_snapshot",
                  body=base.wrapped("snapshot", _CHANGE)),
            *both("DELETE", "/snapshots/{id}", self.delete, "snapshot:delete", rule="volume:delete_snapshot",
                  status=202),
        ]  # fmt: skip


async def make(tx: Tx, request: Request, volume: Row, words: Row, *, in_use: bool) -> Row:
    """Ask for a snapshot of a volume; `words`: name, description, metadata, and the group snapshot that it is part of,
    which then has it taken. Raises Invalid, TooLarge."""
    if volume["status"] == "error":
        raise bad_volume("The snapshot cannot be created when the volume is in error status.")
    if not volume["host"]:
        text = "The snapshot cannot be created because volume has not been scheduled to any host."
        raise bad_volume(text)
    allowed = ("available", "in-use") if in_use else ("available",)
    if volume["status"] not in allowed:
        raise bad_volume(f"Volume {volume['id']} status must be {', '.join(allowed)}, but current status is:"
                         f" {volume['status']}.")  # fmt: skip
    name = (await names_of(tx, [volume["type_id"]])).get(volume["type_id"], "")
    project = request.caller.project_id or volume["project_id"]
    await quota.take(tx, project, quota.with_type({"snapshots": 1, "gigabytes": volume["size"]}, name), "snapshots")
    row = zero(
        SNAPSHOT,
        id=str(uuid4()), project_id=project, user_id=request.caller.user_id, volume_id=volume["id"],
        size=volume["size"], status="creating", progress="0%", type_id=volume["type_id"],
        image_metadata=volume["image_metadata"], generation=1, created_at=clock.now(), **words,
    )  # fmt: skip
    await SNAPSHOT.insert(tx, row)
    await store_items(tx, row["id"], USER, {}, row["metadata"])
    if not row["group_snapshot_id"]:
        await wake(tx, base.SNAPSHOT, row["id"], request_id=request.id)
    return row
