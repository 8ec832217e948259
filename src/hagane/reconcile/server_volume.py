"""The volumes of machines on Hosts: what a machine needs to reach them, and what becomes of their attachments.

    reserved ─▶ connect (the backend is asked, outside of any transaction) ─▶ in the machine ─▶ complete: in-use
    detaching ─▶ out of the machine ─▶ disconnect ─▶ detach: available (delete_on_termination: with its Server only)

A machine has the volumes whose attachment says that its Server may have them, connected for the Host where it is. A
kill in between does the step again, and each may be done again. Nothing is detached before its Host has let it go, but
for a Server that is deleted or evacuated while its Host is down: see docs/decisions/server-volumes.md.
"""

import contextlib
from collections.abc import Collection, Mapping
from typing import Any

from hagane.cloud import Cloud
from hagane.compute import device
from hagane.compute.row import SERVER
from hagane.drivers.hypervisor.base import Source
from hagane.errors import DeviceFailed, HaganeError, Invalid, Unavailable
from hagane.image.store import ImageInfo
from hagane.reconcile.server_steps import Overtaken, Steps
from hagane.reconcile.server_volume_rows import MAKING, UNCONNECTED
from hagane.state import clock, work
from hagane.state.database import Row, Tx
from hagane.state.secret import Secrets
from hagane.volume import attach, volume_create
from hagane.volume.attachment_row import ATTACHED
from hagane.volume.export import GOING
from hagane.volume.row import ATTACHMENT, IMAGE, SNAPSHOT, VOLUME, store_items

Entry = device.Entry


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
        await self._db.write(lambda tx: ATTACHMENT.update(tx, {"id": attachment["id"]}, UNCONNECTED))

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
    await ATTACHMENT.update(tx, {"id": root["attachment_id"]}, UNCONNECTED)
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
