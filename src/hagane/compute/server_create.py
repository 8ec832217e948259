"""POST /servers: everything is checked, claimed and stored in one transaction; a Server that is refused leaves nothing.

    body ─▶ flavor, image, keypair, quota ─▶ ports ─▶ rows (BUILD) ─▶ wake the reconciler

Where a Server goes is not decided here: reconcile/server.py claims a Host for many Servers at once.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from hagane.api.http import Request
from hagane.baremetal.node import NODE
from hagane.compute import (
    device_image,
    device_order,
    flavor_node,
    image_property,
    nic,
    personality,
    quota,
    server_group,
    steel,
)
from hagane.compute import keypair as keypairs
from hagane.compute.base import api, at, need, own
from hagane.compute.flavor import find as find_flavor
from hagane.compute.flavor import snapshot
from hagane.compute.row import KIND, SERVER, Task, VmState
from hagane.errors import Forbidden, HaganeError, Invalid, NotFound, QuotaExceeded
from hagane.image.store import ImageInfo
from hagane.placement.host import DEFAULT_ZONE, HOST
from hagane.state import clock, event, work
from hagane.state.database import Row, Tx
from hagane.state.secret import Secrets
from hagane.state.table import Sql

GIB = 1 << 30
AT_ONCE = 1000  # Servers of one request, which is one transaction
_LETTERS = ("23456789", "ABCDEFGHJKLMNPQRSTUVWXYZ", "abcdefghijkmnopqrstuvwxyz")  # without those easily mistaken


@dataclass
class Order:
    """What a checked body asks for, before anything is looked up."""

    server: dict[str, Any]
    hints: dict[str, Any]
    least: int
    most: int
    password: str
    zone: str | None = None
    host: dict[str, Any] | None = None  # {"host", "forced"}
    groups: list[str] | None = None
    devices: device_order.Asked = field(default_factory=device_order.Asked)
    reservation: str = field(
        default_factory=lambda: "r-" + "".join(secrets.choice(_LETTERS[0] + _LETTERS[2]) for _ in range(8))
    )


def password() -> str:
    """Twelve characters, at least one of each kind."""
    chosen = [secrets.choice(letters) for letters in _LETTERS]
    chosen += [secrets.choice("".join(_LETTERS)) for _ in range(12 - len(chosen))]
    secrets.SystemRandom().shuffle(chosen)
    return "".join(chosen)


def order_of(request: Request, body: dict[str, Any]) -> Order:
    """What the body asks for. Raises Invalid, Forbidden."""
    server = body["server"]
    need(request, api("servers:create"))
    least = int(server.get("min_count", 1))
    most = int(server.get("max_count", least))
    if least > most:
        raise Invalid("min_count must be <= max_count")
    if least > AT_ONCE:
        raise Invalid(f"A request creates at most {AT_ONCE} servers")
    hints = body.get("os:scheduler_hints") or body.get("OS-SCH-HNT:scheduler_hints") or {}
    order = Order(server, hints, least, min(most, AT_ONCE), server.get("adminPass", "") or password())
    order.devices = device_order.asked(request, server)
    _destination(request, order)
    if (groups := server.get("security_groups")) is not None:
        order.groups = list(dict.fromkeys(group["name"] for group in groups if group.get("name")))
    networks = server.get("networks")
    if networks and networks != "none":
        need(request, api("servers:create:attach_network"))
    if server.get("trusted_image_certificates"):
        raise Invalid("Signed images are not verified by this cloud: leave out trusted_image_certificates.")
    if server.get("hostname") and most > 1:
        raise Invalid("Unable to allocate a single hostname to multiple instances")
    return order


def _destination(request: Request, order: Order) -> None:
    """`zone`, `zone:host` and `zone:host:node`; and from 2.74 on `host` and `hypervisor_hostname`."""
    text = order.server.get("availability_zone")
    zone, forced = _split_zone(text) if text else (None, None)
    order.zone = zone or None
    if forced:
        need(request, api("servers:create:forced_host"))
        order.host = {"host": forced, "forced": True}
    asked = order.server.get("host") or order.server.get("hypervisor_hostname")
    if asked:
        need(request, "compute:servers:create:requested_destination")
        if forced:
            raise Invalid("One mechanism with host and/or hypervisor_hostname and another mechanism with"
                          " zone:host:node are mutually exclusive.")  # fmt: skip
        order.host = {"host": asked, "forced": False}


def _split_zone(text: str) -> tuple[str, str | None]:
    parts = text.split(":")
    if len(parts) > 3:
        raise Invalid("Unable to parse availability_zone")
    return parts[0], next((part for part in parts[1:] if part), None)


async def create(request: Request, tx: Tx, order: Order) -> list[Row]:
    """Store the Servers of an order; the first of them is the answer's."""
    await _check_place(tx, order)
    flavor = await _flavor(request, tx, order)
    boot = await device_order.boot_of(request, tx, order.server.get("imageRef"), order.devices, order.most)
    flavor_node.check(flavor)
    if boot.image:
        check_image(boot.image, backed=boot.volume is not None)
    check_boot(request, flavor, boot)
    steel.check_devices(flavor, boot, config_drive=bool(order.server.get("config_drive")))
    limits = await quota.limits_of(tx, request.caller.project_id or "", request.caller.user_id)
    check_metadata(order.server.get("metadata", {}), limits)
    personality.check(order.server.get("personality", []), limits)
    keypair = await key_of(request, tx, order.server.get("key_name"))
    count = await quota.take(tx, request.caller.project_id or "", flavor, order.least, order.most)
    base = _row(request, order, flavor, boot, keypair)
    base["group_id"] = await server_group.join(request, tx, order.hints, count)
    networks = await nic.plan(request, tx, order.server.get("networks"), order.groups, count)
    rows = []
    for index in range(count):
        row = base | _each(order, base, index, count)
        row["nics"] = await nic.make(request, tx, row, networks)
        row["devices"] = await device_order.make(request, tx, row, boot)
        await SERVER.insert(tx, row)
        await event.begin(tx, KIND, row["id"], request.id, "create", user_id=row["user_id"],
                          project_id=row["project_id"])  # fmt: skip
        await work.wake(tx, KIND, row["id"], request_id=request.id)
        rows.append(row)
    return rows


