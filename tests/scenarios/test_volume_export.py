"""Who reaches a volume from elsewhere: rows and targets agree, whatever was forgotten, lost, or ended twice."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from hagane.drivers.volume.export import Export, SimExports
from hagane.drivers.volume.sim import SimVolumes
from hagane.drivers.volume.tgt import Portal
from hagane.errors import DeviceFailed, Unavailable
from hagane.reconcile.devices import Devices
from hagane.state.work import wake
from hagane.volume import export
from hagane.volume.attach import Connections, detach, reserve
from hagane.volume.export import EXPORT
from hagane.volume.row import VOLUME
from tests.support import Running, running_cloud

NODE = {"host": "node-1", "initiator": "iqn.2026-01.org.example:node-1"}


class World:
    def __init__(self, cloud: Running) -> None:
        self.cloud = cloud
        exports = cloud.hagane.cloud.use(Devices).exports
        assert isinstance(exports, SimExports)
        self.exports, self.db = exports, cloud.hagane.cloud.db
        self.http = httpx.Client(base_url=f"{cloud.url}/volume/v3", headers={
            "X-Auth-Token": cloud.token(), "OpenStack-API-Version": "volume 3.70"})  # fmt: skip
        self.volume = self.make()

    def make(self) -> dict[str, Any]:
        key = self.ask("POST", "/volumes", volume={"size": 1})["volume"]["id"]
        self.wait(lambda: self.ask("GET", f"/volumes/{key}")["volume"]["status"] == "available")
        return self.cloud.run(lambda: VOLUME.get(self.db, id=key))  # type: ignore[return-value]

    def ask(self, method: str, path: str, **body: Any) -> Any:
        answer = self.http.request(method, path, json=body or None)
        assert answer.is_success, answer.text
        return answer.json()

    def connect(self, connector: dict[str, Any], volume: dict[str, Any] | None = None) -> dict[str, Any]:
        ways = self.cloud.hagane.cloud.use(Connections)
        return self.cloud.run(lambda: ways.connect(volume or self.volume, connector))["data"]

    def disconnect(self, connector: dict[str, Any], volume: dict[str, Any] | None = None) -> None:
        ways = self.cloud.hagane.cloud.use(Connections)
        self.cloud.run(lambda: ways.disconnect(volume or self.volume, connector))

    def wake(self) -> None:
        self.cloud.run(lambda: self.db.write(lambda tx: wake(tx, "volume_export", export.KEY)))

    def wait(self, check: Any) -> None:
        until = time.monotonic() + 20
        while not check():
            assert time.monotonic() < until
            time.sleep(0.02)

    def nothing_left(self) -> None:
        self.wait(lambda: not self.exports.there)
        assert self.cloud.run(lambda: EXPORT.select(self.db)) == []


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running_cloud(tmp_path) as cloud:
        made = World(cloud)
        yield made
        made.http.close()


def test_an_attachment_has_its_target_until_it_ends(world: World) -> None:
    order = {"volume_uuid": world.volume["id"], "connector": NODE}
    made = world.ask("POST", "/attachments", attachment=order)["attachment"]
    data = made["connection_info"]
    [there] = world.exports.there.values()
    assert data["driver_volume_type"] == "iscsi"
    assert (there.user, there.password) == (data["data"]["auth_username"], data["data"]["auth_password"])
    assert there.initiator == NODE["initiator"] and data["data"]["target_iqn"].endswith(there.name)
    again = world.ask("PUT", f"/attachments/{made['id']}", attachment={"connector": NODE})["attachment"]
    assert again["connection_info"]["data"]["auth_password"] == there.password
    kept = world.cloud.run(lambda: world.db.fetch("SELECT * FROM volume_export"))
    assert len(kept) == 1 and there.password not in str(kept)
    world.exports.there.clear()  # its daemon was killed
    world.wake()
    world.wait(lambda: list(world.exports.there.values()) == [there])
    world.ask("DELETE", f"/attachments/{made['id']}")
    world.nothing_left()


def test_what_is_used_over_iscsi_is_not_extended_until_it_is_detached(world: World) -> None:
    """Its target would tell nobody of the new size; that is said at once, and nothing changes."""
    key = world.volume["id"]
    order = {"volume_uuid": key, "connector": NODE}
    made = world.ask("POST", "/attachments", attachment=order)["attachment"]["id"]
    assert world.http.post(f"/attachments/{made}/action", json={"os-complete": {}}).is_success
    path, body = f"/volumes/{key}/action", {"os-extend": {"new_size": 2}}
    answer = world.http.post(path, json=body)
    assert (answer.status_code, answer.json()["badRequest"]["message"]) == (
        400,
        f"Invalid volume: Volume {key} is in use over iSCSI, where nobody can be told of a new size: detach it, extend"
        " it, and attach it again.",
    )
    shown = world.ask("GET", f"/volumes/{key}")["volume"]
    assert (shown["status"], shown["size"]) == ("in-use", 1)
    assert world.http.delete(f"/attachments/{made}").is_success
    assert world.http.post(path, json=body).status_code == 202
    world.wait(lambda: world.ask("GET", f"/volumes/{key}")["volume"]["size"] == 2)
    world.nothing_left()


def test_what_nobody_noted_goes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    data = world.connect(NODE | {"hagane": {"netns": "a-space", "address": "172.30.16.2"}})
    assert data["target_portal"] == "172.30.16.2:3260"
    [there] = world.exports.there.values()
    assert there.portal == Portal("a-space", "172.30.16.2")
    world.wake()
    world.cloud.settle()
    assert len(world.exports.there) == 1, "it may still be noted"
    monkeypatch.setattr(export, "NOTED_SECONDS", 0.0)
    time.sleep(0.01)
    world.wake()
    world.nothing_left()


def test_a_server_on_its_way_keeps_its_way_to_the_volume(world: World) -> None:
    """Its attachment notes where the Server is, until it has arrived: hours later, if its memory is large."""

    def old() -> None:
        world.cloud.run(lambda: world.db.write(lambda tx: EXPORT.update(tx, {}, {"made_at": time.time() - 100})))
        world.wake()
        world.cloud.settle()

    host = {"host": "b", "instance": "server-1"}
    volume = dict(world.volume)
    taken = world.cloud.run(lambda: world.db.write(lambda tx: reserve(tx, volume, "server-1")))
    first = world.connect(host | {"hagane": export.GOING})
    old()
    assert len(world.exports.there) == 1
    assert world.connect(host | {"hagane": True}) == first, "it is the same when it has arrived"
    old()
    assert len(world.exports.there) == 1
    world.disconnect(host | {"hagane": True})
    world.nothing_left()
    world.connect(host | {"hagane": export.GOING})
    world.cloud.run(lambda: world.db.write(lambda tx: detach(tx, taken["id"])))
    old()
    world.nothing_left()


def test_what_is_wanted_again_is_not_swept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that nobody noted for long is taken by a new caller in the moment in which it is looked at."""
    world.connect(NODE)
    old = {"made_at": time.time() - 100}
    world.cloud.run(lambda: world.db.write(lambda tx: EXPORT.update(tx, {}, old)))
    world.connect(NODE)
    world.wake()
    world.cloud.settle()
    assert len(world.exports.there) == 1
    [row] = world.cloud.run(lambda: EXPORT.select(world.db))
    assert row["made_at"] > time.time() - 50
    world.cloud.run(lambda: world.db.write(lambda tx: EXPORT.update(tx, {}, old)))
    original = export._forgotten

    async def overtaken(tx: Any, rows: Any) -> list[str]:
        found = await original(tx, rows)
        assert found == [row["id"]]
        await EXPORT.update(tx, {}, {"made_at": time.time()})
        return found

    monkeypatch.setattr(export, "_forgotten", overtaken)
    world.cloud.run(lambda: world.db.write(export.sweep))
    assert world.cloud.run(lambda: EXPORT.count(world.db)) == 1


