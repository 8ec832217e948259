"""A volume's whole story while its backend fails, or the process dies, once at each of its calls.

The same story every time: volumes from nothing, an image, a snapshot, a volume and a backup; growing, reverting,
uploading; and the end of everything. It must end well each time, and nothing may be left: no row, no count, no file.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hagane.drivers.volume.base import Absent, Observed, Snapshot, Volume, VolumeDriver
from hagane.drivers.volume.file import FileVolumes
from hagane.drivers.volume.sim import SimVolumes
from hagane.errors import DeviceFailed, Unavailable
from hagane.operate.findings import findings
from hagane.reconcile import engine, volume
from hagane.reconcile.volume_part import VolumePart
from tests.support import Running, running_cloud

CALLS = ("Volume", "Snapshot", "Reverted", "Absent", "save")


class Death(BaseException):
    """Not to be caught."""


class Struck:
    """A backend whose calls are struck once: `strike` is called before and after each with the call's name."""

    family = "sim"

    def __init__(self, driver: VolumeDriver) -> None:
        self._driver = driver
        self.strike: Callable[[str, str], None] = lambda call, moment: None

    def __getattr__(self, name: str) -> Any:
        original = getattr(self._driver, name)

        async def call(*args: Any, **more: Any) -> Any:
            label = type(args[0]).__name__ if name == "apply" else name
            self.strike(label, "before")
            found = await original(*args, **more)
            self.strike(label, "after")
            return found

        return call


def once(wanted: str, moment: str, error: BaseException) -> Callable[[str, str], None]:
    struck = False

    def strike(call: str, when: str) -> None:
        nonlocal struck
        if (call, when) == (wanted, moment) and not struck:
            struck = True
            raise error

    return strike


