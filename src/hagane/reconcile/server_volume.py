"""The volumes of machines on Hosts: what a machine needs to reach them, and what becomes of their attachments.

    reserved ─▶ connect (the backend is asked, outside of any transaction) ─▶ in the machine ─▶ complete: in-use
    detaching ─▶ out of the machine ─▶ disconnect ─▶ detach: available (delete_on_termination: with its Server only)

A machine has the volumes whose attachment says that its Server may have them, connected for the Host where it is. A
kill in between does the step again, and each may be done again. Nothing is detached before its Host has let it go, but
for a Server that is deleted or evacuated while its Host is down: see docs/decisions/server-volumes.md.
"""

import contextlib
import logging
from collections.abc import Collection, Mapping
from typing import Any
from uuid import uuid4

from hagane.cloud import Cloud
from hagane.compute import device
from hagane.compute.row import KIND, SERVER
from hagane.drivers.hypervisor.base import Source
from hagane.errors import DeviceFailed, HaganeError, Invalid, NotFound, Unavailable
from hagane.image.store import ImageInfo
from hagane.reconcile.server_machine import volume_key
from hagane.reconcile.server_steps import Overtaken, Steps
from hagane.state import clock, event, work
from hagane.state.database import Row, Tx
from hagane.state.secret import Secrets
from hagane.volume import attach, end, volume_create
from hagane.volume.attachment_row import ATTACHED
from hagane.volume.export import GOING
from hagane.volume.row import ATTACHMENT, IMAGE, SNAPSHOT, VOLUME, store_items

log = logging.getLogger(__name__)
Entry = device.Entry
MAKING = ("creating", "downloading")
_UNCONNECTED: Row = {"connector": {attach.OURS: True}, "connection": {}, "secret": None, "attached_host": None}


