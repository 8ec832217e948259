"""Attaching and detaching, for every caller: the block storage API's two flows, and compute inside its transaction.

    reserve ──▶ reserved ──connect──▶ attaching ──complete──▶ attached ──detach──▶ (gone)

Each function is one step on rows; together with the caller's own rows it happens or does not. What a machine needs to
reach the volume comes from `Connections`, which asks the backend, outside of any transaction.
"""

from typing import Any
from uuid import uuid4

from hagane.api.types import Str
from hagane.errors import Conflict, NotFound, Unavailable
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.secret import Secrets
from hagane.volume import export
from hagane.volume.attachment_row import ATTACHED, ATTACHING, RESERVED, status_by
from hagane.volume.base import bad_volume, missing
from hagane.volume.row import ATTACHMENT, VOLUME, zero

_WORD = Str(nullable=True)
OURS = export.OURS
"""A connector with this key is this cloud's own (compute, bare metal): only they may end the attachment, as they take
the disk out first. Its value is true or a dictionary (see `Connections.connect`); from outside it is never taken."""


class Connections:
    """The ways to volumes, provided by whoever has the backends."""

    async def connect(self, volume: Row, connector: dict[str, Any]) -> dict[str, Any]:
        """How the machine that `connector` describes reaches a volume; exports it there if need be. Raises
        Unavailable, DeviceFailed, Invalid (the connector lacks something).

        `connector["host"]` is the machine's: the name of a Host, or of a Node. A machine on the backend's own Host gets
        "local"; others get "iscsi" with a CHAP user of this attachment (a backend that is a network itself, rbd, says
        that). With `initiator` (an IQN) only that initiator is let in.

        Where the portal listens: on the underlay address of the backend's own Host, which all Hosts reach. A machine
        that does not reach it (a Node) needs a portal in a network of its own: `connector["hagane"] = {"netns": name,
        "address": ip}` names a network namespace of this machine that is there already and an address in it. A target
        daemon is kept there, at `address`:3260, as long as something is attached through it, and comes again by itself
        after a kill, when the namespace was made anew, and after a restart: all it needs is in the attachment's row.

        The same call again (volume, host, initiator, portal) gives the same answer. What is connected and not noted
        (`connected`) within a minute is taken away, but for the Host to which a Server is going (`export.GOING`)."""
        raise Unavailable("No storage backend is connected.")

    async def with_key(self, connection: dict[str, Any]) -> dict[str, Any]:
        """A connection as one of our own Hosts needs it. A key that opens more than this volume (Ceph's) is in no row,
        and no API shows it. Raises Unavailable."""
        return connection

    async def disconnect(self, volume: Row, connector: dict[str, Any]) -> None:
        """The machine does not need it any more: nothing leads there when this returns. Nothing happens the second
        time. Raises Unavailable (ask again)."""


def foreign(connector: Any) -> dict[str, Any]:
    """A connector from outside, without the mark that only this cloud sets. Raises BadValue."""
    given = {name: value for name, value in connector.items() if name != OURS} if isinstance(connector, dict) else {}
    for name in ("host", "initiator"):
        if name in given:
            _WORD.check(name, given[name])
    return given


async def get(reader: Reader, volume_id: str) -> Row:
    """Raises NotFound."""
    row = await VOLUME.get(reader, id=volume_id)
    if row is None:
        raise missing("Volume", volume_id)
    return row


async def attachments(reader: Reader, volume_id: str) -> list[Row]:
    return await ATTACHMENT.select(reader, {"volume_id": volume_id}, order="created_at, id")


async def reserve(tx: Tx, volume: Row, server_id: str | None, *, mode: str | None = None) -> Row:
    """Take a volume for a Server before the two are connected; returns the attachment. Raises Invalid.

    The same Server may reserve again what it has (it moves to another Host); others may not, but for multiattach.
    """
    if "error" in volume["status"]:
        raise bad_volume(
            "Volume attachments can not be created if the volume is in an error state. The Volume"
            f" {volume['id']} currently has a status of: {volume['status']} "
        )
    allowed: tuple[str, ...] = ("available", "in-use") if volume["multiattach"] else ("available",)
    if volume["status"] != "downloading" or not await attachments(tx, volume["id"]):
        allowed = (*allowed, "downloading")  # if somebody has it, it is their root that is being made anew
    if volume["status"] not in allowed and not await _again(tx, volume, server_id):
        raise bad_volume(f"Volume {volume['id']} status must be {_either(allowed)} to reserve, but the current status"
                         f" is {volume['status']}.")  # fmt: skip
    if (volume["admin_metadata"] or {}).get("readonly") == "True":
        mode = "ro"
    row = zero(
        ATTACHMENT,
        id=str(uuid4()), volume_id=volume["id"], project_id=volume["project_id"], instance_uuid=server_id,
        attach_mode=mode, attach_status=RESERVED, connection={}, created_at=clock.now(),
    )  # fmt: skip
    await ATTACHMENT.insert(tx, row)
    if volume["status"] in allowed:
        await _status(tx, volume, {"status": "reserved"})
    return row


async def _again(tx: Tx, volume: Row, server_id: str | None) -> bool:
    if server_id is None or volume["status"] not in ("in-use", "reserved"):
        return False
    return await ATTACHMENT.get(tx, volume_id=volume["id"], instance_uuid=server_id) is not None