async def _check_place(tx: Tx, order: Order) -> None:
    if order.host:
        hosts = await HOST.select(tx)
        names = {name for host in hosts for name in (host["name"], (host["facts"] or {}).get("hostname"))}
        wanted = order.host["host"]
        if wanted not in names and not await NODE.count(tx, conditions=[Sql("id = :n OR name = :n", {"n": wanted})]):
            raise Invalid(f"Compute host {order.host['host']} could not be found.")
        return
    known = not order.zone or order.zone == DEFAULT_ZONE
    if not known and not await HOST.count(tx, {"zone": order.zone, "state": "up", "disabled": False}):
        raise Invalid("The requested availability zone is not available")


async def _flavor(request: Request, tx: Tx, order: Order) -> Row:
    try:
        flavor = await find_flavor(tx, request, order.server["flavorRef"])
    except HaganeError as error:
        raise Invalid(error.message, code=error.code) from error
    if flavor["disabled"]:
        raise Invalid(f"Flavor {flavor['id']} could not be found.")
    return flavor


def check_image(image: ImageInfo, *, backed: bool = False) -> None:
    """Whether a Server can start from it at all; `backed`: from a volume made of it, or of what it stands for. Raises
    Invalid."""
    if image.status != "active":
        raise Invalid(f"Image {image.id} is not active.", code="ImageNotActive")
    if image.problem and not backed:
        raise Invalid(f"Image {image.id} is unacceptable: {image.problem}", code="ImageUnacceptable")


def check_boot(request: Request, flavor: dict[str, Any], boot: device_order.Boot) -> None:
    """Whether what a Server starts from fits the flavor, and its devices each other. Raises Invalid, Forbidden."""
    root = boot.volume
    if root is None:
        if boot.image:
            check_fit(request, flavor, boot.image)
    else:
        check_memory(flavor, boot.min_ram)
        if root["volume_size"] is not None:
            device_image.fits(root["volume_size"], boot.min_disk)
    device_order.check(flavor, boot.wishes)


def check_memory(flavor: Mapping[str, Any], min_ram: int) -> None:
    if flavor["ram"] < min_ram:
        raise Invalid("Flavor's memory is too small for requested image.")


