"""Volumes that a machine on a real libvirt Host has open: snapshots, copies and growth beneath a running guest, kills in
between, a disk by iSCSI, and what is said when a volume is gone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pytest

from hagane.drivers.hypervisor import libvirt_volume
from hagane.drivers.hypervisor.base import Disk, Machine, Power, Source
from hagane.drivers.volume.base import Absent, FromVolume, Snapshot, Volume
from hagane.drivers.volume.export import Export, TgtExports, connection
from hagane.drivers.volume.raw import RawViews
from hagane.drivers.volume.tgt import Portal
from hagane.errors import DeviceFailed, Unavailable
from tests.conformance.hosts import LibvirtHost, RealPlace, libvirt_host, volume_path
from tests.conformance.test_hypervisor import DRIVE, LARGE, ONE, TWO, apply, machine

pytestmark = pytest.mark.real


@pytest.fixture
async def host(place: RealPlace, tmp_path: Path) -> AsyncIterator[LibvirtHost]:
    async with libvirt_host(tmp_path, place) as real:
        await real.volumes()
        yield real


class Holder:
    """The machine, or nobody when `dead`: as if the process were killed before the machine was told."""

    def __init__(self, host: LibvirtHost, machine_id: str) -> None:
        self._driver, self._id, self.dead = host.driver, machine_id, False

    async def new_layer(self, volume_id: str, file: str) -> None:
        if self.dead:
            raise Unavailable("killed")
        await self._driver.new_layer(self._id, volume_path(volume_id), file)  # type: ignore[attr-defined]

    async def resize(self, volume_id: str, size: int) -> bool:
        await self._driver.resize(self._id, volume_path(volume_id), size)  # type: ignore[attr-defined]
        return True


PROMPT = b"\x1b[6n"  # the guest's shell asks where the cursor is before it takes a line
Shell = Callable[[str], Awaitable[str]]


async def shell_of(host: LibvirtHost, machine_id: str) -> Shell:
    """Runs a command in the guest and returns what it printed."""
    output, send = await host.driver.console(machine_id, force=True)

    rest = b""

    async def until(mark: bytes) -> bytes:
        nonlocal rest
        async with asyncio.timeout(60):
            while mark not in rest:
                rest += await anext(output)
        content, _, rest = rest.partition(mark)
        return content

    async def run(command: str) -> str:
        mark = uuid4().hex[:8]
        await send(f"{command}; echo {mark[:4]}''{mark[4:]}\r".encode())
        content = (await until(mark.encode())).decode(errors="replace")
        await until(PROMPT)
        return content.partition("\n")[2]

    await send(b"\r")
    await until(PROMPT)
    return run


@dataclass
class Guest:
    """A machine that has booted, and its shell."""

    host: LibvirtHost
    wanted: Machine
    shell: Shell
    folder: Path

    async def saved(self, saved: Awaitable[None]) -> bytes:
        """The first line of what was saved into the folder's "out"."""
        await saved
        with (self.folder / "out").open("rb") as file:
            return file.read(16).partition(b"\n")[0]

    async def has(self, size: int, disk: str = "vdb") -> None:
        """Wait until the guest has noticed a disk of so many GB."""
        async with asyncio.timeout(30):
            while str(size << 21) not in await self.shell(f"cat /sys/block/{disk}/size"):
                await asyncio.sleep(0.1)


async def test_beneath_a_running_guest(host: LibvirtHost, place: RealPlace, tmp_path: Path) -> None:
    wanted = machine(disks=(Disk("root", 1, "guest"),), memory_mb=256, config_drive=DRIVE)
    await host.driver.apply(wanted, {"guest": host.guest()}, lambda _step, _percent: None)
    await host.booted(wanted.id)
    guest = Guest(host, wanted, await shell_of(host, wanted.id), tmp_path)
    await _by_iscsi(guest, place)
    await _layers(guest)
    await _after_a_restart(guest)


async def _layers(guest: Guest) -> None:
    """A snapshot that was cut off and done again, a copy, growth: and the guest reads all that it wrote."""
    shell, files, path, out = guest.shell, guest.host.files, "/dev/vdb", guest.folder / "out"
    forget = "sync; echo 3 > /proc/sys/vm/drop_caches"
    await apply(guest.host, replace(guest.wanted, disks=(*guest.wanted.disks, ONE)))
    await guest.has(1)
    await shell(f"echo first > {path}; sync")
    files.holder = holder = Holder(guest.host, guest.wanted.id)
    holder.dead = True
    with pytest.raises(Unavailable, match="killed"):
        await files.apply(Snapshot("shot", "one"))
    await shell(f"echo second > {path}; sync")
    holder.dead = False
    await files.apply(Snapshot("shot", "one"))
    await shell(f"echo third | dd of={path} bs=512 seek=9; {forget}")
    assert "second" in await shell(f"head -c 7 {path}"), "what lies below is read"
    await files.apply(Volume("copy", 1, FromVolume("one")))
    await shell(f"echo fourth > {path}; {forget}")
    assert "third" in await shell(f"dd if={path} bs=512 skip=9 count=1 | head -c 6")
    await files.apply(Volume("one", 2))
    await guest.has(2)
    assert await guest.saved(files.save_snapshot("shot", "one", out, "raw")) == b"second"
    assert await guest.saved(files.save("copy", out, "raw")) == b"second"
    assert await guest.saved(files.save("one", out, "raw")) == b"fourth"
    assert out.stat().st_size == 2 << 30