class World:
    """A cloud, its backend, and one administrator's HTTP."""

    def __init__(self, cloud: Running, driver: VolumeDriver) -> None:
        self.cloud, self.driver, self.backend = cloud, driver, Struck(driver)
        self.part = next(part for part in cloud.hagane._parts if isinstance(part, VolumePart))
        self.part.backends._drivers["sim"] = self.backend  # type: ignore[assignment]
        self.http = httpx.Client(base_url=f"{cloud.url}/volume/v3", headers={
            "X-Auth-Token": cloud.token(), "OpenStack-API-Version": "volume 3.70"})  # fmt: skip
        self.image = self._image()

    def _image(self) -> str:
        headers = {"X-Auth-Token": self.cloud.token()}
        with httpx.Client(base_url=f"{self.cloud.url}/image/v2", headers=headers) as http:
            body = {"name": "i", "disk_format": "raw", "container_format": "bare"}
            key: str = http.post("/images", json=body).raise_for_status().json()["id"]
            http.put(f"/images/{key}/file", content=b"x" * 65536, headers={"Content-Type": "application/octet-stream"})
        return key

    def make(self, path: str, **body: Any) -> str:
        answer = self.http.post(path, json=body)
        assert answer.is_success, answer.text
        key: str = next(iter(answer.json().values()))["id"]
        self.wait(f"{path}/{key}", "available")
        return key

    def act(self, key: str, verb: str, body: Any) -> None:
        assert self.http.post(f"/volumes/{key}/action", json={verb: body}).status_code == 202
        self.wait(f"/volumes/{key}", "available")

    def wait(self, path: str, wanted: str) -> None:
        """Until the thing has this status; "" is gone."""
        until = time.monotonic() + 30
        shown = ""
        while time.monotonic() < until:
            answer = self.http.get(path)
            shown = "" if answer.status_code == 404 else next(iter(answer.json().values()))["status"]
            if shown == wanted:
                return
            time.sleep(0.02)
        raise AssertionError(f"{path} is {shown!r}, not {wanted!r}")

    def play(self) -> None:
        first = self.make("/volumes", volume={"size": 1})
        shot = self.make("/snapshots", snapshot={"volume_id": first})
        keys = [
            first,
            self.make("/volumes", volume={"size": 1, "imageRef": self.image}),
            self.make("/volumes", volume={"snapshot_id": shot}),
            self.make("/volumes", volume={"source_volid": first}),
        ]
        self.act(first, "revert", {"snapshot_id": shot})
        self.act(keys[2], "os-extend", {"new_size": 2})
        self.act(keys[1], "os-volume_upload_image", {"image_name": "up", "disk_format": "qcow2"})
        saved = self.make("/backups", backup={"volume_id": first})
        restore = self.http.post(f"/backups/{saved}/restore", json={"restore": {"volume_id": keys[3]}})
        assert restore.status_code == 202
        self.wait(f"/backups/{saved}", "available")
        self.wait(f"/volumes/{keys[3]}", "available")
        for path in (f"/snapshots/{shot}", f"/backups/{saved}", *(f"/volumes/{key}" for key in keys)):
            assert self.http.delete(path).status_code == 202
            self.wait(path, "")

    def nothing_left(self) -> None:
        self.backend.strike = lambda call, moment: None
        assert self.cloud.run(self.driver.read) == Observed()
        assert self.cloud.run(self.part.backends.sweep) == []
        for table in ("volume", "volume_snapshot", "volume_backup", "volume_usage", "volume_item"):
            assert self.cloud.run(lambda t=table: self.cloud.hagane.cloud.db.fetch(f"SELECT * FROM {t}")) == []  # type: ignore[misc]
        folder = self.cloud.config.state / "backups"
        assert not [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture(params=["sim", "file"])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(engine, "POLL", 0.05)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # nobody mourns
    with running_cloud(tmp_path, workers_lease=0.3) as cloud:
        driver: VolumeDriver = SimVolumes() if request.param == "sim" else FileVolumes(tmp_path / "volumes")
        made = World(cloud, driver)
        yield made
        made.http.close()
    logging.getLogger("asyncio").setLevel(logging.NOTSET)


def test_each_call_fails_once(world: World) -> None:
    world.play()
    world.nothing_left()
    for call in CALLS:
        for moment in ("before", "after"):
            world.backend.strike = once(call, moment, Unavailable("The backend does not answer."))
            world.play()
            world.nothing_left()


@pytest.mark.slow
def test_the_process_dies_at_each_call(world: World) -> None:
    for call in CALLS:
        for moment in ("before", "after"):
            world.backend.strike = once(call, moment, Death())
            world.play()
            world.nothing_left()


def test_a_final_refusal_is_told_and_the_volume_can_go(world: World) -> None:
    why = "The storage backend is full."
    world.backend.strike = once("Volume", "before", DeviceFailed(why))
    key = world.http.post("/volumes", json={"volume": {"size": 1}}).json()["volume"]["id"]
    world.wait(f"/volumes/{key}", "error")
    told = world.http.get("/messages").json()["messages"][0]
    assert (told["resource_uuid"], told["user_message"]) == (key, f"create volume from backend storage:{why}")
    world.http.delete(f"/volumes/{key}")
    world.wait(f"/volumes/{key}", "")
    world.nothing_left()


def test_an_owner_is_not_told_what_is_wrong_inside_a_backend(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def strike(call: str, moment: str) -> None:
        if call == "Volume":
            raise Unavailable("There is no key of client.hagane in /etc/ceph/keyring.")

    monkeypatch.setattr(volume, "PATIENCE", -1.0)
    world.backend.strike = strike
    key = world.http.post("/volumes", json={"volume": {"size": 1}}).json()["volume"]["id"]
    world.wait(f"/volumes/{key}", "error")
    told = world.http.get("/messages").json()["messages"][0]["user_message"]
    assert told.endswith(volume.NO_ANSWER) and "keyring" not in told
    world.http.delete(f"/volumes/{key}")
    world.wait(f"/volumes/{key}", "")


class Silent:
    """A backend that does not answer."""

    family = "rbd"

    async def read(self) -> None:
        raise Unavailable("Ceph's monitors did not answer within 5 seconds.")

    space = read


def test_a_backend_that_does_not_answer_is_named_and_hides_no_other(world: World) -> None:
    backends = world.part.backends
    backends._drivers = {"ceph": Silent()} | backends._drivers  # type: ignore[dict-item, assignment]
    world.cloud.run(lambda: world.driver.apply(Volume("stray", 1)))
    world.cloud.run(backends.look)
    first, second = world.cloud.run(backends.sweep)
    assert first == "the backend ceph cannot be looked through: Ceph's monitors did not answer within 5 seconds."
    assert "volume stray on sim" in second
    told = [one.what for one in world.cloud.run(lambda: findings(world.cloud.hagane.cloud))]
    assert "Storage backend hagane@ceph does not answer: Ceph's monitors did not answer within 5 seconds." in told
    world.cloud.run(lambda: world.driver.apply(Absent("volume", "stray")))


def test_strays_are_found_and_what_vanished_is_an_error(world: World) -> None:
    key = world.make("/volumes", volume={"size": 1})
    world.cloud.run(lambda: world.driver.apply(Volume("stray", 1)))
    world.cloud.run(lambda: world.driver.apply(Snapshot("shot", "stray")))
    for remove, left in ((False, {key, "stray"}), (True, {key})):
        assert len(world.cloud.run(lambda r=remove: world.part.backends.sweep(remove=r))) == 2  # type: ignore[misc]
        assert set(world.cloud.run(world.driver.read).volumes) == left
    assert set(world.cloud.run(world.driver.read).volumes) == {key}
    small = world.make("/volumes", volume={"size": 2})
    for gone in (key, small):
        world.cloud.run(lambda k=gone: world.driver.apply(Absent("volume", k)))  # type: ignore[misc]
    world.cloud.run(lambda: world.driver.apply(Volume(small, 1)))
    said = world.cloud.run(world.part.backends.sweep)
    assert sorted(line.partition(": ")[2] for line in said) == [
        "it has only 1.0 of 2 GB; it is in error", "its bytes are gone; it is in error",
    ]  # fmt: skip
    for lost in (key, small):
        world.wait(f"/volumes/{lost}", "error")
        world.http.delete(f"/volumes/{lost}")
        world.wait(f"/volumes/{lost}", "")
    world.nothing_left()


def test_what_is_made_while_a_backend_is_looked_at_is_not_lost(world: World) -> None:
    """The backend told what it has before the volumes were made and extended."""
    small = world.make("/volumes", volume={"size": 1})
    before = world.cloud.run(world.driver.read)
    keys: list[str] = []

    async def read() -> Observed:
        keys.append(await asyncio.to_thread(world.make, "/volumes", volume={"size": 1}))
        await asyncio.to_thread(world.act, small, "os-extend", {"new_size": 2})
        return before

    world.backend.read = read  # type: ignore[attr-defined]
    assert world.cloud.run(world.part.backends.sweep) == []
    del world.backend.read  # type: ignore[attr-defined]
    for key in (small, *keys):
        world.wait(f"/volumes/{key}", "available")
        world.http.delete(f"/volumes/{key}")
        world.wait(f"/volumes/{key}", "")
    world.nothing_left()


def test_the_story_on_postgresql(postgres_url: str, tmp_path: Path) -> None:
    with running_cloud(tmp_path, database=postgres_url) as cloud:
        world = World(cloud, SimVolumes())
        world.play()
        assert world.http.get("/volumes/detail?metadata={'a':'b'}&with_count=1&sort=name,size:asc").json()["count"] == 0
        for path in (
            "summary",
            "detail?created_at=gt:2001-01-01T00:00:00",
            "detail?bootable=true&size=1&all_tenants=1",
        ):
            assert world.http.get(f"/volumes/{path}").status_code == 200
        for path in ("/os-hosts/hagane@sim", "/types?is_public=none", "/backups/detail", "/messages", "/os-services"):
            assert world.http.get(path).status_code == 200, path
        world.nothing_left()
        world.http.close()
