"""Scenarios of Servers with volumes: what they do, what may fail in them, and how the world must look at the end."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from hagane.compute import device
from hagane.compute.row import disk_key
from hagane.drivers.volume.sim import SimVolumes
from hagane.reconcile.devices import Devices
from hagane.state.database import Row
from hagane.volume.attach import Connections
from hagane.volume.row import ATTACHMENT, VOLUME
from tests.scenarios.server_world import V21, World

Act = Callable[[World, str], Awaitable[Any]]
V3 = "/volume/v3"
WAYS = ("connect", "disconnect")


class Ways(Connections):
    """The ways to volumes, struck at will: `strike` is called before and after each call with its name."""

    def __init__(self, real: Connections) -> None:
        self._real = real
        self.calls: Counter[str] = Counter()
        self.open: set[tuple[str, str]] = set()  # (volume, Host) that are connected
        self.strike: Callable[[str, str], None] = lambda call, moment: None

    async def connect(self, volume: Row, connector: dict[str, Any]) -> dict[str, Any]:
        self.calls["connect"] += 1
        self.strike("connect", "before")
        made = await self._real.connect(volume, connector)
        self.open.add((volume["id"], connector["host"]))
        self.strike("connect", "after")
        return made

    async def disconnect(self, volume: Row, connector: dict[str, Any]) -> None:
        self.calls["disconnect"] += 1
        self.strike("disconnect", "before")
        await self._real.disconnect(volume, connector)
        self.open.discard((volume["id"], connector["host"]))
        self.strike("disconnect", "after")


def tap(w: World) -> Ways:
    """Put ourselves into the ways to volumes."""
    ways = Ways(w.cloud.use(Connections))
    w.cloud.provide(Connections, ways)
    return ways


def storage(w: World) -> SimVolumes:
    """The backend of the world's volumes."""
    found = w.cloud.use(Devices).volumes["sim"]
    assert isinstance(found, SimVolumes)
    return found


async def volume(w: World, **more: Any) -> str:
    """A volume that is available; its id."""
    body = {"volume": {"size": 1} | more}
    key: str = (await w.member.post(f"{V3}/volumes", json=body)).json()["volume"]["id"]

    async def there() -> bool:
        return (await status(w, key)) == "available"

    await w.until(there)
    return key


async def status(w: World, key: str) -> str | None:
    row = await VOLUME.get(w.db, id=key)
    return row["status"] if row else None


async def plug(w: World, server_id: str, key: str, **more: Any) -> None:
    body = {"volumeAttachment": {"volumeId": key} | more}
    answer = await w.member.post(f"{V21}/servers/{server_id}/os-volume_attachments", json=body)
    assert answer.status_code == 200, answer.text


async def attach(w: World, server_id: str) -> None:
    await plug(w, server_id, await volume(w))


async def attach_two(w: World, server_id: str) -> None:
    keys = [await volume(w), await volume(w)]
    for key in keys:
        await plug(w, server_id, key)


async def attached(w: World, server_id: str) -> None:
    await attach(w, server_id)
    await w.settled(server_id)


async def _plugged(w: World, server_id: str) -> str:
    row = await w.row(server_id)
    return str(next(one["volume_id"] for one in device.volumes(row) if one["boot_index"] != 0))


async def detach(w: World, server_id: str) -> None:
    key = await _plugged(w, server_id)
    answer = await w.member.delete(f"{V21}/servers/{server_id}/os-volume_attachments/{key}")
    assert answer.status_code == 202, answer.text


async def _swap(w: World, server_id: str, old: str) -> None:
    new = await volume(w)
    path = f"{V21}/servers/{server_id}/os-volume_attachments/{old}"
    answer = await w.admin.put(path, json={"volumeAttachment": {"volumeId": new}})
    assert answer.status_code == 202, answer.text


async def swap(w: World, server_id: str) -> None:
    await _swap(w, server_id, await _plugged(w, server_id))


async def swap_root(w: World, server_id: str) -> None:
    root = device.root(await w.row(server_id))
    assert root is not None
    await _swap(w, server_id, root["volume_id"])


async def rebuild(w: World, server_id: str) -> None:
    answer = await w.act(server_id, rebuild={"imageRef": w.image_id})
    assert answer.status_code == 202, answer.text


async def order(w: World, *, backed: bool) -> str:
    """A Server, from a volume that is made for it and ends with it, or from its image."""
    if not backed:
        return str((await w.create())["id"])
    root = {"source_type": "image", "uuid": w.image_id, "destination_type": "volume", "volume_size": 1,
            "boot_index": 0, "delete_on_termination": True}  # fmt: skip
    return str((await w.create(imageRef="", block_device_mapping_v2=[root]))["id"])


async def sane(w: World, server_id: str, ways: Ways) -> None:
    """Nothing hangs between two states, and each volume is where its status says: in one machine, or in none."""

    async def agrees() -> bool:
        return await _lies(w, server_id, ways) == ""

    try:
        await w.until(agrees, 8)
    except TimeoutError:
        raise AssertionError(await _lies(w, server_id, ways)) from None


async def _lies(w: World, server_id: str, ways: Ways) -> str:
    row = await w.row(server_id)
    entries = {one["volume_id"]: one for one in device.volumes(row)}
    if any(one.get(mark) for one in entries.values() for mark in ("new", "gone", "old", "reimage")):
        return f"not settled: {row['devices']}"
    machines = {name: await host.read() for name, host in w.hosts.items()}
    attachments = {one["volume_id"]: one for one in await ATTACHMENT.select(w.db)}
    for one in await VOLUME.select(w.db):
        key, mine = one["id"], entries.get(one["id"])
        if one["status"] == "deleting":
            return f"volume {key} is on its way out"
        if one["status"] != ("in-use" if mine else "available") or (key in attachments) != bool(mine):
            return f"volume {key} is {one['status']}, its device {mine}, its attachment {attachments.get(key)}"
        disk = disk_key(row) if mine and mine["boot_index"] == 0 else f"volume-{key}"
        # What a resize leaves behind on the old Host until it is confirmed is off, and connected to nothing.
        having = [name for name, seen in machines.items() for one in seen.values()
                  if disk in one.disks and (one.power != "off" or name == row["host"])]  # fmt: skip
        if having != ([row["host"]] if mine and row["host"] else []):
            return f"volume {key} is in the machine on {having}, the Server is on {row['host']}"
        if {name for known, name in ways.open if known == key} != ({row["host"]} if mine and row["host"] else set()):
            return f"volume {key} is connected for {ways.open}, the Server is on {row['host']}"
    return ""


async def clear(w: World) -> None:
    """Delete what volumes there are, and wait until they are gone."""
    for one in await VOLUME.select(w.db):
        await w.member.delete(f"{V3}/volumes/{one['id']}")

    async def none() -> bool:
        return await VOLUME.count(w.db) == 0

    await w.until(none)
