"""/backups: make, show, change, restore, delete. One may hold only what differs from an earlier one."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import Custom, Obj, Type, Uuid
from hagane.cloud import Cloud
from hagane.errors import Invalid
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.work import wake
from hagane.volume import base, query, quota
from hagane.volume.backup_row import BACKUP
from hagane.volume.base import at, bad_volume, body_of, both, links, missing, need, sees, target
from hagane.volume.kinds import ANY, BOOLEAN, ID_OR_NULL, PAIRS, PAIRS_OR_NULL, WORD
from hagane.volume.row import SNAPSHOT, VOLUME, zero
from hagane.volume.verb import Answer, Verb, act
from hagane.volume.volume import find as find_volume
from hagane.volume.volume_create import Order, create

_ADMIN = "volume_extension:backup_admin_actions:"
_CREATE: dict[str, Type] = {
    "volume_id": Uuid(), "container": WORD, "description": WORD, "incremental": BOOLEAN, "force": BOOLEAN,
    "name": WORD, "snapshot_id": ID_OR_NULL,
}  # fmt: skip
_SINCE: tuple[tuple[int, dict[str, Type]], ...] = ((43, {"metadata": PAIRS_OR_NULL}), (51, {"availability_zone": WORD}))
_CHANGE: dict[str, Type] = {"name": WORD, "description": WORD}
_RESTORE: dict[str, Type] = {"name": WORD, "volume_id": ID_OR_NULL}
_SAME = {name: name for name in ("id", "status", "created_at", "updated_at", "volume_id", "size", "project_id")}
FILTERS = query.Filters(
    "backup", BACKUP,
    columns=_SAME | {"name": "name", "description": "description", "parent_id": "parent_id",
                     "snapshot_id": "snapshot_id"},
    usual=("name", "status", "volume_id"),
    sorts=_SAME | {"name": "name", "display_name": "name"}, noun="Backup",
)  # fmt: skip


def bad_backup(reason: str) -> Invalid:
    return Invalid(f"Invalid backup: {reason}", code="InvalidBackup")


def _status(field: str, value: Any) -> str:
    if not isinstance(value, str) or value.lower() not in ("available", "error"):
        text = f"Backup status: {value} is invalid, valid statuses are: ['available', 'error']."
        raise Invalid(text, code="InvalidParameterValue")
    return value.lower()


async def find(request: Request, reader: Reader, key: str) -> Row:
    """A backup that the caller may know of. Raises NotFound, Forbidden."""
    row = await BACKUP.get(reader, id=key)
    if row is None or not sees(request, row):
        raise missing("Backup", key)
    need(request, "backup:get", target(row))
    return row


class Backups:
    """/backups."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.db = cloud, cloud.db
        status = Obj(fields={"status": Custom(rule=_status, json_schema={"type": "string"})}, required=("status",))
        self._verbs = {"os-reset_status": Verb(status, self.reset), "os-force_delete": Verb(ANY, self.force_delete)}

    def _summary(self, request: Request, row: Row) -> dict[str, Any]:
        return {"id": row["id"], "name": row["name"], "links": links(request, "backups", row["id"])}

    def _view(self, request: Request, row: Row, parents: set[str]) -> dict[str, Any]:
        found = {name: row[name] for name in (
            "id", "status", "size", "object_count", "availability_zone", "container", "created_at", "updated_at",
            "name", "description", "fail_reason", "volume_id", "snapshot_id", "data_timestamp",
        )}  # fmt: skip
        found |= {"is_incremental": row["parent_id"] is not None, "has_dependent_backups": row["id"] in parents}
        found["links"] = links(request, "backups", row["id"])
        if at(request, 43):
            found["metadata"] = row["metadata"] or {}
        if at(request, 18) and request.allowed("backup:backup_project_attribute", target(row)):
            found["os-backup-project-attr:project_id"] = row["project_id"]
            if at(request, 56):
                found["user_id"] = row["user_id"]
        return found

    async def index(self, request: Request) -> Response:
        return await self._list(request, detail=False)

    async def detail(self, request: Request) -> Response:
        return await self._list(request, detail=True)

    async def _list(self, request: Request, *, detail: bool) -> Response:
        need(request, "backup:get_all")
        found = await query.listed(request, self.db, FILTERS)
        if detail:
            parents = await _parents(self.db, [row["id"] for row in found.rows])
            views = [self._view(request, row, parents) for row in found.rows]
        else:
            views = [self._summary(request, row) for row in found.rows]
        return query.answer(request, found, "backups", views, detail=detail)

    async def show(self, request: Request) -> Response:
        row = await find(request, self.db, request.params["id"])
        parents = await _parents(self.db, [row["id"]])
        return json_response(200, {"backup": self._view(request, row, parents)})

    async def create(self, request: Request) -> Response:
        fields = _CREATE | {name: kind for minor, more in _SINCE if at(request, minor) for name, kind in more.items()}
        body = (await body_of(request, base.wrapped("backup", fields, ("volume_id",))))["backup"]

        async def work(tx: Tx) -> Row:
            volume = await find_volume(request, tx, body["volume_id"])
            need(request, "backup:create", target(volume))
            snapshot = await self._snapshot(request, tx, volume, body.get("snapshot_id"))
            if snapshot is None:
                _may_save(volume, force=bool(body.get("force")))
            parent = await _latest(tx, request, volume, snapshot) if body.get("incremental") else None
            return await self._make(request, tx, volume, snapshot, body | {"parent_id": parent})

        return json_response(202, {"backup": self._summary(request, await self.db.write(work))})

    async def _snapshot(self, request: Request, tx: Tx, volume: Row, key: str | None) -> Row | None:
        if not key:
            return None
        row = await SNAPSHOT.get(tx, id=key)
        if row is None or not sees(request, row):
            raise missing("Snapshot", key)
        if row["volume_id"] != volume["id"]:
            raise bad_volume(f"Volume {volume['id']} does not match with snapshot.volume_id {row['volume_id']}.")
        if row["status"] != "available":
            text = f'Snapshot to be backed up must be available, but the current status is "{row["status"]}".'
            raise Invalid(f"Invalid snapshot: {text}", code="InvalidSnapshot")
        return row

    async def _make(self, request: Request, tx: Tx, volume: Row, snapshot: Row | None, body: dict[str, Any]) -> Row:
        project, moment = request.caller.project_id or volume["project_id"], clock.now()
        await quota.take(tx, project, {"backups": 1, "backup_gigabytes": volume["size"]}, "backups")
        key = str(uuid4())
        row = zero(
            BACKUP,
            id=key, file=key, project_id=project, user_id=request.caller.user_id, volume_id=volume["id"],
            snapshot_id=snapshot["id"] if snapshot else None, name=body.get("name"), status="creating",
            description=body.get("description"), container=body.get("container"), size=volume["size"],
            object_count=0, metadata=body.get("metadata") or {}, generation=1, parent_id=body["parent_id"],
            task={"metadata": volume["metadata"], "image_metadata": volume["image_metadata"],
                  "bootable": volume["bootable"]},
            data_timestamp=snapshot["created_at"] if snapshot else moment, created_at=moment,
            availability_zone=body.get("availability_zone") or base.ZONE,
        )  # fmt: skip
        await BACKUP.insert(tx, row)
        if snapshot is None:
            changes = {"status": "backing-up", "previous_status": volume["status"], "updated_at": moment}
            await VOLUME.update(tx, {"id": volume["id"]}, changes)
        await wake(tx, base.BACKUP, row["id"], request_id=request.id)
        return row

    async def update(self, request: Request) -> Response:
        fields = _CHANGE | ({"metadata": PAIRS} if at(request, 43) else {})
        body = (await body_of(request, base.wrapped("backup", fields)))["backup"]
        if not body:
            raise Invalid("Missing required element 'backup' in request body.", code="Empty")

        async def work(tx: Tx) -> Row:
            row = await find(request, tx, request.params["id"])
            need(request, "backup:update", target(row))
            await BACKUP.update(tx, {"id": row["id"]}, body | {"updated_at": clock.now()})
            changed: Row = row | body
            return changed

        return json_response(200, {"backup": self._summary(request, await self.db.write(work))})

    async def delete(self, request: Request) -> Response:
        async def work(tx: Tx) -> None:
            row = await find(request, tx, request.params["id"])
            need(request, "backup:delete", target(row))
            if row["status"] not in ("available", "error"):
                raise bad_backup("Backup status must be available or error")
            await self._end(request, tx, row)

        await self.db.write(work)
        return empty(202)

    async def _end(self, request: Request, tx: Tx, row: Row) -> None:
        if await BACKUP.get(tx, parent_id=row["id"]) is not None:
            raise bad_backup("Incremental backups exist for this backup.")
        await BACKUP.update(tx, {"id": row["id"]}, {"status": "deleting", "updated_at": clock.now()})
        await wake(tx, base.BACKUP, row["id"], request_id=request.id)

    async def restore(self, request: Request) -> Response:
        body = (await body_of(request, base.wrapped("restore", _RESTORE)))["restore"]

        async def work(tx: Tx) -> Row:
            row = await find(request, tx, request.params["id"])
            need(request, "backup:restore", target(row))
            if row["status"] != "available":
                raise bad_backup("Backup status must be available")
            volume = await self._into(request, tx, row, body)
            task = (row["task"] or {}) | {"volume_id": volume["id"]}
            changes = {"status": "restoring", "task": task, "updated_at": clock.now()}
            await BACKUP.update(tx, {"id": row["id"]}, changes)
            await wake(tx, base.BACKUP, row["id"], request_id=request.id)
            return {"backup_id": row["id"], "volume_id": volume["id"], "volume_name": volume["name"]}

        return json_response(202, {"restore": await self.db.write(work)})

    async def _into(self, request: Request, tx: Tx, row: Row, body: dict[str, Any]) -> Row:
        """The volume that the bytes go into: the one named, or a new one."""
        if body.get("volume_id") is None:
            name = body.get("name") or f"restore_backup_{row['id']}"
            text = "auto-created_from_restore_from_backup"
            order = Order(size=row["size"], name=name, description=text, backup_id=row["id"])
            return await create(request, self.cloud, tx, order)
        volume = await find_volume(request, tx, body["volume_id"])
        if volume["status"] != "available":
            raise bad_volume("Volume to be restored to must be available")
        if row["size"] > volume["size"]:
            raise bad_volume(f"volume size {volume['size']} is too small to restore backup of size {row['size']}.")
        changes = {"status": "restoring-backup", "previous_status": "available", "updated_at": clock.now()}
        await VOLUME.update(tx, {"id": volume["id"]}, changes)
        return volume

    # -- actions -----------------------------------------------------------------------------------------------------

    async def action(self, request: Request) -> Response:
        return await act(request, self._verbs)

    async def reset(self, request: Request, body: dict[str, Any]) -> Answer:
        async def work(tx: Tx) -> None:
            row = await find(request, tx, request.params["id"])
            need(request, _ADMIN + "reset_status", target(row))
            await BACKUP.update(tx, {"id": row["id"]}, body | {"updated_at": clock.now()})

        await self.db.write(work)
        return None

    async def force_delete(self, request: Request, body: Any) -> Answer:
        async def work(tx: Tx) -> None:
            row = await find(request, tx, request.params["id"])
            need(request, _ADMIN + "force_delete", target(row))
            await self._end(request, tx, row)

        await self.db.write(work)
        return None

    def routes(self) -> Sequence[Route]:
        one = "/backups/{id}"
        return [
            *both("GET", "/backups", self.index, "backup:list", rule="backup:get_all"),
            *both("GET", "/backups/detail", self.detail, "backup:detail", rule="backup:get_all"),
            *both("POST", "/backups", self.create, "backup:create", rule="backup:create", status=202,
                  body=base.wrapped("backup", _CREATE, ("volume_id",))),
            *both("GET", one, self.show, "backup:show", rule="backup:get"),
            *both("PUT", one, self.update, "backup:update", rule="backup:update", since="3.9",
                  body=base.wrapped("backup", _CHANGE)),
            *both("DELETE", one, self.delete, "backup:delete", rule="backup:delete", status=202),
            *both("POST", one + "/restore", self.restore, "backup:restore", rule="backup:restore", status=202,
                  body=base.wrapped("restore", _RESTORE)),
            *both("POST", one + "/action", self.action, "backup:action", rule=_ADMIN + "reset_status", status=202),
        ]  # fmt: skip


def _may_save(volume: Row, *, force: bool) -> None:
    """Raises Invalid."""
    if volume["status"] not in ("available", "in-use"):
        raise bad_volume("Volume to be backed up must be available or in-use, but the current status is"
                         f" \"{volume['status']}\".")  # fmt: skip
    if volume["status"] == "in-use" and not force:
        raise bad_volume("Backing up an in-use volume must use the force flag.")


async def _parents(reader: Reader, ids: list[str]) -> set[str]:
    """Which of these have others that build on them."""
    rows = await BACKUP.select(reader, {"parent_id": ids}, columns=("parent_id",)) if ids else []
    return {row["parent_id"] for row in rows}


async def _latest(tx: Tx, request: Request, volume: Row, snapshot: Row | None) -> str:
    """The backup that a new one may build on. Raises Invalid."""
    where = {"volume_id": volume["id"], "project_id": request.caller.project_id, "status": "available"}
    for row in await BACKUP.select(tx, where, order="data_timestamp DESC"):
        if snapshot is None or row["data_timestamp"] < snapshot["created_at"]:
            return str(row["id"])
    raise bad_backup("No backups available to do an incremental backup.")