def test_one_bad_export_is_nobody_elses_trouble(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume that a machine has open cannot be exported: whoever asks is told so, and leaves nothing behind."""
    bad = world.make()
    original = SimExports.apply

    async def apply(self: SimExports, exports: Sequence[Export], *more: Any) -> None:
        await original(self, [one for one in exports if one.volume_id != bad["id"]], *more)
        if any(one.volume_id == bad["id"] for one in exports):
            raise Unavailable("The volume is open in a running machine.")

    monkeypatch.setattr(SimExports, "apply", apply)
    with pytest.raises(Unavailable, match="running machine"):
        world.connect({"host": "x"}, bad)
    assert world.cloud.run(lambda: EXPORT.count(world.db)) == 0
    ours = {"host": "y", "hagane": True}
    with pytest.raises(Unavailable, match="running machine"):
        world.connect(ours, bad)
    assert world.cloud.run(lambda: EXPORT.count(world.db)) == 1, "ours ask again"
    assert world.connect(NODE)["volume_id"] == world.volume["id"]
    assert len(world.exports.there) == 1
    for volume, connector in ((bad, ours), (world.volume, NODE)):
        world.disconnect(connector, volume)
    world.nothing_left()


def test_a_backend_that_does_not_answer_cuts_nobody_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.connect(NODE)
    [there] = world.exports.there.values()
    applied = threading.Event()
    original = SimExports.apply

    async def apply(self: SimExports, *more: Any) -> None:
        await original(self, *more)
        applied.set()

    def hiccup(call: str) -> None:
        if call == "connection":
            raise Unavailable("The backend does not answer.")

    driver = world.cloud.hagane.cloud.use(Devices).volumes["sim"]
    assert isinstance(driver, SimVolumes)
    monkeypatch.setattr(driver, "hook", hiccup)
    monkeypatch.setattr(SimExports, "apply", apply)
    world.wake()
    world.wait(applied.is_set)
    assert list(world.exports.there.values()) == [there]
    monkeypatch.undo()
    world.disconnect(NODE)
    world.nothing_left()


def test_an_end_is_an_end_or_says_that_it_is_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that cannot be dropped still leads to the volume: neither its end nor another way to it is well."""
    world.connect(NODE)
    original = SimExports.apply

    async def stuck(self: SimExports, exports: Sequence[Export], *more: Any) -> None:
        before = dict(self.there)
        await original(self, exports, *more)
        if before.keys() - self.there.keys():
            self.there = before | self.there
            raise DeviceFailed("The iSCSI target daemon refused to delete the target.")

    monkeypatch.setattr(SimExports, "apply", stuck)
    for _ in range(2):
        with pytest.raises(Unavailable, match="not ended yet"):
            world.disconnect(NODE)
    with pytest.raises(DeviceFailed, match="refused"):
        world.connect({"host": "x"})
    other = world.make()
    assert world.connect({"host": "x"}, other)["volume_id"] == other["id"]
    world.disconnect({"host": "x"}, world.make())
    monkeypatch.setattr(SimExports, "apply", original)
    world.disconnect(NODE)
    world.disconnect({"host": "x"}, other)
    world.nothing_left()


def test_nobody_from_outside_ends_or_moves_one_of_ours(world: World) -> None:
    ours = NODE | {"hagane": True}
    world.connect(ours)
    [there] = world.exports.there.values()
    path = f"/volumes/{world.volume['id']}/action"
    answer = world.http.post(path, json={"os-terminate_connection": {"connector": ours}})
    assert answer.status_code == 202 and list(world.exports.there.values()) == [there]
    where = {"netns": "elsewhere", "address": "10.0.0.1"}
    body = {"os-initialize_connection": {"connector": {"host": "x", "hagane": where}}}
    info = world.http.post(path, json=body).json()["connection_info"]
    assert info["data"]["target_portal"] == str(world.exports.portal)
    ways = world.cloud.hagane.cloud.use(Connections)
    for connector in (ours, {"host": "x"}, ours):
        world.cloud.run(lambda c=connector: ways.disconnect(world.volume, c))  # type: ignore[misc]
    world.nothing_left()


def test_a_machine_on_the_backends_own_host_needs_none(world: World) -> None:
    assert "device_path" in world.connect({"host": "sim1"})
    world.nothing_left()


def test_many_at_once_each_get_their_own(world: World) -> None:
    ways = world.cloud.hagane.cloud.use(Connections)

    async def all_at_once() -> list[dict[str, Any]]:
        return await asyncio.gather(*(ways.connect(world.volume, {"host": f"node-{n % 4}"}) for n in range(8)))

    found = world.cloud.run(all_at_once)
    assert len({one["data"]["auth_username"] for one in found}) == len(world.exports.there) == 4
    world.http.request("POST", f"/volumes/{world.volume['id']}/action", json={"os-force_delete": {}})
    world.nothing_left()