class Volumes:
    """The ways between Hosts and volumes."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud, self._db, self._secrets = cloud, cloud.db, cloud.use(Secrets)

    async def prepare(self, row: Row, steps: Steps) -> tuple[Row, str]:
        """Reserve the volumes that were made for a Server; its row as it is then, and what it still waits for. Raises
        DeviceFailed, Overtaken."""
        waiting = [one for one in device.volumes(row) if not one["attachment_id"]]
        if not waiting:
            return row, ""
        found = {one["id"]: one for one in await VOLUME.select(self._db, {"id": [one["volume_id"] for one in waiting]})}
        for one in waiting:
            _refuse_broken(row["id"], one["volume_id"], found.get(one["volume_id"]))
        making = [volume for volume in found.values() if volume["status"] in MAKING]
        if making:
            percent = sum((volume["percent"] or 0) for volume in found.values()) // len(found)
            steps.progress("block-device-mapping", min(percent, 99))
            names = ", ".join(f"{volume['id']} ({volume['percent'] or 0} %)" for volume in making)
            return row, f"It waits for {len(making)} volume(s) to be made: {names}."
        steps.progress("block-device-mapping", 100)
        return row | {"devices": await self._db.write(lambda tx: _reserve(tx, row, found))}, ""

    async def connect(self, row: Row) -> dict[str, Source]:
        """How the machine's Host reaches each volume that the machine is to have: id of the device -> source.
        Raises Unavailable, DeviceFailed."""
        wanted = [one for one in device.volumes(row) if not one.get("gone") and one["attachment_id"]]
        if not wanted:
            return {}
        ids = [one["attachment_id"] for one in wanted]
        found = {one["id"]: one for one in await ATTACHMENT.select(self._db, {"id": ids})}
        volumes = await self._volumes([one for one in found.values() if not _is_there(row, one)])
        sources = {}
        for one in wanted:
            if one["attachment_id"] not in found and one["boot_index"] == 0:
                raise DeviceFailed(f"Its root volume {one['volume_id']} was taken away from it.")
            if one["attachment_id"] in found:
                attachment = await self._connected(row, one, found[one["attachment_id"]], volumes)
                info = attach.connection_of(self._secrets, attachment)
                info = await self._cloud.use(attach.Connections).with_key(info)
                mode = {"access_mode": attachment["attach_mode"] or "rw"}
                sources[one["id"]] = Source(info["driver_volume_type"], info["data"] | mode)
        return sources

    async def connect_at(self, row: Row, host: str) -> dict[str, Source]:
        """How another Host reaches the volumes of a machine that goes there while it runs: id of the device -> source.
        The attachments note nothing of it before the machine is there. Raises Unavailable, DeviceFailed.

        Both Hosts have a volume open for a moment. Where they do not reach it in the same way (its file here, a
        target there), one would not see what the other has just written.
        """
        ways, sources = self._cloud.use(attach.Connections), {}
        for one, attachment, volume in await self._connected_now(row):
            try:
                info = await ways.connect(volume, connector_of(row | {"host": host}, one) | {attach.OURS: GOING})
            except (Unavailable, DeviceFailed):
                raise
            except HaganeError as error:
                raise DeviceFailed(f"Volume {volume['id']} could not be attached. Reason: {error.message}") from error
            if info["driver_volume_type"] != attachment["connection"]["driver_volume_type"]:
                raise DeviceFailed(f"{row['host']} and {host} do not reach volume {volume['id']} in the same way: "
                                   "the server has to be stopped to go from one to the other (migrate).")  # fmt: skip
            info = await ways.with_key(info)
            mode = {"access_mode": attachment["attach_mode"] or "rw"}
            sources[one["id"]] = Source(info["driver_volume_type"], info["data"] | mode)
        return sources

    async def leave(self, row: Row, host: str) -> None:
        """A Host to which the machine did not go has no way to its volumes. What cannot be ended now, ends later: no
        row wants it any more."""
        ways = self._cloud.use(attach.Connections)
        for one, _, volume in await self._connected_now(row):
            with contextlib.suppress(HaganeError):
                await ways.disconnect(volume, connector_of(row | {"host": host}, one))

    async def _connected_now(self, row: Row) -> list[tuple[Entry, Row, Row]]:
        """The volumes that are in the machine: device, attachment, volume."""
        wanted = {one["attachment_id"]: one for one in device.volumes(row) if one["attachment_id"]}
        if not wanted:
            return []
        found = await ATTACHMENT.select(self._db, {"id": list(wanted)})
        volumes = await self._volumes(found)
        return [
            (wanted[one["id"]], one, volumes[one["volume_id"]]) for one in found
            if one["connection"] and one["volume_id"] in volumes
        ]  # fmt: skip

    async def _volumes(self, attachments: Collection[Row]) -> dict[str, Row]:
        ids = [one["volume_id"] for one in attachments]
        return {row["id"]: row for row in await VOLUME.select(self._db, {"id": ids})} if ids else {}

    async def _connected(self, row: Row, one: Entry, attachment: Row, volumes: Mapping[str, Row]) -> Row:
        """The attachment, connected for the Host where the Server is."""
        if _is_there(row, attachment):
            return attachment
        volume = volumes.get(attachment["volume_id"])
        if volume is None:
            raise DeviceFailed(f"Volume {attachment['volume_id']} could not be found.")
        connector, ways = connector_of(row, one), self._cloud.use(attach.Connections)
        try:
            if _host_of(attachment):
                await self._parted(volume, attachment)
            connection = await ways.connect(volume, connector)
            return await self._db.write(lambda tx: self._note(tx, attachment, connector, connection))
        except (Unavailable, DeviceFailed):
            raise
        except HaganeError as error:
            raise DeviceFailed(f"Volume {volume['id']} could not be attached. Reason: {error.message}") from error

    async def _note(self, tx: Tx, attachment: Row, connector: dict[str, Any], connection: dict[str, Any]) -> Row:
        """A volume that was in the machine before stays in use while that moves."""
        noted = await attach.connected(tx, self._secrets, attachment["id"], connector, connection)
        if attachment["attach_status"] == ATTACHED:
            noted |= await attach.complete(tx, attachment["id"])
        return noted

    async def let_go(self, ids: list[str]) -> None:
        """No machine has the volumes of these attachments any more: nothing is to lead to them. Raises Unavailable."""
        found = await ATTACHMENT.select(self._db, {"id": ids}) if ids else []
        told = [attachment for attachment in found if _host_of(attachment)]
        volumes = await self._volumes(told)
        for attachment in told:
            if attachment["volume_id"] in volumes:
                await self._parted(volumes[attachment["volume_id"]], attachment)

    async def _parted(self, volume: Row, attachment: Row) -> None:
        """The way is gone, and the row says so: else a Server that comes back to its Host would take it for there."""
        await self._cloud.use(attach.Connections).disconnect(volume, attachment["connector"])
        await self._db.write(lambda tx: ATTACHMENT.update(tx, {"id": attachment["id"]}, _UNCONNECTED))

    async def reimage(self, row: Row, image: ImageInfo) -> tuple[Row, str]:
        """Have the root volume, which is in no machine now, filled with an image; the row as it is then, and what is
        waited for. Raises DeviceFailed, Overtaken."""
        root = device.root(row)
        assert root is not None
        if not root["reimage"]["begun"]:
            await self.let_go([root["attachment_id"]])
            await self._db.write(lambda tx: _begin_reimage(tx, row, root, image))
            return row, f"Volume {root['volume_id']} is being made anew of image {image.id}."
        volume = await VOLUME.get(self._db, id=root["volume_id"])
        if volume is not None and volume["status"] in MAKING:
            done = volume["percent"] or 0
            return row, f"Volume {volume['id']} is being made anew of image {image.id} ({done} %)."
        if volume is None or "error" in volume["status"]:
            why = f" {volume['fault']}" if volume and volume["fault"] else ""
            raise DeviceFailed(f"Failed to rebuild volume backed instance.{why}")
        left = device.change(row, root, reimage=None)
        await self._db.write(lambda tx: _note_devices(tx, row, left))
        return row | {"devices": left}, ""

    async def frozen(self, ids: list[str]) -> str:
        """What of these snapshots is still waited for. Raises DeviceFailed for one that came to nothing."""
        found = {one["id"]: one["status"] for one in await SNAPSHOT.select(self._db, {"id": ids})}
        for key in ids:
            if found.get(key) not in ("creating", "available"):
                raise DeviceFailed(f"The volume snapshot {key} came to nothing: it is {found.get(key, 'gone')}.")
        waiting = [key for key, status in found.items() if status == "creating"]
        return f"It waits for {len(waiting)} volume snapshot(s): {', '.join(waiting)}." if waiting else ""


def connector_of(row: Row, one: Entry) -> dict[str, Any]:
    """The Host as the block storage API knows it."""
    return {
        "host": row["host"], "platform": "x86_64", "os_type": "linux", "multipath": False, "mode": "rw",
        "mountpoint": one["device"], "instance": row["id"], attach.OURS: True,
    }  # fmt: skip


def _host_of(attachment: Row) -> str | None:
    """The Host that is connected, or was and may still be."""
    return (attachment["connector"] or {}).get("host")


def _is_there(row: Row, attachment: Row) -> bool:
    """Whether there is a way to the volume from the Host where the Server is."""
    return bool(attachment["connection"]) and _host_of(attachment) == row["host"]


def _refuse_broken(server_id: str, volume_id: str, volume: Row | None) -> None:
    """Raises DeviceFailed for a volume that came to nothing."""
    start = f"Build of instance {server_id} aborted: Volume {volume_id}"
    if volume is None:
        raise DeviceFailed(f"{start} could not be found.")
    if volume["status"] not in (*MAKING, "available"):
        why = f" {volume['fault']}" if volume["fault"] else ""
        raise DeviceFailed(f"{start} did not finish being created. And its status is {volume['status']}.{why}")


def under_way(row: Row) -> bool:
    """Whether volumes are coming into the machine or leaving it; not those that the Host has refused already."""
    return any(one.get("new") or (one.get("gone") and not one.get("undone")) for one in device.volumes(row))


def leaving(row: Row) -> list[str]:
    """Attachments of volumes that are not to be in the machine."""
    gone = [one["attachment_id"] for one in device.volumes(row) if one.get("gone")]
    return [
        one for one in (*gone, *(one["old"]["attachment_id"] for one in device.volumes(row) if one.get("old"))) if one
    ]


def held(row: Row) -> list[str]:
    """All attachments of a Server."""
    return [one["attachment_id"] for one in device.volumes(row) if one["attachment_id"]] + [
        one["old"]["attachment_id"] for one in device.volumes(row) if one.get("old")
    ]


async def _begin_reimage(tx: Tx, row: Row, root: Entry, image: ImageInfo) -> None:
    """The volume is the block storage API's for now; it comes back as it was, in use by this Server."""
    volume = await attach.get(tx, root["volume_id"])
    facts = volume_create.image_facts(image)
    changes: Row = {
        "status": "downloading", "previous_status": "in-use", "task": {"image_id": image.id, "server": row["id"]},
        "percent": 0, "image_metadata": facts, "generation": volume["generation"] + 1, "updated_at": clock.now(),
    }  # fmt: skip
    await VOLUME.update(tx, {"id": volume["id"]}, changes)
    await store_items(tx, volume["id"], IMAGE, volume["image_metadata"] or {}, facts)
    await ATTACHMENT.update(tx, {"id": root["attachment_id"]}, _UNCONNECTED)
    await work.wake(tx, "volume", volume["id"], request_id=row["request_id"])
    await _note_devices(tx, row, device.change(row, root, reimage=root["reimage"] | {"begun": True}))


