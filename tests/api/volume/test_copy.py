"""What is made from volumes and done to them: snapshots, copies, images, backups, transfers, attachments, retypes."""

import time
from typing import Any

import httpx
import pytest

from hagane.drivers.volume.sim import SimVolumes
from hagane.reconcile.devices import Devices
from tests.api.people import Person, person
from tests.api.volume.conftest import Volumes, caller
from tests.support import Running

SERVER = "11111111-2222-4333-8444-555555555555"


def backend(cloud: Running) -> SimVolumes:
    found = cloud.hagane.cloud.use(Devices).volumes["sim"]
    assert isinstance(found, SimVolumes)
    return found


def test_a_snapshot_lives_and_holds_its_volume(volumes: Volumes) -> None:
    key = volumes.make(size=2)["id"]
    made = volumes.snapshot(key, name="s", metadata={"a": "b"})
    assert (made["status"], made["size"], made["os-extended-snapshot-attributes:progress"]) == ("available", 2, "100%")
    volumes.ask("DELETE", f"/volumes/{key}", status=400)
    path = f"/snapshots/{made['id']}"
    assert volumes.ask("PUT", path, {"snapshot": {"name": "t"}})["snapshot"]["name"] == "t"
    assert volumes.ask("POST", f"{path}/metadata", {"metadata": {"c": "d"}})["metadata"] == {"a": "b", "c": "d"}
    assert [s["id"] for s in volumes.ask("GET", "/snapshots?metadata={'c':'d'}")["snapshots"]] == [made["id"]]
    volumes.ask("DELETE", path, status=202)
    volumes.cloud.settle()
    volumes.ask("DELETE", f"/volumes/{key}", status=202)
    volumes.cloud.settle()
    assert volumes.used() == {}


def test_a_volume_goes_with_its_snapshots_when_asked(volumes: Volumes) -> None:
    key = volumes.make()["id"]
    for _ in range(3):
        volumes.snapshot(key)
    volumes.ask("DELETE", f"/volumes/{key}?cascade=true", status=202)
    for _ in range(100):
        volumes.cloud.settle()
        if volumes.http.get(f"/volumes/{key}").status_code == 404:
            break
    assert volumes.used() == {}
    assert key not in backend(volumes.cloud).volumes


def test_copies_take_size_and_type_from_their_source(volumes: Volumes) -> None:
    key = volumes.make(size=2)["id"]
    volumes.act(key, "os-set_bootable", {"bootable": True}, status=200)
    snapshot = volumes.snapshot(key)["id"]
    copies = [volumes.make(size=None, snapshot_id=snapshot), volumes.make(size=3, source_volid=key)]
    assert [(one["size"], one["bootable"]) for one in copies] == [(2, "true"), (3, "true")]
    volumes.ask("POST", "/volumes", {"volume": {"size": 1, "source_volid": key}}, status=400)
    volumes.ask("POST", "/volumes", {"volume": {"snapshot_id": snapshot, "source_volid": key}}, status=400)


def image(cloud: Running, token: str, content: bytes = b"x" * 512, **more: Any) -> str:
    http = httpx.Client(base_url=f"{cloud.url}/image/v2", headers={"X-Auth-Token": token})
    body = {"name": "i", "disk_format": "raw", "container_format": "bare", "os_type": "linux"} | more
    key: str = http.post("/images", json=body).raise_for_status().json()["id"]
    http.put(f"/images/{key}/file", content=content, headers={"Content-Type": "application/octet-stream"})
    http.close()
    return key


def test_a_volume_from_an_image_is_bootable_and_remembers_it(volumes: Volumes, who: Person) -> None:
    key = image(volumes.cloud, who.token)
    made = volumes.make(imageRef=key)
    assert (made["status"], made["bootable"]) == ("available", "true")
    assert made["volume_image_metadata"]["image_id"] == key
    assert made["volume_image_metadata"]["os_type"] == "linux"
    large = image(volumes.cloud, who.token, min_disk=5)
    volumes.ask("POST", "/volumes", {"volume": {"size": 1, "imageRef": large}}, status=400)
    stranger = caller(volumes.cloud, person(volumes.cloud).token)
    stranger.ask("POST", "/volumes", {"volume": {"size": 1, "imageRef": key}}, status=400)
    stranger.http.close()


