"""What the ramdisk is told about the image and the boot loader, and how far the image has come."""

from typing import Any

from hagane.baremetal.plug import plugs
from hagane.errors import DeviceFailed
from hagane.reconcile import node_net
from hagane.reconcile.node_job import Job


async def order(job: Job) -> dict[str, Any]:
    """Arguments of standby.prepare_image. Raises what the provisioning service raises, with the reason."""
    info = job.opened()["instance_info"]
    if not info.get("image_source"):
        raise DeviceFailed("instance_info has no image_source: there is nothing to deploy.")
    image = {
        "id": str(info["image_source"]), "image_type": info.get("image_type") or "whole-disk",
        "node_uuid": job.id, "stream_raw_images": True,
        "deploy_boot_mode": job.row["boot_mode"] or "bios", "boot_option": "local",
    } | await _content(job, info)  # fmt: skip
    for name in ("root_mb", "swap_mb", "ephemeral_mb", "ephemeral_format", "preserve_ephemeral", "root_gb", "swap_gb"):
        if info.get(name) is not None:
            image[name] = info[name]
    return {"image_info": image, "configdrive": info.get("configdrive")}


async def _content(job: Job, info: dict[str, Any]) -> dict[str, Any]:
    """Where the bytes are, and what their checksum must be."""
    if not plugs(job.row):  # a simulated machine, or one whose network is not ours: it fetches the image by itself
        algorithm, value = _named(info)
        return {"urls": [str(info["image_source"])], "disk_format": info.get("image_disk_format") or "raw",
                "container_format": "bare", "os_hash_algo": algorithm, "os_hash_value": value}  # fmt: skip
    base = await node_net.base_url(job, "provisioning")
    found = await job.tools.provision.image(job.row | {"instance_info": info}, base_url=base)
    return {"id": found.id, "urls": [found.url], "disk_format": found.format, "container_format": "bare",
            "os_hash_algo": found.hash_algo, "os_hash_value": found.hash_value, "size": found.size}  # fmt: skip


def _named(info: dict[str, Any]) -> tuple[str, str]:
    if info.get("image_os_hash_value"):
        return str(info.get("image_os_hash_algo") or "sha512"), str(info["image_os_hash_value"])
    value = str(info.get("image_checksum") or "")
    return {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}.get(len(value), "sha256"), value


async def bootloader(job: Job) -> tuple[str, dict[str, Any]]:
    """The command that makes the disk start by itself; none is needed for a whole disk that a BIOS starts."""
    info, mode = job.row["instance_info"] or {}, job.row["boot_mode"] or "bios"
    whole = (info.get("image_type") or "whole-disk") == "whole-disk"
    if whole and mode == "bios":
        return "", {}
    found: dict[str, Any] = job.life.get("partitions") or {}
    return "image.install_bootloader", {
        "root_uuid": found.get("root uuid") or info.get("image_rootfs_uuid"), "target_boot_mode": mode,
        "efi_system_part_uuid": found.get("efi system partition uuid"), "ignore_bootloader_failure": whole,
    }  # fmt: skip


def progress(job: Job) -> tuple[int | None, str]:
    """Percent, and how fast, as the provisioning service sees it."""
    if not plugs(job.row):
        return None, ""
    found = job.tools.provision.progress(job.id)
    if found is None:
        return None, ""
    percent = min(100, found.sent * 100 // found.total) if found.total else None
    return percent, f"{found.sent / 1e6:.0f} of {found.total / 1e6:.0f} MB at {found.rate / 1e6:.1f} MB/s"
