"""A volume by iSCSI to a real initiator (libiscsi): CHAP, bytes there and back, kills of the daemon and of the view."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pytest

from hagane.drivers.volume.base import Absent, FromVolume, Snapshot, Volume
from hagane.drivers.volume.export import Export, Home, TgtExports
from hagane.drivers.volume.file import FileVolumes
from hagane.drivers.volume.raw import RawViews
from hagane.drivers.volume.tgt import PREFIX, Portal, Tgtd
from hagane.errors import DeviceFailed, Unavailable

pytestmark = pytest.mark.real
PORTAL, SPACE = Portal("", "127.0.0.1", 13260), "hgexport"


@dataclass
class Lab:
    """Exports of the test's own, on loopback."""

    folder: Path
    volumes: FileVolumes
    exports: TgtExports

    async def volume(self, portal: Portal = PORTAL) -> Export:
        key = str(uuid4())
        await self.volumes.apply(Volume(key, 1))
        return Export(key, self.volumes._path(f"volume.{key}"), "qcow2", portal, f"user-{key[:8]}", "correct-horse-1")

    def pid(self, name: str) -> int:
        return int(next((self.folder / "e").rglob(f"{name}.pid")).read_text())


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    folder = Path("/tmp") / f"hv-{uuid4().hex[:6]}"
    folder.mkdir()
    views = RawViews(folder / "e" / "raw")
    made = Lab(folder, FileVolumes(folder / "v"), TgtExports(folder / "e", PORTAL, views, {"file": Home(frozenset())}))
    try:
        yield made
    finally:
        await made.exports.apply([])
        await made.exports.close()
        assert list((folder / "e").rglob("*.pid")) == []
        shutil.rmtree(folder)


async def io(export: Export, *commands: str, password: str = "", netns: str = "") -> tuple[int, str]:
    """qemu-io as an initiator."""
    secret = password or export.password
    url = f"iscsi://{export.user}%{secret}@{export.portal}/{PREFIX}{export.name}/1"
    words = ["ip", "netns", "exec", netns] if netns else []
    words += ["qemu-io", "-f", "raw", *(word for command in commands for word in ("-c", command)), url]
    child = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    async with asyncio.timeout(60):
        out, _ = await child.communicate()
    return child.returncode or 0, out.decode()


async def test_bytes_go_there_and_come_back_only_with_the_password(lab: Lab) -> None:
    export, other = await lab.volume(), await lab.volume()
    await lab.exports.apply([export])
    assert await lab.exports.read() == {export.name}
    code, text = await io(export, "write -P 97 0 64k", "flush", "read -P 97 0 64k")
    assert code == 0 and "failed" not in text, text
    assert (await io(export, "read 0 64k", password="wrong-horse-999"))[0] != 0
    daemon = Tgtd(PORTAL, lab.folder / "e")
    before = await daemon.targets()
    changed = replace(export, user="another", password="other-horse-22")
    await lab.exports.apply([export, other])
    assert (await daemon.targets())[0] == before[0], "what is so stays"
    await lab.exports.apply([changed, other])
    assert await lab.exports.read() == {changed.name, other.name}
    assert (await io(changed, "read -P 97 0 4k"))[0] == 0
    assert (await io(export, "read 0 4k"))[0] != 0
    await lab.exports.apply([])
    out = lab.folder / "out"
    await lab.volumes.save(export.volume_id, out, "raw")
    with out.open("rb") as file:
        assert file.read(4) == b"aaaa"


@pytest.mark.parametrize("victim", ["daemon", "view"])
async def test_what_was_killed_comes_again_with_what_was_flushed(lab: Lab, victim: str) -> None:
    export, told = await lab.volume(), asyncio.Event()
    lab.exports.watch(told.set)
    await lab.exports.apply([export])
    assert (await io(export, "write -P 98 0 64k", "flush"))[0] == 0
    told.clear()
    os.kill(lab.pid(PORTAL.name if victim == "daemon" else export.volume_id), signal.SIGKILL)
    async with asyncio.timeout(10):
        await told.wait()
    await lab.exports.apply([export])
    code, text = await io(export, "read -P 98 0 64k")
    assert code == 0 and "failed" not in text, text


