"""Volumes over HTTP: their life, lists, bodies that are wrong, quotas under a rush."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest

from hagane.volume.row import VOLUME
from tests.api.people import Person, person
from tests.api.volume.conftest import Volumes, caller
from tests.support import Running

NOBODY = "0b0d1e5a-0000-4000-8000-000000000000"


def test_a_volume_is_made_changed_and_ended(volumes: Volumes) -> None:
    made = volumes.make(name=" a ", description="b", metadata={"k": "v"})
    assert (made["status"], made["name"], made["size"], made["bootable"]) == ("available", "a", 1, "false")
    assert made["volume_type"] == "__DEFAULT__"
    changed = volumes.ask("PUT", f"/volumes/{made['id']}", {"volume": {"name": "c", "description": None}})["volume"]
    assert (changed["name"], changed["description"]) == ("c", None)
    volumes.ask("DELETE", f"/volumes/{made['id']}", status=202)
    volumes.cloud.settle()
    volumes.ask("GET", f"/volumes/{made['id']}", status=404)
    assert volumes.used() == {}


def test_the_project_may_stand_in_the_path_and_then_in_links(volumes: Volumes, who: Person) -> None:
    made = volumes.make()
    one = volumes.ask("GET", f"/{who.project_id}/volumes/{made['id']}")["volume"]
    assert one["links"][0]["href"].endswith(f"/volume/v3/{who.project_id}/volumes/{made['id']}")
    assert made["links"][0]["href"].endswith(f"/volume/v3/volumes/{made['id']}")
    other = volumes.ask("GET", f"/{'f' * 32}/volumes", status=400)
    assert other == {"badRequest": {"code": 400, "message": "Malformed request url"}}


@pytest.mark.parametrize(("version", "more"), [
    ("3.0", set()), ("3.13", {"group_id"}), ("3.48", {"group_id", "shared_targets", "service_uuid"}),
    ("3.63", {"group_id", "shared_targets", "service_uuid", "volume_type_id"}),
    ("3.65", {"group_id", "shared_targets", "service_uuid", "volume_type_id", "consumes_quota"}),
])  # fmt: skip
def test_microversions_add_fields(volumes: Volumes, version: str, more: set[str]) -> None:
    key = volumes.make()["id"]
    first, later = (set(volumes.ask("GET", f"/volumes/{key}", version=v)["volume"]) for v in ("3.0", version))
    assert later - first == more


def test_pages_follow_their_links_to_the_end(volumes: Volumes) -> None:
    keys = [volumes.make(name=f"v{n}")["id"] for n in range(4)]
    seen: list[str] = []
    path = "/volumes?limit=2&sort=name:asc"
    while path:
        page = volumes.ask("GET", path)
        seen += [one["id"] for one in page["volumes"]]
        path = page["volumes_links"][0]["href"] if "volumes_links" in page else ""
    assert seen == keys
    assert volumes.ask("GET", "/volumes?with_count=true&limit=1")["count"] == 4
    assert [v["id"] for v in volumes.ask("GET", "/volumes?offset=3&sort=name:asc")["volumes"]] == keys[3:]


def test_lists_are_filtered_in_the_store(volumes: Volumes) -> None:
    first, second = volumes.make(name="a", metadata={"Type": "work"}), volumes.make(name="b", size=2)

    def found(query: str) -> list[str]:
        return [one["id"] for one in volumes.ask("GET", f"/volumes/detail?{query}")["volumes"]]

    assert found("name=a") == found("metadata={'Type':'work'}") == [first["id"]]
    assert found("size=2") == found("metadata={}&name=b") == [second["id"]]
    assert found("status=null") == found("metadata=x") == found("created_at=lt:2001-01-01T00:00:00") == []
    assert set(found("bootable=false&created_at=gt:2001-01-01T00:00:00")) == {first["id"], second["id"]}


@pytest.mark.parametrize("query", [
    "limit=x", "limit=-1", "offset=x", "offset=-1", "sort=bogus", "sort=name:up", "sort=name&sort_key=size",
    "bogus=1", "with_count=x", "bootable=x", "created_at=x", "created_at=gt:x",
])  # fmt: skip
def test_a_query_that_cannot_be_right_is_refused(volumes: Volumes, query: str) -> None:
    assert volumes.ask("GET", f"/volumes?{query}", status=400)["badRequest"]["code"] == 400


@pytest.mark.parametrize("words", [
    {"size": ""}, {"size": "#$%"}, {"size": "0"}, {"size": 0}, {"size": -1}, {"size": 1.5}, {"size": True},
    {"size": 2**31}, {"size": None}, {"name": 5}, {"name": "x" * 256}, {"metadata": {"a": 1}}, {"metadata": []},
    {"metadata": {"": "x"}}, {"snapshot_id": "x"}, {"availability_zone": "moon"}, {"bogus": 1}, {"multiattach": True},
    {"imageRef": NOBODY}, {"name": "\x00"}, {"name": "\ud800"},
])  # fmt: skip
def test_a_body_that_cannot_be_right_is_refused_and_leaves_nothing(volumes: Volumes, words: dict[str, Any]) -> None:
    text = json.dumps({"volume": {"size": 1} | words})  # half a surrogate pair can be written only so
    answer = volumes.http.post("/volumes", content=text, headers={"OpenStack-API-Version": "volume 3.70"})
    assert answer.status_code == 400, answer.text
    assert volumes.used() == {}


@pytest.mark.parametrize("words", [{"snapshot_id": NOBODY}, {"source_volid": NOBODY}, {"volume_type": NOBODY}])
def test_a_source_that_is_not_there_is_not_found(volumes: Volumes, words: dict[str, str]) -> None:
    volumes.ask("POST", "/volumes", {"volume": {"size": 1} | words}, status=404)


def test_others_know_nothing_of_it_and_administrators_all(cloud: Running, volumes: Volumes, root: Volumes) -> None:
    key = volumes.make(name="mine")["id"]
    stranger = caller(cloud, person(cloud).token)
    stranger.ask("GET", f"/volumes/{key}", status=404)
    stranger.ask("DELETE", f"/volumes/{key}", status=404)
    assert stranger.ask("GET", "/volumes?all_tenants=1", version="3.30")["volumes"] == []
    assert key in [one["id"] for one in root.ask("GET", "/volumes?all_tenants=1")["volumes"]]
    assert key not in [one["id"] for one in root.ask("GET", "/volumes")["volumes"]]
    assert root.ask("GET", f"/volumes/{key}")["volume"]["os-vol-host-attr:host"] == "hagane@sim#sim"
    stranger.http.close()


def test_a_reader_only_reads(cloud: Running, volumes: Volumes, who: Person) -> None:
    key = volumes.make()["id"]
    reader = caller(cloud, person(cloud, "reader", who.project_id).token)
    reader.ask("GET", f"/volumes/{key}")
    reader.ask("POST", "/volumes", {"volume": {"size": 1}}, status=403)
    reader.ask("DELETE", f"/volumes/{key}", status=403)
    reader.ask("POST", f"/volumes/{key}/action", {"os-extend": {"new_size": 2}}, status=403)
    reader.http.close()


def test_a_rush_never_passes_the_quota(volumes: Volumes) -> None:
    def order(_: int) -> int:
        return volumes.http.post("/volumes", json={"volume": {"size": 1}}).status_code

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(order, range(40)))
    assert sorted(set(answers)) == [202, 413]
    assert answers.count(202) == 10
    assert volumes.used() == {"totalVolumesUsed": 10, "totalGigabytesUsed": 10}


def test_an_exceeded_quota_is_said_as_the_real_service_says_it(volumes: Volumes, root: Volumes, who: Person) -> None:
    root.ask("PUT", f"/os-quota-sets/{who.project_id}", {"quota_set": {"gigabytes": 1}})
    answer = volumes.http.post("/volumes", json={"volume": {"size": 2}})
    assert (answer.status_code, answer.headers["retry-after"]) == (413, "0")
    assert answer.json() == {"overLimit": {"code": 413, "retryAfter": "0", "message":
        "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota. Requested 2G,"
        " quota is 1G and 0G has been consumed."}}  # fmt: skip


def test_metadata_as_a_whole_and_one_by_one(volumes: Volumes) -> None:
    path = f"/volumes/{volumes.make(metadata={'a': '1'})['id']}/metadata"
    assert volumes.ask("POST", path, {"metadata": {"b": "<&>"}}) == {"metadata": {"a": "1", "b": "<&>"}}
    assert volumes.ask("PUT", path, {"metadata": {"c": "3"}}) == {"metadata": {"c": "3"}}
    assert volumes.ask("PUT", f"{path}/c", {"meta": {"c": "4"}}) == {"meta": {"c": "4"}}
    assert volumes.ask("GET", f"{path}/c") == {"meta": {"c": "4"}}
    volumes.ask("PUT", f"{path}/c", {"meta": {"d": "4"}}, status=400)
    volumes.ask("DELETE", f"{path}/c")
    volumes.ask("DELETE", f"{path}/c", status=404)


def test_a_change_may_be_bound_to_what_was_read(volumes: Volumes) -> None:
    path = f"/volumes/{volumes.make(metadata={'a': '1'})['id']}/metadata"
    headers = {"OpenStack-API-Version": "volume 3.15"}
    tag = volumes.http.get(path, headers=headers).headers["etag"]
    match = headers | {"If-Match": tag}
    assert volumes.http.put(path, json={"metadata": {"a": "2"}}, headers=match).status_code == 200
    assert volumes.http.put(path, json={"metadata": {"a": "3"}}, headers=match).status_code == 412


def test_versions_and_extensions_say_what_is_so(volumes: Volumes) -> None:
    root = httpx.get(f"{volumes.cloud.url}/volume/")
    assert root.status_code == 300
    assert root.json()["versions"][0]["version"] == "3.71"
    names = {one["name"] for one in volumes.ask("GET", "/extensions")["extensions"]}
    assert {"Hosts", "Quotas", "VolumeTransfer", "VolumeTypeEncryption"} <= names
    assert not names & {"Consistencygroups", "VolumeManage"}
    volumes.ask("POST", "/workers/cleanup", {}, status=404)
    assert volumes.http.get("/volumes", headers={"OpenStack-API-Version": "volume 3.99"}).status_code == 406


def test_a_backend_that_is_looked_after_gets_no_new_volumes(root: Volumes) -> None:
    def shown() -> tuple[str, str | None, bool]:
        [one] = root.ask("GET", "/os-services?binary=cinder-volume")["services"]
        return one["status"], one["disabled_reason"], one["frozen"]

    host = root.ask("GET", "/os-services?binary=cinder-volume")["services"][0]["host"]
    root.ask("PUT", "/os-services/freeze", {"host": "elsewhere"}, status=400)
    root.ask("PUT", "/os-services/freeze", {"host": host}, status=202)
    assert shown() == ("disabled", "frozen", True)
    root.ask("PUT", "/os-services/thaw", {"host": host}, status=202)
    assert shown() == ("enabled", None, False)


def test_a_root_that_is_made_anew_is_nobody_elses(volumes: Volumes) -> None:
    """While a Server's root is filled with an image, its attachment is the only one; others may wait for a new one."""
    db, key, fresh = volumes.cloud.hagane.cloud.db, volumes.make()["id"], volumes.make()["id"]
    order = {"attachment": {"volume_uuid": key, "instance_uuid": NOBODY}}
    volumes.ask("POST", "/attachments", order)
    for one in (key, fresh):
        volumes.cloud.run(lambda k=one: db.write(lambda tx: VOLUME.update(tx, {"id": k}, {"status": "downloading"})))  # type: ignore[misc]
    other = {"instance_uuid": NOBODY.replace("0b0d", "1c1e")}
    said = volumes.ask("POST", "/attachments", {"attachment": other | {"volume_uuid": key}}, status=400)
    assert "status must be available to reserve, but the current status is downloading" in str(said)
    volumes.ask("POST", "/attachments", {"attachment": other | {"volume_uuid": fresh}})
    assert volumes.ask("GET", f"/attachments?volume_id={key}")["attachments"][0]["instance"] == NOBODY


