"""The parameters of the ramdisk's commands, exactly as the original agent takes them. Pure functions.

Named after the commands: `agent.start("standby.prepare_image", prepare_image(...))`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hagane.errors import Invalid

HASHES = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
Document = Mapping[str, Any]


def image_info(
    image_id: str, url: str, *, disk_format: str = "raw", hash_algo: str, hash_value: str, node_uuid: str,
    boot_mode: str, container_format: str = "bare", stream: bool = True, partition: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What an image is. `partition`: sizes for a partition image (see `partitions`); None for one of a whole disk.

    Raises Invalid without a checksum: an image that is not verified is not written."""
    if hash_algo not in HASHES or not hash_value:
        raise Invalid(f"The image {image_id} has no checksum that a ramdisk could verify.")
    info: dict[str, Any] = {
        "id": image_id, "urls": [url], "disk_format": disk_format, "container_format": container_format,
        "stream_raw_images": stream and disk_format == "raw", "os_hash_algo": hash_algo, "os_hash_value": hash_value,
        "checksum": hash_value, "node_uuid": node_uuid, "deploy_boot_mode": boot_mode,
        "image_type": "whole-disk" if partition is None else "partition",
    }  # fmt: skip
    return info | dict(partition or {})


def partitions(instance_info: Document, *, boot_mode: str) -> dict[str, Any]:
    """The sizes that a partition image needs, from a Node's instance_info (gigabytes there, megabytes on the wire)."""
    try:
        root, swap, ephemeral = (int(instance_info.get(key) or 0) for key in ("root_gb", "swap_mb", "ephemeral_gb"))
    except (TypeError, ValueError) as error:
        raise Invalid("root_gb, swap_mb and ephemeral_gb are whole numbers.") from error
    if root <= 0:
        raise Invalid("A partition image needs root_gb, the size of its root partition.")
    return {
        "root_mb": root << 10, "swap_mb": swap, "ephemeral_mb": ephemeral << 10, "boot_option": "local",
        "ephemeral_format": instance_info.get("ephemeral_format") or "ext4", "deploy_boot_mode": boot_mode,
        "preserve_ephemeral": bool(instance_info.get("preserve_ephemeral")),
    }  # fmt: skip


def prepare_image(info: Document, configdrive: str | None = None) -> dict[str, Any]:
    """standby.prepare_image. `configdrive`: its URL, or its content, gzipped and in base64."""
    return {"image_info": dict(info), "configdrive": configdrive or None}


def install_bootloader(uuids: Document, *, boot_mode: str, ignore_failure: bool = False) -> dict[str, Any]:
    """image.install_bootloader, with what standby.get_partition_uuids said. Whole disks have no partitions listed."""
    partition = "partitions" in uuids
    return {
        "root_uuid": uuids.get("root uuid") if partition else None,
        "efi_system_part_uuid": uuids.get("efi system partition uuid"), "prep_boot_part_uuid": None,
        "target_boot_mode": boot_mode, "ignore_bootloader_failure": ignore_failure,
    }  # fmt: skip


def steps(node: Document, ports: Sequence[Document]) -> dict[str, Any]:
    """deploy.get_deploy_steps, clean.get_clean_steps, service.get_service_steps."""
    return {"node": dict(node), "ports": [dict(port) for port in ports]}


def execute_step(
    kind: str, step: Document, node: Document, ports: Sequence[Document], versions: Document | None = None
) -> dict[str, Any]:
    """deploy.execute_deploy_step, clean.execute_clean_step, service.execute_service_step (`kind`: "clean" and so on).

    `versions`: hardware_manager_version from the list of steps: a ramdisk that was changed in between refuses."""
    return {"step": dict(step), **steps(node, ports), f"{kind}_version": dict(versions) if versions else None}


def finalize_rescue(password_hash: str) -> dict[str, Any]:
    """rescue.finalize_rescue. The password travels as its hash."""
    return {"rescue_password": password_hash, "hashed": True}


def agent_node(node: Document) -> dict[str, Any]:
    """What a ramdisk is told about its Node: nothing secret, and no more than it reads."""
    keys = ("uuid", "name", "properties", "instance_info", "driver_internal_info", "driver_info", "raid_config",
            "target_raid_config")  # fmt: skip
    shown = {key: node.get(key) or {} for key in keys} | {"uuid": node.get("uuid"), "name": node.get("name")}
    drop = ("password", "secret", "token", "configdrive", "rescue_password")
    for part in ("driver_info", "driver_internal_info", "instance_info"):
        shown[part] = {key: value for key, value in shown[part].items() if not any(word in key for word in drop)}
    return shown
