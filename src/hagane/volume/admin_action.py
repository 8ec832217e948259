"""What an administrator does to a volume or a snapshot that is stuck: reset its status, force its end, force a detach.

Also the verbs of migration and of giving a thing out of our hands, which are there to say that there is nowhere to go.
"""

from collections.abc import Mapping
from typing import Any

from hagane.api.http import Request
from hagane.api.types import BadValue, Custom, Enum, Obj, Str, Type
from hagane.cloud import Cloud
from hagane.errors import Invalid
from hagane.state import clock
from hagane.state.database import Row, Tx
from hagane.volume import attach, end, snapshot, volume
from hagane.volume.base import bad_volume, is_admin, need, target
from hagane.volume.kinds import ANY, BOOLEAN
from hagane.volume.row import ATTACHMENT, SNAPSHOT, VOLUME
from hagane.volume.task import give_back
from hagane.volume.verb import Answer, Verb
from hagane.volume.volume_connect import detach_any, refuse_servers, unreserve

_RULE = "volume_extension:volume_admin_actions:"
_SNAPSHOT_RULE = "volume_extension:snapshot_admin_actions:"
STATUSES = ("creating", "available", "deleting", "error", "error_deleting", "error_managing", "managing", "attaching",
            "in-use", "detaching", "maintenance", "restoring-backup", "error_restoring", "reserved",
            "awaiting-transfer", "backing-up", "error_backing-up", "error_extending", "downloading", "uploading",
            "retyping", "extending")  # fmt: skip
SNAPSHOT_STATUSES = ("error", "available", "creating", "deleting", "deleted", "updating", "error_deleting",
                     "unmanaging", "backing-up", "restoring")  # fmt: skip
ATTACH_STATUSES = ("attached", "detached")
MIGRATION_STATUSES = ("migrating", "error", "success", "completing", "none", "starting")


def _word(noun: str, known: tuple[str, ...]) -> Any:
    def rule(field: str, value: Any) -> str:
        if not isinstance(value, str):
            raise BadValue(field, value, f"{value!r} is not of type 'string', 'null'")
        if value.lower() not in known:
            shown = list(known) if noun == "Volume attach status" else known
            raise Invalid(f"{noun}: {value} is invalid, valid statuses are: {shown}.", code="InvalidParameterValue")
        return value.lower()

    return Custom(rule=rule, json_schema={"type": "string"}, nullable=True)


_KEPT = "The storage backends of this cloud keep nothing that the cloud does not manage."
_RESET: dict[str, Type] = {
    "status": _word("Volume status", STATUSES), "attach_status": _word("Volume attach status", ATTACH_STATUSES),
    "migration_status": _word("Volume migration status", MIGRATION_STATUSES),
}  # fmt: skip


