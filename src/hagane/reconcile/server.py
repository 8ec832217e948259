"""Servers on Hosts (server_kind.py says which those are): brings each to its row. Read server_plan.py first; it says
what is done when.

    claims ─▶ rows, ports, Hosts (one query each) ─▶ place the new ones (one transaction) ─▶ each on its own:
              plan ─▶ apply to its Host ─▶ what came of it, into the row

Whatever a Host says at the end is what the row gets. A Host that gives no answer is tried again, by the engine; one
that says no ends the action, and a Server that was being built goes to another Host, three in all.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator, Mapping

from hagane.cloud import Cloud
from hagane.compute import device, metadata, nic
from hagane.compute.row import Task, VmState, disk_key, port_ids
from hagane.drivers import configdrive
from hagane.drivers.hypervisor.base import BaseImage, Seen
from hagane.errors import DeviceFailed, HaganeError, NotFound, Unavailable
from hagane.image import store
from hagane.image.store import ImageInfo
from hagane.placement.host import HOST, is_up
from hagane.reconcile import server_backup, server_end, server_live, server_move, server_plan, server_shelf
from hagane.reconcile.engine import Answer, Done, Failed, Outcome, Wait
from hagane.reconcile.host_registry import Registry
from hagane.reconcile.server_machine import base_of, machine_of
from hagane.reconcile.server_place import place
from hagane.reconcile.server_plan import Apply, Blocked, Forget, Notice, Remove, Snapshot
from hagane.reconcile.server_steps import Overtaken, Steps
from hagane.reconcile.server_telling import telling
from hagane.reconcile.server_volume import Volumes
from hagane.reconcile.server_volume_rows import held, leaving, under_way
from hagane.state import clock
from hagane.state.database import Row

log = logging.getLogger(__name__)
PLUG_SECONDS = 300  # until a machine whose ports do not come up is given up
ACTION_SECONDS = 900  # until an action that the Host does not answer is given up


class ServerReconciler:
    """See the module's text."""

    def __init__(self, cloud: Cloud, registry: Registry) -> None:
        self._cloud, self._db, self._registry = cloud, cloud.db, registry
        self._moves, self._volumes = server_move.Moves(cloud, registry), Volumes(cloud)
        self._lives = server_live.LiveMoves(cloud, registry, self._volumes)

    async def reconcile(self, rows: dict[str, Row]) -> Mapping[str, Answer]:
        """The outcome of each, or the work that leads to it."""
        hosts = {host["name"]: host for host in await HOST.select(self._db)}
        fresh = [key for key, row in rows.items() if _homeless(row)]
        if fresh:
            rows = rows | await self._db.write(lambda tx: place(tx, fresh))
        ports = await nic.ports_of(self._db, [row for row in rows.values() if row["nics"]])
        wanted = {row["image_id"] for row in rows.values()}
        wanted |= {row["disk_image"] for row in rows.values() if row["vm_state"] == VmState.SHELVED_OFFLOADED}
        wanted |= {row["rescue"]["image_id"] for row in rows.values() if row["rescue"]}
        images = await self._images({image_id for image_id in wanted if image_id})
        return {key: self._one(row, hosts.get(row["host"]), ports.get(key, []), images)
                for key, row in rows.items()}  # fmt: skip

    async def _images(self, ids: set[str]) -> dict[str, ImageInfo]:
        """Those of the images that still exist; few, however many Servers."""
        found = {}
        for image_id in ids:
            with contextlib.suppress(NotFound):
                found[image_id] = await store.base_image(self._db, self._cloud, image_id)
        return found

    def _one(self, row: Row, host: Row | None, ports: list[Row], images: Mapping[str, ImageInfo]) -> Answer:
        """The outcome for one Server, or the work that leads to it."""
        idle = row["task_state"] is None and not row["terminate"]
        if idle and row["host"] is None and row["vm_state"] == VmState.ERROR:
            return Failed("No Host has room for it.")
        return self._next(row, host, ports, images)

    async def _next(self, row: Row, host: Row | None, ports: list[Row], images: Mapping[str, ImageInfo]) -> Outcome:
        try:
            return await self._step(row, host, ports, images)
        except Overtaken:
            return Wait(0.0, "A later action overtook the one before.")

    async def _step(self, row: Row, host: Row | None, ports: list[Row], images: Mapping[str, ImageInfo]) -> Outcome:
        if server_live.is_going(row) and not row["terminate"]:
            return await self._lives.step(row, _in_order(row, ports), images.get(row["image_id"]))
        lost = not set(port_ids(row)) <= {port["id"] for port in ports}
        step = server_plan.plan(row, await self._seen(row, host, age=60.0), host, lost=lost)
        if isinstance(step, Notice):
            # Before anything is said of it the Host is asked once more: a reading that began after the row was read.
            step = server_plan.plan(row, await self._seen(row, host), host, lost=lost)
        if isinstance(step, Apply | Remove) and self._registry.station(row["host"]).busy:
            return Wait(1.0, f"Host {row['host']} is busy with other machines.", _deadline(row))
        if isinstance(step, Apply) and server_move.is_here(row):
            return await self._move(row, ports, images.get(row["image_id"]))
        match step:
            case Remove() | Forget():
                return await self._remove(row, touch=isinstance(step, Remove))
            case Apply():
                if row["task_state"] == Task.SHELVING:
                    return await self._shelve(row, ports, images.get(row["image_id"]))
                return await self._apply(row, ports, images)
            case Snapshot():
                return await self._snapshot(row)
            case Notice(changes):
                return await server_end.notice(self._db, row, changes)
            case Blocked(why):
                return await self._blocked(row, why)
        return Done()

    async def _seen(self, row: Row, host: Row | None, *, age: float = 0.0) -> Seen | None:
        """What the Host shows of the machine. A Server being worked at needs no look: applying looks by itself."""
        pending = row["task_state"] is not None or row["terminate"]
        if pending or row["host"] is None or host is None or not is_up(host):
            return None
        station = self._registry.station(row["host"])
        return (await station.read(age=age)).get(row["id"])

    async def _blocked(self, row: Row, why: str) -> Outcome:
        """The Host is away. A Server that was being built is tried elsewhere; anything else waits for it."""
        if row["vm_state"] == VmState.BUILDING:
            return await server_end.failed(self._db, row, Steps(row), DeviceFailed(why))
        if row["task_state"] is None and not under_way(row):
            return Wait(10.0, why)  # nothing is to be done that could be given up
        deadline = _deadline(row)
        if clock.wall() > deadline:
            return await self._refused(row, Steps(row), DeviceFailed(f"{why}; given up."))
        return Wait(10.0, why, deadline)

    async def _apply(self, row: Row, ports: list[Row], images: Mapping[str, ImageInfo]) -> Outcome:
        station, steps, image = self._registry.station(row["host"]), Steps(row), images.get(row["image_id"])
        ordered = _in_order(row, ports)
        if row["vm_state"] == VmState.BUILDING and image is None and device.root(row) is None:
            return await self._refused(row, steps, _gone(row), final=True)
        try:
            row, why = await self._volumes.prepare(row, steps)
            if (device.root(row) or {}).get("reimage"):
                row, why = await self._reimage(row, steps)
        except DeviceFailed as error:
            return await self._refused(row, steps, error, final=True)
        if why and clock.wall() > _deadline(row):
            return await self._refused(row, steps, DeviceFailed(f"{why} Given up."), final=True)
        if why:
            await self._db.write(steps.write)
            return Wait(5.0, why, _deadline(row))  # whoever makes a volume wakes its Server
        system = row["rescue"]["image_id"] if row["rescue"] else None
        found = (images.get(one) for one in (row["image_id"], row["disk_image"], system) if one)
        bases: dict[str, BaseImage] = {one.id: base_of(one) for one in found if one}
        bases |= await asyncio.to_thread(self._moves.bases, row)
        try:
            sources = await self._volumes.connect(row)
            drive, rescue = await self._drive(row, ordered), images.get(system or "")
            machine = machine_of(row, ordered, image, drive, bases, rescue, sources)
            async with station.turn():
                seen = await telling(self._db, row, steps, station.driver.apply(machine, bases, steps.progress))
            await self._volumes.let_go(leaving(row))
        except DeviceFailed as error:
            return await self._refused(row, steps, error)
        except (Unavailable, NotFound) as error:
            return await self._retry(row, steps, error)
        station.saw(seen)
        down = [port["id"] for port in ordered if port["status"] != "ACTIVE" and port["admin_state_up"]]
        if row["power"] == "on" and down:
            return await self._unplugged(row, steps, seen, ordered, down)
        return await self._finished(row, steps, seen, ordered)

    async def _reimage(self, row: Row, steps: Steps) -> tuple[Row, str]:
        """A rebuild of a volume-backed Server: its machine goes, its root volume gets the image's content. Returns
        the row as it is then, and what is waited for."""
        root = device.root(row) or {}
        station, wanted = self._registry.station(row["host"]), root["reimage"]
        steps.progress("reimage", 0)
        try:
            image = await store.base_image(self._db, self._cloud, wanted["image"])
        except NotFound as error:
            raise DeviceFailed(f"Image {wanted['image']} could not be found.") from error
        if not wanted["begun"]:
            async with station.turn():
                await station.driver.remove(row["id"])
            station.forgot(row["id"])
        return await self._volumes.reimage(row, image)

    async def _finished(self, row: Row, steps: Steps, seen: Seen, ordered: list[Row]) -> Outcome:
        if row["task_state"] == Task.RESIZE_FINISH:
            await self._moves.done(row)
        if row["vm_state"] == VmState.SHELVED_OFFLOADED and row["disk_image"]:
            await store.discard(self._cloud, row["disk_image"])
        return await server_end.finished(self._db, row, steps, seen, ordered)

    async def _move(self, row: Row, ports: list[Row], image: ImageInfo | None) -> Outcome:
        """A step of a resize. To be carried to another Host, the machine is stopped first."""
        if row["task_state"] != Task.RESIZE_MIGRATING:
            return await self._moves.step(row)
        station, steps, ordered = self._registry.station(row["host"]), Steps(row), _in_order(row, ports)
        try:
            off, sources = row | {"power": "off", "soft": True}, await self._volumes.connect(row)
            machine = machine_of(off, ordered, image, await self._drive(row, ordered), sources=sources)
            async with station.turn():
                await telling(self._db, row, steps, station.driver.apply(machine, {}, steps.progress))
            await telling(self._db, row, steps, self._moves.carry(row, steps))
        except DeviceFailed as error:
            return await self._moves.undo(row, steps, error)
        except NotFound as error:
            return await self._moves.undo(row, steps, DeviceFailed(error.message))
        await self._db.write(lambda tx: steps.end(tx, whole=False))
        return Wait(0.0, "Its disks are copied.")

    async def _unplugged(self, row: Row, steps: Steps, seen: Seen, ordered: list[Row], down: list[str]) -> Outcome:
        """The machine runs, its ports are not up yet. A Server that ran before waits for new ones only, and not for
        ever."""
        moved = row["old_host"] is not None or row["vm_state"] == VmState.SHELVED_OFFLOADED
        building, fresh = row["vm_state"] == VmState.BUILDING, {one["port_id"] for one in row["nics"] if one.get("new")}
        deadline = clock.seconds(row["acted_at"]) + PLUG_SECONDS
        if not building and (not (moved or fresh & set(down)) or clock.wall() > deadline):
            return await self._finished(row, steps, seen, ordered)
        why = f"The network has not yet plugged {len(down)} port(s): {', '.join(down)}."
        if clock.wall() > deadline:
            return await self._refused(row, steps, DeviceFailed(why), final=True)  # no fault of this Host
        steps.progress("plug", 0)
        await self._db.write(steps.write)
        return Wait(5.0, why, deadline)  # whoever sees a port come up wakes its machine

    async def _retry(self, row: Row, steps: Steps, error: HaganeError) -> Outcome:
        """No answer: again later, until the action has taken too long."""
        if clock.wall() > _deadline(row):
            return await self._refused(row, steps, DeviceFailed(error.message, detail=error.detail))
        raise error

    async def _refused(self, row: Row, steps: Steps, error: HaganeError, *, final: bool = False) -> Outcome:
        """The Host said no. What a failed build left there goes at once, or with the Host's own pass."""
        if row["vm_state"] in (VmState.BUILDING, VmState.SHELVED_OFFLOADED):
            with contextlib.suppress(HaganeError):
                await self._registry.station(row["host"]).driver.remove(row["id"])
                await self._volumes.let_go(held(row))
        self._registry.station(row["host"]).stale()
        if server_move.is_going(row):
            return await self._moves.undo(row, steps, error)
        if row["vm_state"] == VmState.SHELVED_OFFLOADED:
            await self._db.write(lambda tx: server_shelf.returned(tx, row, steps, error))
            return Failed(error.message)
        there = await self._there(row)
        return await server_end.failed(self._db, row, steps, error, final=final, there=there)

    async def _there(self, row: Row) -> frozenset[str] | None:
        """Keys of the disks that the machine has; None: its Host does not say, or nobody has to know."""
        with contextlib.suppress(HaganeError):
            if under_way(row):
                seen = (await self._registry.station(row["host"]).read()).get(row["id"])
                return seen.disks if seen else frozenset()
        return None

    async def _remove(self, row: Row, *, touch: bool) -> Outcome:
        steps = Steps(row)
        if touch:
            station = self._registry.station(row["host"])
            steps.progress("remove", 0)
            try:
                async with station.turn():
                    await station.driver.remove(row["id"])
            except DeviceFailed as error:
                return await server_end.stuck(self._db, row, steps, error)
            station.forgot(row["id"])
        if row["move"]:
            await (self._lives if server_live.is_going(row) else self._moves).forget(row)
        try:
            await self._volumes.let_go(held(row))
        except HaganeError as error:
            if clock.wall() < _deadline(row):
                raise Unavailable(f"Its volumes are still connected: {error.message}") from error
            log.warning("server %s ends, its volumes may still be connected: %s", row["id"], error.message)
        return await server_end.forget(self._cloud, row, steps)

    async def _snapshot(self, row: Row) -> Outcome:
        """Stream the disk into the image. A Host that stops answering in the middle is asked again from the start."""
        steps = Steps(row)
        try:
            if "volumes" in row["snapshot"]:
                if why := await self._volumes.frozen(row["snapshot"]["volumes"]):
                    if clock.wall() > _deadline(row):
                        raise DeviceFailed(f"{why} Given up.")
                    return Wait(1.0, why, _deadline(row))
                await store.fill(self._cloud, row["snapshot"]["image_id"], _nothing())
            else:
                await self._upload(row, steps)
        except Unavailable:
            raise
        except HaganeError as error:
            await store.discard(self._cloud, row["snapshot"]["image_id"])
            return await server_end.failed(self._db, row, steps, error, there=await self._there(row))
        if "keep" in row["snapshot"]:
            await server_backup.rotate(self._cloud, row)
        return await server_end.taken(self._db, row, steps)

    async def _shelve(self, row: Row, ports: list[Row], image: ImageInfo | None) -> Outcome:
        """See server_shelf.py."""
        steps, image_id, ordered = Steps(row), server_shelf.image_of(row), _in_order(row, ports)
        station = self._registry.station(row["host"])
        try:
            if image_id is None or (await store.base_image(self._db, self._cloud, image_id)).status != "active":
                sources = await self._volumes.connect(row)
                machine = machine_of(row, ordered, image, await self._drive(row, ordered), sources=sources)
                async with station.turn():
                    await telling(self._db, row, steps, station.driver.apply(machine, {}, steps.progress))
                if image_id is not None:
                    await self._upload(row, steps)
            steps.progress("remove", 0)
            await station.driver.remove(row["id"])
            await self._volumes.let_go(held(row))
        except Unavailable:
            raise
        except HaganeError as error:
            refusal = error
            if image_id is not None:
                await store.discard(self._cloud, image_id)
            await self._db.write(lambda tx: server_shelf.kept(tx, row, steps, refusal))
            return Wait(0.0, error.message)
        station.forgot(row["id"])
        await self._db.write(lambda tx: server_shelf.shelved(tx, row, steps))
        return Done()

    async def _upload(self, row: Row, steps: Steps) -> None:
        """Stream the disk into the image."""
        station = self._registry.station(row["host"])
        stream = station.driver.snapshot(row["id"], disk_key(row))
        steps.progress("upload", 0)
        try:
            filled = store.fill(self._cloud, row["snapshot"]["image_id"], _counted(stream, steps, row))
            await telling(self._db, row, steps, filled)
        finally:
            await stream.aclose()

    async def _drive(self, row: Row, ports: list[Row]) -> bytes | None:
        """The config drive; making one takes 2 ms, so it is made in a thread."""
        if not row["config_drive"]:
            return None
        secret = server_end.unseal(self._cloud, row["secret"])
        networks = await nic.networks_of(self._db, ports)
        files = metadata.documents(row, ports, networks, password=secret, seed=os.urandom(512))
        return await asyncio.to_thread(configdrive.build, metadata.on_drive(files))


