"""Making a volume: what a request may ask for, checked; then row, quota and the wake in one transaction.

nothing · image · snapshot · volume · backup ──▶ creating (the reconciler makes it)
"""

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from hagane.api.http import Request
from hagane.api.types import is_uuid
from hagane.cloud import Cloud
from hagane.errors import Conflict, Invalid, NotFound
from hagane.image.image import Image
from hagane.image.store import ImageInfo, base_image
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.work import wake
from hagane.volume import base, group_row, pool, quota, type_row
from hagane.volume.backup_row import BACKUP
from hagane.volume.base import at, invalid, missing, need, sees
from hagane.volume.row import IMAGE, SNAPSHOT, USER, VOLUME, store_items, zero
from hagane.volume.type_encryption import refuse_encrypted

GIB = 1 << 30


@dataclass
class Order:
    """What is asked for; at most one of the sources."""

    size: int | None = None
    name: str | None = None
    description: str | None = None
    type_name: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    availability_zone: str | None = None
    snapshot_id: str | None = None
    source_volid: str | None = None
    image_ref: str | None = None
    backup_id: str | None = None
    group_id: str | None = None
    group: Row | None = None  # that is being made together with the volume


@dataclass
class Source:
    """What a volume is made from, as found."""

    snapshot: Row | None = None
    volume: Row | None = None
    backup: Row | None = None
    image: ImageInfo | None = None

    @property
    def size(self) -> int | None:
        """The least size in GiB, as the source says it."""
        row = self.volume or self.snapshot or self.backup
        return None if row is None else int(row["size"])


async def create(request: Request, cloud: Cloud, tx: Tx, order: Order) -> Row:
    """Check an order and store the volume; inside the caller's transaction. Raises Invalid, NotFound, TooLarge."""
    chosen = await type_row.find(request, tx, order.type_name) if order.type_name else None
    source = await _source(request, cloud, tx, order)
    need(request, "volume:create_from_image" if source.image else "volume:create")
    _usable(source)
    size = _size(order.size, source)
    if source.image:
        fits(source.image, size)
    kind = chosen or await _type_of(request, tx, source)
    refuse_encrypted(kind)
    await _compatible(tx, source, chosen)
    group = order.group or await _group(request, tx, order.group_id, chosen)
    row = await _row(request, tx, order, source, kind, size) | _together(group, await _host(tx, source))
    if row["multiattach"]:
        need(request, "volume:multiattach")
    counts = quota.with_type({"volumes": 1, "gigabytes": size}, kind["name"])
    await quota.take(tx, row["project_id"], counts, "volumes", size=size)
    await VOLUME.insert(tx, row)
    await store_items(tx, row["id"], USER, {}, row["metadata"])
    await store_items(tx, row["id"], IMAGE, {}, row["image_metadata"] or {})
    await wake(tx, base.VOLUME, row["id"], request_id=request.id)
    return row


async def _source(request: Request, cloud: Cloud, tx: Tx, order: Order) -> Source:
    found = Source()
    if order.snapshot_id is not None:
        found.snapshot = await SNAPSHOT.get(tx, id=order.snapshot_id)
        if not sees(request, found.snapshot):
            raise missing("Snapshot", order.snapshot_id)
    if order.source_volid is not None:
        found.volume = await VOLUME.get(tx, id=order.source_volid)
        if not sees(request, found.volume):
            raise missing("Volume", order.source_volid)
    if order.image_ref is not None:
        found.image = await _image(request, cloud, tx, order.image_ref)
        if at(request, 46) and (shot := _boot_snapshot(found.image)):  # it stands for a volume-backed server
            order.image_ref, order.snapshot_id, found.image = None, shot, None
            found.snapshot = await SNAPSHOT.get(tx, id=shot)
            if not sees(request, found.snapshot):
                raise NotFound(f"Nova specific image is found, but boot volume snapshot id:{shot} not found.")
    if order.backup_id:
        found.backup = await BACKUP.get(tx, id=order.backup_id)
        if not sees(request, found.backup):
            raise missing("Backup", order.backup_id)
    named = {"snapshot": found.snapshot, "imageRef": found.image, "source_volume": found.volume,
             "backup": found.backup}  # fmt: skip
    given = sorted(name for name, thing in named.items() if thing is not None)
    if len(given) > 1:
        raise invalid(f"May specify only one of {', '.join(given)}")
    return found


