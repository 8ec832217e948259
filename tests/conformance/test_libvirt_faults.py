"""What goes wrong on a real libvirt Host, and that each thing ends well and says its cause."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hagane.drivers.hypervisor import libvirt_storage as storage
from hagane.drivers.hypervisor.base import BaseImage, Disk, Machine, Power
from hagane.errors import DeviceFailed, HaganeError, Unavailable
from tests.conformance.hosts import LibvirtHost, RealPlace, libvirt_host
from tests.conformance.test_hypervisor import apply, machine, nic

pytestmark = pytest.mark.real


@pytest.fixture
async def host(place: RealPlace, tmp_path: Path) -> AsyncIterator[LibvirtHost]:
    async with libvirt_host(tmp_path, place) as real:
        yield real


def bytes_image(folder: Path, megabytes: int, disk_format: str = "raw") -> BaseImage:
    """An image full of noise, which takes the room it says."""
    path = folder / f"noise-{megabytes}"
    path.write_bytes(os.urandom(megabytes << 20))
    return BaseImage(path.name, path, disk_format, megabytes << 20, megabytes << 20)


async def from_image(host: LibvirtHost, wanted: Machine, image: BaseImage) -> Any:
    wanted = replace(wanted, disks=(Disk("root", 1, image.id),))
    return await host.driver.apply(wanted, {image.id: image}, lambda _step, _percent: None)


async def names(host: LibvirtHost) -> list[str]:
    return sorted(await host.driver._link.run(storage.volumes))  # type: ignore[attr-defined]


def daemon(where: RealPlace, name: str) -> int:
    return int((where.run / f"{name}.pid").read_text())


async def test_an_upload_cut_off_by_kill_9_is_never_used(host: LibvirtHost, place: RealPlace, tmp_path: Path) -> None:
    image = bytes_image(tmp_path, 16)
    script = f"""
        import os, libvirt
        from pathlib import Path
        from hagane.drivers.hypervisor.base import BaseImage
        from hagane.drivers.hypervisor.libvirt_storage import bring_image
        image = BaseImage({image.id!r}, Path({str(image.path)!r}), "raw", {image.size}, {image.size})
        bring_image(libvirt.open({place.uri!r}), image, lambda moved: moved > 4 << 20 and os.kill(os.getpid(), 9))
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert ended.returncode == -signal.SIGKILL
    rubbish = await names(host)
    assert len(rubbish) == 1
    wanted = machine()
    assert (await from_image(host, wanted, image)).power is Power.ON
    xml = await host.driver._link.run(  # type: ignore[attr-defined]
        lambda c: c.storagePoolLookupByName("hagane").storageVolLookupByName(f"hagane-{wanted.id}.root.qcow2").XMLDesc()
    )
    assert rubbish[0] not in xml
    await host.driver.remove(wanted.id)
    assert await host.driver.sweep_images({image.id}) == set(), "it might still be coming"
    sweeper = host.driver._images._sweeper  # type: ignore[attr-defined]
    sweeper._clock = lambda: time.monotonic() + storage.RUBBISH_AGE
    assert await host.driver.sweep_images({image.id}) == {image.id}
    assert [name for name in await names(host) if name in rubbish] == []
    assert await host.driver.sweep_images(set()) == {image.id}
    assert await names(host) == []


async def test_two_processes_may_bring_one_image_at_once(host: LibvirtHost, tmp_path: Path) -> None:
    image, other = bytes_image(tmp_path, 16), host.again()
    await other.connect()
    one, two = machine(disks=(Disk("a", 1, image.id),)), machine(disks=(Disk("b", 1, image.id),), nics=(nic(2),))
    seen = await asyncio.gather(
        host.driver.apply(one, {image.id: image}, lambda _step, _percent: None),
        other.apply(two, {image.id: image}, lambda _step, _percent: None),
    )
    assert {each.power for each in seen} == {Power.ON}
    await other.close()


async def test_libvirtd_killed_while_machines_are_made(host: LibvirtHost, place: RealPlace) -> None:
    wanted = [machine(disks=(Disk(f"r{n}", 1, "empty"),), nics=(nic(n),)) for n in range(1, 5)]
    for pause in (0.02, 0.1, 0.25, 0.5):
        making = asyncio.gather(*(apply(host, one) for one in wanted), return_exceptions=True)
        await asyncio.sleep(pause)
        os.kill(daemon(place, "libvirtd"), signal.SIGKILL)
        ends = await making
        assert all(isinstance(end, Unavailable) for end in ends if isinstance(end, BaseException)), ends
        await place.start_libvirt()
        async with asyncio.timeout(30):
            while True:
                try:
                    seen = await asyncio.gather(*(apply(host, one) for one in wanted))
                    break
                except Unavailable:
                    await asyncio.sleep(0.2)
        assert {each.power for each in seen} == {Power.ON}
        assert set(await host.driver.disks()) == {"r1", "r2", "r3", "r4"}
        await asyncio.gather(*(host.driver.remove(one.id) for one in wanted))


