"""/attachments (3.27): reserve, connect, complete, delete; each attachment with its own way to the volume."""

from collections.abc import Sequence
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import BadValue, Custom, Enum, Obj, Type, Uuid
from hagane.cloud import Cloud
from hagane.errors import Conflict, NotFound
from hagane.state.database import Reader, Row, Tx
from hagane.state.secret import Secrets
from hagane.volume import attach, base, query
from hagane.volume.attachment_row import RESERVED
from hagane.volume.base import at, body_of, both, missing, need, sees, target
from hagane.volume.kinds import ANY
from hagane.volume.row import ATTACHMENT, VOLUME
from hagane.volume.verb import Answer, Verb, act
from hagane.volume.volume_connect import refuse_in_use


def _connector(field: str, value: Any) -> Any:
    if not isinstance(value, dict):
        raise BadValue(field, value, f"{value!r} is not of type 'object'")
    if not value:
        raise BadValue(field, value, "{} should be non-empty")
    return value


_CONNECTOR = Custom(rule=_connector, json_schema={"type": "object", "minProperties": 1})
_CREATE: dict[str, Type] = {"instance_uuid": Uuid(), "connector": Type(nullable=True), "volume_uuid": Uuid()}
_CREATE_54 = _CREATE | {"mode": Enum(values=("rw", "ro"))}
_SAME = {name: name for name in ("id", "volume_id", "attach_status", "created_at")}
FILTERS = query.Filters(
    "attachment", ATTACHMENT,
    columns=_SAME | {"status": "attach_status", "instance_id": "instance_uuid", "instance_uuid": "instance_uuid",
                     "project_id": "project_id", "attached_host": "attached_host"},
    usual=("volume_id", "status", "instance_id", "attach_status"),
    sorts=_SAME | {"instance_uuid": "instance_uuid"}, noun="Volume attachment",
)  # fmt: skip


def summary(row: Row) -> dict[str, Any]:
    return {"id": row["id"], "status": row["attach_status"], "instance": row["instance_uuid"],
            "volume_id": row["volume_id"]}  # fmt: skip


def _ours(row: Row) -> bool:
    """Whether compute or bare metal attached it, and keeps it."""
    return bool((row["connector"] or {}).get(attach.OURS))


