"""What a Node would fetch or join for whoever names it: images, networks, Ports. One names only what one may use.

A Node's owner need not be an administrator, and what a Node boots or writes to its disk its owner can read. The cloud
fetches images and plugs Nics with rights of its own, so the caller's rights are asked here, while they are known: when
a name is written, and again when a deployment is asked for (the real service asks with the caller's token then).

A URL is fetched by this process, which reaches what the caller may not (the out-of-band network, what listens on this
machine): only an administrator names one. Once it is written, whoever may deploy the Node may deploy it.
"""

from collections.abc import Mapping
from typing import Any

from hagane.api.http import Caller
from hagane.baremetal.service_port import ALL
from hagane.errors import Forbidden, Invalid
from hagane.image.image import Image
from hagane.image.row import visible_to
from hagane.network import attach
from hagane.network.network import Network
from hagane.network.port_row import PORT
from hagane.state.database import Reader

IMAGES = {
    "driver_info": ("deploy_kernel", "deploy_ramdisk", "deploy_iso", "rescue_kernel", "rescue_ramdisk", "rescue_iso"),
    "instance_info": ("image_source", "kernel", "ramdisk", "boot_iso"),
}
NETWORKS = tuple(f"{role}_network" for role in ALL)
URLS = ("image_source", "image_checksum")
"""Parts of instance_info that may be a URL to be fetched."""
Documents = Mapping[str, Any]


async def check(reader: Reader, caller: Caller, before: Documents, after: Documents) -> None:
    """Whether the caller may use what `after` names and `before` did not. Raises Invalid.

    What does not exist, and what the caller may not know of, read alike."""
    if caller.is_admin:
        return
    for part, keys in IMAGES.items():
        for name in _new(part, keys, before, after):
            await _image(reader, caller, name)
    for name in _new("driver_info", NETWORKS, before, after):
        # By name only the administrator's are found, which are there for everybody.
        if await Network.table.get(reader, id=name) and not await attach.network_for(reader, _project(caller), name):
            raise Invalid(f"Network {name} could not be found.")


def check_urls(caller: Caller, before: Documents, after: Documents) -> None:
    """Whether the caller may have fetched what `after` names and `before` did not. Raises Forbidden."""
    if caller.is_admin:
        return
    for name in _new("instance_info", URLS, before, after):
        if "://" in name.removeprefix("glance://"):  # what is fetched is what stands behind it
            raise Forbidden("Only an administrator may name an image by its URL: put it into the image service, and "
                            "name its id.")  # fmt: skip


async def check_port(reader: Reader, caller: Caller, port_id: str) -> None:
    """Whether the caller may plug a Node into a Port. Raises Invalid."""
    if caller.is_admin or await PORT.get(reader, id=port_id) is None:
        return  # a Port that is not there is refused when it is needed
    if await attach.port_for(reader, _project(caller), port_id) is None:
        raise Invalid(f"Unable to attach VIF {port_id}: Port {port_id} could not be found.")


async def _image(reader: Reader, caller: Caller, name: str) -> None:
    row = await Image.table.get(reader, id=name.removeprefix("glance://"))
    if row is not None and not await visible_to(reader, caller, row):
        raise Invalid(f"Image {name} can not be found.")


def _new(part: str, keys: tuple[str, ...], before: Documents, after: Documents) -> list[str]:
    old, new = before.get(part) or {}, after.get(part) or {}
    return [str(new[key]) for key in keys if new.get(key) and new[key] != old.get(key)]


def _project(caller: Caller) -> str:
    """Nobody's where the token is of no project: None would mean an administrator to the network."""
    return caller.project_id or ""
