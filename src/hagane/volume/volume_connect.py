"""The older way to attach, as actions of a volume: reserve, initialize a connection, attach, detach."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import uuid4

from hagane.api.http import Request
from hagane.api.types import BadValue, Custom, Enum, Obj, Str, Type, Uuid
from hagane.cloud import Cloud
from hagane.errors import Conflict, Invalid
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.volume import attach
from hagane.volume.attachment_row import ATTACHED
from hagane.volume.base import bad_volume, need, target
from hagane.volume.kinds import ANY, ID_OR_NULL
from hagane.volume.row import ATTACHMENT, VOLUME, zero
from hagane.volume.verb import Answer, Verb
from hagane.volume.volume import find

_RULE = "volume_extension:volume_actions:"
Change = Callable[[Tx, Row], Awaitable[None]]


def _attach_body(field: str, value: Any) -> Any:
    found = _ATTACH.check(field, value)
    if "instance_uuid" not in found and "host_name" not in found:
        raise BadValue(field, value, f"{value!r} is not valid under any of the given schemas")
    return found


_ATTACH = Obj(
    fields={"instance_uuid": Uuid(), "mountpoint": Str(255, min=1), "host_name": Str(255),
            "mode": Enum(values=("rw", "ro"))},
    required=("mountpoint",),
)  # fmt: skip


class ConnectActions:
    """The verbs that compute used before attachments had a resource of their own."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.db = cloud, cloud.db

    def _verb(self, rule: str, change: Change, body: Type = ANY) -> Verb:
        """A verb that only changes rows."""

        async def run(request: Request, inner: Any) -> Answer:
            async def work(tx: Tx) -> None:
                row = await find(request, tx, request.params["id"])
                need(request, _RULE + rule, target(row))
                await change(tx, row)

            await self.db.write(work)
            return None

        return Verb(body, run)

    async def attach(self, request: Request, body: dict[str, Any]) -> Answer:
        mode = body.get("mode", "rw")

        async def work(tx: Tx) -> None:
            row = await find(request, tx, request.params["id"])
            need(request, _RULE + "attach", target(row))
            await _attach(tx, row, body, mode)

        await self.db.write(work)
        return None

    async def detach(self, request: Request, body: dict[str, Any] | None) -> Answer:
        wanted = (body or {}).get("attachment_id")

        async def work(tx: Tx) -> Row | None:
            row = await find(request, tx, request.params["id"])
            need(request, _RULE + "detach", target(row))
            return await detach_any(tx, row, wanted)

        await self.db.write(work)
        return None

    async def initialize(self, request: Request, body: dict[str, Any]) -> Answer:
        """Outside of a transaction: the backend is asked, and may have to export the volume."""
        row = await find(request, self.db, request.params["id"])
        need(request, _RULE + "initialize_connection", target(row))
        connector = attach.foreign(body["connector"])
        info = await self.cloud.use(attach.Connections).connect(row, connector)
        return {"connection_info": info | {"enforce_multipath": connector.get("enforce_multipath", False)}}

    async def terminate(self, request: Request, body: dict[str, Any]) -> Answer:
        row = await find(request, self.db, request.params["id"])
        need(request, _RULE + "terminate_connection", target(row))
        await refuse_servers(self.db, row["id"], None)
        connector = attach.foreign(body["connector"])
        await self.cloud.use(attach.Connections).disconnect(row, connector)

        async def work(tx: Tx) -> None:
            await unreserve(tx, await find(request, tx, row["id"]))

        await self.db.write(work)
        return None

    def verbs(self) -> Mapping[str, Verb]:
        body = Custom(rule=_attach_body, json_schema=_ATTACH.schema())
        connector = Obj(fields={"connector": Type(nullable=True)}, required=("connector",))
        return {
            "os-reserve": self._verb("reserve", reserve),
            "os-unreserve": self._verb("unreserve", unreserve),
            "os-begin_detaching": self._verb("begin_detaching", attach.begin_detaching),
            "os-roll_detaching": self._verb("roll_detaching", attach.roll_detaching),
            "os-attach": Verb(body, self.attach),
            "os-detach": Verb(Obj(fields={"attachment_id": ID_OR_NULL}, nullable=True), self.detach),
            "os-initialize_connection": Verb(connector, self.initialize, status=200),
            "os-terminate_connection": Verb(connector, self.terminate),
        }