class Attachments:
    """/attachments."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.db, self._secrets = cloud, cloud.db, cloud.use(Secrets)
        self._verbs = {"os-complete": Verb(ANY, self.complete, status=204, since=44)}

    def _detail(self, row: Row) -> dict[str, Any]:
        # Who a machine of this cloud is to its volume is nobody else's to know: only attachments made here are whole.
        info = dict(row["connection"] or {}) if _ours(row) else attach.connection_of(self._secrets, row)
        if info:
            info |= {"attachment_id": row["id"]}
        return summary(row) | {
            "attached_at": row["attach_time"] or "", "detached_at": row["detach_time"] or "",
            "attach_mode": row["attach_mode"] or "null", "connection_info": info,
        }  # fmt: skip

    async def _find(self, request: Request, reader: Reader, key: str) -> Row:
        row = await ATTACHMENT.get(reader, id=key)
        if row is None or not sees(request, row):
            text = f"Volume attachment could not be found with filter: attachment_id = {key}."
            raise NotFound(text, code="VolumeAttachmentNotFound")
        return row

    async def index(self, request: Request) -> Response:
        rows = (await query.listed(request, self.db, FILTERS)).rows
        return json_response(200, {"attachments": [summary(row) for row in rows]})

    async def detail(self, request: Request) -> Response:
        rows = (await query.listed(request, self.db, FILTERS)).rows
        return json_response(200, {"attachments": [self._detail(row) for row in rows]})

    async def show(self, request: Request) -> Response:
        row = await self._find(request, self.db, request.params["id"])
        return json_response(200, {"attachment": self._detail(row)})

    async def create(self, request: Request) -> Response:
        fields = _CREATE_54 if at(request, 54) else _CREATE
        body = (await body_of(request, base.wrapped("attachment", fields, ("volume_uuid",))))["attachment"]

        async def work(tx: Tx) -> Row:
            volume = await VOLUME.get(tx, id=body["volume_uuid"])
            if volume is None or not sees(request, volume):
                raise missing("Volume", body["volume_uuid"])
            need(request, "volume:attachment_create", target(volume))
            if volume["multiattach"] and volume["status"] == "in-use" and volume["bootable"]:
                need(request, "volume:multiattach_bootable_volume", target(volume))
            return await attach.reserve(tx, volume, body.get("instance_uuid"), mode=body.get("mode"))

        row = await self.db.write(work)
        if connector := body.get("connector"):
            row = await self._connect(row, attach.foreign(connector), undo=True)
        return json_response(200, {"attachment": self._detail(row)})

    async def _connect(self, row: Row, connector: dict[str, Any], *, undo: bool = False) -> Row:
        """Ask the backend for the way, then note it. If that fails, what was only just reserved goes."""
        volume = await attach.get(self.db, row["volume_id"])
        connections = self.cloud.use(attach.Connections)
        try:
            info = await connections.connect(volume, connector)
            return await self.db.write(lambda tx: attach.connected(tx, self._secrets, row["id"], connector, info))
        except Exception:
            if undo:
                await self.db.write(lambda tx: attach.detach(tx, row["id"]))
            raise

    async def update(self, request: Request) -> Response:
        kind = base.wrapped("attachment", {"connector": _CONNECTOR}, ("connector",))
        connector = (await body_of(request, kind))["attachment"]["connector"]
        row = await self._find(request, self.db, request.params["id"])
        need(request, "volume:attachment_update", target(row))
        if _ours(row):  # the machine would lose its volume, and whoever asked could end the attachment
            raise Conflict(f"Volume attachment {row['id']} is changed by the Compute API only.", code="InUse")
        await attach.check_connect(self.db, await attach.get(self.db, row["volume_id"]))
        return json_response(200, {"attachment": self._detail(await self._connect(row, attach.foreign(connector)))})

    async def complete(self, request: Request, body: Any) -> Answer:
        async def work(tx: Tx) -> None:
            row = await self._find(request, tx, request.params["id"])
            need(request, "volume:attachment_complete", target(row))
            await attach.complete(tx, row["id"])

        await self.db.write(work)
        return None

    async def delete(self, request: Request) -> Response:
        row = await self._find(request, self.db, request.params["id"])
        need(request, "volume:attachment_delete", target(row))
        refuse_in_use(row)
        if row["attach_status"] != RESERVED and row["connector"]:
            volume = await VOLUME.get(self.db, id=row["volume_id"])
            if volume is not None:
                await self.cloud.use(attach.Connections).disconnect(volume, row["connector"])

        async def work(tx: Tx) -> list[Row]:
            await attach.detach(tx, row["id"])
            return await attach.attachments(tx, row["volume_id"])

        return json_response(200, {"attachments": [summary(one) for one in await self.db.write(work)]})

    async def action(self, request: Request) -> Response:
        response = await act(request, self._verbs)
        return empty(204) if response.status == 204 else response

    def routes(self) -> Sequence[Route]:
        since, rule = {"since": "3.27"}, "volume:attachment_"
        return [
            *both("GET", "/attachments", self.index, "attachment:list", **since),
            *both("GET", "/attachments/detail", self.detail, "attachment:detail", **since),
            *both("POST", "/attachments", self.create, "attachment:create", rule=rule + "create", **since,
                  body=base.wrapped("attachment", _CREATE_54, ("volume_uuid",))),
            *both("GET", "/attachments/{id}", self.show, "attachment:show", **since),
            *both("PUT", "/attachments/{id}", self.update, "attachment:update", rule=rule + "update", **since,
                  body=base.wrapped("attachment", {"connector": _CONNECTOR}, ("connector",))),
            *both("DELETE", "/attachments/{id}", self.delete, "attachment:delete", rule=rule + "delete", **since),
            *both("POST", "/attachments/{id}/action", self.action, "attachment:action", rule=rule + "complete",
                  status=204, since="3.44", body=Obj(fields={"os-complete": ANY}, required=("os-complete",))),
        ]  # fmt: skip