def test_a_volume_becomes_an_image(volumes: Volumes, who: Person) -> None:
    key = volumes.make(imageRef=image(volumes.cloud, who.token))["id"]
    told = volumes.act(key, "os-volume_upload_image", {"image_name": "up", "disk_format": "qcow2"})
    answer = told["os-volume_upload_image"]
    assert (answer["status"], answer["disk_format"], answer["visibility"]) == ("uploading", "qcow2", "private")
    for _ in range(50):
        if volumes.show(key)["status"] == "available":
            break
    found = httpx.get(f"{volumes.cloud.url}/image/v2/images/{answer['image_id']}",
                      headers={"X-Auth-Token": who.token}).json()  # fmt: skip
    assert (found["status"], found["owner"], found["os_type"]) == ("active", who.project_id, "linux")


def test_extending_counts_and_never_shrinks(volumes: Volumes) -> None:
    key = volumes.make()["id"]
    volumes.act(key, "os-extend", {"new_size": 1}, status=400)
    volumes.act(key, "os-extend", {"new_size": 5})
    assert volumes.show(key)["size"] == 5
    assert volumes.used()["totalGigabytesUsed"] == 5
    volumes.ask("POST", f"/volumes/{key}/action", {"os-extend": {"new_size": 5000}}, status=413)
    assert volumes.show(key)["status"] == "available"


def test_a_backend_that_refuses_leaves_an_error_a_message_and_the_quota(volumes: Volumes) -> None:
    key = volumes.make()["id"]

    def refuse(call: str) -> None:
        from hagane.errors import DeviceFailed

        if call == "Volume":
            raise DeviceFailed("The storage backend is full.")

    backend(volumes.cloud).hook = refuse
    try:
        volumes.act(key, "os-extend", {"new_size": 5})
        assert volumes.show(key)["status"] == "error_extending"
        assert volumes.make()["status"] == "error"
    finally:
        backend(volumes.cloud).hook = lambda call: None
    assert volumes.used() == {"totalVolumesUsed": 2, "totalGigabytesUsed": 2}
    told = [one["user_message"] for one in volumes.ask("GET", "/messages")["messages"]]
    assert "extend volume:The storage backend is full." in told
    told = httpx.get(f"{volumes.cloud.url}/hagane/v1/explain/volume/{key}", headers=dict(volumes.http.headers)).json()
    assert "Fault: The storage backend is full." in told["facts"]
    volumes.ask("DELETE", f"/volumes/{key}", status=202)


def test_owners_are_told_of_no_backend_and_no_host(volumes: Volumes, root: Volumes) -> None:
    key = volumes.make()["id"]
    volumes.act(key, "os-attach", {"host_name": "rack1-07", "mountpoint": "/dev/vdb"})

    def told(who: Volumes) -> str:
        answer = httpx.get(f"{who.cloud.url}/hagane/v1/explain/volume/{key}", headers=dict(who.http.headers))
        return "\n".join(answer.json()["facts"])

    backend_name = root.ask("GET", f"/volumes/{key}")["volume"]["os-vol-host-attr:host"]
    assert "It is attached to rack1-07." in told(root) and backend_name in told(root)
    assert "It is attached to a machine." in told(volumes)
    assert "rack1-07" not in told(volumes) and backend_name not in told(volumes)


def test_reverting_takes_the_latest_snapshot_alone(volumes: Volumes) -> None:
    key = volumes.make()["id"]
    older, latest = volumes.snapshot(key)["id"], volumes.snapshot(key)["id"]
    volumes.act(key, "revert", {"snapshot_id": older}, status=400)
    volumes.act(key, "revert", {"snapshot_id": latest})
    assert volumes.show(key)["status"] == "available"
    assert volumes.ask("GET", f"/snapshots/{latest}")["snapshot"]["status"] == "available"


