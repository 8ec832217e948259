"""/backups/{id}/export_record and /backups/import_record: what must be known of a backup to find it again.

A record is the backup's row as JSON in base64, in the real service's words. Whoever keeps it can lose the database and
have the backup again, as long as the store still has its file: `service_metadata` is the file's name there, and a name
of a file of the store is all that it can be. Whether the file is there, and is what the record says, is looked at by
the reconciler: the imported backup is `creating` until then.

An incremental backup is imported after the one that it builds on. Several backups may share a file: whoever imports a
record under another id makes a second backup of the same bytes.

https://docs.openstack.org/api-ref/block-storage/v3/#export-a-backup
"""

import base64
import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.api.types import BadValue, Bool, Custom, Int, MapOf, Obj, Str, Type, Uuid, is_uuid
from hagane.cloud import Cloud
from hagane.state import clock
from hagane.state.database import Row, Tx
from hagane.state.work import wake
from hagane.volume import base, quota
from hagane.volume.backup import bad_backup, find
from hagane.volume.backup_row import BACKUP
from hagane.volume.base import body_of, both, invalid, links, need, sees, target
from hagane.volume.row import zero

SERVICE = "cinder.backup.drivers.hagane.FileBackupDriver"
"""Which service has the bytes; clients only carry it around, Tempest wants to see its beginning."""

_MOST = 1 << 20  # characters of a record


def _url(field: str, value: Any) -> bytes:
    """The bytes that a text in base64 stands for; either alphabet will do."""
    text = Str(_MOST).check(field, value)
    if not text:
        raise BadValue(field, value, "'' should be non-empty")
    try:
        return base64.b64decode(text.strip().replace("-", "+").replace("_", "/"), validate=True)
    except ValueError as error:
        raise BadValue(field, value, f"{value!r} is not a 'base64'") from error


_IMPORT: dict[str, Type] = {
    "backup_service": Str(255),
    "backup_url": Custom(rule=_url, json_schema={"type": "string", "minLength": 1, "maxLength": _MOST}),
}


def _moment(field: str, value: Any) -> str:
    try:
        return clock.kept(str(value))
    except ValueError as error:
        raise BadValue(field, value, f"{value!r} is not a 'date-time'") from error


def _id(field: str, value: Any) -> str:
    return str(UUID(Uuid().check(field, value)))


_ID, _ID_OR_NULL = Custom(rule=_id), Custom(rule=_id, nullable=True)
_TEXT, _MOMENT = Str(255, nullable=True), Custom(rule=_moment, nullable=True)
_WORDS = MapOf(value=Str(65535), nullable=True)
_FACTS = Obj(fields={"metadata": _WORDS, "image_metadata": _WORDS, "bootable": Bool(nullable=True)})
_RECORD = Obj(
    fields={
        "id": _ID, "size": Int(min=1, loose=False), "volume_id": _ID_OR_NULL, "snapshot_id": _ID_OR_NULL,
        "parent_id": _ID_OR_NULL, "display_name": _TEXT, "display_description": _TEXT, "container": _TEXT,
        "object_count": Int(min=0, loose=False, nullable=True), "metadata": _WORDS, "created_at": _MOMENT,
        "data_timestamp": _MOMENT, "driver_info": _FACTS, "service_metadata": Type(nullable=True),
    }, open=True,
)  # fmt: skip
_NEEDED = ("display_name", "display_description", "container", "service_metadata", "object_count")


def encode(row: Row) -> str:
    """A backup's record."""
    same = ("id", "user_id", "project_id", "volume_id", "snapshot_id", "parent_id", "container", "status",
            "fail_reason", "size", "object_count", "data_timestamp", "availability_zone", "created_at",
            "updated_at")  # fmt: skip
    task = row["task"] or {}
    record = {name: row[name] for name in same} | {
        "display_name": row["name"], "display_description": row["description"], "metadata": row["metadata"] or {},
        "service": SERVICE, "service_metadata": row["file"], "host": base.HOST, "num_dependent_backups": 0,
        "temp_volume_id": None, "temp_snapshot_id": None, "restore_volume_id": None, "encryption_key_id": None,
        "deleted": False, "deleted_at": None, "driver_info": {name: task.get(name) for name in _FACTS.fields},
    }  # fmt: skip
    return base64.b64encode(json.dumps(record).encode()).decode()