async def test_a_portal_in_a_namespace(lab: Lab) -> None:
    """It is reached there and nowhere else, and follows the namespace when that is made anew."""
    export = await lab.volume(Portal(SPACE, "127.0.0.1"))
    try:
        for _ in range(2):
            subprocess.run(["ip", "netns", "add", SPACE], check=True)
            subprocess.run(["ip", "-n", SPACE, "link", "set", "lo", "up"], check=True)
            await lab.exports.apply([export])
            assert (await io(export, "write -P 99 0 64k", "flush", netns=SPACE))[0] == 0
            assert (await io(export, "read 0 4k"))[0] != 0
            subprocess.run(["ip", "netns", "delete", SPACE], check=True)
        with pytest.raises(Unavailable, match="cannot listen"):
            await lab.exports.apply([export])
    finally:
        subprocess.run(["ip", "netns", "delete", SPACE], check=False, stderr=subprocess.DEVNULL)


async def test_a_volume_that_a_machine_has_open_is_not_exported(lab: Lab) -> None:
    export = await lab.volume()
    words = ["qemu-io", "-f", "qcow2", str(export.file)]
    machine = await asyncio.create_subprocess_exec(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert machine.stdin and machine.stdout
    await machine.stdout.read(1)
    with pytest.raises(Unavailable, match="open in a running machine"):
        await lab.exports.apply([export])
    assert await lab.exports.read() == frozenset()
    machine.stdin.close()
    await machine.wait()
    await lab.exports.apply([export])
    assert await lab.exports.read() == {export.name}


def first(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(1)


async def test_snapshot_and_copy_of_an_exported_volume(lab: Lab) -> None:
    """The view goes over to the new file; one that was not told yet is told by whoever comes next."""
    export = await lab.volume()
    key, told = export.volume_id, 0
    await lab.exports.apply([export])
    assert (await io(export, "write -P 97 0 64k", "flush"))[0] == 0

    class Holder:
        async def new_layer(self, volume_id: str, file: str) -> None:
            nonlocal told
            told += 1
            if told == 1:
                raise Unavailable("killed between the names and the view")
            await lab.exports.new_layer(key, export.file.with_name(file))

        async def resize(self, volume_id: str, size: int) -> bool:
            raise DeviceFailed("not here")

    with pytest.raises(DeviceFailed, match="open in a running machine"):
        await lab.volumes.apply(Snapshot("shot", key))
    lab.volumes.holder = Holder()
    with pytest.raises(Unavailable):
        await lab.volumes.apply(Snapshot("shot", key))
    assert (await io(export, "write -P 98 0 64k", "flush"))[0] == 0
    await lab.volumes.apply(Snapshot("shot", key))
    await lab.volumes.apply(Volume("copy", 1, FromVolume(key)))
    assert (await io(export, "write -P 99 0 64k", "flush", "read -P 99 0 64k"))[0] == 0
    await lab.volumes.save(key, lab.folder / "saved", "raw")
    await lab.volumes.save("copy", lab.folder / "copied", "raw")
    await lab.volumes.save_snapshot("shot", key, lab.folder / "shown", "raw")
    read = [first(lab.folder / name) for name in ("saved", "copied", "shown")]
    assert (read, told) == ([b"c", b"b", b"b"], 4)
    with pytest.raises(DeviceFailed, match="not here"):
        await lab.volumes.apply(Volume(key, 2))
    for kind, name in (("snapshot", "shot"), ("volume", "copy")):
        await lab.volumes.apply(Absent(kind, name))
    code, text = await io(export, "write -P 65 1M 64k", "flush", "read -P 99 0 64k")
    assert code == 0, text
    await lab.exports.apply([])
    await lab.volumes.save(key, lab.folder / "end", "raw")
    assert (first(lab.folder / "end"), told) == (b"c", 4)
    await lab.volumes.connection(key)
    assert len(list((lab.folder / "v").glob("volume.*"))) == 1