def test_retyping_moves_the_count(volumes: Volumes, root: Volumes) -> None:
    name = f"t-{volumes.make()['id'][:8]}"
    kind = root.ask("POST", "/types", {"volume_type": {"name": name}})["volume_type"]["id"]
    key = volumes.make()["id"]
    volumes.act(key, "os-retype", {"new_type": name})
    shown = volumes.show(key)
    assert (shown["volume_type"], shown["volume_type_id"], shown["status"]) == (name, kind, "available")
    root.ask("DELETE", f"/types/{kind}", status=400)
    project = shown["os-vol-tenant-attr:tenant_id"]
    usage = volumes.ask("GET", f"/os-quota-sets/{project}?usage=true")["quota_set"]
    assert (usage[f"volumes_{name}"]["in_use"], usage["volumes___DEFAULT__"]["in_use"]) == (1, 1)


def test_backups_build_on_each_other_and_come_back(volumes: Volumes) -> None:
    key = volumes.make(metadata={"a": "b"})["id"]
    first = volumes.ask("POST", "/backups", {"backup": {"volume_id": key, "name": "n"}}, status=202)["backup"]["id"]
    volumes.cloud.settle()
    assert volumes.show(key)["status"] == "available"
    second = volumes.ask("POST", "/backups", {"backup": {"volume_id": key, "incremental": True}}, status=202)
    volumes.cloud.settle()
    shown = [volumes.ask("GET", f"/backups/{one}")["backup"] for one in (first, second["backup"]["id"])]
    flags = [(one["status"], one["is_incremental"], one["has_dependent_backups"]) for one in shown]
    assert flags == [("available", False, True), ("available", True, False)]
    volumes.ask("DELETE", f"/backups/{first}", status=400)
    restored = volumes.ask("POST", f"/backups/{first}/restore", {"restore": {}}, status=202)["restore"]["volume_id"]
    for _ in range(100):
        if volumes.ask("GET", f"/backups/{first}")["backup"]["status"] == "available":
            break
        volumes.cloud.settle()
    assert (volumes.show(restored)["status"], volumes.show(restored)["metadata"]) == ("available", {"a": "b"})
    for one in (second["backup"]["id"], first):
        volumes.ask("DELETE", f"/backups/{one}", status=202)
        volumes.cloud.settle()
    assert not [path for path in (volumes.cloud.config.state / "backups").iterdir() if path.is_file()]


@pytest.mark.parametrize("path", ["/volume-transfers", "/os-volume-transfer"])
def test_a_transfer_takes_the_key_and_the_quota_with_it(volumes: Volumes, path: str) -> None:
    key = volumes.make()["id"]
    volumes.snapshot(key)
    offer = volumes.ask("POST", path, {"transfer": {"volume_id": key}}, status=202)["transfer"]
    assert volumes.show(key)["status"] == "awaiting-transfer"
    assert "auth_key" not in volumes.ask("GET", f"{path}/{offer['id']}")["transfer"]
    other = caller(volumes.cloud, person(volumes.cloud).token)
    other.ask("POST", f"{path}/{offer['id']}/accept", {"accept": {"auth_key": "wrong"}}, status=400)
    other.ask("POST", f"{path}/{offer['id']}/accept", {"accept": {"auth_key": offer["auth_key"]}}, status=202)
    assert other.show(key)["status"] == "available"
    volumes.ask("GET", f"/volumes/{key}", status=404)
    assert volumes.used() == {}
    assert other.used() == {"totalVolumesUsed": 1, "totalGigabytesUsed": 2, "totalSnapshotsUsed": 1}
    other.ask("DELETE", f"/volumes/{key}?cascade=true", status=202)
    until = time.monotonic() + 20
    while other.used() and time.monotonic() < until:
        time.sleep(0.05)
    left = "SELECT * FROM volume_transfer WHERE volume_id = :id"
    assert volumes.cloud.run(lambda: volumes.cloud.hagane.cloud.db.fetch(left, {"id": key})) == []
    other.http.close()


