"""POST /groups/{id}/action: the end of a group, with its volumes where that is asked for; a new status; replication.

No backend here replicates, so the verbs of replication say that the group's type asks for none.
"""

from dataclasses import dataclass
from typing import Any

from hagane.api.http import Request, Response
from hagane.api.types import Obj, Str, Type
from hagane.errors import Invalid
from hagane.state import clock
from hagane.state.database import Database, Row, Tx
from hagane.state.work import wake
from hagane.volume import base, end
from hagane.volume.base import need, target
from hagane.volume.group_row import GROUP, GROUP_SNAPSHOT, bad_group, find
from hagane.volume.kinds import BOOLEAN
from hagane.volume.row import SNAPSHOT, VOLUME
from hagane.volume.verb import Answer, Verb, act

STATUSES = ("error", "available", "creating", "deleting", "deleted", "updating", "error_deleting")
_SENTENCE = f"Group status: {{}} is invalid, valid status are: {(*STATUSES[:6], 'in-use', STATUSES[6])}."
_REPLICATION = ("enable_replication", "disable_replication", "failover_replication", "list_replication_targets")


@dataclass(frozen=True)
class Status(Str):
    """The word of reset_status. `sentence` refuses one, for a group even a word that it names itself."""

    error: str = ""
    sentence: str = ""

    def convert(self, field: str, value: Any) -> str:
        text = str(super().convert(field, value)).lower()
        if not text.strip():
            raise Invalid(f"Invalid {self.error} Status: The 'status' can not be empty.", code="InvalidStatus")
        if text not in STATUSES:
            raise Invalid(f"Invalid {self.error} Status: {self.sentence.format(value)}", code="InvalidStatus")
        return text


def status_type(error: str, sentence: str) -> Type:
    """The body of reset_status."""
    return Obj(fields={"status": Status(None, error=error, sentence=sentence)}, required=("status",))


async def act_on_group(request: Request, db: Database) -> Response:
    """Find the verb and run it in one transaction."""

    async def delete(request: Request, body: dict[str, Any]) -> Answer:
        await db.write(lambda tx: _delete(request, tx, volumes=bool(body.get("delete-volumes"))))
        return None

    async def reset(request: Request, body: dict[str, str]) -> Answer:
        async def work(tx: Tx) -> None:
            row = await find(request, tx, request.params["id"])
            need(request, "group:reset_status", target(row))
            await GROUP.update(tx, {"id": row["id"]}, body | {"updated_at": clock.now(), "fault": None})

        await db.write(work)
        return None

    verbs = {
        "delete": Verb(Obj(fields={"delete-volumes": BOOLEAN}), delete),
        "reset_status": Verb(status_type("Group", _SENTENCE), reset, since=20),
    }
    targets = {"allow_attached_volume": BOOLEAN, "secondary_backend_id": Str(None, nullable=True)}
    for name in _REPLICATION:
        kind = Obj(fields=targets) if name == "failover_replication" else Obj(open=True)
        verbs[name] = Verb(kind, _no_replication(db, name), since=38)
    return await act(request, verbs)


def _no_replication(db: Database, name: str) -> Any:
    async def refuse(request: Request, body: dict[str, Any]) -> Answer:
        row = await find(request, db, request.params["id"])
        need(request, f"group:{name}", target(row))
        text = f"Invalid group type: Group {row['id']} is not a replication group type."
        raise Invalid(text, code="InvalidGroupType")

    return refuse


async def _delete(request: Request, tx: Tx, *, volumes: bool) -> None:
    row = await find(request, tx, request.params["id"])
    need(request, "group:delete", target(row))
    if not volumes and row["status"] not in ("available", "error"):
        raise bad_group(f"Group status must be available or error, but current status is: {row['status']}")
    if await GROUP_SNAPSHOT.get(tx, group_id=row["id"]) is not None:
        raise bad_group("Group has existing snapshots.")
    if await GROUP.get(tx, source_group_id=row["id"], status="creating") is not None:
        raise bad_group(f"Cannot delete group {row['id']}. It is the source for an ongoing group creation.")
    members = await VOLUME.select(tx, {"group_id": row["id"]}, order="created_at, id")
    await _may_end(tx, row, members, volumes=volumes)
    for member in members:
        await end.begin(tx, member, request_id=request.id)
    await GROUP.update(tx, {"id": row["id"]}, {"status": "deleting", "updated_at": clock.now()})
    await wake(tx, base.GROUP, row["id"], request_id=request.id)


async def _may_end(tx: Tx, row: Row, members: list[Row], *, volumes: bool) -> None:
    """Whether a group's volumes can go with it. Raises Invalid."""
    if members and not volumes:
        raise bad_group(f"Group {row['id']} still contains volumes. The delete-volumes flag is required to delete it.")
    if any(member["attach_status"] == "attached" for member in members):
        raise bad_group(f"Volume in group {row['id']} is attached. Need to detach first.")
    if members and await SNAPSHOT.count(tx, {"volume_id": [member["id"] for member in members]}):
        raise bad_group("Volume in group still has dependent snapshots.")