def decode(text: bytes) -> dict[str, Any]:
    """A record's words, checked. Raises Invalid."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise invalid("Can't parse backup record.") from error
    if not isinstance(record, dict):
        raise invalid("Can't parse backup record.")
    for name, words in (("id", "an id"), ("size", "size attribute")):
        if name not in record:
            raise invalid(f"Provided backup record is missing {words}")
    if missing := sorted(set(_NEEDED) - set(record)):
        raise bad_backup("Driver successfully decoded imported backup data, but there are missing fields"
                         f" ({', '.join(missing)}).")  # fmt: skip
    return dict(_RECORD.check("record", record))


def _file(record: dict[str, Any]) -> str:
    """The name of a file of our store, which is an id and nothing else. Raises Invalid."""
    name = record["service_metadata"]
    if not is_uuid(name) or str(UUID(name)) != name:
        raise bad_backup("The record points outside of this service's store of backups.")
    return str(name)


class BackupRecords:
    """Out and in."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def export(self, request: Request) -> Response:
        row = await find(request, self.db, request.params["id"])
        need(request, "backup:export-import", target(row))
        if row["status"] != "available":
            raise bad_backup(f"Backup status must be available and not {row['status']}.")
        return json_response(200, {"backup-record": {"backup_service": SERVICE, "backup_url": encode(row)}})

    async def take(self, request: Request) -> Response:
        body = (await body_of(request, base.wrapped("backup-record", _IMPORT, tuple(_IMPORT))))["backup-record"]
        need(request, "backup:backup-import")
        if body["backup_service"] != SERVICE:
            raise bad_backup("Import record failed, cannot find backup service to perform the import. Request service"
                             f" {body['backup_service']}.")  # fmt: skip
        record = decode(body["backup_url"])
        file = _file(record)

        async def work(tx: Tx) -> Row:
            await _acceptable(request, tx, record, file)
            project = request.caller.project_id or ""
            await quota.take(tx, project, {"backups": 1, "backup_gigabytes": record["size"]}, "backups")
            row = _row(request, record, file)
            await BACKUP.insert(tx, row)
            await wake(tx, base.BACKUP, row["id"], request_id=request.id)
            return row

        row = await self.db.write(work)
        shown = {"id": row["id"], "name": row["name"], "links": links(request, "backups", row["id"])}
        return json_response(201, {"backup": shown})

    def routes(self) -> Sequence[Route]:
        return [
            *both("GET", "/backups/{id}/export_record", self.export, "backup:export", rule="backup:export-import"),
            *both("POST", "/backups/import_record", self.take, "backup:import", rule="backup:backup-import",
                  status=201, body=base.wrapped("backup-record", _IMPORT, tuple(_IMPORT))),
        ]  # fmt: skip


async def _acceptable(request: Request, tx: Tx, record: dict[str, Any], file: str) -> None:
    """Raises Invalid."""
    if await BACKUP.get(tx, id=record["id"]) is not None:
        raise bad_backup("Backup already exists in database.")
    for other in await BACKUP.select(tx, {"file": file}):
        if not sees(request, other):  # as if it were not there: a record is no way to others' bytes
            raise bad_backup("The record points outside of this service's store of backups.")
        if other["status"] == "deleting":
            raise bad_backup("The backup's file is being deleted.")
    if record.get("parent_id"):
        parent = await BACKUP.get(tx, id=record["parent_id"])
        if parent is None or not sees(request, parent) or parent["status"] in ("error", "deleting"):
            raise bad_backup(f"The backup {record['parent_id']}, on which this one builds, must be imported first.")


def _row(request: Request, record: dict[str, Any], file: str) -> Row:
    moment, facts = clock.now(), record.get("driver_info") or {}
    return zero(
        BACKUP,
        id=record["id"], project_id=request.caller.project_id, user_id=request.caller.user_id, file=file,
        volume_id=record.get("volume_id"), snapshot_id=record.get("snapshot_id"), parent_id=record.get("parent_id"),
        name=record["display_name"], description=record["display_description"], container=record["container"],
        size=record["size"], object_count=record["object_count"] or 0, metadata=record.get("metadata") or {},
        status="creating", availability_zone=base.ZONE, generation=1, created_at=record.get("created_at") or moment,
        data_timestamp=record.get("data_timestamp") or moment,
        task={"import": True} | {name: facts.get(name) for name in _FACTS.fields},
    )  # fmt: skip
