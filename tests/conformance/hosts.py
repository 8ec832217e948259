"""The Hosts that the hypervisor suite runs against, with the few handles that a driver does not offer.

The real one is a libvirtd of the tests' own in a namespace of its own, with a userspace switch and no OVN.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from hagane.drivers.hypervisor.base import BaseImage, Hypervisor
from hagane.drivers.hypervisor.sim import SimHypervisor
from hagane.drivers.hypervisor.sim_knobs import Delays
from hagane.drivers.volume.base import Volume
from hagane.drivers.volume.file import FileVolumes

GUEST_SECONDS = 120.0


def volume_path(name: str) -> str:
    """Where a Host sees a volume."""
    return f"/var/lib/libvirt/images/volumes/volume.{name}"


class Host(Protocol):
    """One Host under test."""

    driver: Hypervisor

    def again(self) -> Hypervisor:
        """Another driver of the same Host, as a restarted process has it."""
        ...

    def incarnation(self, machine_id: str) -> object:
        """Something that changes exactly when the machine is started anew."""
        ...

    async def kill(self, machine_id: str) -> None:
        """The machine ends by itself, without a good-bye."""
        ...

    async def away(self) -> None:
        """The Host stops answering; its machines run on."""
        ...

    async def back(self) -> None: ...

    async def volumes(self) -> None:
        """There are volumes "one" and "two" of 1 GB, and "large" of 2 GB, at the paths of `volume_path`."""
        ...

    def image(self, image_id: str, size: int = 1 << 20) -> BaseImage:
        """An image without an operating system."""
        ...

    def guest(self) -> BaseImage:
        """An image whose guest boots, prints, shuts down when asked and lets go of devices."""
        ...

    async def booted(self, machine_id: str) -> None:
        """Wait until the guest is up."""
        ...


class SimHost:
    """A simulated one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.driver = self._make()

    def _make(self) -> SimHypervisor:
        return SimHypervisor(delays=Delays.none(), state=self._folder / "sim.jsonl")

    def again(self) -> Hypervisor:
        return self._make()

    def incarnation(self, machine_id: str) -> object:
        return self.driver._records[machine_id].started

    async def kill(self, machine_id: str) -> None:
        from hagane.drivers.hypervisor.base import Power

        self.driver.happen(machine_id, Power.CRASHED, "QEMU ended unexpectedly")

    async def away(self) -> None:
        self.driver.die()

    async def back(self) -> None:
        self.driver.revive()

    async def volumes(self) -> None:
        return

    def image(self, image_id: str, size: int = 1 << 20) -> BaseImage:
        return BaseImage(image_id, self._folder / image_id, "raw", size, size)

    def guest(self) -> BaseImage:
        return self.image("guest")

    async def booted(self, machine_id: str) -> None:
        return


class LibvirtHost:
    """A real one."""

    def __init__(self, folder: Path, place: "RealPlace") -> None:
        self._folder, self._place = folder, place
        self.driver = self._make()

    def _make(self) -> Hypervisor:
        from hagane.drivers.hypervisor.libvirt import Libvirt

        return Libvirt(self._place.uri, pool=self._place.pool, userspace_datapath=True)

    def again(self) -> Hypervisor:
        return self._make()

    def incarnation(self, machine_id: str) -> object:
        return self._pid(machine_id)

    async def kill(self, machine_id: str) -> None:
        os.kill(self._pid(machine_id), signal.SIGKILL)
        for _ in range(100):
            await asyncio.sleep(0.05)
            if not (self._place.run / "libvirt" / "qemu" / f"hagane-{machine_id}.xml").exists():
                return
        raise AssertionError("libvirt did not notice")

    async def away(self) -> None:
        await self._place.stop_libvirt()

    async def back(self) -> None:
        await self._place.start_libvirt()

    @property
    def files(self) -> FileVolumes:
        """The backend on this Host."""
        return FileVolumes(self._place.folder.state / "libvirt/lib/images/volumes", Path(volume_path("")).parent)

    async def volumes(self) -> None:
        shutil.rmtree(self._place.folder.state / "libvirt/lib/images/volumes", ignore_errors=True)
        for name, size in (("one", 1), ("two", 1), ("large", 2)):
            await self.files.apply(Volume(name, size))

    def image(self, image_id: str, size: int = 1 << 20) -> BaseImage:
        path = self._folder / image_id
        with path.open("wb") as file:
            file.truncate(size)
        return BaseImage(image_id, path, "raw", size, size)

    def guest(self) -> BaseImage:
        from hagane.lab import guest

        path = guest.build().path
        return BaseImage("guest", path, "qcow2", path.stat().st_size, 1 << 30)

    async def booted(self, machine_id: str) -> None:
        async with asyncio.timeout(GUEST_SECONDS):
            while b"HAGANE-GUEST-READY" not in await self.driver.console_log(machine_id):
                await asyncio.sleep(0.2)

    def _pid(self, machine_id: str) -> int:
        return int((self._place.run / "libvirt" / "qemu" / f"hagane-{machine_id}.pid").read_text())


class RealPlace:
    """The namespace, the switch and the libvirtd."""

    def __init__(self, folder: Path, name: str) -> None:
        from hagane.lab import host
        from hagane.lab.site import Site

        site = Site(name, folder, Path("/run", name), ("host1",))
        self.space = site.netns("host1")
        self.folder = site.folder("host1")
        self.switch = host.switch(site, "host1")
        self.run = self.folder.run

    @property
    def uri(self) -> str:
        from hagane.lab import libvirtd

        return f"qemu+unix:///system?socket={libvirtd.socket(self.folder)}"

    @property
    def pool(self) -> str:
        from hagane.lab import libvirtd

        return str(libvirtd.POOL)

    async def up(self) -> None:
        from hagane.lab import libvirtd, netns, ovs

        await libvirtd.ensure_user(kvm=False)
        await netns.create(self.space)
        await ovs.up(self.switch)
        bridge = ("--may-exist", "add-br", "br-int", "--", "set", "Bridge", "br-int")
        await ovs.vsctl(self.switch, *bridge, "datapath_type=netdev", "fail-mode=secure")
        await self.start_libvirt()

    async def start_libvirt(self) -> None:
        from hagane.lab import libvirtd

        await libvirtd.up("host1", self.space, self.folder, kvm=False)

    async def stop_libvirt(self) -> None:
        from hagane.lab import libvirtd, process

        daemons = libvirtd.daemons("host1", self.space, self.folder, kvm=False)
        await process.stop(daemons[1])

    async def down(self) -> None:
        from hagane.lab import libvirtd, netns, ovs, process

        daemons = (*ovs.daemons(self.switch), *libvirtd.daemons("host1", self.space, self.folder, kvm=False))
        for daemon in reversed(daemons):
            await process.stop(daemon)
        await netns.delete(self.space)


@asynccontextmanager
async def sim_host(folder: Path) -> AsyncIterator[SimHost]:
    host = SimHost(folder)
    await host.driver.connect()
    yield host
    await host.driver.close()


@asynccontextmanager
async def libvirt_host(folder: Path, place: RealPlace) -> AsyncIterator[LibvirtHost]:
    """Nothing is left on the Host after it."""
    host = LibvirtHost(folder, place)
    await host.driver.connect()
    try:
        yield host
    finally:
        for machine_id in {*await host.driver.read(), *(await host.driver.disks()).values()}:
            await host.driver.remove(machine_id)
        await host.driver.sweep_images(set())
        await host.driver.close()
