"""A Host with libvirtd and QEMU: agentless, driven through libvirt's remote protocol and nothing else.

    apply: look (domain, volumes) ─▶ plan (pure) ─▶ one function per step ─▶ look again

Blocking work runs in the link's threads; waiting (a guest that shuts down, a NIC that the guest lets go of) is done
here in asyncio, woken by libvirt's events, so that a hundred slow guests hold no thread.
"""

import asyncio
import contextlib
import secrets
import time
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import libvirt

from hagane.drivers.hypervisor import libvirt_domain as domain
from hagane.drivers.hypervisor import libvirt_migrate as migration
from hagane.drivers.hypervisor import libvirt_storage as storage
from hagane.drivers.hypervisor import libvirt_volume as volume
from hagane.drivers.hypervisor import plan as step
from hagane.drivers.hypervisor.base import BaseImage, Disk, HostFacts, Hypervisor, Machine, Power, Progress, Seen
from hagane.drivers.hypervisor.libvirt_console import Console
from hagane.drivers.hypervisor.libvirt_disk import MARK, disk_owner
from hagane.drivers.hypervisor.libvirt_facts import is_local, read_facts
from hagane.drivers.hypervisor.libvirt_images import Images
from hagane.drivers.hypervisor.libvirt_link import Link
from hagane.drivers.hypervisor.libvirt_patience import Patience
from hagane.drivers.hypervisor.libvirt_xml import Style, domain_name
from hagane.errors import DeviceFailed, HaganeError, NotFound, Unavailable

PRESS_SECONDS = 10.0  # a guest that is still booting misses the power button: press it again
LET_GO_SECONDS = 20.0  # for the guest to let go of a device
ASK_SECONDS = 1.75  # QEMU forgets a request that was not answered after five: the third one is a new one
COPY_SECONDS = 4 * 3600.0
COPY_LOOK_SECONDS = 0.2
STREAM_CHUNK = 256 * 1024  # libvirt's largest stream packet