def _either(words: tuple[str, ...]) -> str:
    return " or ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


async def check_connect(tx: Reader, volume: Row) -> None:
    """Whether a further connection is allowed. Raises Conflict."""
    if "error" in volume["status"]:
        raise Conflict(
            "Resource conflict: Volume attachments can not be updated if the volume is in an error state. The Volume"
            f" {volume['id']} currently has a status of: {volume['status']} ",
            code="ResourceConflict",
        )
    others = await attachments(tx, volume["id"])
    if len(others) > 1 and not volume["multiattach"] and any(row["connection"] for row in others):
        text = f"Resource conflict: duplicate connectors detected on volume {volume['id']}"
        raise Conflict(text, code="ResourceConflict")


async def connected(
    tx: Tx, secrets: Secrets, attachment_id: str, connector: dict[str, Any], connection: dict[str, Any]
) -> Row:
    """Note the way to the volume; the attachment is attaching until `complete`. Raises NotFound, Conflict."""
    row = await _attachment(tx, attachment_id)
    volume = await get(tx, row["volume_id"])
    await check_connect(tx, volume)
    plain, secret = _apart(secrets, connection)
    changes: Row = {
        "connector": connector, "connection": plain, "secret": secret, "attach_status": ATTACHING,
        "attached_host": connector.get("host"), "mountpoint": connector.get("mountpoint"),
        "attach_mode": row["attach_mode"] or connector.get("mode") or "rw", "attach_time": clock.now(),
    }  # fmt: skip
    await ATTACHMENT.update(tx, {"id": row["id"]}, changes)
    await _settle(tx, volume)
    return row | changes


def _apart(secrets: Secrets, connection: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """A connection without its secret, and the secret, sealed."""
    data = dict(connection.get("data") or {})
    password = data.pop("auth_password", None)
    return connection | {"data": data}, None if password is None else secrets.encrypt(password)


def connection_of(secrets: Secrets, row: Row) -> dict[str, Any]:
    """The whole connection, for whoever is to use it."""
    found: dict[str, Any] = dict(row["connection"] or {})
    if row["secret"]:
        found["data"] = found["data"] | {"auth_password": secrets.decrypt(row["secret"])}
    return found


async def complete(tx: Tx, attachment_id: str, *, device: str | None = None) -> Row:
    """The machine has the volume. Raises NotFound."""
    row = await _attachment(tx, attachment_id)
    changes: Row = {"attach_status": ATTACHED, "attach_time": row["attach_time"] or clock.now()}
    changes |= {"mountpoint": device} if device else {}
    await ATTACHMENT.update(tx, {"id": row["id"]}, changes)
    volume = await get(tx, row["volume_id"])
    hidden = volume["admin_metadata"] or {}
    words = {"readonly": hidden.get("readonly", "False"), "attached_mode": row["attach_mode"] or "rw"}
    await _settle(tx, volume, {"admin_metadata": hidden | words})
    return row | changes


async def detach(tx: Tx, attachment_id: str) -> Row | None:
    """The machine has let the volume go; returns what was. Nothing happens the second time."""
    row = await ATTACHMENT.get(tx, id=attachment_id)
    if row is None:
        return None
    await ATTACHMENT.delete(tx, {"id": attachment_id})
    await export.ended(tx, row)
    volume = await VOLUME.get(tx, id=row["volume_id"])
    if volume is not None:
        hidden = {name: value for name, value in (volume["admin_metadata"] or {}).items() if name != "attached_mode"}
        await _settle(tx, volume, {"admin_metadata": hidden}, also=("error", "maintenance"))
    return row


async def begin_detaching(tx: Tx, volume: Row) -> None:
    """Raises Invalid."""
    if volume["status"] != "in-use" or volume["attach_status"] != ATTACHED:
        raise bad_volume("Unable to detach volume. Volume status must be 'in-use' and attach_status must be 'attached'"
                         " to detach.")  # fmt: skip
    await _status(tx, volume, {"status": "detaching"})


async def roll_detaching(tx: Tx, volume: Row) -> None:
    if volume["status"] == "detaching":
        await _status(tx, volume, {"status": "in-use"})


async def _settle(tx: Tx, volume: Row, more: Row | None = None, *, also: tuple[str, ...] = ()) -> None:
    """Give the volume the status that its attachments say, unless it is busy with something else; `also`: statuses
    that end with this as well."""
    changes = status_by(await attachments(tx, volume["id"]))
    busy = ("available", "reserved", "attaching", "in-use", "detaching")
    if volume["status"] not in (*busy, *also):
        changes = {"attach_status": changes["attach_status"]}
        if volume["previous_status"] is not None:  # what it returns to when the task is over
            changes["previous_status"] = status_by(await attachments(tx, volume["id"]))["status"]
    await _status(tx, volume, changes | (more or {}))


async def _status(tx: Tx, volume: Row, changes: Row) -> None:
    await VOLUME.update(tx, {"id": volume["id"]}, changes | {"updated_at": clock.now()})
    volume |= changes


async def _attachment(tx: Tx, attachment_id: str) -> Row:
    row = await ATTACHMENT.get(tx, id=attachment_id)
    if row is None:
        text = f"Volume attachment could not be found with filter: attachment_id = {attachment_id}."
        raise NotFound(text, code="VolumeAttachmentNotFound")
    return row
