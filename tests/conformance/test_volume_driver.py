"""What every storage backend must do, asked of each that works here. Bytes are compared where a backend keeps any."""

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from hagane.drivers.volume import block
from hagane.drivers.volume.base import (
    GIB,
    Absent,
    FromBackup,
    FromImage,
    FromSnapshot,
    FromVolume,
    Observed,
    Reverted,
    Snapshot,
    Volume,
    VolumeDriver,
    clean,
    temporary,
)
from hagane.drivers.volume.block import BlockVolumes
from hagane.drivers.volume.file import FileVolumes
from hagane.drivers.volume.lvm import LvmVolumes
from hagane.drivers.volume.rbd import Client, RbdVolumes
from hagane.drivers.volume.sim import SimVolumes
from hagane.errors import DeviceFailed, Unavailable
from tests.conformance.volume_tools import Image, Lvm, Rbd

Make = Callable[[], VolumeDriver]


@pytest.fixture(params=["sim", "file"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """The backend, anew each time: as after a restart."""
    if request.param == "sim":
        return lambda: SimVolumes(tmp_path / "sim.json")
    return lambda: FileVolumes(tmp_path / "volumes")


@pytest.fixture(params=["sim", "file", "lvm", "rbd"])
def make_any(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Also those whose bytes cannot be had here, since their commands are emulated."""
    lvm, rbd = Lvm(), Rbd()
    makers: dict[str, Make] = {
        "sim": lambda: SimVolumes(tmp_path / "sim.json"),
        "file": lambda: FileVolumes(tmp_path / "volumes"),
        "lvm": lambda: LvmVolumes("vg", "pool", lvm),
        "rbd": lambda: RbdVolumes("p", Client("u"), command=rbd),
    }
    return makers[request.param]


def new() -> str:
    return str(uuid4())


async def image(folder: Path, text: bytes) -> FromImage:
    path = folder / f"{new()}.img"
    await asyncio.to_thread(path.write_bytes, text.ljust(1 << 20, b"\0"))
    return FromImage(path.stem, path, "raw", 1 << 20)


async def content(driver: VolumeDriver, volume_id: str, folder: Path) -> bytes:
    """The first bytes of a volume."""
    path = folder / new()
    await driver.save(volume_id, path, "raw")
    with path.open("rb") as file:
        return file.read(16).rstrip(b"\0")


def write(driver: VolumeDriver, volume_id: str, text: bytes) -> None:
    """What a machine would write."""
    if isinstance(driver, FileVolumes):
        path = driver._path(f"volume.{volume_id}")
        words = ["qemu-io", "-f", "qcow2", "-c", f"write -P {text[0]} 0 64k", str(path)]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    elif isinstance(driver, SimVolumes):
        driver.volumes[volume_id]["content"] = text.decode()
    elif isinstance(driver, BlockVolumes):
        address = driver._address(f"volume-{volume_id}")
        words = ["qemu-io", "-f", "raw", "-c", f"write -P {text[0]} 0 64k", address]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


async def test_a_blank_volume_has_its_size_and_grows(make_any: Make) -> None:
    driver, key = make_any(), new()
    await driver.apply(Volume(key, 1))
    await driver.apply(Volume(key, 1))
    assert await make_any().read() == Observed({key: GIB}, frozenset())
    await driver.apply(Volume(key, 3))
    assert (await make_any().read()).volumes == {key: 3 * GIB}


async def test_a_volume_never_shrinks(make_any: Make) -> None:
    driver, key = make_any(), new()
    await driver.apply(Volume(key, 2))
    await driver.apply(Volume(key, 1))
    assert (await driver.read()).volumes == {key: 2 * GIB}


async def test_what_goes_is_gone_and_may_go_again(make_any: Make) -> None:
    driver, key, snapshot = make_any(), new(), new()
    await driver.apply(Volume(key, 1))
    await driver.apply(Snapshot(snapshot, key))
    for _ in range(2):
        await driver.apply(Absent("snapshot", snapshot))
        await driver.apply(Absent("volume", key))
    assert await make_any().read() == Observed()


async def test_copies_are_apart_from_what_they_came_from(make: Make, tmp_path: Path) -> None:
    driver, first, snapshot, second, third = make(), new(), new(), new(), new()
    await driver.apply(Volume(first, 1))
    write(driver, first, b"aaaa")
    await driver.apply(Snapshot(snapshot, first))
    write(driver, first, b"bbbb")
    await driver.apply(Volume(second, 2, FromSnapshot(snapshot, first)))
    await driver.apply(Volume(third, 1, FromVolume(first)))
    write(driver, second, b"cccc")
    found = [(await content(driver, key, tmp_path))[:4] for key in (first, second, third)]
    assert found == [b"bbbb", b"cccc", b"bbbb"]
    assert await driver.read() == Observed({first: GIB, second: 2 * GIB, third: GIB}, frozenset({snapshot}))


async def test_parents_may_go_in_any_order(make: Make, tmp_path: Path) -> None:
    driver, first, snapshot, second, third = make(), new(), new(), new(), new()
    await driver.apply(Volume(first, 1))
    write(driver, first, b"aaaa")
    await driver.apply(Snapshot(snapshot, first))
    await driver.apply(Volume(second, 1, FromSnapshot(snapshot, first)))
    await driver.apply(Volume(third, 1, FromVolume(second)))
    await driver.apply(Absent("snapshot", snapshot))
    assert (await driver.read()).snapshots == frozenset()
    await driver.apply(Absent("volume", first))
    await driver.apply(Absent("volume", second))
    assert (await content(driver, third, tmp_path))[:4] == b"aaaa"
    await driver.apply(Absent("volume", third))
    assert await driver.read() == Observed()


async def test_a_volume_returns_to_its_snapshot(make: Make, tmp_path: Path) -> None:
    driver, key, snapshot = make(), new(), new()
    await driver.apply(Volume(key, 1))
    write(driver, key, b"aaaa")
    await driver.apply(Snapshot(snapshot, key))
    write(driver, key, b"bbbb")
    for _ in range(2):
        await driver.apply(Reverted(key, snapshot, 1))
        assert (await content(driver, key, tmp_path))[:4] == b"aaaa"


async def test_an_image_becomes_a_volume_and_its_copy_goes_with_the_last(make: Make, tmp_path: Path) -> None:
    driver, source = make(), await image(tmp_path, b"hello")
    keys = [new(), new()]
    for key in keys:
        await driver.apply(Volume(key, 1, source))
        assert (await driver.read()).volumes[key] == GIB
    if isinstance(driver, FileVolumes):
        assert await content(driver, keys[1], tmp_path) == b"hello"
        assert sum(path.name.startswith("base.") for path in (tmp_path / "volumes").iterdir()) == 1
    for key in keys:
        await driver.apply(Absent("volume", key))
    left = [path.name for path in (tmp_path / "volumes").iterdir()] if isinstance(driver, FileVolumes) else []
    assert left in ([], [".lock"])


async def test_backups_whole_and_in_part_come_back(make: Make, tmp_path: Path) -> None:
    driver, key, other = make(), new(), new()
    await driver.apply(Volume(key, 1))
    write(driver, key, b"aaaa")
    await driver.save(key, tmp_path / "whole", "qcow2")
    write(driver, key, b"bbbb")
    await driver.save(key, tmp_path / "part", "qcow2", parent=tmp_path / "whole")
    await driver.apply(Volume(key, 1, FromBackup(tmp_path / "whole"), over=True))
    assert (await content(driver, key, tmp_path))[:4] == b"aaaa"
    await driver.apply(Volume(other, 1, FromBackup(tmp_path / "part")))
    assert (await content(driver, other, tmp_path))[:4] == b"bbbb"


async def test_what_is_not_there_is_said_in_words(make_any: Make) -> None:
    driver, key = make_any(), new()
    with pytest.raises(DeviceFailed, match=f"no volume {key}"):
        await driver.apply(Snapshot(new(), key))
    with pytest.raises(DeviceFailed, match=f"no snapshot {key}"):
        await driver.apply(Volume(new(), 1, FromSnapshot(key, key)))
    assert await driver.read() == Observed()


async def test_space_is_told(make_any: Make) -> None:
    space = await make_any().space()
    assert 0 < space.free_gb <= space.total_gb


async def test_things_stand_for_themselves(make_any: Make) -> None:
    driver, first, snapshot, second, third = make_any(), new(), new(), new(), new()
    await driver.apply(Volume(first, 1))
    for _ in range(2):
        await driver.apply(Snapshot(snapshot, first))
        await driver.apply(Volume(second, 2, FromSnapshot(snapshot, first)))
        await driver.apply(Volume(third, 1, FromVolume(first)))
        await driver.apply(Reverted(first, snapshot, 1))
    sizes = {first: GIB, second: 2 * GIB, third: GIB}
    assert await make_any().read() == Observed(sizes, frozenset({snapshot}))
    connection = await driver.connection(third)
    assert third in str(connection["data"])
    for gone in (Absent("volume", first), Absent("snapshot", snapshot), Absent("volume", second)):
        await driver.apply(gone)
    assert await driver.read() == Observed({third: GIB}, frozenset())
    await driver.apply(Absent("volume", third))
    assert await driver.read() == Observed()


# -- what only files can show ------------------------------------------------------------------------------------------


async def test_a_copy_of_any_size_takes_less_than_a_second(tmp_path: Path) -> None:
    driver, key = FileVolumes(tmp_path), new()
    await driver.apply(Volume(key, 1000))
    async with asyncio.timeout(1):
        await driver.apply(Volume(new(), 1000, FromVolume(key)))
    assert sum(path.stat().st_blocks for path in tmp_path.iterdir()) * 512 < 8 << 20


@pytest.mark.parametrize("step", ["link", "overlay"])
async def test_a_snapshot_broken_off_anywhere_is_ended_by_the_next_try(tmp_path: Path, step: str) -> None:
    driver, key, snapshot = FileVolumes(tmp_path / "v"), new(), new()
    await driver.apply(Volume(key, 1))
    write(driver, key, b"aaaa")
    os.link(driver._path(f"volume.{key}"), driver._path(f"layer.{snapshot}"))
    if step == "overlay":
        driver._path("temp.999999999.x").write_bytes(b"half")
    assert (await content(driver, key, tmp_path))[:4] == b"aaaa"
    await driver.apply(Snapshot(snapshot, key))
    write(driver, key, b"bbbb")
    await driver.apply(Reverted(key, snapshot, 1))
    assert (await content(driver, key, tmp_path))[:4] == b"aaaa"
    await driver.read()
    assert not [path for path in (tmp_path / "v").iterdir() if path.name.startswith("temp.")]


async def test_a_snapshot_broken_off_and_given_up_leaves_the_volume_whole(tmp_path: Path) -> None:
    driver, key, snapshot = FileVolumes(tmp_path / "v"), new(), new()
    await driver.apply(Volume(key, 1))
    write(driver, key, b"aaaa")
    os.link(driver._path(f"volume.{key}"), driver._path(f"layer.{snapshot}"))
    await driver.apply(Absent("snapshot", snapshot))
    assert await driver.read() == Observed({key: GIB}, frozenset())
    assert (await content(driver, key, tmp_path))[:4] == b"aaaa"


async def test_a_damaged_image_is_refused_in_the_tools_words(tmp_path: Path) -> None:
    driver, path = FileVolumes(tmp_path / "v"), tmp_path / "bad"
    path.write_bytes(b"QFI\xfb" + b"\xff" * 600)
    with pytest.raises(DeviceFailed, match="The disk image tool refused"):
        await driver.apply(Volume(new(), 1, FromImage("x", path, "qcow2", 1 << 20)))
    assert (await driver.read()).volumes == {}


async def test_a_vanished_file_is_said_in_words(tmp_path: Path) -> None:
    driver, key = FileVolumes(tmp_path), new()
    await driver.apply(Volume(key, 1))
    driver._path(f"volume.{key}").unlink()
    with pytest.raises(DeviceFailed, match="its file is gone"):
        await driver.connection(key)


def test_what_the_dead_left_half_made_goes(tmp_path: Path) -> None:
    path = tmp_path / "backup"
    alive, dead = temporary(path), tmp_path / "backup.part-999999999-abcdef01"
    for file in (path, alive, dead):
        file.touch()
    assert clean(tmp_path) == [dead]
    assert sorted(tmp_path.iterdir()) == sorted([path, alive])


async def test_the_folder_may_be_seen_elsewhere(tmp_path: Path) -> None:
    driver, key = FileVolumes(tmp_path, Path("/var/lib/libvirt/images/volumes")), new()
    await driver.apply(Volume(key, 1))
    found = await driver.connection(key)
    assert found["data"] == {"device_path": f"/var/lib/libvirt/images/volumes/volume.{key}", "format": "qcow2"}


# -- what only Ceph can show, emulated; tests/conformance/ceph_driver.py asks the real one ------------------------------


@pytest.fixture
def rbd() -> Rbd:
    return Rbd()


async def test_what_a_kill_leaves_in_a_pool_goes(rbd: Rbd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot that a copy was to be made of, a copy without its name, one in the trash with such a snapshot."""
    driver, key, other, third = RbdVolumes("p", Client("u"), command=rbd), new(), new(), new()
    await driver.apply(Volume(key, 1))
    name, temp = f"volume-{key}", f"temp-volume-{other}"
    rbd.images[name].shots.append(temp)
    rbd.images[temp] = Image(GIB)
    await driver.apply(Volume(other, 1, FromVolume(key)))
    assert set(rbd.images) == {"other", name, f"volume-{other}"} and not rbd.trash and not rbd.images[name].shots
    rbd.images[name].shots += [temp, "theirs"]
    rbd.images[temp], rbd.images["temp-volume-open"] = Image(GIB), Image(GIB, watchers=["another process"])
    monkeypatch.setattr(block, "SURE", 0.0)
    await driver.read()
    assert set(rbd.images) == {"other", name, f"volume-{other}", "temp-volume-open"}
    assert rbd.images[name].shots == ["theirs"] and not rbd.trash
    await driver.apply(Volume(third, 1, FromVolume(key)))
    rbd.images[name].shots = [temp]
    for one in (key, third, other):
        await driver.apply(Absent("volume", one))
    assert set(rbd.images) == {"other", "temp-volume-open"} and not rbd.trash


async def test_a_guest_is_told_of_a_growth_until_it_knows(rbd: Rbd) -> None:
    """Who had the image grow may have died before, or the Host did not answer."""
    driver, key, told = RbdVolumes("p", Client("u"), command=rbd), new(), []

    class Host:
        async def new_layer(self, volume_id: str, file: str) -> None:
            raise AssertionError(file)

        async def resize(self, volume_id: str, size: int) -> bool:
            told.append((volume_id, size))
            if len(told) == 1:
                raise Unavailable("no answer")
            return True

    driver.holder = Host()
    await driver.apply(Volume(key, 1))
    assert not told
    with pytest.raises(Unavailable):
        await driver.apply(Volume(key, 2))
    await driver.apply(Volume(key, 2))
    assert told == [(key, 2 * GIB)] * 2


async def test_a_copy_that_another_process_makes_stays(rbd: Rbd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two of its steps nothing shows that somebody is at work."""
    driver, key = RbdVolumes("p", Client("u"), command=rbd), new()
    await driver.apply(Volume(key, 1))
    shots, temp = rbd.images[f"volume-{key}"].shots, f"temp-volume-{new()}"

    async def copies(seconds: float) -> None:
        shots[:] = ["temp-volume-next"]

    async def opens(seconds: float) -> None:
        rbd.images[temp].watchers.append("another process")

    shots.append(temp)
    monkeypatch.setattr(asyncio, "sleep", copies)
    await driver.read()
    assert shots == ["temp-volume-next"]
    shots.clear()
    rbd.images[temp] = Image(GIB)
    monkeypatch.setattr(asyncio, "sleep", opens)
    await driver.read()
    assert rbd.images[temp].watchers


async def test_an_open_image_of_ceph_goes_later(rbd: Rbd) -> None:
    driver, key = RbdVolumes("p", Client("u"), command=rbd), new()
    await driver.apply(Volume(key, 1))
    rbd.images[f"volume-{key}"].watchers.append("a machine")
    with pytest.raises(Unavailable, match="Somebody has it open still"):
        await driver.apply(Absent("volume", key))
    rbd.images[f"volume-{key}"].watchers.clear()
    await driver.apply(Absent("volume", key))
    assert set(rbd.images) == {"other"} and not rbd.trash


async def test_a_shared_image_of_ceph_has_no_lock(rbd: Rbd) -> None:
    driver, key = RbdVolumes("p", Client("u"), command=rbd), new()
    await driver.apply(Volume(key, 1))
    for _ in range(2):
        await driver.share(key)
    assert rbd.images[f"volume-{key}"].features == ["layering"]


async def test_monitors_and_keys_of_ceph(rbd: Rbd, tmp_path: Path) -> None:
    keyring = tmp_path / "keyring"
    keyring.write_text("[client.u]\n\tkey = c2VjcmV0\n")
    driver, key = RbdVolumes("p", Client("u", "", str(keyring)), command=rbd), new()
    await driver.apply(Volume(key, 1))
    data = (await driver.connection(key))["data"]
    assert (data["hosts"], data["ports"]) == (["10.0.0.1", "fd00::2"], ["6789", "6789"])
    assert await driver.key() == "c2VjcmV0" and "c2VjcmV0" not in str(data)
    fixed = RbdVolumes("p", Client("u"), monitors=("192.0.2.1:3300",), command=rbd)
    assert (await fixed.connection(key))["data"]["hosts"] == ["192.0.2.1"]


async def test_a_full_pool_of_ceph_is_refused_before_it_lets_anybody_wait(rbd: Rbd) -> None:
    driver, key = RbdVolumes("p", Client("u"), command=rbd), new()
    await driver.apply(Volume(key, 1))
    assert [(await driver.space()).free_gb for _ in range(2)] == [90, 90] and rbd.counted == 1
    rbd.free = 0
    driver = RbdVolumes("p", Client("u"), command=rbd)
    assert (await driver.space()).free_gb == 0
    for wanted in (Volume(new(), 1), Snapshot(new(), key)):
        with pytest.raises(DeviceFailed, match="The storage backend is full"):
            await driver.apply(wanted)
    await driver.apply(Absent("volume", key))
    assert set(rbd.images) == {"other"}