async def _after_a_restart(guest: Guest) -> None:
    """The next start finds the newest file under the volume's own name."""
    other, files, out = guest.host.again(), guest.host.files, guest.folder / "out"
    wanted = replace(guest.wanted, disks=(*guest.wanted.disks, ONE))
    await other.connect()
    assert (await other.apply(replace(wanted, boots=2), {}, lambda _step, _percent: None)).disks == {"root", "one"}
    off = await other.apply(replace(wanted, boots=2, power=Power.OFF), {}, lambda _step, _percent: None)
    assert off.power is Power.OFF
    await files.connection("one")
    await files.apply(Absent("snapshot", "shot"))
    assert await guest.saved(files.save("one", out, "raw")) == b"fourth"
    assert {path.name for path in files._folder.glob("volume.one*")} == {"volume.one"}
    await other.close()


async def _by_iscsi(guest: Guest, place: RealPlace) -> None:
    """A disk of a target; its password is in no argument list of any process, and forgotten in the end."""
    host, folder, portal = guest.host, place.run / "export", Portal(place.space, "127.0.0.1")
    exports = TgtExports(folder, portal, RawViews(folder / "raw", place.space), {})
    export = Export("two", host.files._path("volume.two"), "qcow2", portal, "someone", "correct-horse-1", "iqn.x:1")
    await exports.apply([export])
    try:
        way = connection(export)
        disk = Disk("net", 1, source=Source(way["driver_volume_type"], way["data"]))
        seen = await apply(host, replace(guest.wanted, disks=(*guest.wanted.disks, disk)))
        assert seen.disks == {"root", "net"}
        await guest.has(1)
        await guest.shell("echo first > /dev/vdb; sync; echo 3 > /proc/sys/vm/drop_caches")
        assert "first" in await guest.shell("head -c 6 /dev/vdb")
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                assert b"correct-horse" not in process.read_bytes()
        assert (await apply(host, guest.wanted)).disks == {"root"}
        assert await secrets(host) == []
    finally:
        await exports.apply([])


async def test_a_copy_goes_on_when_nobody_waits_for_it(host: LibvirtHost) -> None:
    """A process was killed while it waited: the next one finds the copy, or ends it when it is not wanted any more."""
    wanted = machine(disks=(Disk("root", 1, "empty"), ONE))
    await apply(host, wanted)
    new = replace(TWO, copy_of="one")
    link, driver = host.driver._link, host.driver  # type: ignore[attr-defined]
    await link.run(libvirt_volume.begin_swap, wanted, new, driver.style)  # type: ignore[attr-defined]
    assert (await host.driver.read())[wanted.id].disks == {"root", "one"}
    assert (await apply(host, wanted)).disks == {"root", "one"}
    await host.files.apply(Volume("two", 1))
    for again in (driver, host.again()):
        await again.connect()
        await link.run(libvirt_volume.begin_swap, wanted, new, driver.style)  # type: ignore[attr-defined]
    swapped = replace(wanted, disks=(wanted.disks[0], new))
    seen = await again.apply(swapped, {}, lambda _step, _percent: None)
    assert seen.disks == {"root", "two"}
    assert await again.apply(swapped, {}, lambda _step, _percent: None) == seen
    await again.close()
    host.files._path("volume.one").unlink()
    assert (await apply(host, replace(swapped, boots=2))).disks == {"root", "two"}


async def secrets(host: LibvirtHost) -> list[str]:
    found = await host.driver._link.run(lambda c: [secret.usageID() for secret in c.listAllSecrets()])  # type: ignore[attr-defined]
    return list(found)


async def test_what_is_wrong_with_a_volume_is_said(host: LibvirtHost) -> None:
    wanted = machine(disks=(ONE, TWO))
    host.files._path("volume.two").unlink()
    with pytest.raises(DeviceFailed, match="a disk of the machine, or the image below it, is gone"):
        await apply(host, wanted)
    nowhere = Source("iscsi", {"target_portal": "127.0.0.1:9", "target_iqn": "iqn.x:gone", "target_lun": 1})
    with pytest.raises(Unavailable, match="iSCSI target does not answer"):
        await apply(host, replace(wanted, disks=(ONE, Disk("net", 1, source=nowhere))))
    assert (await apply(host, replace(wanted, disks=(ONE,)))).disks == {"one"}
    other = machine(disks=(ONE,), nics=())
    with pytest.raises(Unavailable, match="the disk is in use on the Host"):
        await apply(host, other)
    paused = replace(wanted, disks=(ONE,), power=Power.PAUSED)
    await apply(host, paused)
    with pytest.raises(Unavailable, match="is paused and cannot let go of disk one; it will be gone after"):
        await apply(host, replace(paused, disks=()))
    with pytest.raises(DeviceFailed, match="only while the machine runs"):
        await apply(host, replace(wanted, disks=(replace(LARGE, copy_of="one"),), power=Power.OFF))
