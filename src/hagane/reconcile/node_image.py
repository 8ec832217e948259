"""What the ramdisk is told about the image and the boot loader, and how far the image has come."""

import asyncio
import base64
import gzip
from typing import Any

import msgspec

from hagane.baremetal.plug import plugs
from hagane.baremetal.provision import NodeImage, checksum_of
from hagane.drivers import configdrive
from hagane.drivers.deploy import params
from hagane.errors import DeviceFailed
from hagane.reconcile import node_net, provision_boot
from hagane.reconcile.node_agent import agent_of
from hagane.reconcile.node_job import Job


async def order(job: Job) -> dict[str, Any]:
    """Arguments of standby.prepare_image. Raises what the provisioning service raises, with the reason."""
    info = job.opened()["instance_info"]
    if not info.get("image_source"):
        raise DeviceFailed("instance_info has no image_source: there is nothing to deploy.")
    mode = _mode(job)
    if not plugs(job.row):  # a simulated machine, or one whose network is not ours: it fetches the image by itself
        algorithm, value = checksum_of(info)
        found = NodeImage(str(info["image_source"]), str(info["image_source"]),
                          str(info.get("image_disk_format") or "raw"), 0, algorithm, value)  # fmt: skip
    else:
        base = await node_net.base_url(job, "provisioning")
        found = await job.tools.provision.image(job.row | {"instance_info": info}, base_url=base)
    image = params.image_info(
        found.id, found.url, disk_format=found.format, hash_algo=found.hash_algo, hash_value=found.hash_value,
        node_uuid=job.id, boot_mode=mode, partition=None if _whole(info) else params.partitions(info, boot_mode=mode),
    )  # fmt: skip
    return params.prepare_image(image, await drive(info.get("configdrive")))


def _mode(job: Job) -> str:
    """In which mode the machine starts its disk: the one in which it starts its ramdisk."""
    return provision_boot.mode(job.row).value


def _whole(info: dict[str, Any]) -> bool:
    """Whether the image is one of a whole disk. As in the real service, one with a kernel is of a partition."""
    return not info.get("kernel") and info.get("image_type") != "partition"


async def drive(given: Any) -> str | None:
    """The config drive as the ramdisk takes it: its URL or content, or made from the parts that were given."""
    if not isinstance(given, dict):
        return given or None
    files = {f"openstack/latest/{name}.json": msgspec.json.encode(given.get(name) or {})
             for name in ("meta_data", "network_data", "vendor_data")}  # fmt: skip
    user = given.get("user_data")
    if user:
        text = msgspec.json.encode(user) if isinstance(user, dict | list) else str(user).encode()
        files["openstack/latest/user_data"] = text
    made = await asyncio.to_thread(lambda: gzip.compress(configdrive.build(files)))
    return base64.b64encode(made).decode()


async def bootloader(job: Job) -> tuple[str, dict[str, Any]]:
    """The command that makes the disk start by itself; none is needed for a whole disk that a BIOS starts."""
    mode, whole = _mode(job), _whole(job.row["instance_info"] or {})
    if whole and mode == "bios":
        return "", {}
    uuids: dict[str, Any] = {}
    if not whole:
        answer = await job.live((await agent_of(job)).call("standby.get_partition_uuids", {}))
        uuids = dict(answer.result)
    return "image.install_bootloader", params.install_bootloader(uuids, boot_mode=mode, ignore_failure=whole)


async def foresee(job: Job) -> None:
    """An image from outside is looked at before a machine is started for it. Raises what `order` raises."""
    info = job.opened()["instance_info"]
    if plugs(job.row) and "://" in str(info.get("image_source") or ""):
        await job.live(job.tools.provision.image(job.row | {"instance_info": info}, base_url=""))


def problem(job: Job) -> str:
    """Why no more of the image comes from where it is, in words."""
    found = job.tools.provision.progress(job.id) if plugs(job.row) else None
    return found.problem if found is not None else ""


def progress(job: Job) -> tuple[int | None, str]:
    """Percent, and how fast, as the provisioning service sees it."""
    if not plugs(job.row):
        return None, ""
    found = job.tools.provision.progress(job.id)
    if found is None:
        return None, ""
    percent = min(100, found.sent * 100 // found.total) if found.total else None
    return percent, f"{found.sent / 1e6:.0f} of {found.total / 1e6:.0f} MB at {found.rate / 1e6:.1f} MB/s"