async def _nothing() -> AsyncGenerator[bytes, None]:
    """The content of an image that is a mapping to snapshots."""
    yield b""


async def _counted(stream: AsyncGenerator[bytes, None], steps: Steps, row: Row) -> AsyncGenerator[bytes, None]:
    """The stream, its progress told: by the size of the disk, of which a snapshot is seldom more."""
    total, sent = max(1, row["flavor"]["disk"]) << 30, 0
    async for chunk in stream:
        sent += len(chunk)
        steps.progress("upload", min(99, sent * 100 // total))
        yield chunk


def _homeless(row: Row) -> bool:
    placing = row["task_state"] in (Task.SCHEDULING, Task.UNSHELVING)
    return row["host"] is None and placing and not row["terminate"]


def _deadline(row: Row) -> float:
    return clock.seconds(row["acted_at"]) + ACTION_SECONDS


def _gone(row: Row) -> DeviceFailed:
    return DeviceFailed(f"Image {row['image_id']} could not be found.")


def _in_order(row: Row, ports: list[Row]) -> list[Row]:
    """The Server's ports in the order of its NICs; a port that somebody deleted is no NIC any more."""
    by_id = {port["id"]: port for port in ports}
    return [by_id[port_id] for port_id in port_ids(row) if port_id in by_id]
