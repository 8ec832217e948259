"""Groups: their types, what may be in them, snapshots of all at once, copies, their end; and who may do what."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from hagane.drivers.volume.sim import SimVolumes
from hagane.errors import DeviceFailed
from hagane.reconcile.devices import Devices
from tests.api.people import person
from tests.api.volume.conftest import Volumes, caller

DEFAULT = "__DEFAULT__"


@pytest.fixture
def kind(root: Volumes) -> Iterator[str]:
    """A group type."""
    made: str = root.ask("POST", "/group_types", {"group_type": {"name": uuid4().hex}}, status=202)["group_type"]["id"]
    yield made


def group(who: Volumes, kind: str, **words: Any) -> str:
    body = {"group_type": kind, "volume_types": [DEFAULT], "name": " g "} | words
    return str(who.ask("POST", "/groups", {"group": body}, status=202)["group"]["id"])


def member(who: Volumes, key: str, **words: Any) -> str:
    return str(who.make(group_id=key, volume_type=DEFAULT, **words)["id"])


def show(who: Volumes, key: str, *, version: str = "") -> dict[str, Any]:
    who.cloud.settle()
    found: dict[str, Any] = who.ask("GET", f"/groups/{key}?list_volume=true", version=version)["group"]
    return found


def end(who: Volumes, key: str, *, volumes: bool = True) -> None:
    body = {"delete": {"delete-volumes": volumes}}
    who.ask("POST", f"/groups/{key}/action", body, status=202)
    who.cloud.settle()
    who.ask("GET", f"/groups/{key}", status=404)


def shoot(who: Volumes, key: str, **words: Any) -> str:
    body = {"group_snapshot": {"group_id": key, "name": "s"} | words}
    made = who.ask("POST", "/group_snapshots", body, status=202)["group_snapshot"]["id"]
    who.cloud.settle()
    return str(made)


def shot(who: Volumes, key: str) -> dict[str, Any]:
    found: dict[str, Any] = who.ask("GET", f"/group_snapshots/{key}")["group_snapshot"]
    return found


def parts(who: Volumes, key: str) -> list[dict[str, Any]]:
    found = who.ask("GET", "/snapshots/detail")["snapshots"]
    return [one for one in found if one["group_snapshot_id"] == key]


def told(who: Volumes, method: str, path: str, body: Any = None, *, status: int = 400) -> str:
    answer = who.ask(method, path, body, status=status)
    return str(next(iter(answer.values()))["message"])


# -- types -----------------------------------------------------------------------------------------------------------


def test_group_types_are_the_administrators_and_private_ones_theirs_alone(root: Volumes, volumes: Volumes) -> None:
    name = uuid4().hex
    body = {"name": name, "is_public": False, "group_specs": {"a": "b"}, "description": "d"}
    volumes.ask("POST", "/group_types", {"group_type": body}, status=403)
    made = root.ask("POST", "/group_types", {"group_type": body}, status=202)["group_type"]
    assert made == body | {"id": made["id"]}
    path = f"/group_types/{made['id']}"
    volumes.ask("GET", path, status=404)
    assert told(root, "POST", "/group_types", {"group_type": body}, status=409) == f"Group Type {name} already exists."
    assert name in [one["name"] for one in root.ask("GET", "/group_types?is_public=None&sort=name:asc")["group_types"]]
    assert name not in [one["name"] for one in root.ask("GET", "/group_types")["group_types"]]
    assert name not in [one["name"] for one in volumes.ask("GET", "/group_types?is_public=false")["group_types"]]
    root.ask("PUT", path, {"group_type": {"is_public": True, "description": "e"}})
    assert volumes.ask("GET", path)["group_type"] == {
        "id": made["id"], "name": name, "description": "e", "is_public": True,
    }  # fmt: skip
    changes: list[Any] = [{}, {"name": " "}, {"name": None}, {"is_public": "maybe"}, {"other": 1}]
    for one in changes:
        root.ask("PUT", path, {"group_type": one}, status=400)
    new: list[Any] = [{}, {"name": ""}, {"name": " "}, {"name": "x" * 256}, {"name": "x", "group_specs": {"a": 1}}]
    for one in new:
        root.ask("POST", "/group_types", {"group_type": one}, status=400)
    root.ask("GET", "/group_types?is_public=maybe", status=400)
    root.ask("GET", "/group_types?marker=nobody", status=404)
    root.ask("GET", "/group_types/default", status=404)
    root.ask("GET", path, version="3.10", status=404)
    volumes.ask("PUT", path, {"group_type": {"name": "y"}}, status=403)
    volumes.ask("DELETE", path, status=403)
    root.ask("DELETE", path, status=202)
    root.ask("DELETE", path, status=404)


def test_specs_of_a_group_type(root: Volumes, volumes: Volumes, kind: str) -> None:
    path = f"/group_types/{kind}/group_specs"
    assert root.ask("POST", path, {"group_specs": {"a": "b", "c": None}}, status=202)
    assert root.ask("PUT", f"{path}/a", {"a": "d"}) == {"a": "d"}
    assert root.ask("GET", path) == {"group_specs": {"a": "d", "c": None}}
    assert root.ask("GET", f"{path}/a") == {"a": "d"}
    bodies: list[Any] = [{}, {"group_specs": {"a b": "c"}}, {"group_specs": {"": "c"}}, {"group_specs": []}]
    for body in bodies:
        root.ask("POST", path, body, status=400)
    for body in ({"b": "c"}, {"a": "b", "c": "d"}, {}, {"a": 7}):
        root.ask("PUT", f"{path}/a", body, status=400)
    for method, rest in (("GET", ""), ("GET", "/a"), ("DELETE", "/a")):
        volumes.ask(method, path + rest, status=403)
    root.ask("DELETE", f"{path}/a", status=202)
    root.ask("DELETE", f"{path}/a", status=404)
    root.ask("GET", f"{path}/a", status=404)
    root.ask("GET", f"/group_types/{uuid4()}/group_specs", status=404)


# -- groups ----------------------------------------------------------------------------------------------------------


def test_a_group_lives_with_its_volumes(volumes: Volumes, root: Volumes, kind: str) -> None:
    key = group(volumes, kind, description="d")
    first = member(volumes, key)
    found = show(volumes, key)
    assert (found["name"], found["status"], found["volumes"], found["group_type"]) == ("g", "available", [first], kind)
    assert (found["replication_status"], found["source_group_id"], "project_id" in found) == ("disabled", None, False)
    older = show(volumes, key, version="3.13")
    assert not {"volumes", "source_group_id", "replication_status"} & set(older)
    assert "project_id" in show(root, key)
    assert [one["id"] for one in volumes.ask("GET", f"/volumes?group_id={key}")["volumes"]] == [first]
    assert volumes.ask("GET", "/groups")["groups"] == [{"id": key, "name": "g"}]
    assert volumes.ask("GET", "/groups/detail?list_volume=True&name=g")["groups"][0]["volumes"] == [first]
    assert told(volumes, "DELETE", f"/volumes/{first}").startswith("Invalid volume: Volume status must be available")
    root.act(first, "os-force_delete", status=400)
    volumes.act(first, "os-retype", {"new_type": DEFAULT}, status=400)
    volumes.ask("POST", "/volume-transfers", {"transfer": {"volume_id": first}}, status=400)
    action = f"/groups/{key}/action"
    assert "still contains volumes" in told(volumes, "POST", action, {"delete": {}})
    volumes.act(first, "os-attach", {"host_name": "h", "mountpoint": "/dev/vdb"})
    assert "is attached" in told(volumes, "POST", action, {"delete": {"delete-volumes": True}})
    volumes.act(first, "os-detach", {})
    alone = volumes.snapshot(first)["id"]
    assert "dependent snapshots" in told(volumes, "POST", action, {"delete": {"delete-volumes": True}})
    volumes.ask("DELETE", f"/snapshots/{alone}", status=202)
    volumes.cloud.settle()
    root.ask("DELETE", f"/group_types/{kind}", status=400)
    end(volumes, key)
    assert volumes.used() == {}
    volumes.ask("GET", f"/volumes/{first}", status=404)


def test_volumes_join_and_leave_a_group(volumes: Volumes, kind: str) -> None:
    key, other = group(volumes, kind), group(volumes, kind)
    inside, outside = member(volumes, key), volumes.make()["id"]
    path = f"/groups/{key}"
    change = {"name": "n", "description": "d", "add_volumes": f"{outside},{inside},", "remove_volumes": ""}
    volumes.ask("PUT", path, {"group": change}, status=202)
    found = show(volumes, key)
    assert (found["name"], found["description"], sorted(found["volumes"])) == ("n", "d", sorted([inside, outside]))
    for words in (
        {"name": "n"}, {}, {"add_volumes": inside}, {"remove_volumes": str(uuid4())}, {"add_volumes": "x"},
        {"add_volumes": str(uuid4())}, {"add_volumes": inside, "remove_volumes": inside}, {"other": "x"},
        {"add_volumes": 7}, {"add_volumes": "x" * 256},
    ):  # fmt: skip
        volumes.ask("PUT", path, {"group": words}, status=400)
    assert "already in group" in told(volumes, "PUT", f"/groups/{other}", {"group": {"add_volumes": inside}})
    volumes.ask("PUT", path, {"group": {"remove_volumes": f"{inside},{outside}"}}, status=202)
    assert show(volumes, key)["volumes"] == []
    for one in (key, other):
        end(volumes, one, volumes=False)


def test_a_group_takes_volumes_of_its_own_types_and_project(volumes: Volumes, root: Volumes, kind: str) -> None:
    name = uuid4().hex
    own = root.ask("POST", "/types", {"volume_type": {"name": name}})["volume_type"]["id"]
    key = group(volumes, kind, volume_types=[name, own])
    assert show(volumes, key)["volume_types"] == [own]
    root.ask("DELETE", f"/types/{own}", status=400)
    made = volumes.make()["id"]
    assert "not supported by the group" in told(volumes, "PUT", f"/groups/{key}", {"group": {"add_volumes": made}})
    new = {"size": 1, "group_id": key}
    assert "must be provided" in told(volumes, "POST", "/volumes", {"volume": new})
    assert "supported by this group" in told(volumes, "POST", "/volumes", {"volume": new | {"volume_type": DEFAULT}})
    volumes.ask("POST", "/volumes", {"volume": new | {"group_id": str(uuid4())}}, status=404)
    root.ask("POST", "/volumes", {"volume": new | {"volume_type": name}}, status=400)
    foreign = root.make(volume_type=name)["id"]
    assert "different projects" in told(root, "PUT", f"/groups/{key}", {"group": {"add_volumes": foreign}})
    assert "cannot be found" in told(volumes, "PUT", f"/groups/{key}", {"group": {"add_volumes": foreign}})
    root.ask("DELETE", f"/volumes/{foreign}", status=202)
    end(volumes, key)


def test_what_no_group_can_be(volumes: Volumes, root: Volumes, kind: str) -> None:
    wrong: list[dict[str, Any]] = [
        {"volume_types": []}, {"volume_types": [DEFAULT, DEFAULT]}, {"volume_types": DEFAULT}, {"volume_types": [7]},
        {"group_type": ""}, {"group_type": 7}, {"name": "x" * 256}, {"availability_zone": "mars"}, {"more": 1},
    ]  # fmt: skip
    for words in wrong:
        body = {"group_type": kind, "volume_types": [DEFAULT]} | words
        volumes.ask("POST", "/groups", {"group": body}, status=400)
    unknown: list[dict[str, Any]] = [{"group_type": str(uuid4())}, {"group_type": "x"}, {"volume_types": ["nobody"]}]
    for words in unknown:
        body = {"group_type": kind, "volume_types": [DEFAULT]} | words
        volumes.ask("POST", "/groups", {"group": body}, status=404)
    name = uuid4().hex
    wish = {"name": name, "extra_specs": {"volume_backend_name": "moon"}}
    root.ask("POST", "/types", {"volume_type": wish})
    refused = told(volumes, "POST", "/groups", {"group": {"group_type": kind, "volume_types": [name, DEFAULT]}})
    assert refused.startswith("Invalid Group: No valid host to create the group: no storage backend offers")
    volumes.ask("GET", "/groups", version="3.12", status=404)
    project = volumes.make()["os-vol-tenant-attr:tenant_id"]
    root.ask("PUT", f"/os-quota-sets/{project}", {"quota_set": {"groups": 1}})
    key = group(volumes, kind)
    refused = told(volumes, "POST", "/groups", {"group": {"group_type": kind, "volume_types": [DEFAULT]}}, status=413)
    assert refused == "GroupLimitExceeded: Maximum number of groups allowed (1) exceeded"
    assert volumes.ask("GET", f"/os-quota-sets/{project}?usage=true")["quota_set"]["groups"]["in_use"] == 1
    end(volumes, key)
    assert volumes.ask("GET", f"/os-quota-sets/{project}?usage=true")["quota_set"]["groups"]["in_use"] == 0


def test_a_group_is_its_projects(volumes: Volumes, root: Volumes, kind: str) -> None:
    key = group(volumes, kind)
    member(volumes, key)
    taken = shoot(volumes, key)
    reader = person(volumes.cloud, "reader", volumes.ask("GET", "/volumes/detail")["volumes"][0][
        "os-vol-tenant-attr:tenant_id"])  # fmt: skip
    stranger = caller(volumes.cloud, person(volumes.cloud).token)
    looker = caller(volumes.cloud, reader.token)
    source = {"create-from-src": {"source_group_id": key}}
    copy = {"create-from-src": {"group_snapshot_id": taken}}
    calls: list[tuple[str, str, Any]] = [
        ("PUT", f"/groups/{key}", {"group": {"name": "x"}}), ("POST", f"/groups/{key}/action", {"delete": {}}),
        ("POST", "/group_snapshots", {"group_snapshot": {"group_id": key}}),
        ("DELETE", f"/group_snapshots/{taken}", None), ("POST", "/groups/action", source),
        ("POST", "/groups/action", copy), ("POST", f"/groups/{key}/action", {"reset_status": {"status": "error"}}),
        ("POST", f"/group_snapshots/{taken}/action", {"reset_status": {"status": "error"}}),
    ]  # fmt: skip
    for method, path, body in calls:
        stranger.ask(method, path, body, status=404)
        looker.ask(method, path, body, status=403)
    for path in (f"/groups/{key}", f"/group_snapshots/{taken}"):
        stranger.ask("GET", path, status=404)
        looker.ask("GET", path)
    assert stranger.ask("GET", "/groups/detail")["groups"] == []
    assert stranger.ask("GET", "/group_snapshots/detail")["group_snapshots"] == []
    assert key in [one["id"] for one in root.ask("GET", "/groups?all_tenants=1")["groups"]]
    for path, states in ((f"/groups/{key}", "group"), (f"/group_snapshots/{taken}", "group_snapshot")):
        volumes.ask("POST", f"{path}/action", {"reset_status": {"status": "error"}}, status=403)
        root.ask("POST", f"{path}/action", {"reset_status": {"status": "ERROR"}}, status=202)
        assert volumes.ask("GET", path)[states]["status"] == "error"
        for bad in ({}, {"status": "fine"}, {"status": ""}, {"status": 7}, {"status": None}, {"more": 1}):
            root.ask("POST", f"{path}/action", {"reset_status": bad}, status=400)
        root.ask("POST", f"{path}/action", {"reset_status": {"status": "available"}}, status=202)
    for verb in ("enable_replication", "disable_replication", "failover_replication", "list_replication_targets"):
        refused = told(volumes, "POST", f"/groups/{key}/action", {verb: {}})
        assert refused == f"Invalid group type: Group {key} is not a replication group type."
    volumes.ask("POST", f"/groups/{key}/action", {"fly": {}}, status=400)
    volumes.ask("DELETE", f"/group_snapshots/{taken}", status=202)
    volumes.cloud.settle()
    end(volumes, key)
    for one in (stranger, looker):
        one.http.close()


# -- snapshots and copies --------------------------------------------------------------------------------------------


def test_a_group_snapshot_is_of_all_volumes_at_once(volumes: Volumes, root: Volumes, kind: str) -> None:
    key = group(volumes, kind)
    members = [member(volumes, key), member(volumes, key, size=2)]
    volumes.act(members[0], "os-attach", {"host_name": "h", "mountpoint": "/dev/vdb"})
    taken = shoot(volumes, key, description="d")
    found = shot(volumes, taken)
    assert (found["status"], found["group_id"], found["group_type_id"]) == ("available", key, kind)
    made = parts(volumes, taken)
    assert sorted(one["volume_id"] for one in made) == sorted(members)
    assert {(one["status"], one["name"], one["description"]) for one in made} == {("available", "s", "d")}
    assert volumes.used()["totalSnapshotsUsed"] == 2
    assert volumes.ask("GET", f"/group_snapshots?group_id={key}")["group_snapshots"] == [{"id": taken, "name": "s"}]
    assert "must not be part of a group" in told(volumes, "DELETE", f"/snapshots/{made[0]['id']}")
    root.ask("POST", f"/snapshots/{made[0]['id']}/action", {"os-force_delete": None}, status=400)
    volumes.act(members[0], "os-detach", {})
    action = {"delete": {"delete-volumes": True}}
    assert told(volumes, "POST", f"/groups/{key}/action", action) == "Invalid Group: Group has existing snapshots."
    volumes.ask("PUT", f"/groups/{key}", {"group": {"remove_volumes": members[1]}}, status=202)
    volumes.ask("DELETE", f"/volumes/{members[1]}?cascade=true", status=400)
    volumes.ask("POST", "/volume-transfers", {"transfer": {"volume_id": members[1]}}, status=400)
    volumes.ask("DELETE", f"/group_snapshots/{taken}", status=202)
    volumes.cloud.settle()
    volumes.ask("GET", f"/group_snapshots/{taken}", status=404)
    assert parts(volumes, taken) == []
    end(volumes, key)
    assert volumes.used() == {"totalVolumesUsed": 1, "totalGigabytesUsed": 2}


def test_what_no_group_snapshot_can_be(volumes: Volumes, kind: str) -> None:
    key = group(volumes, kind)
    bodies: list[Any] = [{}, {"group_id": "x"}, {"group_id": key, "more": 1}, {"group_id": key, "name": 7}]
    for body in bodies:
        volumes.ask("POST", "/group_snapshots", {"group_snapshot": body}, status=400)
    volumes.ask("POST", "/group_snapshots", {"group_snapshot": {"group_id": str(uuid4())}}, status=404)
    empty = shoot(volumes, key)
    assert shot(volumes, empty)["status"] == "available"
    for source in ({"group_snapshot_id": empty}, {"source_group_id": key}):
        assert "is empty" in told(volumes, "POST", "/groups/action", {"create-from-src": source})
    for source in ({}, {"group_snapshot_id": empty, "source_group_id": key}, {"group_snapshot_id": "x"}):
        volumes.ask("POST", "/groups/action", {"create-from-src": source}, status=400)
    bodies = [{}, {"other": {}}, {"create-from-src": None}, {"create-from-src": {"source_group_id": key}, "more": 1}]
    for body in bodies:
        volumes.ask("POST", "/groups/action", body, status=400)
    for name in ("group_snapshot_id", "source_group_id"):
        volumes.ask("POST", "/groups/action", {"create-from-src": {name: str(uuid4())}}, status=404)
    volumes.ask("GET", "/group_snapshots", version="3.13", status=404)
    volumes.ask("POST", f"/groups/{key}/action", {"reset_status": {"status": "error"}}, version="3.19", status=404)
    volumes.ask("DELETE", f"/group_snapshots/{empty}", status=202)
    volumes.cloud.settle()
    end(volumes, key)


@pytest.mark.parametrize("source", ["source_group_id", "group_snapshot_id"])
def test_a_group_is_copied(volumes: Volumes, kind: str, source: str) -> None:
    key = group(volumes, kind)
    members = [member(volumes, key), member(volumes, key, size=2)]
    taken = shoot(volumes, key)
    order = {source: key if source == "source_group_id" else taken, "name": "copy"}
    made = volumes.ask("POST", "/groups/action", {"create-from-src": order}, status=202)["group"]
    found = show(volumes, made["id"])
    assert (found["name"], found["status"], found["group_type"], found[source]) == (
        "copy", "available", kind, order[source])  # fmt: skip
    copies = [volumes.show(one) for one in found["volumes"]]
    assert sorted(one["size"] for one in copies) == [1, 2]
    if source == "source_group_id":
        assert sorted(one["source_volid"] for one in copies) == sorted(members)
    else:
        assert {one["snapshot_id"] for one in copies} == {one["id"] for one in parts(volumes, taken)}
    end(volumes, made["id"])
    volumes.ask("DELETE", f"/group_snapshots/{taken}", status=202)
    volumes.cloud.settle()
    end(volumes, key)
    assert volumes.used() == {}


def test_a_type_that_insists_on_one_moment_gets_it_or_an_answer(volumes: Volumes, root: Volumes, kind: str) -> None:
    specs = {"consistent_group_snapshot_enabled": "<is> True"}
    root.ask("POST", f"/group_types/{kind}/group_specs", {"group_specs": specs}, status=202)
    key = group(volumes, kind)
    one = member(volumes, key)
    volumes.act(one, "os-attach", {"host_name": "h", "mountpoint": "/dev/vdb"})
    assert "exactly one moment" in told(volumes, "POST", "/group_snapshots", {"group_snapshot": {"group_id": key}})
    volumes.act(one, "os-detach", {})
    taken = shoot(volumes, key)
    assert shot(volumes, taken)["status"] == "available"
    volumes.ask("DELETE", f"/group_snapshots/{taken}", status=202)
    volumes.cloud.settle()
    end(volumes, key)


def test_a_backend_that_refuses_one_leaves_an_error_and_the_others(volumes: Volumes, kind: str) -> None:
    key = group(volumes, kind)
    for _ in range(2):
        member(volumes, key)
    driver = volumes.cloud.hagane.cloud.use(Devices).volumes["sim"]
    assert isinstance(driver, SimVolumes)
    struck: list[str] = []

    def refuse(call: str) -> None:
        if call == "Snapshot" and not struck:
            struck.append(call)
            raise DeviceFailed("The storage backend is full.")

    driver.hook = refuse
    try:
        taken = shoot(volumes, key)
    finally:
        driver.hook = lambda call: None
    assert shot(volumes, taken)["status"] == "error"
    assert sorted(one["status"] for one in parts(volumes, taken)) == ["available", "error"]
    messages = [one["user_message"] for one in volumes.ask("GET", "/messages")["messages"]]
    assert messages == ["create snapshot:The storage backend is full."]
    volumes.ask("POST", "/groups/action", {"create-from-src": {"group_snapshot_id": taken}}, status=400)
    volumes.ask("DELETE", f"/group_snapshots/{taken}", status=202)
    volumes.cloud.settle()
    end(volumes, key)
    assert volumes.used() == {}