async def _note_devices(tx: Tx, row: Row, devices: list[Entry]) -> None:
    """Raises Overtaken when the Server is wanted otherwise by now."""
    if not await SERVER.update(tx, {"id": row["id"], "generation": row["generation"]}, {"devices": devices}):
        raise Overtaken


async def _reserve(tx: Tx, row: Row, volumes: dict[str, Row]) -> list[Entry]:
    """Take what was made for the Server. Raises DeviceFailed, Overtaken."""
    found = []
    for one in device.devices(row):
        if one["volume_id"] in volumes:
            volume = await attach.get(tx, one["volume_id"])
            try:
                attachment = await attach.reserve(tx, volume, row["id"])
            except Invalid as error:
                raise DeviceFailed(error.message) from error
            one = one | {"attachment_id": attachment["id"]}
        found.append(one)
    await _note_devices(tx, row, found)
    return found


# -- rows; inside the transaction that writes the Server's ----------------------------------------------------------


async def settled(tx: Tx, row: Row) -> list[Entry]:
    """The machine is as the row says: what is in it is in use, what has left it is free. Returns the devices."""
    kept = []
    for one in device.devices(row):
        if one["destination"] != "volume":
            kept.append(one)
        elif one.get("gone"):
            await attach.detach(tx, one["attachment_id"])
            await _told(tx, row, one, "It could not be attached." if one.get("undone") else "")
        elif await _completed(tx, one):
            if one.get("old"):
                await attach.detach(tx, one["old"]["attachment_id"])
            await _told(tx, row, one)
            kept.append(device.plain(one))
    return kept