class AdminActions:
    """Verbs of volumes."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.db = cloud, cloud.db

    async def reset(self, request: Request, body: dict[str, Any]) -> Answer:
        changes: Row = {name: value for name, value in body.items() if value}
        if not changes:
            text = "Must specify 'status', 'attach_status' or 'migration_status' for update."
            raise Invalid(text, code="InvalidParameterValue")
        if changes.get("migration_status") == "none":
            changes["migration_status"] = None

        async def work(tx: Tx) -> None:
            row = await volume.find(request, tx, request.params["id"])
            need(request, _RULE + "reset_status", target(row))
            if changes.get("status") in ("deleting", "error_deleting", "detaching"):
                raise Invalid(f"Cannot reset-state to {changes['status']}", code="InvalidStatus")
            if changes.get("status") == "in-use" and not await attach.attachments(tx, row["id"]):
                text = "Cannot reset-state to in-use because volume does not have any attachments."
                raise Invalid(text, code="InvalidStatus")
            more: Row = {"updated_at": clock.now(), "generation": row["generation"] + 1}
            if changes.get("attach_status") == "detached":
                await ATTACHMENT.delete(tx, {"volume_id": row["id"]})
                hidden = row["admin_metadata"] or {}
                more["admin_metadata"] = {name: text for name, text in hidden.items() if name != "attached_mode"}
            if "status" in changes:
                await give_back(tx, row)
                more |= {"previous_status": None, "task": {}, "fault": None}
            await VOLUME.update(tx, {"id": row["id"]}, changes | more)

        await self.db.write(work)
        return None

    async def force_delete(self, request: Request, body: Any) -> Answer:
        async def work(tx: Tx) -> None:
            row = await volume.find(request, tx, request.params["id"])
            need(request, _RULE + "force_delete", target(row))
            need(request, "volume:delete", target(row))
            await end.delete(tx, row, force=True, admin=is_admin(request), request_id=request.id)

        await self.db.write(work)
        return None

    async def force_detach(self, request: Request, body: dict[str, Any]) -> Answer:
        row = await volume.find(request, self.db, request.params["id"])
        need(request, _RULE + "force_detach", target(row))
        await refuse_servers(self.db, row["id"], body.get("attachment_id"))
        connector = body.get("connector")
        if isinstance(connector, dict):
            await self.cloud.use(attach.Connections).disconnect(row, connector)

        async def work(tx: Tx) -> None:
            current = await volume.find(request, tx, row["id"])
            await unreserve(tx, current)
            await detach_any(tx, current, body.get("attachment_id"))

        await self.db.write(work)
        return None

    async def migrate(self, request: Request, body: dict[str, Any]) -> Answer:
        row = await volume.find(request, self.db, request.params["id"])
        need(request, _RULE + "migrate_volume", target(row))
        host = body.get("host") or body.get("cluster")
        raise Invalid(f"Invalid host: No available service named '{host}'", code="InvalidHost")

    async def complete_migration(self, request: Request, body: dict[str, Any]) -> Answer:
        row = await volume.find(request, self.db, request.params["id"])
        need(request, _RULE + "migrate_volume_completion", target(row))
        await volume.find(request, self.db, body["new_volume"])
        raise bad_volume("Source volume not mid-migration.")

    async def unmanage(self, request: Request, body: Any) -> Answer:
        row = await volume.find(request, self.db, request.params["id"])
        need(request, "volume_extension:volume_unmanage", target(row))
        raise bad_volume(_KEPT)

    async def complete_extend(self, request: Request, body: dict[str, Any]) -> Answer:
        row = await volume.find(request, self.db, request.params["id"])
        need(request, _RULE + "extend_volume_completion", target(row))
        if row["status"] != "extending":
            raise bad_volume("Volume is not being extended.")
        raise bad_volume("Required volume admin metadata is malformed or missing.")

    def verbs(self) -> Mapping[str, Verb]:
        place: dict[str, Type] = {"host": Str(255, nullable=True), "force_host_copy": BOOLEAN, "lock_volume": BOOLEAN,
                                  "cluster": Str(255, nullable=True)}  # fmt: skip
        done = {"new_volume": Str(), "error": ANY}
        detach = {"connector": Type(nullable=True), "attachment_id": Str(None, nullable=True)}
        return {
            "os-reset_status": Verb(Obj(fields=_RESET), self.reset),
            "os-force_delete": Verb(ANY, self.force_delete),
            "os-force_detach": Verb(Obj(fields=detach), self.force_detach),
            "os-migrate_volume": Verb(Obj(fields=place), self.migrate),
            "os-migrate_volume_completion": Verb(
                Obj(fields=done, required=("new_volume",)), self.complete_migration, status=200
            ),
            "os-unmanage": Verb(ANY, self.unmanage),
            "os-extend_volume_completion": Verb(Obj(fields={"error": ANY}), self.complete_extend, since=71),
        }


class SnapshotActions:
    """Verbs of snapshots."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def reset(self, request: Request, body: dict[str, Any]) -> Answer:
        async def work(tx: Tx) -> None:
            row = await snapshot.find(request, tx, request.params["id"])
            need(request, _SNAPSHOT_RULE + "reset_status", target(row))
            changes = {"status": body["status"], "updated_at": clock.now(), "fault": None}
            await SNAPSHOT.update(tx, {"id": row["id"]}, changes)

        await self.db.write(work)
        return None

    async def force_delete(self, request: Request, body: Any) -> Answer:
        async def work(tx: Tx) -> None:
            row = await snapshot.find(request, tx, request.params["id"])
            need(request, _SNAPSHOT_RULE + "force_delete", target(row))
            need(request, "volume:delete_snapshot", target(row))
            await end.delete_snapshot(tx, row, force=True, request_id=request.id)

        await self.db.write(work)
        return None

    async def unmanage(self, request: Request, body: Any) -> Answer:
        row = await snapshot.find(request, self.db, request.params["id"])
        need(request, "snapshot_extension:snapshot_unmanage", target(row))
        raise Invalid(f"Invalid snapshot: {_KEPT}", code="InvalidSnapshot")

    async def tell(self, request: Request, body: dict[str, Any]) -> Answer:
        """Somebody who makes a snapshot in our place says how far it is."""
        wanted = body["status"]

        async def work(tx: Tx) -> None:
            row = await snapshot.find(request, tx, request.params["id"])
            need(request, "snapshot_extension:snapshot_actions:update_snapshot_status", target(row))
            known = {"creating": ("creating", "available", "error"), "deleting": ("deleting", "error_deleting")}
            if row["status"] not in known:
                text = f"Snapshot status {row['status']} not allowed for update_snapshot_status"
                raise Invalid(text, code="InvalidStatus")
            if wanted not in known[row["status"]]:
                raise Invalid(f"Provided snapshot status {wanted} not allowed for snapshot with status"
                              f" {row['status']}.", code="InvalidStatus")  # fmt: skip
            changes = {"status": wanted, "updated_at": clock.now()}
            await SNAPSHOT.update(tx, {"id": row["id"]}, changes | ({"progress": body["progress"]}
                                                                    if body.get("progress") else {}))  # fmt: skip

        await self.db.write(work)
        return None

    def verbs(self) -> Mapping[str, Verb]:
        word = _word("Snapshot status", SNAPSHOT_STATUSES)
        told: dict[str, Type] = {"status": Enum(values=SNAPSHOT_STATUSES), "progress": Str(4, nullable=True)}
        return {
            "os-reset_status": Verb(Obj(fields={"status": word}, required=("status",)), self.reset),
            "os-force_delete": Verb(ANY, self.force_delete),
            "os-unmanage": Verb(ANY, self.unmanage),
            "os-update_snapshot_status": Verb(Obj(fields=told, required=("status",)), self.tell),
        }
