"""An image of a volume-backed Server: no bytes, but a mapping to snapshots of its volumes.

    createImage ─▶ snapshots of all volumes, the image queued ─▶ (the snapshots are there) ─▶ the image active

A Server that is made of such an image gets volumes that are made of the snapshots (device_wish.of_properties).
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from hagane.api.http import Request
from hagane.compute import device, storage
from hagane.errors import Invalid, QuotaExceeded, TooLarge
from hagane.state.database import Reader, Row, Tx
from hagane.volume import snapshot
from hagane.volume.base import bad_volume
from hagane.volume.row import VOLUME

MOST = 2**31 - 1  # what an image may ask for
_OF_THE_VOLUME = {
    "image_id",
    "image_name",
    "size",
    "checksum",
    "container_format",
    "disk_format",
    "min_ram",
    "min_disk",
}
_KEPT = {"device_name": "device", "boot_index": "boot_index", "disk_bus": "bus", "device_type": "type",
         "guest_format": "format", "delete_on_termination": "delete", "volume_size": "size", "tag": "tag"}  # fmt: skip


async def facts_of(reader: Reader, row: Row) -> dict[str, str]:
    """What is remembered of the image that a volume-backed Server's root was made of; empty for others."""
    root = device.root(row)
    volume = await VOLUME.get(reader, id=root["volume_id"]) if root and root["volume_id"] else None
    return dict((volume["image_metadata"] if volume else None) or {})


def properties_of(facts: dict[str, str]) -> dict[str, str]:
    """Those of the facts that were the image's own properties."""
    return {name: value for name, value in facts.items() if name not in _OF_THE_VOLUME}


def least(facts: Mapping[str, Any], name: str) -> int:
    """`min_ram` or `min_disk` of a volume's facts, which its owner may have written. Raises Invalid."""
    text = str(facts.get(name) or 0)
    if not re.fullmatch("[0-9]{1,10}", text) or int(text) > MOST:
        raise Invalid(f"Invalid image metadata of the volume: {name} must be a whole number from 0 to {MOST}, not"
                      f" '{text[:64]}'.")  # fmt: skip
    return int(text)


async def freeze(request: Request, tx: Tx, row: Row, name: str) -> tuple[dict[str, str], list[str]]:
    """Ask for a snapshot of each volume; the properties that lead to them, and their ids. Raises Invalid,
    QuotaExceeded."""
    mapping, ids = [], []
    volumes = await storage.volumes_of(tx, row)
    for one in device.devices(row):
        entry: dict[str, Any] = {label: one[column] for label, column in _KEPT.items()}
        entry |= {"source_type": one["source"], "destination_type": one["destination"], "no_device": None}
        if one["destination"] == "volume":
            made = await _snapshot(request, tx, volumes.get(one["volume_id"]), one, name)
            ids.append(made["id"])
            entry |= {"source_type": "snapshot", "snapshot_id": made["id"], "volume_size": made["size"]}
        mapping.append(entry)
    words = {"block_device_mapping": json.dumps(mapping), "bdm_v2": "True", "root_device_name": device.root_name(row)}
    return words, ids


async def _snapshot(request: Request, tx: Tx, volume: Row | None, one: device.Entry, name: str) -> Row:
    if volume is None:
        raise bad_volume(f"Volume {one['volume_id']} could not be found.")
    words = {"name": f"snapshot for {name}", "description": volume["description"], "metadata": {}}
    try:
        return await snapshot.make(tx, storage.asking(request), volume, words, in_use=True)
    except TooLarge as error:
        raise QuotaExceeded("Quota exceeded for resources: snapshots", code=error.code) from error
    except Invalid as error:
        raise Invalid(f"Invalid input received: {error.message}", code=error.code) from error


def fits(size: int, min_disk: int) -> None:
    """Whether an image fits the volume of `size` GiB that is to be made of it. Raises Invalid."""
    if min_disk > size:
        raise Invalid("Volume is smaller than the minimum size specified in image metadata. Volume size is"
                      f" {size << 30} bytes, minimum size is {min_disk << 30} bytes.")  # fmt: skip