async def _completed(tx: Tx, one: Entry) -> bool:
    """Whether the attachment is still there; somebody may have ended it by force."""
    if not one.get("new"):
        return await ATTACHMENT.count(tx, {"id": one["attachment_id"]}) > 0
    try:
        await attach.complete(tx, one["attachment_id"], device=one["device"])
    except NotFound:
        return False
    return True


async def _told(tx: Tx, row: Row, one: Entry, error: str = "") -> None:
    """The end of the action that changed this device, with its steps: several may be under way at once."""
    if one.get("request"):
        where = {"kind": KIND, "key": row["id"], "request_id": one["request"], "finished_at": None}
        changes: Row = {"finished_at": clock.now(), "result": "Error" if error else "Success"}
        await event.EVENT.update(tx, where, changes | ({"message": error} if error else {}))


async def undone(tx: Tx, row: Row, why: str, there: Collection[str] | None) -> list[Entry]:
    """The Host refused: what was to come into the machine is to leave it, what was to leave it stays. What came or
    left all the same is kept as it is, for the next run to settle; `there`: keys of the disks that the machine has,
    None: its Host does not say."""
    found: list[Entry] = []
    for one in device.devices(row):
        if await _happened(tx, row, one, there):
            found.append(one | {"late": True})
        elif one.get("new"):
            found += await _taken_back(tx, row, one, why)
        elif one.get("gone") and not one.get("undone"):
            await _told(tx, row, one, why)
            await _stays(tx, one["volume_id"])
            found.append(device.plain(one))
        else:
            found.append(device.plain(one) if one.get("reimage") else one)
    return found