async def test_a_machine_that_died_while_libvirt_was_away(host: LibvirtHost, place: RealPlace) -> None:
    wanted = machine()
    await apply(host, wanted)
    pid = host.incarnation(wanted.id)
    await host.away()
    os.kill(pid, signal.SIGKILL)  # type: ignore[arg-type]
    await host.back()
    async with asyncio.timeout(20):
        while True:
            try:
                seen = (await host.driver.read())[wanted.id]
                break
            except Unavailable:
                await asyncio.sleep(0.1)
    assert seen.power in (Power.CRASHED, Power.OFF)
    assert (await apply(host, replace(wanted, boots=2))).power is Power.ON


async def test_a_full_disk_is_said_and_leaves_nothing(host: LibvirtHost, place: RealPlace, tmp_path: Path) -> None:
    inside = ["nsenter", "-t", str(daemon(place, "libvirtd")), "-m"]
    disk = f"{place.pool}/disk"
    subprocess.run([*inside, "mount", "-t", "tmpfs", "-o", "size=8m", "hgconf", disk], check=True)
    try:
        with pytest.raises(DeviceFailed, match="no space left on the Host's disk"):
            await from_image(host, machine(), bytes_image(tmp_path, 16))
        assert await names(host) == []
    finally:
        subprocess.run([*inside, "umount", disk], check=True)


@pytest.mark.parametrize("content", [b"QFI\xfb\x00\x00\x00\x03" + bytes(65536), b"no disk image at all" * 4000])
async def test_a_corrupt_image_is_said(host: LibvirtHost, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(DeviceFailed, match="image is corrupt"):
        await from_image(host, machine(), BaseImage("broken", path, "qcow2", len(content), 1 << 20))
    with pytest.raises(DeviceFailed, match="cannot be read"):
        await from_image(host, machine(), BaseImage("gone", tmp_path / "gone", "raw", 1, 1))


async def test_a_host_without_bridge_or_log_daemon_is_said(host: LibvirtHost, place: RealPlace) -> None:
    from hagane.lab import ovs

    wanted = machine()
    await ovs.vsctl(place.switch, "del-br", "br-int")
    try:
        with pytest.raises(Unavailable, match="no working integration bridge"):
            await apply(host, wanted)
    finally:
        await place.up()
    os.kill(daemon(place, "virtlogd"), signal.SIGKILL)
    try:
        with pytest.raises(Unavailable, match="virtlogd does not run"):
            await apply(host, wanted)
    finally:
        await place.start_libvirt()
    assert (await apply(host, wanted)).power is Power.ON


async def test_taps_carry_the_ports_id_and_go_with_the_machine(host: LibvirtHost, place: RealPlace) -> None:
    from hagane.lab import ovs

    async def plugged() -> str:
        return await ovs.vsctl(place.switch, "--columns=external_ids", "list", "Interface")

    wanted = machine(nics=(nic(1), nic(2)))
    await apply(host, wanted)
    found = await plugged()
    for each in wanted.nics:
        assert f"iface-id={each.port_id}" in found.replace('"', "")
    await host.driver.remove(wanted.id)
    assert "iface-id" not in await plugged()


@pytest.mark.slow
async def test_a_libvirtd_that_hangs_is_given_up(host: LibvirtHost, place: RealPlace) -> None:
    pid = daemon(place, "libvirtd")
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await host.driver.read()
        assert time.monotonic() - began < 30
        with pytest.raises(Unavailable):
            await host.driver.read()
    finally:
        os.kill(pid, signal.SIGCONT)
    async with asyncio.timeout(40):
        while True:
            try:
                assert await host.driver.read() == {}
                break
            except HaganeError:
                await asyncio.sleep(0.2)


@pytest.mark.slow
async def test_a_guest_that_keeps_its_nic_stops_nothing_else(host: LibvirtHost) -> None:
    """No operating system runs, so nobody answers the request to let go."""
    wanted = machine(nics=(nic(1), nic(2)))
    await apply(host, wanted)
    await asyncio.sleep(1)
    less = replace(wanted, nics=(nic(2), nic(3)))
    with pytest.raises(Unavailable, match=r"does not let go of the NIC of port 0000.*1; it will be gone after"):
        await apply(host, less)
    seen = (await host.driver.read())[wanted.id]
    assert seen.nics == {nic(1).port_id, nic(2).port_id, nic(3).port_id}
    seen = await apply(host, replace(less, boots=2))
    assert seen.nics == {nic(2).port_id, nic(3).port_id}