class Libvirt:
    """One Host. See base.Hypervisor for what each method promises."""

    def __init__(
        self,
        uri: str,
        *,
        name: str = "host",
        pool: str = "/var/lib/hagane",
        accel: str = "tcg",
        machine: str = "pc",
        bridge: str = "br-int",
        userspace_datapath: bool = False,
        address: str = "",
    ) -> None:
        """`uri`: libvirt's, as "qemu+unix:///system?socket=/run/libvirt/libvirt-sock"; `pool`: a folder on the Host;
        `address`: where it hears other Hosts, if that is not in the URI."""
        self.style = Style(
            accel=accel,
            machine=machine,
            disk_dir=f"{pool}/disk",
            log_dir=f"{pool}/console",
            bridge=bridge,
            userspace=userspace_datapath,
        )
        self._local = is_local(uri)
        self._address = address or urlsplit(uri).hostname or ""
        self._link = Link(uri, self._prepare, name)
        self._link.on_change = self._came_or_went
        self._link.on_event = self._event
        self._images = Images(self._link)
        self._changed: Callable[[str], None] = lambda _machine_id: None
        self._viewers = weakref.WeakValueDictionary[str, Console]()
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._patience = Patience()

    async def connect(self) -> None:
        await self._link.open()

    async def close(self) -> None:
        await self._link.close()

    async def facts(self) -> HostFacts:
        return await self._link.run(partial(read_facts, local=self._local))

    async def read(self) -> dict[str, Seen]:
        return await self._link.run(domain.seen_all)

    async def apply(self, machine: Machine, images: dict[str, BaseImage], progress: Progress) -> Seen:
        have = await self._link.run(domain.have, machine, self.style)
        for key in have.copying - {disk.copy_of for disk in machine.disks}:
            await self._link.run(volume.stop_swap, machine.id, key)  # nobody wants it any more
        stuck: dict[str, Unavailable] = {}
        for todo in step.plan(have, machine):
            if isinstance(todo, step.DropDisk) and todo.key in stuck:
                continue
            try:
                await self._do(todo, machine, images, progress)
            except _Stuck as error:
                # The guest holds on to a device. All else still happens; the device goes with the next start.
                stuck[error.device] = error
        if stuck:
            raise next(iter(stuck.values()))
        await self._closed(machine.id)
        seen = await self._link.run(domain.seen, machine.id)
        if seen is None:
            raise Unavailable(f"{self._link.host}: machine {machine.id} vanished while it was being changed")
        return seen

    async def remove(self, machine_id: str) -> None:
        await self._link.run(domain.remove, machine_id)
        await self._link.run(storage.drop_all, machine_id)

    async def migrate(self, machine: Machine, target: Hypervisor, progress: Progress) -> Seen:
        if not isinstance(target, Libvirt) or target.style.userspace != self.style.userspace:
            raise DeviceFailed(f"{self._link.host}: machines that run cannot go to a Host of another kind")
        if not target._address:
            raise DeviceFailed(f"{target._link.host}: it has no address where it hears other Hosts")
        luggage = await self._link.run(migration.pack, machine.id)
        progress("migrate", 0)
        await target._link.run(migration.receive, machine, luggage)
        way = (machine, luggage, self.style, target.style, target._link, target._address)
        gone = asyncio.ensure_future(self._link.run(migration.go, *way, bulk=True, seconds=None))
        deadline = time.monotonic() + COPY_SECONDS
        try:
            while not (await asyncio.wait({gone}, timeout=1.0))[0]:
                if time.monotonic() > deadline:
                    raise Unavailable(f"{self._link.host}: machine {machine.id} did not arrive in time")
                with contextlib.suppress(HaganeError):  # how far it is, nobody has to know
                    progress("migrate", await self._link.run(migration.percent, machine.id))
            gone.result()
        finally:
            while not gone.done():  # what has not begun yet cannot be broken off, so it is told again
                with contextlib.suppress(HaganeError):
                    await self._link.run(domain.abort_copy, machine.id)
                await asyncio.wait({gone}, timeout=1.0)
            await asyncio.gather(gone, return_exceptions=True)
        await self.remove(machine.id)
        progress("migrate", 100)
        seen = await target._link.run(domain.seen, machine.id)
        if seen is None:
            raise Unavailable(f"{target._link.host}: machine {machine.id} vanished when it had arrived")
        return seen

    async def hurry(self, machine_id: str) -> None:
        await self._link.run(domain.pause, machine_id)

    async def console_log(self, machine_id: str) -> bytes:
        return await self._link.run(storage.console_log, machine_id)

    async def console(
        self, machine_id: str, *, force: bool = False
    ) -> tuple[AsyncGenerator[bytes, None], Callable[[bytes], Awaitable[None]]]:
        console = Console(self._link)
        await console.open(machine_id, force=force)
        viewer = self._viewers.get(machine_id)
        if viewer:
            viewer.end()
        self._viewers[machine_id] = console
        return console.read(), console.write

    async def snapshot(self, machine_id: str, disk_key: str) -> AsyncGenerator[bytes, None]:
        token = secrets.token_hex(4)
        copy = (machine_id, disk_key, token)
        try:
            await self._copy(machine_id, disk_key, token)
            stream = await self._link.run(storage.open_copy, *copy)
            try:
                while data := await self._link.run(_receive, stream, bulk=True):
                    yield data
            finally:
                await self._link.run(_finish, stream)
        finally:
            # Where that is not possible now, a sweep finds the copy later.
            with contextlib.suppress(HaganeError):
                await self._link.run(storage.drop_copy, *copy)

    async def new_layer(self, machine_id: str, source: str, file: str) -> None:
        """A running machine that has the volume at `source` goes on in the file beside it (drivers/volume/base.py)."""
        await self._link.run(volume.new_layer, machine_id, source, file)

    async def resize(self, machine_id: str, source: str, size: int) -> None:
        """A running machine's volume at `source` has so many bytes; the guest is told."""
        await self._link.run(volume.resize, machine_id, source, size)

    async def disks(self) -> dict[str, str]:
        owners = [disk_owner(name) for name in await self._link.run(storage.volumes)]
        return {key: machine_id for machine_id, key in filter(None, owners) if not key.startswith(step.DRIVE)}

    async def sweep_images(self, keep: set[str]) -> set[str]:
        return await self._images.sweep(keep)

    def watch(self, changed: Callable[[str], None]) -> None:
        self._changed = changed

    def _prepare(self, connection: Any) -> None:
        storage.prepare(connection, self.style)

    def _came_or_went(self) -> None:
        self._images.forget()
        self._changed("")

    def _event(self, name: str) -> None:
        for waiter in self._waiters.get(name, ()):
            waiter.set()
        if name.startswith(f"{MARK}-"):
            self._changed(name.removeprefix(f"{MARK}-"))

    async def _do(self, todo: step.Step, machine: Machine, images: dict[str, BaseImage], progress: Progress) -> None:
        run, machine_id = self._link.run, machine.id
        if name := step.TOLD.get(type(todo)):
            progress(name, 0)
        match todo:
            case step.MakeDisk(disk):
                await self._make_disk(machine_id, disk, images, progress)
            case step.MakeDrive(key):
                await run(storage.make_drive, machine_id, key, machine.config_drive or b"")
            case step.Stop(soft):
                await self._stop(machine, soft=soft)
            case step.Unplug(nic):
                await self._ask_out(machine_id, nic.port_id, f"the NIC of port {nic.port_id}")
            case step.Plug(nic):
                await run(domain.plug, machine_id, nic, self.style)
            case step.Detach(key):
                await self._ask_out(machine_id, key, f"disk {key}")
            case step.Attach(disk):
                self._patience.check((machine_id, disk.key))
                await self._patience.give((machine_id, disk.key), run(volume.attach, machine, disk, self.style))
            case step.Swap(disk):
                await self._swap(machine, disk, progress)
            case step.Define():
                await run(domain.define, machine, self.style)
            case step.Start(paused):
                await run(domain.start, machine, paused)
                progress("start", 100)
            case step.Pause():
                await run(domain.pause, machine_id)
            case step.Resume():
                await run(domain.resume, machine_id)
            case step.Suspend():
                await run(domain.suspend, machine_id, bulk=True, seconds=COPY_SECONDS)
            case step.Discard():
                await run(domain.discard, machine_id)
            case step.GrowDisk(disk):
                await run(storage.grow_disk, machine_id, disk)
            case step.DropDisk(key):
                await run(storage.drop_disk, machine_id, key)

    async def _make_disk(self, machine_id: str, disk: Disk, images: dict[str, BaseImage], progress: Progress) -> None:
        if disk.image_id is None:
            progress("disk", 0)
            await self._link.run(storage.make_disk, machine_id, disk, None)
        elif disk.image_id not in images:
            raise DeviceFailed(f"nobody has the bytes of image {disk.image_id}")
        else:
            with self._images.using(disk.image_id):
                base = await self._images.base(images[disk.image_id], lambda percent: progress("image", percent))
                progress("disk", 0)
                try:
                    await self._link.run(storage.make_disk, machine_id, disk, base)
                except HaganeError:
                    self._images.forget(disk.image_id)
                    raise
        progress("disk", 100)

    async def _stop(self, machine: Machine, *, soft: bool) -> None:
        deadline = time.monotonic() + machine.soft_seconds
        while soft and (left := deadline - time.monotonic()) > 0:
            await self._link.run(domain.press_power, machine.id)
            if await self._until(machine.id, min(PRESS_SECONDS, left), domain.is_off, machine.id):
                return
        await self._link.run(domain.kill, machine.id)

    async def _closed(self, machine_id: str) -> None:
        """What has left the machine is open in its QEMU no more. Whoever took a target away before would leave QEMU
        asking for it for ever, and the guest frozen."""
        if not await self._until(machine_id, LET_GO_SECONDS, domain.is_idle, machine_id):
            raise Unavailable(
                f"{self._link.host}: QEMU has not done yet what it was told; a volume's iSCSI target may not answer"
            )

    async def _ask_out(self, machine_id: str, device: str, words: str) -> None:
        """Ask the guest again and again; libvirt can take nothing out by force that a guest holds on to. (Disks on the
        SCSI bus go without being asked for.)"""
        paused = await self._link.run(domain.is_paused, machine_id)
        deadline = time.monotonic() + (ASK_SECONDS if paused else LET_GO_SECONDS)
        while (left := deadline - time.monotonic()) > 0:
            if await self._link.run(domain.ask_out, machine_id, device):
                return
            if await self._until(machine_id, min(ASK_SECONDS, left), domain.is_out, machine_id, device):
                return
        why = "is paused and cannot" if paused else "does not"
        raise _Stuck(f"the guest {why} let go of {words}; it will be gone after its next start", device)

    async def _swap(self, machine: Machine, disk: Disk, progress: Progress) -> None:
        """A copy that goes on when we are gone: whoever asks again finds it. It ends with the wish for it."""
        await self._link.run(volume.begin_swap, machine, disk, self.style)
        deadline = time.monotonic() + COPY_SECONDS
        while (percent := await self._link.run(volume.swap_percent, machine.id, disk)) < 100:
            progress("swap", percent)
            if time.monotonic() > deadline:
                raise Unavailable(f"{self._link.host}: the volume is still being copied")
            await asyncio.sleep(COPY_LOOK_SECONDS)
        await self._link.run(volume.end_swap, machine.id, disk)
        progress("swap", 100)

    async def _copy(self, machine_id: str, key: str, token: str) -> None:
        """Make the flat copy of a disk that is then streamed: by QEMU if it has the disk open, else by qemu-img."""
        seen = await self._link.run(domain.seen, machine_id)
        if seen is None or key not in seen.disks:
            raise NotFound(f"machine {machine_id} has no disk {key}")
        if seen.power not in (Power.ON, Power.PAUSED):
            await self._link.run(storage.flat_copy, machine_id, key, token, bulk=True, seconds=COPY_SECONDS)
            return
        path = await self._link.run(storage.empty_copy, machine_id, key, token)
        await self._link.run(domain.start_copy, machine_id, key, path)
        ended = False
        try:
            ended = await self._until(machine_id, COPY_SECONDS, domain.copy_ended, machine_id)
        finally:
            if not ended:
                await self._link.run(domain.abort_copy, machine_id)
        failure = await self._link.run(domain.copy_failure, machine_id)
        if failure:
            raise DeviceFailed(f"{self._link.host}: {failure}")

    async def _until(self, machine_id: str, seconds: float, check: Callable[..., bool], *args: Any) -> bool:
        """Wait until `check(connection, *args)`; woken by the machine's events, else it looks every second."""
        deadline = time.monotonic() + seconds
        name, woken = domain_name(machine_id), asyncio.Event()
        self._waiters.setdefault(name, set()).add(woken)
        try:
            while not await self._link.run(check, *args):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left, 1.0)):
                        await woken.wait()
                woken.clear()
            return True
        finally:
            self._waiters[name].discard(woken)
            if not self._waiters[name]:
                del self._waiters[name]


class _Stuck(Unavailable):
    """The guest holds on to a device."""

    def __init__(self, message: str, device: str) -> None:
        super().__init__(message)
        self.device = device


def _receive(_connection: Any, stream: Any) -> bytes:
    data: bytes = stream.recv(STREAM_CHUNK)
    return data


def _finish(_connection: Any, stream: Any) -> None:
    """Close a stream, read to its end or not."""
    try:
        stream.finish()
    except libvirt.libvirtError:
        with contextlib.suppress(libvirt.libvirtError):
            stream.abort()
