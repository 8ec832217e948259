"""A file that somebody writes to goes below another: cut off after each call, it still ends well, also if the writer
stops in between, or begins."""

import asyncio
import fcntl
import os
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hagane.drivers.volume import qemu
from hagane.drivers.volume.base import Absent, FromVolume, Snapshot, Volume
from hagane.drivers.volume.file import FileVolumes
from hagane.errors import DeviceFailed, Unavailable


class Writer:
    """Holds a file open as QEMU does: with a lock on byte 101, and knowing it by its name."""

    def __init__(self, path: Path) -> None:
        self._open(path)
        self.size, self.told = 0, 0

    def _open(self, path: Path) -> None:
        self.path, self._fd = path, os.open(path, os.O_RDWR)
        fcntl.fcntl(self._fd, 37, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 101, 1, 0))  # F_OFD_SETLK

    @property
    def inode(self) -> int:
        return os.fstat(self._fd).st_ino

    async def new_layer(self, volume_id: str, file: str) -> None:
        self.told += 1
        old = self._fd
        assert self.path.stat().st_ino == self.inode, "QEMU opens the old one once more, by this name"
        below = qemu.head(self.path.with_name(file)).backing
        assert self.path.with_name(below).stat().st_ino == self.inode
        self._open(self.path.with_name(file))
        os.close(old)

    async def resize(self, volume_id: str, size: int) -> bool:
        self.size = size
        return True

    def close(self) -> None:
        os.close(self._fd)


class Cut(Exception):
    """The process is killed."""


async def cut_after(folder: Path, calls: int, work: Callable[[FileVolumes], Awaitable[None]], writer: Writer) -> bool:
    """Do the work until so many calls were made; whether it came to its end."""
    driver, done = FileVolumes(folder), 0
    driver.holder = writer
    original = driver._away

    async def away(call: Callable[..., Any], *args: Any) -> Any:
        nonlocal done
        if done == calls:
            raise Cut
        done += 1
        return await original(call, *args)

    driver._away = away  # type: ignore[method-assign]
    try:
        await work(driver)
    except Cut:
        return False
    return True


@pytest.mark.parametrize("then", ["goes on", "stops", "stops for a while"])
async def test_cut_off_after_each_call(tmp_path: Path, then: str) -> None:
    for calls in range(40):
        folder = tmp_path / str(calls)
        driver = FileVolumes(folder)
        await driver.apply(Volume("v", 1))
        volume, layer = folder / "volume.v", folder / "layer.s"
        writer = Writer(volume)
        first = writer.inode
        ended = await cut_after(folder, calls, lambda one: one.apply(Snapshot("s", "v")), writer)
        if then != "goes on":
            writer.close()
        if then == "stops for a while":
            await FileVolumes(folder).read()  # as at every start, before any machine is started
            writer = Writer(volume)
        again = FileVolumes(folder)
        again.holder = writer
        await again.apply(Snapshot("s", "v"))
        assert layer.stat().st_ino == first != volume.stat().st_ino
        assert qemu.head(volume).backing == layer.name
        assert then == "stops" or writer.inode == volume.stat().st_ino
        assert not qemu.is_written(layer)
        if then != "stops":
            writer.close()
        await again.connection("v")
        assert {path.name for path in folder.glob("[vl]*")} == {"volume.v", "layer.s"}
        if ended:
            return
    raise AssertionError("more calls than expected")


async def test_what_is_open_is_copied_saved_and_grown(tmp_path: Path) -> None:
    driver, folder = FileVolumes(tmp_path / "v"), tmp_path / "v"
    await driver.apply(Volume("v", 1))
    writer = Writer(folder / "volume.v")
    for wanted in (Snapshot("s", "v"), Volume("c", 1, FromVolume("v"))):
        with pytest.raises(DeviceFailed, match="open in a running machine"):
            await driver.apply(wanted)
    driver.holder = writer
    await driver.apply(Volume("c", 1, FromVolume("v")))
    await driver.save("v", tmp_path / "out", "raw")
    await driver.apply(Volume("v", 3))
    assert (writer.told, writer.size) == (2, 3 << 30)
    assert set((await driver.read()).volumes) == {"v", "c"}
    with pytest.raises(DeviceFailed, match="open in a running machine"):
        await driver.apply(Volume("v", 1, over=True))
    writer.close()
    for name in ("v", "c"):
        await driver.apply(Absent("volume", name))
    assert list(folder.glob("[vl]*")) == []


async def test_who_opens_the_old_file_at_the_last_moment_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, writers = FileVolumes(tmp_path), []
    await driver.apply(Volume("v", 1))
    driver._link("volume.v", "layer.s")
    await driver._overlay("volume.v.00ff00ff", "layer.s", 1 << 30)
    original = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if target.name == "volume.v" and not writers:
            writers.append(Writer(target))
            driver.holder = writers[0]
        return original(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    await driver.apply(Snapshot("s", "v"))
    [writer] = writers
    assert writer.told == 1 and writer.inode == (tmp_path / "volume.v").stat().st_ino
    writer.close()


async def test_nobody_answers(tmp_path: Path) -> None:
    driver = FileVolumes(tmp_path)
    await driver.apply(Volume("v", 1))
    writer = Writer(tmp_path / "volume.v")

    class Deaf:
        async def new_layer(self, volume_id: str, file: str) -> None:
            await asyncio.sleep(0)

        async def resize(self, volume_id: str, size: int) -> bool:
            return True

    driver.holder = Deaf()
    for _ in range(2):
        with pytest.raises(Unavailable, match="still writes into its snapshot"):
            await driver.apply(Snapshot("s", "v"))
    writer.close()
    await driver.apply(Snapshot("s", "v"))
    assert qemu.head(tmp_path / "volume.v").backing == "layer.s"