def test_an_attachment_goes_its_way(volumes: Volumes) -> None:
    key = volumes.make()["id"]
    body = {"volume_uuid": key, "instance_uuid": SERVER, "mode": "rw"}
    made = volumes.ask("POST", "/attachments", {"attachment": body})["attachment"]
    assert (made["status"], volumes.show(key)["status"]) == ("reserved", "reserved")
    volumes.ask("POST", "/attachments", {"attachment": {"volume_uuid": key}}, status=400)
    path = f"/attachments/{made['id']}"
    connector = {"host": "h", "mountpoint": "/dev/vdb"}
    there = volumes.ask("PUT", path, {"attachment": {"connector": connector}})["attachment"]
    assert there["connection_info"]["data"]["access_mode"] == "rw"
    assert volumes.show(key)["status"] == "attaching"
    volumes.ask("POST", f"{path}/action", {"os-complete": None}, status=204)
    shown = volumes.show(key)
    assert (shown["status"], shown["attachments"][0]["server_id"]) == ("in-use", SERVER)
    assert (shown["attachments"][0]["device"], shown["attachments"][0]["host_name"]) == ("/dev/vdb", None)
    volumes.ask("DELETE", f"/volumes/{key}", status=400)
    assert volumes.ask("DELETE", path) == {"attachments": []}
    assert (volumes.show(key)["status"], volumes.show(key)["attachments"]) == ("available", [])


def test_what_compute_attached_is_only_computes(volumes: Volumes) -> None:
    from hagane.state.secret import Secrets
    from hagane.volume import attach

    key, cloud = volumes.make()["id"], volumes.cloud
    info = {"driver_volume_type": "iscsi", "data": {"target_lun": 1, "auth_password": "hush-hush"}}

    async def connect(tx: Any) -> str:
        row = await attach.reserve(tx, await attach.get(tx, key), SERVER)
        connector = {attach.OURS: True, "host": "sim1", "mountpoint": "/dev/vdb"}
        await attach.connected(tx, Secrets(cloud.config.state), row["id"], connector, info)
        await attach.complete(tx, row["id"], device="/dev/vdb")
        return str(row["id"])

    made = cloud.run(lambda: cloud.hagane.cloud.db.write(connect))
    kept = cloud.run(lambda: cloud.hagane.cloud.db.fetch("SELECT * FROM volume_attachment"))
    assert "hush-hush" not in str(kept)
    for path in (f"/attachments/{made}", f"/attachments/detail?volume_id={key}"):
        shown = volumes.ask("GET", path)
        assert "target_lun" in str(shown) and "hush-hush" not in str(shown)
    assert volumes.show(key)["attachments"][0]["device"] == "/dev/vdb"
    volumes.ask("DELETE", f"/attachments/{made}", status=409)
    volumes.ask("PUT", f"/attachments/{made}", {"attachment": {"connector": {"host": "mine"}}}, status=409)
    there = cloud.run(lambda: cloud.hagane.cloud.db.fetch("SELECT * FROM volume_attachment"))
    assert there == kept
    volumes.act(key, "os-detach", {}, status=409)
    cloud.run(lambda: cloud.hagane.cloud.db.write(lambda tx: attach.detach(tx, made)))
    assert volumes.show(key)["status"] == "available"


def test_the_older_way_to_attach(volumes: Volumes) -> None:
    key = volumes.make()["id"]
    volumes.act(key, "os-reserve")
    volumes.act(key, "os-reserve", status=400)
    volumes.act(key, "os-initialize_connection", {"connector": {"host": ["h"]}}, status=400)
    info = volumes.act(key, "os-initialize_connection", {"connector": {"host": "h"}}, status=200)
    assert info["connection_info"]["driver_volume_type"] == "iscsi"
    volumes.act(key, "os-attach", {"instance_uuid": SERVER, "mountpoint": "/dev/vdc"})
    assert volumes.show(key)["metadata"] == {"attached_mode": "rw", "readonly": "False"}
    volumes.act(key, "os-begin_detaching")
    volumes.act(key, "os-roll_detaching")
    assert volumes.show(key)["status"] == "in-use"
    volumes.act(key, "os-begin_detaching")
    volumes.act(key, "os-terminate_connection", {"connector": {"host": "h"}})
    volumes.act(key, "os-detach", {})
    assert volumes.show(key)["status"] == "available"


