"""The machine that a Server's row describes, as the hypervisor drivers take it. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hagane.compute import device
from hagane.compute.row import disk_key
from hagane.drivers.hypervisor.base import BaseImage, Disk, Machine, MachineNic, Power, Source
from hagane.image.store import ImageInfo

GIB = 1 << 30
_POWER = {"on": Power.ON, "off": Power.OFF, "paused": Power.PAUSED, "suspended": Power.SUSPENDED}


def machine_of(
    row: Mapping[str, Any],
    ports: Sequence[Mapping[str, Any]],
    image: ImageInfo | None,
    drive: bytes | None,
    bases: Collection[str] = (),
    rescue: ImageInfo | None = None,
    sources: Mapping[str, Source] | None = None,
) -> Machine:
    """`ports` in the order of the Server's NICs; `image` None when it has been deleted since; `bases`: ids of what
    disks can be made of now; `sources`: how the Host reaches the volumes, by device."""
    flavor = row["flavor"]
    return Machine(
        id=row["id"],
        name=row["name"],
        vcpus=flavor["vcpus"],
        memory_mb=flavor["ram"],
        power=_POWER[row["power"]],
        boots=row["boots"],
        disks=(*rescue_of(row, rescue), *disks_of(row, image, bases, sources or {})),
        nics=tuple(MachineNic(port["id"], port["mac_address"], port["mtu"]) for port in ports),
        config_drive=drive,
        soft=bool(row["soft"]),
    )


def disks_of(
    row: Mapping[str, Any], image: ImageInfo | None, bases: Collection[str] = (), sources: Mapping[str, Source] = {}
) -> tuple[Disk, ...]:
    """The root disk, blank ones for the flavor's ephemeral disk and swap, and volumes."""
    flavor, key, root = row["flavor"], disk_key(row), device.root(row)
    disks = []
    if root is None:
        size = flavor["disk"] or -(-(image.virtual_size if image else GIB) // GIB)
        disks.append(Disk(key, size, row["disk_image"] or row["image_id"], bus(image)))
    elif root["id"] in sources:
        disks.append(_volume(row, root, sources))
    for suffix, gb in device.ephemerals(row).items():
        moved = f"{row['disk_image']}{suffix}"
        disks.append(Disk(key + suffix, gb, moved if moved in bases else None))
    if swap := device.swap(row):
        disks.append(Disk(f"{key}-swap", -(-swap // 1024)))
    others = [one for one in device.volumes(row) if one is not root and one["id"] in sources]
    return (*disks, *(_volume(row, one, sources) for one in others))


def _volume(row: Mapping[str, Any], one: device.Entry, sources: Mapping[str, Source]) -> Disk:
    """A volume; the guest finds it by its id, which is the disk's serial number."""
    return Disk(
        volume_key(row, one), one["size"] or 0, None, one["bus"] or "virtio", source=sources[one["id"]],
        device=one["device"] or "", serial=one["volume_id"], copy_of=_copied(row, one),
        read_only=sources[one["id"]].data.get("access_mode") == "ro",
    )  # fmt: skip


def _copied(row: Mapping[str, Any], one: device.Entry) -> str | None:
    """The key of the disk that is to be copied into this one, while a volume is swapped for another."""
    old = one.get("old")
    if not old:
        return None
    return volume_key(dict(row) | {"disk_version": old.get("disk_version")}, one | {"volume_id": old["volume_id"]})


def volume_key(row: Mapping[str, Any], one: device.Entry) -> str:
    """The key of a volume as a disk of the machine: the root's is the machine's own, as every root disk's."""
    return disk_key(row) if one["boot_index"] == 0 else f"volume-{one['volume_id']}"


def volume_keys(row: Mapping[str, Any]) -> set[str]:
    """Keys of the volumes that are to be in the machine, besides the root."""
    return {
        volume_key(row, one)
        for one in device.volumes(row)
        if one["volume_id"] and one["attachment_id"] and not one.get("gone") and one["boot_index"] != 0
    }


def rescue_of(row: Mapping[str, Any], image: ImageInfo | None) -> tuple[Disk, ...]:
    """The disk that a rescued machine boots, in front of its own."""
    if not row["rescue"]:
        return ()
    size = max(1, -(-(image.virtual_size if image else GIB) // GIB))
    return (Disk(f"{row['id']}-rescue-{row['rescue']['number']}", size, row["rescue"]["image_id"], bus(image)),)


def bus(image: ImageInfo | None) -> str:
    return (image.properties.get("hw_disk_bus") if image else None) or "virtio"


def base_of(image: ImageInfo) -> BaseImage:
    return BaseImage(image.id, image.path, image.format, image.size, image.virtual_size)