def test_what_was_said_of_a_project_goes_with_it(root: Volumes) -> None:
    name, project = uuid4().hex, uuid4().hex
    identity = f"{root.cloud.url}/identity/v3/projects"
    token = {"X-Auth-Token": root.cloud.token()}
    made = httpx.post(identity, json={"project": {"name": project}}, headers=token).json()["project"]["id"]
    kind = {"name": name, "os-volume-type-access:is_public": False}
    key = root.ask("POST", "/types", {"volume_type": kind})["volume_type"]["id"]
    root.ask("POST", f"/types/{key}/action", {"addProjectAccess": {"project": made}}, status=202)
    root.ask("PUT", f"/default-types/{made}", {"default_type": {"volume_type": name}})
    root.ask("PUT", f"/os-quota-sets/{made}", {"quota_set": {"volumes": 3, "groups": 2}})
    assert httpx.delete(f"{identity}/{made}", headers=token).status_code == 204
    assert root.ask("GET", f"/types/{key}/os-volume-type-access")["volume_type_access"] == []
    assert made not in [one["project_id"] for one in root.ask("GET", "/default-types")["default_types"]]
    assert root.ask("GET", f"/os-quota-sets/{made}")["quota_set"]["volumes"] == 10
    root.ask("DELETE", f"/types/{key}", status=202)
