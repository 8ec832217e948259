"""A group's whole story while a backend fails, or the process dies, once at each of its calls.

Whatever happens it ends well, and nothing is left; but a group snapshot that was cut off in the middle, of volumes that
somebody writes to, is never called one.
"""

from typing import Any

import pytest

from hagane.errors import Unavailable
from hagane.volume.group_row import GROUP_SNAPSHOT
from tests.scenarios.test_volume_faults import Death, World, once, world

__all__ = ["world"]
CALLS = ("Volume", "Snapshot", "Absent")
TABLES = ("volume_group", "volume_group_snapshot", "volume_group_volume_type")


class Groups:
    """What is done with a group, by way of a World."""

    def __init__(self, world: World) -> None:
        self.world = world
        made = world.http.post("/group_types", json={"group_type": {"name": "g"}})
        self.kind: str = made.json()["group_type"]["id"]

    def make(self, volumes: int = 2) -> tuple[str, list[str]]:
        body = {"group_type": self.kind, "volume_types": ["__DEFAULT__"]}
        key = self.world.make("/groups", group=body)
        new: dict[str, Any] = {"size": 1, "group_id": key, "volume_type": "__DEFAULT__"}
        return key, [self.world.make("/volumes", volume=new) for _ in range(volumes)]

    def end(self, path: str, key: str) -> None:
        body = {"delete": {"delete-volumes": True}}
        if path == "/groups":
            answer = self.world.http.post(f"{path}/{key}/action", json=body)
        else:
            answer = self.world.http.delete(f"{path}/{key}")
        assert answer.status_code == 202, answer.text
        self.world.wait(f"{path}/{key}", "")

    def copy(self, **source: str) -> str:
        answer = self.world.http.post("/groups/action", json={"create-from-src": source})
        assert answer.status_code == 202, answer.text
        key: str = answer.json()["group"]["id"]
        self.world.wait(f"/groups/{key}", "available")
        return key

    def play(self) -> None:
        key, _ = self.make()
        shot = self.world.make("/group_snapshots", group_snapshot={"group_id": key})
        copies = [self.copy(group_snapshot_id=shot), self.copy(source_group_id=key)]
        self.end("/group_snapshots", shot)
        for one in (key, *copies):
            self.end("/groups", one)

    def nothing_left(self) -> None:
        self.world.nothing_left()
        db = self.world.cloud.hagane.cloud.db
        for table in TABLES:
            assert self.world.cloud.run(lambda t=table: db.fetch(f"SELECT * FROM {t}")) == []  # type: ignore[misc]


def test_each_call_fails_once_in_a_groups_life(world: World) -> None:
    groups = Groups(world)
    groups.play()
    groups.nothing_left()
    for call in CALLS:
        for moment in ("before", "after"):
            world.backend.strike = once(call, moment, Unavailable("The backend does not answer."))
            groups.play()
            groups.nothing_left()


@pytest.mark.slow
def test_the_process_dies_at_each_call_in_a_groups_life(world: World) -> None:
    groups = Groups(world)
    for call in CALLS:
        for moment in ("before", "after"):
            world.backend.strike = once(call, moment, Death())
            groups.play()
            groups.nothing_left()


@pytest.mark.parametrize("world", ["sim"], indirect=True)
@pytest.mark.parametrize("error", [Unavailable("The backend does not answer."), Death()], ids=["silent", "killed"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_what_was_cut_off_while_somebody_writes_is_no_group_snapshot(
    world: World, error: BaseException, moment: str
) -> None:
    groups = Groups(world)
    key, volumes = groups.make()
    world.http.post(f"/volumes/{volumes[0]}/action", json={"os-attach": {"host_name": "h", "mountpoint": "/dev/vdb"}})
    world.wait(f"/volumes/{volumes[0]}", "in-use")
    world.backend.strike = once("Snapshot", moment, error)
    shot = world.http.post("/group_snapshots", json={"group_snapshot": {"group_id": key}}).json()["group_snapshot"]
    whole = moment == "after"  # the backend has them all, although one was not told of
    world.wait(f"/group_snapshots/{shot['id']}", "available" if whole else "error")
    db = world.cloud.hagane.cloud.db
    row = world.cloud.run(lambda: GROUP_SNAPSHOT.get(db, id=shot["id"]))
    assert row is not None and (row["fault"] is None if whole else "not of one moment" in row["fault"])
    world.http.post(f"/volumes/{volumes[0]}/action", json={"os-detach": {}})
    world.wait(f"/volumes/{volumes[0]}", "available")
    groups.end("/group_snapshots", shot["id"])
    groups.end("/groups", key)
    groups.nothing_left()