def test_a_volume_in_use_that_cannot_grow_is_as_it_was(volumes: Volumes) -> None:
    from hagane.errors import DeviceFailed

    def refuse(call: str) -> None:
        if call == "Volume":
            raise DeviceFailed("It is in use on another machine.")

    key = volumes.make()["id"]
    order = {"volume_uuid": key, "connector": {"host": "sim1"}}
    made = volumes.ask("POST", "/attachments", {"attachment": order})["attachment"]["id"]
    volumes.ask("POST", f"/attachments/{made}/action", {"os-complete": {}}, status=204)
    backend(volumes.cloud).hook = refuse
    try:
        volumes.act(key, "os-extend", {"new_size": 5})
    finally:
        backend(volumes.cloud).hook = lambda call: None
    shown = volumes.show(key)
    assert (shown["status"], shown["size"]) == ("in-use", 1)
    assert volumes.used()["totalGigabytesUsed"] == 1
    volumes.act(key, "os-extend", {"new_size": 3})
    assert (volumes.show(key)["status"], volumes.show(key)["size"]) == ("in-use", 3)


def test_several_machines_share_a_volume_of_a_type_that_allows_it(volumes: Volumes, root: Volumes) -> None:
    kind = {"name": f"shared-{volumes.cloud.url[-5:]}", "extra_specs": {"multiattach": "<is> True"}}
    root.ask("POST", "/types", {"volume_type": kind})
    key = volumes.make(volume_type=kind["name"])["id"]
    made = []
    for number in (1, 2):
        body = {"volume_uuid": key, "instance_uuid": SERVER[:-1] + str(number), "connector": {"host": f"h{number}"}}
        made.append(volumes.ask("POST", "/attachments", {"attachment": body})["attachment"]["id"])
        volumes.ask("POST", f"/attachments/{made[-1]}/action", {"os-complete": None}, status=204)
    shown = volumes.show(key)
    assert (shown["multiattach"], len(shown["attachments"]), shown["status"]) == (True, 2, "in-use")
    volumes.act(key, "os-detach", {}, status=400)
    for one in made:
        volumes.ask("DELETE", f"/attachments/{one}")
    assert volumes.show(key)["status"] == "available"


def test_what_is_read_only_is_attached_so_or_not_at_all(volumes: Volumes) -> None:
    key = volumes.make()["id"]
    volumes.act(key, "os-update_readonly_flag", {"readonly": True})
    assert volumes.show(key)["metadata"] == {"readonly": "True"}
    volumes.act(key, "os-attach", {"instance_uuid": SERVER, "mountpoint": "/dev/vdc"}, status=400)
    made = volumes.ask("POST", "/attachments", {"attachment": {"volume_uuid": key}})["attachment"]
    assert made["attach_mode"] == "ro"


@pytest.mark.parametrize("verb", ["os-reset_status", "os-force_delete"])
def test_what_a_task_had_counted_is_given_back_when_it_is_ended(volumes: Volumes, root: Volumes, verb: str) -> None:
    from hagane.errors import Unavailable

    key = volumes.make()["id"]

    def silent(call: str) -> None:
        if call == "Volume":
            raise Unavailable("The backend does not answer.")

    backend(volumes.cloud).hook = silent
    try:
        volumes.ask("POST", f"/volumes/{key}/action", {"os-extend": {"new_size": 5}}, status=202)
        assert volumes.used()["totalGigabytesUsed"] == 5
        root.ask("POST", f"/volumes/{key}/action", {verb: {"status": "available"}}, status=202)
    finally:
        backend(volumes.cloud).hook = lambda call: None
    left = 1 if verb == "os-reset_status" else 0
    until = time.monotonic() + 20
    while volumes.used().get("totalGigabytesUsed", 0) != left and time.monotonic() < until:
        time.sleep(0.05)
    assert volumes.used().get("totalGigabytesUsed", 0) == left


def test_an_administrator_frees_what_is_stuck(volumes: Volumes, root: Volumes) -> None:
    key = volumes.make()["id"]
    volumes.ask("POST", f"/volumes/{key}/action", {"os-reset_status": {"status": "error"}}, status=403)
    volumes.ask("POST", f"/volumes/{key}/action", {"os-force_delete": None}, status=403)
    root.act(key, "os-reset_status", {"status": "deleting"}, status=400)
    root.act(key, "os-reset_status", {"status": "in-use"}, status=400)
    root.act(key, "os-reset_status", {"status": "maintenance"})
    volumes.ask("DELETE", f"/volumes/{key}", status=400)
    root.act(key, "os-force_delete")
    volumes.ask("GET", f"/volumes/{key}", status=404)