async def reserve(tx: Tx, row: Row) -> None:
    """Raises Invalid."""
    allowed = ("available", "in-use") if row["multiattach"] else ("available",)
    if row["status"] not in allowed:
        raise bad_volume(f"Volume status must be {' or '.join(allowed)} to reserve, but the status is"
                         f" {row['status']}.")  # fmt: skip
    await VOLUME.update(tx, {"id": row["id"]}, {"status": "attaching", "updated_at": clock.now()})


async def unreserve(tx: Tx, row: Row) -> None:
    if row["status"] == "attaching":
        status = "in-use" if await attach.attachments(tx, row["id"]) else "available"
        await VOLUME.update(tx, {"id": row["id"]}, {"status": status, "updated_at": clock.now()})


async def _attach(tx: Tx, row: Row, body: dict[str, Any], mode: str) -> None:
    """Raises Invalid."""
    hidden = {"readonly": "False"} | (row["admin_metadata"] or {})
    if hidden["readonly"] == "True" and mode != "ro":
        raise Invalid(f"Invalid attaching mode '{mode}' for volume {row['id']}.", code="InvalidVolumeAttachMode")
    server, host = body.get("instance_uuid"), body.get("host_name")
    host = (
        re.sub(r"[^\w.-]", "", host.replace(" ", "-").replace("_", "-"), flags=re.ASCII).lower().strip(".-")
        if host
        else None
    )
    there = await attach.attachments(tx, row["id"])
    same = [one for one in there if (one["instance_uuid"] == server if server else one["attached_host"] == host)]
    if not same:
        if row["status"] == "in-use" and not row["multiattach"]:
            raise bad_volume("volume is already attached and multiple attachments are not enabled")
        moment = clock.now()
        entry = zero(
            ATTACHMENT,
            id=str(uuid4()), volume_id=row["id"], project_id=row["project_id"], instance_uuid=server,
            attached_host=host, mountpoint=body["mountpoint"], attach_mode=mode, attach_status=ATTACHED,
            attach_time=moment, connection={}, created_at=moment,
        )  # fmt: skip
        await ATTACHMENT.insert(tx, entry)
    changes = {"status": "in-use", "attach_status": ATTACHED, "admin_metadata": hidden | {"attached_mode": mode}}
    await VOLUME.update(tx, {"id": row["id"]}, changes | {"updated_at": clock.now()})


async def detach_any(tx: Tx, row: Row, wanted: str | None) -> Row | None:
    """Detach what is named, or the only one there is; returns it. Raises Invalid, Conflict."""
    there = await attach.attachments(tx, row["id"])
    if wanted is None and len(there) > 1:
        raise bad_volume("Detach volume failed: More than one attachment, but no attachment_id provided.")
    chosen = next((one for one in there if wanted in (None, one["id"])), None)
    if chosen is None and wanted is not None and await ATTACHMENT.get(tx, id=wanted) is not None:
        raise Invalid("Invalid input received: Mismatched volume and attachment.", code="InvalidInput")
    if chosen is not None:
        refuse_in_use(chosen)
        return await attach.detach(tx, chosen["id"])
    changes = {"status": "available", "attach_status": "detached", "updated_at": clock.now()}
    if not there:
        await VOLUME.update(tx, {"id": row["id"], "status": ["in-use", "detaching", "attaching"]}, changes)
    return None


async def refuse_servers(reader: Reader, volume_id: str, wanted: str | None) -> None:
    """See refuse_in_use; of all attachments, or the one that is named."""
    for row in await attach.attachments(reader, volume_id):
        if wanted in (None, row["id"]):
            refuse_in_use(row)


def refuse_in_use(row: Row) -> None:
    """A Server's disk is detached by the Server's API, which takes it out of the machine first. Raises Conflict."""
    if row["attach_status"] == ATTACHED and (row["connector"] or {}).get(attach.OURS):
        raise Conflict(f"Detach volume from instance {row['instance_uuid']} using the Compute API", code="InUse")
