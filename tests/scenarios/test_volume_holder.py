"""Who has a volume open is found by its attachment, and told while the backend waits for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hagane.drivers.volume.export import Home, SimExports
from hagane.drivers.volume.file import FileVolumes
from hagane.reconcile.devices import Devices
from hagane.reconcile.volume_holder import AttachedHolder
from hagane.state.secret import Secrets
from hagane.volume import attach
from tests.scenarios.test_volume_faults import World
from tests.support import running_cloud
from tests.unit.test_volume_open import Writer

SERVER = "3f0c8a52-5d0e-4d0c-9a3b-0d6f6b3c1e11"


class Host:
    """A Host with one machine, which has the volume open."""

    def __init__(self, writer: Writer) -> None:
        self.writer, self.asked = writer, list[tuple[Any, ...]]()

    async def new_layer(self, machine_id: str, source: str, file: str) -> None:
        self.asked.append((machine_id, source))
        await self.writer.new_layer("", file)

    async def resize(self, machine_id: str, source: str, size: int) -> None:
        self.asked.append((machine_id, source, size))


class Export(SimExports):
    """An export that has it open."""

    writer: Writer

    async def new_layer(self, volume_id: str, file: Path) -> None:
        assert file.parent == self.writer.path.parent
        await self.writer.new_layer(volume_id, file.name)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running_cloud(tmp_path / "cloud") as cloud:
        made = World(cloud, FileVolumes(tmp_path / "volumes"))
        yield made
        made.http.close()


def attached(world: World, key: str, host: str, kind: str) -> None:
    """As compute does it."""
    cloud = world.cloud.hagane.cloud

    async def work(tx: Any) -> None:
        row = await attach.reserve(tx, await attach.get(tx, key), SERVER)
        way = {"driver_volume_type": kind, "data": {"device_path": f"/seen/volume.{key}"}}
        await attach.connected(tx, Secrets(cloud.config.state), row["id"], {"host": host, "hagane": True}, way)
        await attach.complete(tx, row["id"])

    world.cloud.run(lambda: cloud.db.write(work))


@pytest.mark.parametrize("kind", ["local", "iscsi"])
def test_a_volume_in_use(world: World, tmp_path: Path, kind: str) -> None:
    key = world.make("/volumes", volume={"size": 1})
    writer = Writer(tmp_path / "volumes" / f"volume.{key}")
    host, exports = Host(writer), Export({"sim": Home(frozenset({"here"}), tmp_path / "volumes")})
    exports.writer = writer
    devices = Devices(hosts={"here": host}, exports=exports)  # type: ignore[dict-item]
    world.driver.holder = AttachedHolder(world.cloud.hagane.cloud.db, devices)  # type: ignore[attr-defined]
    attached(world, key, "here" if kind == "local" else "there", kind)
    shot = world.make("/snapshots", snapshot={"volume_id": key, "force": True})
    copy = world.make("/volumes", volume={"source_volid": key})
    backup = world.make("/backups", backup={"volume_id": key, "force": True})
    assert writer.told == 3
    assert world.http.post(f"/volumes/{key}/action", json={"os-extend": {"new_size": 2}}).status_code == 202
    world.wait(f"/volumes/{key}", "in-use")
    size = world.http.get(f"/volumes/{key}").json()["volume"]["size"]
    if kind == "local":
        assert size == 2
        assert host.asked == [(SERVER, f"/seen/volume.{key}")] * 3 + [(SERVER, f"/seen/volume.{key}", 2 << 30)]
    else:
        said = world.http.get("/messages").json()["messages"][0]["user_message"]
        assert size == 1 and "in use on another machine" in said
    writer.close()
    assert world.http.post(f"/volumes/{key}/action", json={"os-detach": {}}).status_code == 409, "it is compute's"
    for path in (f"/snapshots/{shot}", f"/backups/{backup}", f"/volumes/{copy}"):
        assert world.http.delete(path).status_code == 202
        world.wait(path, "")


def test_nobody_is_known_to_have_it(world: World, tmp_path: Path) -> None:
    key = world.make("/volumes", volume={"size": 1})
    writer = Writer(tmp_path / "volumes" / f"volume.{key}")
    world.driver.holder = AttachedHolder(world.cloud.hagane.cloud.db, Devices())  # type: ignore[attr-defined]
    answer = world.http.post("/snapshots", json={"snapshot": {"volume_id": key}})
    shot = answer.json()["snapshot"]["id"]
    world.wait(f"/snapshots/{shot}", "creating")
    writer.close()
    world.wait(f"/snapshots/{shot}", "available")