def _boot_snapshot(image: ImageInfo) -> str | None:
    """The snapshot that is booted, of an image that has no bytes but a mapping to snapshots of volumes."""
    try:
        mapping = json.loads(image.properties.get("block_device_mapping") or "[]")
        return next((str(one["snapshot_id"]) for one in mapping
                     if one.get("source_type") == "snapshot" and one.get("boot_index") == 0), None)  # fmt: skip
    except (ValueError, TypeError, AttributeError, KeyError):
        return None


async def _image(request: Request, cloud: Cloud, reader: Reader, ref: str) -> ImageInfo:
    """An image by id, by a URL that ends in one, or by name. Raises Invalid, Conflict."""
    key = ref.rpartition("/")[2]
    if is_uuid(key):
        try:
            return await base_image(reader, cloud, key, caller=request.caller)
        except NotFound:
            pass  # it may be a name
    found = []
    for row in await Image.table.select(reader, {"name": ref}, limit=50):
        try:
            found.append(await base_image(reader, cloud, row["id"], caller=request.caller))
        except NotFound:
            continue
    if len(found) > 1:
        raise Conflict(f"Multiple matches found for '{ref}', use an ID to be more specific.", code="Conflict")
    if not found:
        raise Invalid("Invalid image identifier or unable to access requested image.", code="InvalidImageRef")
    return found[0]


def _usable(source: Source) -> None:
    """The source must be at rest. Raises Invalid."""
    if source.snapshot and source.snapshot["status"] != "available":
        text = "Invalid snapshot: Originating snapshot status must be one of 'available' values"
        raise Invalid(text, code="InvalidSnapshot")
    if source.volume and source.volume["status"] not in ("available", "in-use"):
        raise base.bad_volume("Originating source volume status must be one of 'available, in-use' values")
    if source.backup and source.backup["status"] != "available":
        text = "Invalid backup: Originating backup status must be one of 'available' values"
        raise Invalid(text, code="InvalidBackup")


def _size(wanted: int | None, source: Source) -> int:
    size = wanted or source.size
    if not size:
        text = "The server could not comply with the request since it is either malformed or otherwise incorrect."
        raise Invalid(text, code="NoSize")
    if size < 1:
        raise invalid(f"Volume size '{size}' must be an integer and greater than 0")
    if source.volume and size < source.volume["size"]:
        raise invalid(f"Volume size '{size}'GB cannot be smaller than original volume size  {source.volume['size']}GB."
                      " They must be >= original volume size.")  # fmt: skip
    if source.snapshot and size < source.snapshot["size"]:
        raise invalid(f"Volume size '{size}'GB cannot be smaller than the snapshot size {source.snapshot['size']}GB."
                      " They must be >= original snapshot size.")  # fmt: skip
    if source.backup and size < source.backup["size"]:
        raise invalid(f"Volume size {size}GB cannot be smaller than the backup size {source.backup['size']}GB."
                      " It must be >= backup size.")  # fmt: skip
    return size