async def _happened(tx: Tx, row: Row, one: Entry, there: Collection[str] | None) -> bool:
    """Whether a device came or left, whatever the Host said of the whole. A copy that nobody can look at may be done:
    what the guest wrote since is on the new volume only."""
    if there is None:
        return bool(one.get("new") and one.get("old")) and not await _untouched(tx, one)
    here = volume_key(row, one) in there
    return here if one.get("new") else bool(one.get("gone") and not one.get("undone") and not here)


async def _taken_back(tx: Tx, row: Row, one: Entry, why: str) -> list[Entry]:
    """What is left of a device that was to come: what a Host was told of has to leave, what it replaced is back."""
    await _told(tx, row, one, why)
    found: list[Entry] = []
    if await _untouched(tx, one):
        await attach.detach(tx, one["attachment_id"])
    else:
        found.append(device.plain(one) | {"gone": True, "undone": True})
    if old := one.get("old"):
        if found:
            found[-1] |= {"id": str(uuid4()), "boot_index": None}
        found.append(device.plain(one) | {name: old[name] for name in ("volume_id", "attachment_id", "size")})
        await _stays(tx, old["volume_id"])
    return found


def asked_for(row: Row, left: list[Entry]) -> bool:
    """Whether one of the devices that are `left` half-way is what the last action is about: it goes on."""
    return any(one.get("request") == row["request_id"] for one in left)


async def _untouched(tx: Tx, one: Entry) -> bool:
    """Whether no Host was ever told of this volume."""
    attachment = await ATTACHMENT.get(tx, id=one["attachment_id"])
    return attachment is None or not attachment["connector"]


async def _stays(tx: Tx, volume_id: str) -> None:
    volume = await VOLUME.get(tx, id=volume_id)
    if volume is not None:
        await attach.roll_detaching(tx, volume)


def version_before(row: Row, left: list[Entry]) -> dict[str, Any]:
    """The root disk's version of before a swap that came to nothing, as the devices that are `left` tell."""
    kept = {one["id"] for one in left if one.get("old")}
    undone = [one["old"] for one in device.volumes(row) if one.get("old") and one["id"] not in kept]
    return next(({"disk_version": old["disk_version"]} for old in undone if "disk_version" in old), {})


async def released(tx: Tx, row: Row, *, made: bool = False) -> None:
    """The Server is gone, or came to nothing: its volumes are free again, or end with it; with `made`, all that were
    made for it do."""
    for attachment_id in held(row):
        await attach.detach(tx, attachment_id)
    for one in device.volumes(row):
        ends = one["delete"] or (made and one["source"] != "volume")
        volume = await VOLUME.get(tx, id=one["volume_id"]) if ends and one["volume_id"] else None
        if volume is not None and volume["status"] != "deleting":
            await _end(tx, row, volume)


async def _end(tx: Tx, row: Row, volume: Row) -> None:
    """A volume that has snapshots stays, as the real service leaves it; so does one that others have as well."""
    try:
        await end.delete(tx, volume, force=volume["status"] in MAKING, request_id=row["request_id"])
    except Invalid as error:
        log.warning("server %s is gone, volume %s stays: %s", row["id"], volume["id"], error.message)


async def shelved(tx: Tx, row: Row) -> None:
    """No Host has the Server: its volumes are its own, and connected nowhere."""
    if ids := held(row):
        await ATTACHMENT.update(tx, {"id": ids}, _UNCONNECTED)
