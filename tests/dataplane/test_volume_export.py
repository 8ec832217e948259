"""A volume by iSCSI to a real initiator (libiscsi): CHAP, bytes there and back, kills of the daemon and of the view."""

import asyncio
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pytest

from hagane.drivers.volume.base import Absent, FromVolume, Snapshot, Volume
from hagane.drivers.volume.export import Export, TgtExports, iqn
from hagane.drivers.volume.file import FileVolumes
from hagane.drivers.volume.raw import RawViews
from hagane.errors import DeviceFailed, Unavailable

pytestmark = pytest.mark.real
CONTROL, PORT = 7311, 13260


@dataclass
class Lab:
    """A tgtd of the test's own on a loopback port."""

    folder: Path
    volumes: FileVolumes
    views: RawViews
    exports: TgtExports
    daemon: "asyncio.subprocess.Process"

    async def start(self) -> None:
        words = ["tgtd", "-f", "-C", str(CONTROL), "--iscsi", f"portal=127.0.0.1:{PORT}"]
        self.daemon = await asyncio.create_subprocess_exec(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        async with asyncio.timeout(20):
            while True:
                try:
                    await self.exports.read()
                    return
                except Unavailable:
                    await asyncio.sleep(0.1)

    async def volume(self) -> Export:
        key = str(uuid4())
        await self.volumes.apply(Volume(key, 1))
        file = await self.views.show(key, self.volumes._path(f"volume.{key}"))
        return Export(key, file, f"user-{key[:8]}", "correct-horse-1")


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    folder = Path("/tmp") / f"hv-{uuid4().hex[:6]}"
    folder.mkdir()
    made = Lab(folder, FileVolumes(folder / "v"), RawViews(folder / "raw"), TgtExports(CONTROL), None)  # type: ignore[arg-type]
    try:
        await made.start()
        yield made
        await made.exports.apply([], force=True)
    finally:
        made.daemon.kill()
        await made.daemon.wait()
        for key in await made.views.read():
            await made.views.hide(key)
        shutil.rmtree(folder)


async def io(export: Export, *commands: str, password: str = "") -> tuple[int, str]:
    """qemu-io as an initiator."""
    secret = password or export.password
    url = f"iscsi://{export.user}%{secret}@127.0.0.1:{PORT}/{iqn(export.volume_id)}/1"
    words = ["qemu-io", "-f", "raw", *(word for command in commands for word in ("-c", command)), url]
    child = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    async with asyncio.timeout(60):
        out, _ = await child.communicate()
    return child.returncode or 0, out.decode()


async def test_bytes_go_there_and_come_back_only_with_the_password(lab: Lab) -> None:
    export = await lab.volume()
    assert await lab.exports.apply([export]) == []
    assert [target.volume_id for target in await lab.exports.read()] == [export.volume_id]
    code, text = await io(export, "write -P 97 0 64k", "flush", "read -P 97 0 64k")
    assert code == 0 and "failed" not in text, text
    code, _ = await io(export, "read 0 64k", password="wrong-horse-999")
    assert code != 0
    await lab.exports.apply([])
    assert await lab.exports.read() == []
    await lab.views.hide(export.volume_id)
    out = lab.folder / "out"
    await lab.volumes.save(export.volume_id, out, "raw")
    with out.open("rb") as file:
        assert file.read(4) == b"aaaa"


async def test_what_is_so_stays_and_what_differs_is_made_anew(lab: Lab) -> None:
    first, second = await lab.volume(), await lab.volume()
    await lab.exports.apply([first])
    before = await lab.exports.read()
    await lab.exports.apply([first, second])
    after = {target.volume_id: target for target in await lab.exports.read()}
    assert after[first.volume_id] == before[0]
    changed = replace(first, user="another", password="other-horse-22")
    await lab.exports.apply([changed, second])
    assert (await io(changed, "read 0 4k"))[0] == 0
    assert (await io(first, "read 0 4k"))[0] != 0


async def test_a_killed_daemon_gets_everything_again(lab: Lab) -> None:
    export = await lab.volume()
    await lab.exports.apply([export])
    assert (await io(export, "write -P 98 0 64k", "flush"))[0] == 0
    lab.daemon.send_signal(signal.SIGKILL)
    await lab.daemon.wait()
    await lab.start()
    await lab.exports.apply([export])
    assert (await io(export, "read -P 98 0 64k"))[0] == 0


async def test_a_killed_view_comes_again_with_what_was_flushed(lab: Lab) -> None:
    export = await lab.volume()
    await lab.exports.apply([export])
    assert (await io(export, "write -P 99 0 64k", "flush"))[0] == 0
    pid = int((lab.folder / "raw" / f"{export.volume_id}.pid").read_text())
    subprocess.run(["kill", "-9", str(pid)], check=True)
    async with asyncio.timeout(10):
        while await lab.views.read():
            await asyncio.sleep(0.02)
    await lab.exports.apply([], force=True)
    await lab.views.show(export.volume_id, lab.volumes._path(f"volume.{export.volume_id}"))
    await lab.exports.apply([export])
    assert (await io(export, "read -P 99 0 64k"))[0] == 0


async def test_no_layer_is_pulled_from_under_an_open_volume(lab: Lab) -> None:
    export = await lab.volume()
    await lab.exports.apply([export])
    with pytest.raises(DeviceFailed, match="open in a running machine"):
        await lab.volumes.apply(Snapshot("shot", export.volume_id))
    with pytest.raises(DeviceFailed, match="open in a running machine"):
        await lab.volumes.apply(Volume("copy", 1, FromVolume(export.volume_id)))
    assert (await io(export, "write -P 100 0 64k", "flush", "read -P 100 0 64k"))[0] == 0
    await lab.volumes.apply(Absent("snapshot", "shot"))
    await lab.exports.apply([])
    await lab.views.hide(export.volume_id)
    assert set((await lab.volumes.read()).volumes) == {export.volume_id}
    await lab.volumes.apply(Snapshot("shot", export.volume_id))