def fits(image: ImageInfo, size: int) -> None:
    """Raises Invalid."""
    if image.status != "active":
        raise invalid(f"Image {image.id} is not active.")
    whole = -(-image.size // GIB)
    if whole > size:
        raise invalid(f"Size of specified image {whole}GB is larger than volume size {size}GB.")
    if size < image.min_disk:
        raise invalid(f"Volume size {size}GB cannot be smaller than the image minDisk size {image.min_disk}GB.")
    virtual = -(-image.virtual_size // GIB)
    if virtual > size:
        raise Invalid(f"Image {image.id} is unacceptable: Image virtual size is {virtual}GB and doesn't fit in a"
                      f" volume of size {size}GB.", code="ImageUnacceptable")  # fmt: skip


async def _type_of(request: Request, tx: Tx, source: Source) -> Row:
    """The type of a volume that names none: its source's, or the default."""
    row = source.volume or source.snapshot
    if row is not None:
        return await type_row.by_id(request, tx, row["type_id"])
    if source.image and (named := source.image.properties.get("cinder_img_volume_type")):
        return await type_row.find(request, tx, named)
    return await type_row.default_of(request, tx)


async def _compatible(tx: Tx, source: Source, chosen: Row | None) -> None:
    """A copy stays on its source's backend. Raises Invalid."""
    row = source.volume or source.snapshot
    if row is None or chosen is None or chosen["id"] == row["type_id"]:
        return
    if not await pool.suits(tx, chosen, await _host(tx, source)):
        advice = "either match source volume, or omit type argument"
        if source.snapshot:
            advice = "recommend omitting the type argument"
        raise invalid(f"Invalid volume_type provided: {chosen['id']} (requested type is not compatible; {advice}).")


async def _group(request: Request, tx: Tx, key: str | None, chosen: Row | None) -> Row | None:
    """The group that a volume is made in, which must take its type. Raises Invalid, NotFound."""
    if key is None:
        return None
    group = await group_row.find(request, tx, key)
    if group["status"] != "available":
        raise group_row.bad_group("Originating group status must be one of 'available' values")
    if chosen is None:
        raise invalid("volume_type must be provided when creating a volume in a group.")
    if chosen["id"] not in (await group_row.types_of(tx, [group["id"]]))[group["id"]]:
        raise invalid(f"Invalid volume_type provided: {chosen['id']} (requested type must be supported by this group).")
    if group["project_id"] != request.caller.project_id:
        raise group_row.bad_group(f"Group {group['id']} belongs to another project.")
    return group


def _together(group: Row | None, host: str | None) -> Row:
    """The changes of a new volume that belongs to a group: it is where the group is. Raises Invalid."""
    if group is None:
        return {}
    if host is not None and host != group["host"]:
        raise invalid("The volume's source is on another storage backend than its group.")
    return {"group_id": group["id"], "host": group["host"]}


async def _host(tx: Tx, source: Source) -> str | None:
    """Where the source is."""
    if source.volume:
        return str(source.volume["host"])
    if source.snapshot:
        volume = await VOLUME.get(tx, id=source.snapshot["volume_id"])
        return volume["host"] if volume else None
    return None


async def _row(request: Request, tx: Tx, order: Order, source: Source, kind: Row, size: int) -> Row:
    zone = order.availability_zone or base.ZONE
    if zone != base.ZONE:
        raise Invalid(f"Availability zone '{zone}' is invalid.", code="InvalidAvailabilityZone")
    parent = source.volume
    if source.snapshot:
        parent = await VOLUME.get(tx, id=source.snapshot["volume_id"])
    facts = (
        image_facts(source.image) if source.image else (source.snapshot or source.volume or {}).get("image_metadata")
    )
    return zero(
        VOLUME,
        id=str(uuid4()), project_id=request.caller.project_id, user_id=request.caller.user_id, name=order.name,
        description=order.description, size=size, status="creating", attach_status="detached", type_id=kind["id"],
        availability_zone=zone, host=await _host(tx, source), bootable=bool(parent and parent["bootable"]),
        multiattach=type_row.is_multiattach(kind), snapshot_id=order.snapshot_id, source_volid=order.source_volid,
        image_id=source.image.id if source.image else None, backup_id=order.backup_id or None,
        metadata=order.metadata, admin_metadata={}, image_metadata=facts, task={}, percent=0, generation=1,
        created_at=clock.now(),
    )  # fmt: skip


def image_facts(image: ImageInfo) -> dict[str, str]:
    """What a volume remembers of its image."""
    facts: dict[str, Any] = {"image_id": image.id, "image_name": image.name, "disk_format": image.disk_format,
                             "container_format": image.container_format, "min_disk": image.min_disk,
                             "min_ram": image.min_ram, "size": image.size}  # fmt: skip
    return {name: str(value) for name, value in (image.properties | facts).items()}


def order_of(request: Request, body: dict[str, Any]) -> Order:
    """A create body as an order. Raises Invalid."""
    if body.get("multiattach"):
        raise Invalid(
            "multiattach parameter has been removed. The default behavior is to use multiattach enabled volume types."
            " Contact your administrator to create a multiattach enabled volume type and use it to create multiattach"
            " volumes.", code="Multiattach",
        )  # fmt: skip
    return Order(
        size=body.get("size"),
        name=body.get("name", body.get("display_name")),
        description=body.get("description", body.get("display_description")),
        type_name=body.get("volume_type"),
        metadata=body.get("metadata") or {},
        availability_zone=body.get("availability_zone"),
        snapshot_id=body.get("snapshot_id"),
        source_volid=body.get("source_volid"),
        image_ref=body.get("image_id") or body.get("imageRef"),
        backup_id=body.get("backup_id") if at(request, 47) else None,
        group_id=(body.get("group_id") if at(request, 13) else None) or body.get("consistencygroup_id"),
    )