def check_fit(request: Request, flavor: dict[str, Any], image: ImageInfo) -> None:
    """Whether the image fits the flavor. Raises Invalid, Forbidden."""
    check_memory(flavor, image.min_ram)
    disk = flavor["disk"] * GIB
    if not disk:
        if not request.allowed(api("servers:create:zero_disk_flavor"), own(request)):
            raise Forbidden("Only volume-backed servers are allowed for flavors with zero disk.")
        return
    size = max(image.size, image.virtual_size)
    if size > disk:
        raise Invalid("Flavor's disk is too small for requested image. "
                      f"Flavor disk is {disk} bytes, image is {size} bytes.")  # fmt: skip
    if image.min_disk > flavor["disk"]:
        raise Invalid("Flavor's disk is smaller than the minimum size specified in image metadata. "
                      f"Flavor disk is {disk} bytes, minimum size is {image.min_disk * GIB} bytes.")  # fmt: skip


def check_metadata(metadata: dict[str, str], limits: dict[str, int]) -> None:
    allowed = limits["metadata_items"]
    if 0 <= allowed < len(metadata):
        raise QuotaExceeded(f"Maximum number of metadata items exceeds {allowed}")


async def key_of(request: Request, tx: Tx, name: str | None) -> dict[str, Any] | None:
    """The copy of a keypair that a Server keeps. Raises Invalid."""
    if name is None:
        return None
    try:
        row = await keypairs.find(tx, request.caller.user_id, name)
    except NotFound as error:
        raise Invalid("Invalid key_name provided.") from error
    return {part: row[part] for part in ("name", "type", "public_key")}


def _row(request: Request, order: Order, flavor: Row, boot: device_order.Boot, keypair: dict[str, Any] | None) -> Row:
    """What all Servers of an order share."""
    server, moment = order.server, clock.now()
    # A Node always has one: it is told by the ramdisk that writes the image, before any network is there.
    drive = bool(server.get("config_drive")) or boot.properties.get("img_config_drive") == "mandatory"
    drive = drive or flavor_node.wish_of(flavor) is not None
    return {
        "project_id": request.caller.project_id, "user_id": request.caller.user_id,
        "image_id": server.get("imageRef") or None, "image_properties": image_property.of(boot.properties),
        "description": server.get("description") if at(request, 19) else server["name"],
        "flavor_id": flavor["id"], "flavor": snapshot(flavor),
        "key_name": keypair and keypair["name"], "keypair": keypair, "metadata": server.get("metadata", {}),
        "tags": list(dict.fromkeys(server.get("tags") or [])), "user_data": server.get("user_data"),
        "config_drive": drive, "zone": order.zone, "hints": order.hints, "wanted_host": order.host,
        "security_groups": order.groups or ["default"], "files": server.get("personality", []),
        "secret": seal(request, order.password) if drive else None,
        "disk_config": server.get("OS-DCF:diskConfig", "MANUAL"),
        "access_ipv4": server.get("accessIPv4"), "access_ipv6": server.get("accessIPv6"),
        "reservation_id": order.reservation, "power": "on", "boots": 1, "soft": False, "disk_version": 1,
        "snapshot": None, "terminate": False, "action": "create", "request_id": request.id, "acted_at": moment,
        "generation": 1, "observed_generation": 0, "vm_state": VmState.BUILDING, "task_state": Task.SCHEDULING,
        "power_state": 0, "host": None, "move": None, "rescue": None, "tried": [], "progress": 0, "created_at": moment,
        "updated_at": moment,
    }  # fmt: skip


def seal(request: Request, text: str) -> str:
    """A secret as a row keeps it."""
    return request.cloud.use(Secrets).encrypt(text)


def _each(order: Order, base: Row, index: int, count: int) -> Row:
    """What is each Server's own."""
    server_id, name = str(uuid4()), order.server["name"]
    host = order.server.get("hostname") or hostname(name) or f"server-{server_id}"
    if count > 1:
        name, host = f"{name}-{index + 1}", f"{host[:60]}-{index + 1}"
    return {"id": server_id, "name": name, "hostname": host, "launch_index": index}


def hostname(name: str) -> str:
    """A Server's name as a host name: what cannot be in one is left out; may be empty."""
    text = re.sub(r"[ _.]", "-", name).encode("latin-1", "ignore").decode("latin-1")
    return re.sub(r"[^\w.-]+", "", text, flags=re.ASCII).lower().strip(".-")[:63]
