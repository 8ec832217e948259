"""The machine that a Server's row describes, as the hypervisor drivers take it. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hagane.compute.row import disk_key
from hagane.drivers.hypervisor.base import BaseImage, Disk, Machine, MachineNic, Power
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
) -> Machine:
    """`ports` in the order of the Server's NICs; `image` None when it has been deleted since; `bases`: ids of what
    disks can be made of now."""
    flavor = row["flavor"]
    return Machine(
        id=row["id"],
        name=row["name"],
        vcpus=flavor["vcpus"],
        memory_mb=flavor["ram"],
        power=_POWER[row["power"]],
        boots=row["boots"],
        disks=(*rescue_of(row, rescue), *disks_of(row, image, bases)),
        nics=tuple(MachineNic(port["id"], port["mac_address"], port["mtu"]) for port in ports),
        config_drive=drive,
        soft=bool(row["soft"]),
    )


def disks_of(row: Mapping[str, Any], image: ImageInfo | None, bases: Collection[str] = ()) -> tuple[Disk, ...]:
    """The root disk, and blank ones for the flavor's ephemeral disk and swap."""
    flavor, key = row["flavor"], disk_key(row)
    size = flavor["disk"] or -(-(image.virtual_size if image else GIB) // GIB)
    disks = [Disk(key, size, row["disk_image"] or row["image_id"], bus(image))]
    if flavor["ephemeral"]:
        moved = f"{row['disk_image']}-ephemeral"
        disks.append(Disk(f"{key}-ephemeral", flavor["ephemeral"], moved if moved in bases else None))
    if flavor["swap"]:
        disks.append(Disk(f"{key}-swap", -(-flavor["swap"] // 1024)))
    return tuple(disks)


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
