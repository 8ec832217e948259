"""The block devices of a new Server: what its order asks for, checked, and in the same transaction made.

    body ─▶ wishes (device_wish.py) ─▶ what boots ─▶ checks ─▶ volumes: reserved, or ordered from the block storage API

Volumes that are to be made are rows when the order is accepted, so that a quota or a size that does not fit is told at
once; the Server waits for their bytes (reconcile/server_volume.py). Words and codes are the real service's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hagane.api.http import Request
from hagane.compute import device, device_image, device_wish, storage
from hagane.compute.base import api, need
from hagane.compute.device_wish import Wish
from hagane.errors import Conflict, HaganeError, Invalid, NotFound
from hagane.image.store import ImageInfo, base_image
from hagane.state.database import Row, Tx
from hagane.volume import attach, type_row, volume_create
from hagane.volume.base import sees
from hagane.volume.row import SNAPSHOT, VOLUME
from hagane.volume.volume_create import Order

GIB = 1 << 30
MOST_LOCAL = 3
BUSES = ("fdc", "ide", "sata", "scsi", "usb", "virtio", "xen", "lxc", "uml")


@dataclass
class Asked:
    """The devices of a body: the newer form, or else the older one."""

    newer: list[Wish] | None = None
    older: list[Wish] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.newer or self.older)


@dataclass
class Boot:
    """What a Server starts from: an image, or a volume that was made of one."""

    image: ImageInfo | None = None
    properties: dict[str, str] = field(default_factory=dict)
    min_ram: int = 0
    min_disk: int = 0
    wishes: list[Wish] = field(default_factory=list)

    @property
    def volume(self) -> Wish | None:
        """The root device, if it is a volume."""
        root = device_wish.boots(self.wishes)
        return root if root and root["destination_type"] == "volume" else None


def asked(request: Request, server: dict[str, Any]) -> Asked:
    """The devices of a body. Raises Invalid, Forbidden."""
    older, newer = server.get("block_device_mapping") or [], server.get("block_device_mapping_v2") or []
    if older and newer:
        raise Invalid("Using different block_device_mapping syntaxes is not allowed in the same request.")
    found = Asked(older=older)
    if newer:
        found.newer = device_wish.newer(newer, with_image=bool(server.get("imageRef")))
    if found:
        need(request, api("servers:create:attach_volume"))
    elif not server.get("imageRef"):
        raise Invalid("Missing imageRef attribute")
    return found


async def boot_of(request: Request, tx: Tx, image_id: str | None, given: Asked, count: int) -> Boot:
    """What the Servers of an order start from, and all their devices. Raises Invalid."""
    if image_id:
        try:
            image = await base_image(tx, request.cloud, image_id, caller=request.caller)
        except NotFound as error:
            raise Invalid("Can not find requested image", code="ImageNotFound") from error
        boot = _of_image(image)
        for one in given.newer or []:
            if one["destination_type"] == "volume" and one["device_name"] == f"/dev/{device_wish.ROOT}":
                raise Invalid(f"The volume cannot be assigned the same device name as the root device"
                              f" {device_wish.ROOT}")  # fmt: skip
    else:
        boot = await _of_devices(request, tx, given)
    boot.wishes = device_wish.joined(given.newer, given.older, image_id, boot.properties)
    if count > 1 and any(one["source_type"] == "volume" for one in boot.wishes):
        raise Invalid("Cannot attach one or more volumes to multiple instances")
    return boot


def _of_image(image: ImageInfo) -> Boot:
    return Boot(image, image.properties, image.min_ram, image.min_disk)


async def _of_devices(request: Request, tx: Tx, given: Asked) -> Boot:
    """What the root device is made of, as far as anybody remembers."""
    if given.newer is not None:
        root = device_wish.boots(given.newer)
    else:
        root = next((one for one in given.older if device_wish.of_root_name(one)), None)
    if root is None:
        return Boot()
    if root.get("image_id"):
        return _of_image(await _image(request, tx, root["image_id"]))
    volume_id = root.get("volume_id")
    if root.get("snapshot_id"):
        volume_id = (await _snapshot(request, tx, root["snapshot_id"]))["volume_id"]
    if not volume_id:
        return Boot()
    volume = await VOLUME.get(tx, id=volume_id)
    if not sees(request, volume):
        raise Invalid(f"Block Device Mapping is Invalid: failed to get volume {volume_id}.")
    assert volume is not None
    if not volume["bootable"]:
        raise Invalid(f"Block Device {volume_id} is not bootable.")
    facts = volume["image_metadata"] or {}
    return Boot(None, facts, device_image.least(facts, "min_ram"), device_image.least(facts, "min_disk"))


async def _image(request: Request, tx: Tx, image_id: str) -> ImageInfo:
    try:
        return await base_image(tx, request.cloud, image_id, caller=request.caller)
    except NotFound as error:
        raise Invalid(f"Block Device Mapping is Invalid: failed to get image {image_id}.") from error


async def _snapshot(request: Request, tx: Tx, snapshot_id: str) -> Row:
    row = await SNAPSHOT.get(tx, id=snapshot_id)
    if row is None or not sees(request, row):
        raise Invalid(f"Block Device Mapping is Invalid: failed to get snapshot {snapshot_id}.")
    return row


# -- checks without look-ups -----------------------------------------------------------------------------------------


def check(flavor: Row, wishes: Sequence[Wish]) -> None:
    """Whether devices make sense together and fit the flavor. Raises Invalid."""
    indexes = sorted(one["boot_index"] for one in wishes if (one["boot_index"] or 0) >= 0
                     and one["boot_index"] is not None)  # fmt: skip
    if not indexes or indexes != list(range(len(indexes))):
        raise device_wish.bad("Boot sequence for the instance and image/block device mapping combination is not"
                              " valid.")  # fmt: skip
    for one in wishes:
        _check(one)
    blank = [one for one in wishes if one["source_type"] == "blank" and one["destination_type"] == "local"]
    swaps = [one for one in blank if one["guest_format"] == "swap"]
    sizes = [one["volume_size"] or flavor["ephemeral"] for one in blank if one not in swaps]
    if sum(sizes) > flavor["ephemeral"]:
        raise Invalid("Ephemeral disks requested are larger than the instance type allows. If no size is given in one"
                      " block device mapping, flavor ephemeral size will be used.")  # fmt: skip
    if len(swaps) > 1:
        raise device_wish.bad("More than one swap drive requested.")
    if swaps and (swaps[0]["volume_size"] or 0) > flavor["swap"]:
        raise Invalid("Swap drive requested is larger than instance type allows.")
    more = [flavor["ephemeral"] and not sizes, flavor["swap"] and not swaps]
    if sum(one["destination_type"] == "local" for one in wishes) + sum(map(bool, more)) > MOST_LOCAL:
        raise device_wish.bad("You specified more local devices than the limit allows")


def _check(one: Wish) -> None:
    volume = one["destination_type"] == "volume"
    if volume and not one["volume_size"] and one["source_type"] == "image":
        raise Invalid("Images with destination_type 'volume' need to have a non-zero size specified")
    if volume and not one["volume_size"] and one["source_type"] == "blank":
        raise Invalid("Blank volumes (source: 'blank', dest: 'volume') need to have non-zero size")
    if one["disk_bus"] and one["disk_bus"] not in BUSES:
        raise Invalid("Block Device Mapping is Invalid.")


# -- making ----------------------------------------------------------------------------------------------------------


async def make(request: Request, tx: Tx, row: Row, boot: Boot) -> list[device.Entry]:
    """The devices of one new Server, its volumes reserved or ordered. Raises Invalid, QuotaExceeded, Conflict."""
    found: list[device.Entry] = []
    for one in boot.wishes:
        if one["no_device"] or (
            one["source_type"] == "image" and one["destination_type"] == "local" and not one["tag"]
        ):
            continue  # what the Server has anyway
        made = await _one(request, tx, row | {"devices": found}, one)
        if made["boot_index"] == 0 and not made["bus"]:
            made["bus"] = boot.properties.get("hw_disk_bus")
        found.append(made)
    _name(row, found)
    return found


async def _one(request: Request, tx: Tx, row: Row, one: Wish) -> device.Entry:
    entry = device.entry(
        source=one["source_type"], destination=one["destination_type"], size=one["volume_size"],
        boot_index=one["boot_index"], device=one["device_name"], tag=one["tag"], bus=one["disk_bus"],
        type=one["device_type"], format=one["guest_format"], delete=bool(one["delete_on_termination"]),
        volume_type=one["volume_type"], source_id=one["image_id"] or one["snapshot_id"] or one["volume_id"],
    )  # fmt: skip
    if one["destination_type"] == "local":
        if one["source_type"] == "blank" and one["volume_size"] is None:
            entry["size"] = row["flavor"]["swap" if device.is_swap(entry) else "ephemeral"]
        return entry
    entry["new"] = True
    if one["source_type"] == "volume":
        return entry | await _existing(request, tx, row, one["volume_id"])
    volume = await _ordered(request, tx, row, one)
    return entry | {"volume_id": volume["id"], "size": volume["size"]}


async def _existing(request: Request, tx: Tx, row: Row, volume_id: str) -> dict[str, Any]:
    try:
        volume = await storage.volume_of(request, tx, volume_id)
    except NotFound as error:
        raise storage.refused(error) from error
    await storage.refuse_twice(tx, row, volume)
    storage.refuse_multiattach(request, volume)
    try:
        with storage.worded():
            attachment = await attach.reserve(tx, volume, row["id"])
    except Invalid as error:
        raise Invalid(f"Invalid volume: {error.message}", code="InvalidVolume") from error
    return {"volume_id": volume_id, "attachment_id": attachment["id"], "size": volume["size"]}


async def _ordered(request: Request, tx: Tx, row: Row, one: Wish) -> Row:
    """A volume that is to be made for the Server, which is woken when it is there."""
    asking, kind = storage.asking(request), one["volume_type"]
    if kind:
        try:
            await type_row.find(asking, tx, kind)
        except NotFound as error:
            raise Invalid(f"Volume type {kind} could not be found.", code="VolumeTypeNotFound") from error
    if one["snapshot_id"]:
        await _snapshot(request, tx, one["snapshot_id"])
    if one["image_id"]:
        await _image(request, tx, one["image_id"])
    order = Order(
        size=one["volume_size"], name=f"{row['id']}-blank-vol" if one["source_type"] == "blank" else "",
        description="", type_name=kind, snapshot_id=one["snapshot_id"], image_ref=one["image_id"],
    )  # fmt: skip
    try:
        with storage.worded():
            volume = await volume_create.create(asking, request.cloud, tx, order)
    except Conflict:
        raise
    except HaganeError as error:
        raise storage.refused(error) if isinstance(error, NotFound) else error from error
    await VOLUME.update(tx, {"id": volume["id"]}, {"task": {"server": row["id"]}})
    return volume


def _name(row: Row, entries: list[device.Entry]) -> None:
    """A device name for each: the one that is asked for if it is free, else the next one. The root comes first, then
    the disks of the Host, then volumes."""
    bare = row | {"devices": [one | {"device": None} for one in entries]}
    taken = device.used(bare)
    order = sorted(entries, key=lambda one: (one["boot_index"] != 0, one["destination"] != "local",
                                             device.is_swap(one)))  # fmt: skip
    for one in order:
        if one["boot_index"] == 0 and one["destination"] == "local":
            one["device"] = "/dev/vda"
            continue
        asked = one["device"]
        if not asked or device.letter(asked) in taken:
            free = next((letter for letter in device.LETTERS if letter not in taken), None)
            one["device"] = free and device.prefix(one["bus"]) + free
        if one["device"]:
            taken.add(device.letter(one["device"]))
