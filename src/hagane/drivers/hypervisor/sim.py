"""A simulated Host: the whole contract, no root, no QEMU; time, failures and death at the turn of a knob.

It runs the same plan as the real driver, so it has the same states between the steps. It keeps one small record for a
machine and no task or timer of its own: what a machine prints or how far it has booted is computed from the clock when
somebody asks. With a `state` file it finds its machines again after a restart, as a real Host would.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from hagane.drivers.hypervisor import plan as step
from hagane.drivers.hypervisor.base import (
    BaseImage,
    Disk,
    HostFacts,
    Hypervisor,
    Machine,
    Power,
    Progress,
    Seen,
)
from hagane.drivers.hypervisor.sim_guest import Shell, console_text, empty_qcow2, uptime_text
from hagane.drivers.hypervisor.sim_journal import Journal
from hagane.drivers.hypervisor.sim_knobs import Delays, Faults
from hagane.drivers.hypervisor.sim_record import UP, Record, device_of, essence, now_of, seen_of
from hagane.errors import Conflict, DeviceFailed, NotFound, Unavailable

LOGGED_BOOTS = 5  # how many boots a console log goes back


class SimHypervisor:
    """One Host. See base.Hypervisor for what each method promises, and sim_knobs for what can go wrong."""

    def __init__(
        self,
        name: str = "sim",
        *,
        vcpus: int = 64,
        memory_mb: int = 262_144,
        disk_gb: int = 4_000,
        delays: Delays | None = None,
        state: Path | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.faults = Faults()
        self.delays = delays or Delays()
        self.deaf: set[str] = set()  # machines whose guest answers no request: to shut down, to let go of a device
        self._facts = HostFacts(name, vcpus, memory_mb, disk_gb, "QEMU", 7_002_000, {"arch": "x86_64", "model": "sim"})
        self._clock, self._sleep, self._began = clock, sleep, clock()
        self._records: dict[str, Record] = {}
        self._images: dict[str, asyncio.Lock] = {}
        self._present: set[str] = set()  # base images brought here
        self._shells: dict[str, Shell] = {}
        self._hurried: dict[str, asyncio.Event] = {}  # machines on their way to another Host
        self._changed: Callable[[str], None] = lambda _machine_id: None
        self._journal = Journal(state, Record) if state else None

    async def connect(self) -> None:
        self.faults.calls["connect"] += 1
        if self._journal:
            self._records = self._journal.load()

    async def close(self) -> None:
        if self._journal:
            self._journal.close()

    async def facts(self) -> HostFacts:
        self.faults.before("facts")
        return replace(self._facts, uptime=uptime_text(self._began, self._clock()))

    async def read(self) -> dict[str, Seen]:
        self.faults.before("read")
        seen = ((machine_id, seen_of(record)) for machine_id, record in self._records.items())
        return {machine_id: one for machine_id, one in seen if one}

    async def apply(self, machine: Machine, images: dict[str, BaseImage], progress: Progress) -> Seen:
        self.faults.before("apply", machine.id)
        stuck: dict[str, str] = {}
        for todo in step.plan(self._have(machine), machine):
            name = type(todo).__name__
            self.faults.before(name, machine.id)
            device = device_of(todo)
            if device and machine.id in self.deaf:
                stuck[device] = f"the guest does not let go of {device}; it will be gone after its next start"
                continue
            if isinstance(todo, step.DropDisk) and todo.key in stuck:
                continue
            await self._do(todo, machine, images, progress)
            self.faults.after(name, machine.id)
        if stuck:
            raise Unavailable(next(iter(stuck.values())))
        self.faults.after("apply", machine.id)
        seen = seen_of(self._records[machine.id]) if machine.id in self._records else None
        if seen is None:
            raise Unavailable(f"machine {machine.id} vanished while it was being changed")
        return seen

    async def migrate(self, machine: Machine, target: Hypervisor, progress: Progress) -> Seen:
        self.faults.before("migrate", machine.id)
        if not isinstance(target, SimHypervisor):
            raise DeviceFailed("a simulated machine goes to a simulated Host only")
        target.faults.before("receive", machine.id)
        progress("migrate", 0)
        hurried = self._hurried[machine.id] = asyncio.Event()
        try:
            await self._under_way(hurried)
        finally:
            del self._hurried[machine.id]
        record = self._records.get(machine.id)
        if record is None or record.power not in UP:
            raise Unavailable("the machine does not run")
        target._keep(machine.id, replace(record, stored=essence(machine)))
        self._keep(machine.id, None)
        self._hang_up(machine.id)
        target.faults.after("receive", machine.id)
        self.faults.after("migrate", machine.id)
        progress("migrate", 100)
        return (await target.read())[machine.id]

    async def hurry(self, machine_id: str) -> None:
        self.faults.before("hurry", machine_id)
        if machine_id in self._hurried:
            self._hurried[machine_id].set()

    async def remove(self, machine_id: str) -> None:
        self.faults.before("remove", machine_id)
        if machine_id in self._records:
            await self._wait(self.delays.remove)
            self._keep(machine_id, None)
            self._hang_up(machine_id)
        self.faults.after("remove", machine_id)

    async def console_log(self, machine_id: str) -> bytes:
        self.faults.before("console_log", machine_id)
        record = self._records.get(machine_id)
        if record is None or record.stored is None:
            return b""
        return console_text(record.stored, record.started, record.ended, self._clock())

    async def console(
        self, machine_id: str, *, force: bool = False
    ) -> tuple[AsyncGenerator[bytes, None], Callable[[bytes], Awaitable[None]]]:
        self.faults.before("console", machine_id)
        if machine_id not in self._records or self._records[machine_id].power not in UP:
            raise Unavailable("the machine does not run")
        if machine_id in self._shells and not force:
            raise Conflict("another viewer has the console open")
        self._hang_up(machine_id)
        shell = self._shells[machine_id] = Shell(b"\r\n# ")
        return self._viewed(machine_id, shell), shell.write

    async def snapshot(self, machine_id: str, disk_key: str) -> AsyncGenerator[bytes, None]:
        self.faults.before("snapshot", machine_id)
        record = self._records.get(machine_id)
        disks = {disk.key: disk for disk in record.stored.disks} if record and record.stored else {}
        if disk_key not in disks:
            raise NotFound(f"machine {machine_id} has no disk {disk_key}")
        await self._wait(self.delays.snapshot)
        self.faults.after("snapshot", machine_id)
        yield empty_qcow2(record.sizes.get(disk_key, disks[disk_key].size_gb) << 30 if record else 0)

    async def disks(self) -> dict[str, str]:
        self.faults.before("disks")
        return {
            key: machine_id
            for machine_id, record in self._records.items()
            for key in record.volumes
            if not key.startswith(step.DRIVE)
        }

    async def sweep_images(self, keep: set[str]) -> set[str]:
        self.faults.before("sweep_images")
        machines = (record.stored for record in self._records.values() if record.stored)
        used = {disk.image_id for machine in machines for disk in machine.disks}
        gone = {image for image in self._present if image not in keep and image not in used}
        self._present -= gone
        return gone

    def watch(self, changed: Callable[[str], None]) -> None:
        self._changed = changed

    def happen(self, machine_id: str, power: Power, reason: str = "") -> None:
        """The machine's power changes by itself: a guest that shuts down, a QEMU that dies."""
        record = self._records[machine_id]
        record.power, record.reason = power, reason
        record.ended = None if power in UP else self._clock()
        self._keep(machine_id, record)
        self._changed(machine_id)

    def lose(self, machine_id: str) -> None:
        """Somebody else removes the machine from the Host; its disks stay."""
        record = self._records[machine_id]
        self._records[machine_id] = Record(volumes=record.volumes)
        self._keep(machine_id, self._records[machine_id])
        self._changed(machine_id)

    def die(self) -> None:
        """The Host answers no more; its machines are gone with it when it comes back."""
        self.faults.dead = True
        self._changed("")

    def revive(self, *, rebooted: bool = False) -> None:
        """The Host answers again; `rebooted`: no machine runs."""
        self.faults.dead = False
        for machine_id, record in self._records.items() if rebooted else ():
            if record.power in UP:
                record.power, record.ended = Power.OFF, self._clock()
                self._keep(machine_id, record)
        self._changed("")

    def _have(self, machine: Machine) -> step.Have:
        record = self._records.get(machine.id, Record())
        now = now_of(record)
        return step.Have(
            power=record.power,
            boots=now.boots if now else 0,
            nics={nic.port_id: nic for nic in record.nics},
            disks=frozenset(record.attached),
            stored=frozenset(record.volumes),
            sizes=record.sizes,
            current=record.stored == essence(machine),
        )

    async def _do(self, todo: step.Step, machine: Machine, images: dict[str, BaseImage], progress: Progress) -> None:
        record = self._records.setdefault(machine.id, Record())
        if name := step.TOLD.get(type(todo)):
            progress(name, 0)
        match todo:
            case step.MakeDisk() | step.MakeDrive() | step.GrowDisk() | step.DropDisk():
                await self._store(todo, record, images, progress)
            case step.Plug() | step.Unplug() | step.Attach() | step.Detach() | step.Swap():
                await self._wire(todo, record)
            case step.Define():
                await self._wait(self.delays.define)
                record.stored = essence(machine)
            case step.Start(paused):
                await self._wait(self.delays.start)
                self._start(record, paused=paused)
                progress("start", 100)
            case _:
                await self._power(todo, machine, record)
        self._keep(machine.id, record)

    async def _store(
        self,
        todo: step.MakeDisk | step.MakeDrive | step.GrowDisk | step.DropDisk,
        record: Record,
        images: dict[str, BaseImage],
        progress: Progress,
    ) -> None:
        """What exists on the Host's disk."""
        match todo:
            case step.MakeDisk(disk):
                await self._make_disk(disk, images, progress)
                record.volumes = (*record.volumes, disk.key)
                record.sizes = record.sizes | {disk.key: disk.size_gb}
            case step.MakeDrive(key):
                await self._wait(self.delays.disk)
                record.volumes = (*record.volumes, key)
            case step.GrowDisk(disk):
                await self._wait(self.delays.disk)
                record.sizes = record.sizes | {disk.key: disk.size_gb}
            case step.DropDisk(key):
                record.sizes = {other: size for other, size in record.sizes.items() if other != key}
                record.volumes = tuple(other for other in record.volumes if other != key)

    async def _wire(
        self, todo: step.Plug | step.Unplug | step.Attach | step.Detach | step.Swap, record: Record
    ) -> None:
        """What is plugged into the machine while it runs."""
        plugs = isinstance(todo, step.Plug | step.Attach)
        slow = self.delays.copy if isinstance(todo, step.Swap) else self.delays.unplug
        await self._wait(self.delays.plug if plugs else slow)
        match todo:
            case step.Plug(nic):
                record.nics = (*record.nics, nic)
            case step.Unplug(nic):
                record.nics = tuple(other for other in record.nics if other != nic)
            case step.Attach(disk):
                record.attached = (*record.attached, disk.key)
            case step.Detach(key):
                record.attached = tuple(other for other in record.attached if other != key)
            case step.Swap(disk):
                record.attached = tuple(disk.key if key == disk.copy_of else key for key in record.attached)

    async def _power(
        self,
        todo: step.Stop | step.Pause | step.Resume | step.Suspend | step.Discard,
        machine: Machine,
        record: Record,
    ) -> None:
        """The machine's power, once it has started."""
        match todo:
            case step.Stop(soft):
                await self._stop(machine, soft=soft)
                record.power, record.reason = Power.OFF, "the guest shut down" if soft else "powered off"
                record.ended = self._clock()
                self._hang_up(machine.id)
            case step.Pause() | step.Resume():
                await self._wait(self.delays.pause)
                record.power = Power.PAUSED if isinstance(todo, step.Pause) else Power.ON
            case step.Suspend():
                await self._wait(self.delays.suspend)
                record.power, record.reason, record.ended = Power.SUSPENDED, "", self._clock()
                self._hang_up(machine.id)
            case step.Discard():
                record.power = Power.OFF

    def _start(self, record: Record, *, paused: bool) -> None:
        stored = record.stored
        if stored is None:
            raise Unavailable("the machine changed meanwhile")
        woken = record.power is Power.SUSPENDED and record.live is not None
        record.power, record.reason = Power.PAUSED if paused else Power.ON, ""
        record.ended = None
        if woken:
            return  # it is as it was when it was suspended
        record.live, record.nics = stored, stored.nics
        drive = step.drive_key(stored)
        record.attached = (*(disk.key for disk in stored.disks), *([drive] if drive else ()))
        record.started, record.ended = (*record.started, self._clock())[-LOGGED_BOOTS:], None

    async def _make_disk(self, disk: Disk, images: dict[str, BaseImage], progress: Progress) -> None:
        if disk.image_id is not None:
            if disk.image_id not in images:
                raise DeviceFailed(f"nobody has the bytes of image {disk.image_id}")
            image = images[disk.image_id]
            if disk.size_gb and image.virtual_size > disk.size_gb << 30:
                needs = image.virtual_size / (1 << 30)
                raise DeviceFailed(f"the image needs {needs:.1f} GB, the disk has {disk.size_gb} GB")
            await self._bring(image, progress)
        progress("disk", 0)
        await self._wait(self.delays.disk)
        progress("disk", 100)

    async def _bring(self, image: BaseImage, progress: Progress) -> None:
        if image.id in self._present:
            return
        async with self._images.setdefault(image.id, asyncio.Lock()):
            if image.id not in self._present:
                progress("image", 0)
                await self._wait(self.delays.image)
                self._present.add(image.id)
                self._images.pop(image.id, None)
        progress("image", 100)

    async def _stop(self, machine: Machine, *, soft: bool) -> None:
        if soft:
            asked = machine.soft_seconds if machine.id in self.deaf else self.delays.shutdown
            await self._wait(min(asked, machine.soft_seconds))
        else:
            await self._wait(self.delays.stop)

    async def _viewed(self, machine_id: str, shell: Shell) -> AsyncGenerator[bytes, None]:
        try:
            async with contextlib.aclosing(shell.read()) as output:
                async for data in output:
                    yield data
        finally:
            if self._shells.get(machine_id) is shell:
                del self._shells[machine_id]

    def _hang_up(self, machine_id: str) -> None:
        shell = self._shells.pop(machine_id, None)
        if shell:
            shell.end()

    async def _under_way(self, hurried: asyncio.Event) -> None:
        """The time that a machine takes to another Host, unless somebody is in a hurry."""
        waits = {asyncio.ensure_future(wait) for wait in (self._wait(self.delays.migrate), hurried.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _keep(self, machine_id: str, record: Record | None) -> None:
        """What is there of a machine from now on; None: nothing."""
        if record is None:
            self._records.pop(machine_id, None)
        else:
            self._records[machine_id] = record
        if self._journal:
            self._journal.put(machine_id, record)

    async def _wait(self, seconds: float) -> None:
        if seconds > 0:
            await self._sleep(seconds)
