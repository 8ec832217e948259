"""Volumes of Servers over HTTP: attaching, swapping, booting from them; words and codes are the real service's."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.api.compute_shop import V21, Shop, message, shop, upload
from tests.support import Running

V3 = "/volume/v3"
NOBODY = "0b0d1e5a-0000-4000-8000-000000000000"


class Store(Shop):
    """A shop that also has volumes."""

    def volume(self, **more: Any) -> str:
        body = {"volume": {"size": 1} | more}
        key = str(self.alice.http.post(f"{V3}/volumes", json=body).raise_for_status().json()["volume"]["id"])
        self.until(key, "available")
        return key

    def until(self, key: str, status: str) -> dict[str, Any]:
        """The volume when it has the status; "gone": none."""
        until = time.monotonic() + 15
        while True:
            answer = self.alice.http.get(f"{V3}/volumes/{key}")
            if answer.status_code == 404 and status == "gone":
                return {}
            shown = answer.json().get("volume", {})
            if shown.get("status") == status:
                return dict(shown)
            assert time.monotonic() < until, answer.text
            time.sleep(0.01)

    def path(self, server: str, volume: str = "") -> str:
        return f"/servers/{server}/os-volume_attachments" + (f"/{volume}" if volume else "")

    def plug(self, server: str, volume: str, version: str = "2.96", **more: Any) -> httpx.Response:
        body = {"volumeAttachment": {"volumeId": volume} | more}
        return self.call("POST", self.path(server), version, json=body)

    def backed(self, version: str = "2.96", **device: Any) -> httpx.Response:
        """Order a Server with one block device, and nothing else to boot from."""
        return self.order(version, imageRef="", block_device_mapping_v2=[device])


@pytest.fixture(scope="module")
def s(cloud: Running, http: httpx.Client) -> Iterator[Store]:
    made = shop(cloud, http)
    http.put(f"{V3}/{_project(http)}/os-quota-sets/{made.alice.project_id}", json={"quota_set": {"volumes": 100}})
    yield Store(**vars(made))
    made.alice.http.close()


def _project(http: httpx.Client) -> str:
    return str(http.get("/identity/v3/auth/tokens", headers={"X-Subject-Token": http.headers["X-Auth-Token"]}).json()[
        "token"]["project"]["id"])  # fmt: skip


@pytest.fixture(scope="module")
def server(s: Store) -> str:
    return s.make()


def test_attach_and_detach(s: Store, server: str) -> None:
    key = s.volume()
    began = time.perf_counter()
    made = s.plug(server, key, "2.1", device="/dev/sdz")
    assert time.perf_counter() - began < 1.0
    assert (made.status_code, made.json()) == (200, {"volumeAttachment": {
        "id": key, "volumeId": key, "serverId": server, "device": "/dev/vdb"}})  # fmt: skip
    shown = s.until(key, "in-use")
    assert [(one["server_id"], one["device"]) for one in shown["attachments"]] == [(server, "/dev/vdb")]
    assert s.call("GET", s.path(server), "2.1").json() == {"volumeAttachments": [made.json()["volumeAttachment"]]}
    latest = s.call("GET", s.path(server, key)).json()["volumeAttachment"]
    assert set(latest) == {
        "volumeId", "serverId", "device", "tag", "delete_on_termination", "attachment_id", "bdm_uuid"
    }  # fmt: skip
    assert latest["attachment_id"] == shown["attachments"][0]["attachment_id"]
    assert s.show(server)["os-extended-volumes:volumes_attached"] == [{"id": key, "delete_on_termination": False}]
    oldest = s.call("GET", f"/servers/{server}", "2.1").json()["server"]
    assert oldest["os-extended-volumes:volumes_attached"] == [{"id": key}]
    gone = s.call("DELETE", s.path(server, key))
    assert (gone.status_code, gone.content) == (202, b"")
    s.until(key, "available")
    assert s.call("GET", s.path(server)).json() == {"volumeAttachments": []}
    actions = s.call("GET", f"/servers/{server}/os-instance-actions").json()["instanceActions"]
    assert [(one["action"], one["message"]) for one in actions[:2]] == [
        ("detach_volume", None),
        ("attach_volume", None),
    ]


def test_nobody_pulls_a_volume_from_under_a_server(s: Store, server: str, http: httpx.Client) -> None:
    """As the volume service does since its security advisory OSSA-2023-003."""
    key = s.volume()
    s.plug(server, key).raise_for_status()
    s.until(key, "in-use")
    path, words = f"{V3}/volumes/{key}/action", f"Detach volume from instance {server} using the Compute API"
    mine = {"os-detach": {}}, {"os-terminate_connection": {"connector": {}}}
    said = [s.alice.http.post(path, json=body) for body in mine]
    said += [http.post(path, json=body) for body in (*mine, {"os-force_detach": {"connector": {"host": "x"}}})]
    assert [(one.status_code, message(one)) for one in said] == [(409, words)] * 5
    [attached] = s.until(key, "in-use")["attachments"]
    other = {"os-detach": {"attachment_id": attached["attachment_id"]}}
    refused = s.alice.http.post(f"{V3}/volumes/{s.volume()}/action", json=other)
    assert (refused.status_code, message(refused)) == (
        400, "Invalid input received: Mismatched volume and attachment.")  # fmt: skip
    assert s.call("DELETE", s.path(server, key)).status_code == 202
    s.until(key, "available")


def test_what_an_attachment_may_say(s: Store, server: str) -> None:
    key = s.volume()
    assert s.plug(server, key, "2.48", tag="x").status_code == 400
    assert s.plug(server, key, "2.78", delete_on_termination=True).status_code == 400
    assert s.plug(server, key, device="vdb").status_code == 400
    made = s.plug(server, key, tag="data", delete_on_termination=True).json()["volumeAttachment"]
    assert made == {"id": key, "volumeId": key, "serverId": server, "device": "/dev/vdb", "tag": "data",
                    "delete_on_termination": True}  # fmt: skip
    s.until(key, "in-use")
    path = s.path(server, key)
    body = {"volumeAttachment": {"volumeId": key, "delete_on_termination": False, "tag": "data", "id": key,
                                 "serverId": server, "device": "/dev/vdb"}}  # fmt: skip
    assert s.call("PUT", path, json=body).status_code == 202
    assert s.call("GET", path).json()["volumeAttachment"]["delete_on_termination"] is False
    for name, wrong in (("tag", "x"), ("device", "/dev/vdc"), ("id", NOBODY), ("serverId", NOBODY)):
        answer = s.call("PUT", path, json={"volumeAttachment": {"volumeId": key, name: wrong}})
        assert (answer.status_code, message(answer)) == (400, f"The {name} property is not mutable")
    assert s.call("PUT", path, "2.84", json={"volumeAttachment": {"volumeId": key}}).status_code == 403  # a swap
    s.call("DELETE", path)
    s.until(key, "available")


def test_refusals(s: Store, server: str) -> None:
    key, other = s.volume(), s.make()
    for path, code, words in (
        (s.path(server, NOBODY), 404, f"Volume {NOBODY} could not be found."),
        (s.path(server, key), 404, f"Instance {server} is not attached to volume {key}"),
    ):
        answer = s.call("DELETE", path)
        assert (answer.status_code, message(answer)) == (code, words)
    answer = s.plug(server, NOBODY)
    assert (answer.status_code, message(answer)) == (404, f"Volume {NOBODY} could not be found.")
    assert s.call("POST", s.path(NOBODY), json={"volumeAttachment": {"volumeId": key}}).status_code == 404
    assert s.plug(server, key).status_code == 200
    s.until(key, "in-use")
    for where, words in (
        (other, f"Invalid volume: volume {key} is already attached to instances: {server}"),
        (server, f"Invalid volume: volume {key} is already attached to instances: {server}"),
    ):
        answer = s.plug(where, key)
        assert (answer.status_code, message(answer)) == (400, words)
    assert s.act(server, lock=None).status_code == 202
    admin = s.call("DELETE", s.path(server, key))
    assert (admin.status_code, message(admin)) == (409, f"Instance {server} is locked")
    s.act(server, unlock=None)
    assert s.act(server, suspend=None).status_code == 202
    s.wait(server, "SUSPENDED")
    answer = s.plug(server, s.volume())
    assert (answer.status_code, message(answer)) == (
        409, f"Cannot 'attach_volume' instance {server} while it is in vm_state suspended")  # fmt: skip
    s.act(server, resume=None)
    s.wait(server)
    s.call("DELETE", s.path(server, key))
    s.until(key, "available")
    s.delete(other)


def test_as_many_as_there_are_names(s: Store, server: str) -> None:
    keys = [s.volume() for _ in range(26)]
    answers = [s.plug(server, key) for key in keys]
    assert [answer.status_code for answer in answers] == [200] * 25 + [403]
    assert message(answers[-1]) == ("The maximum allowed number of disk devices (26) to attach to a single instance has"
                                    " been exceeded.")  # fmt: skip
    names = [answer.json()["volumeAttachment"]["device"] for answer in answers[:-1]]
    assert (names[0], names[-1], len(set(names))) == ("/dev/vdb", "/dev/vdz", 25)
    for key in keys[:-1]:
        s.until(key, "in-use")
        s.call("DELETE", s.path(server, key))
    for key in keys:
        s.until(key, "available")
        s.alice.http.delete(f"{V3}/volumes/{key}")


def test_swap(s: Store, server: str) -> None:
    old, new, small = s.volume(size=2), s.volume(size=2), s.volume()
    s.plug(server, old)
    s.until(old, "in-use")

    def swap(to: str, key: str = old, version: str = "2.96") -> httpx.Response:
        return s.call("PUT", s.path(server, key), version, who=s.admin, json={"volumeAttachment": {"volumeId": to}})

    for answer, code, words in (
        (swap(small), 400, "Invalid volume: New volume must be the same size or larger."),
        (swap(NOBODY), 400, f"Volume {NOBODY} could not be found."),
        (swap(new, small, "2.1"), 400, "Invalid volume: Old volume is attached to a different instance."),
    ):
        assert (answer.status_code, message(answer)) == (code, words)
    assert swap(new).status_code == 202
    s.until(new, "in-use")
    s.until(old, "available")
    assert [one["volumeId"] for one in s.call("GET", s.path(server)).json()["volumeAttachments"]] == [new]
    s.call("DELETE", s.path(server, new))
    s.until(new, "available")


def test_multiattach(s: Store, server: str) -> None:
    kind = {"volume_type": {"name": "shared", "extra_specs": {"multiattach": "<is> True"}}}
    s.admin.post(f"{V3}/types", json=kind).raise_for_status()
    key, other = s.volume(volume_type="shared"), s.make()
    answer = s.plug(server, key, "2.59")
    assert (answer.status_code, message(answer)) == (
        400, "Multiattach volumes are only supported starting with compute API version 2.60.")  # fmt: skip
    for where in (server, other):
        assert s.plug(where, key).status_code == 200
        s.until(key, "in-use")
        s.cloud.settle()
    answer = s.plug(server, key)
    assert (answer.status_code, message(answer)) == (400, f"Invalid volume: volume {key} already attached")
    assert {one["server_id"] for one in s.until(key, "in-use")["attachments"]} == {server, other}
    s.delete(other)
    assert {one["server_id"] for one in s.until(key, "in-use")["attachments"]} == {server}
    s.call("DELETE", s.path(server, key))
    s.until(key, "available")


def test_a_server_on_its_shelf(s: Store) -> None:
    server, key, more = s.make(), s.volume(), s.volume()
    s.plug(server, key)
    s.until(key, "in-use")
    s.act(server, shelve=None)
    s.wait(server, "SHELVED_OFFLOADED")
    answer = s.plug(server, more, "2.19")
    assert (answer.status_code, message(answer)) == (
        409, f"Cannot 'attach_volume' instance {server} while it is in vm_state shelved_offloaded")  # fmt: skip
    answer = s.plug(server, more, tag="x")
    assert (answer.status_code, message(answer)) == (
        400, "Tagged volume attachment is not supported for shelved-offloaded instances.")  # fmt: skip
    assert s.plug(server, more).json()["volumeAttachment"]["device"] is None
    s.until(more, "in-use")
    assert s.call("DELETE", s.path(server, key), "2.19").status_code == 409
    assert s.call("DELETE", s.path(server, key)).status_code == 202
    s.until(key, "available")
    s.act(server, unshelve=None)
    s.wait(server)
    assert [one["volumeId"] for one in s.call("GET", s.path(server)).json()["volumeAttachments"]] == [more]
    s.delete(server)
    s.until(more, "available")


# -- booting from volumes --------------------------------------------------------------------------------------------


def test_boot_from_a_volume_of_an_image(s: Store) -> None:
    made = s.backed(source_type="image", uuid=s.image, destination_type="volume", volume_size="2", boot_index=0,
                    delete_on_termination=True, tag="root")  # fmt: skip
    assert made.status_code == 202, made.text
    server = made.json()["server"]["id"]
    shown = s.wait(server)
    (one,) = shown["os-extended-volumes:volumes_attached"]
    assert (shown["image"], one["delete_on_termination"]) == ("", True)
    volume = s.until(one["id"], "in-use")
    assert (volume["name"], volume["size"], volume["bootable"]) == ("", 2, "true")
    answer = s.call("DELETE", s.path(server, one["id"]))
    assert (answer.status_code, message(answer)) == (400, "Cannot detach a root device volume")
    answer = s.call("POST", f"/servers/{server}/action", "2.92", json={"rebuild": {"imageRef": upload(s.alice.http)}})
    assert answer.status_code == 400
    assert message(answer).endswith("Unable to rebuild with a different image for a volume-backed server.")
    answer = s.act(server, createBackup={"name": "b", "backup_type": "daily", "rotation": 1})
    assert (answer.status_code, message(answer)) == (400, "Backup is not supported for volume-backed instances.")
    answer = s.call("POST", f"/servers/{server}/action", "2.86", json={"rescue": None})
    assert (answer.status_code, message(answer)) == (
        400, f"Instance {server} cannot be rescued: Cannot rescue a volume-backed instance")  # fmt: skip
    rescue = upload(s.alice.http, hw_rescue_bus="virtio", hw_rescue_device="disk")
    assert s.act(server, rescue={"rescue_image_ref": rescue}).status_code == 200
    s.wait(server, "RESCUE")
    s.act(server, unrescue=None)
    s.wait(server)
    s.delete(server)
    s.until(one["id"], "gone")


def test_every_source(s: Store) -> None:
    """An existing volume, a snapshot of it, a blank volume, and blank disks of the Host; both forms of writing."""
    root = s.volume(imageRef=s.image)
    shot = s.alice.http.post(f"{V3}/snapshots", json={"snapshot": {"volume_id": root}}).json()["snapshot"]["id"]
    while s.alice.http.get(f"{V3}/snapshots/{shot}").json()["snapshot"]["status"] != "available":
        time.sleep(0.01)
    large = {
        "name": "large",
        "ram": 64,
        "vcpus": 1,
        "disk": 0,
        "id": "large",
        "OS-FLV-EXT-DATA:ephemeral": 2,
        "swap": 64,
    }
    assert s.call("POST", "/flavors", who=s.admin, json={"flavor": large}).status_code == 200
    answer = s.order(imageRef="", flavorRef="large", block_device_mapping_v2=[
        {"source_type": "volume", "destination_type": "volume", "uuid": root, "boot_index": "0"},
        {"source_type": "snapshot", "destination_type": "volume", "uuid": shot, "delete_on_termination": True},
        {"source_type": "blank", "destination_type": "volume", "volume_size": 1, "delete_on_termination": "true",
         "disk_bus": "scsi"},
        {"source_type": "blank", "destination_type": "local", "volume_size": 1, "delete_on_termination": True},
        {"source_type": "blank", "destination_type": "local", "guest_format": "swap"},
    ])  # fmt: skip
    assert answer.status_code == 202, answer.text
    server = answer.json()["server"]["id"]
    s.wait(server)
    listed = s.call("GET", s.path(server)).json()["volumeAttachments"]
    assert [(one["device"], one["delete_on_termination"]) for one in listed] == [
        ("/dev/vda", False), ("/dev/vdd", True), ("/dev/sde", True)]  # fmt: skip
    assert s.until(listed[2]["volumeId"], "in-use")["name"] == f"{server}-blank-vol"
    s.delete(server)
    s.until(root, "available")
    for one in listed[1:]:
        s.until(one["volumeId"], "gone")
    older = [{"device_name": "vda", "volume_id": root}, {"device_name": "/dev/vdc", "snapshot_id": shot, "volume_size": 2,
                                                        "delete_on_termination": "1"}]  # fmt: skip
    answer = s.order("2.1", imageRef="", block_device_mapping=older)
    assert answer.status_code == 202, answer.text
    server = answer.json()["server"]["id"]
    s.wait(server)
    listed = s.call("GET", s.path(server)).json()["volumeAttachments"]
    assert [(one["device"], one["delete_on_termination"]) for one in listed] == [
        ("/dev/vda", False),
        ("/dev/vdc", True),
    ]
    s.delete(server)


def test_an_image_of_volumes(s: Store) -> None:
    server = s.backed(source_type="image", uuid=s.image, destination_type="volume", volume_size=1, boot_index=0,
                      delete_on_termination=True).json()["server"]["id"]  # fmt: skip
    s.wait(server)
    image = s.act(server, createImage={"name": "copy"}).json()["image_id"]
    s.wait(server)
    shown = s.alice.http.get(f"/image/v2/images/{image}").json()
    assert (shown["status"], shown["size"], shown["bdm_v2"], shown["root_device_name"]) == (
        "active",
        0,
        "True",
        "/dev/vda",
    )
    names = [one["name"] for one in s.alice.http.get(f"{V3}/snapshots").json()["snapshots"]]
    assert "snapshot for copy" in names
    headers = {"OpenStack-API-Version": "volume 3.46"}
    body = {"volume": {"size": 1, "imageRef": image}}
    copy = s.alice.http.post(f"{V3}/volumes", json=body, headers=headers).raise_for_status().json()["volume"]
    assert copy["snapshot_id"] and s.until(copy["id"], "available")["bootable"] == "true"
    twin = s.make(imageRef=image)
    found = s.show(twin)
    assert found["image"]["id"] == image and len(found["os-extended-volumes:volumes_attached"]) == 1
    root = {"uuid": image, "source_type": "image", "destination_type": "local", "boot_index": 0,
            "delete_on_termination": True}  # fmt: skip
    third = s.make(imageRef=image, block_device_mapping_v2=[root])  # as the command line orders it
    assert len(s.show(third)["os-extended-volumes:volumes_attached"]) == 1
    assert s.act(third, rebuild={"imageRef": s.image}).status_code == 202
    s.wait(third)
    (one,) = s.show(third)["os-extended-volumes:volumes_attached"]
    facts = s.alice.http.get(f"{V3}/volumes/{one['id']}").json()["volume"]["volume_image_metadata"]
    assert facts["image_id"] == s.image
    for key in (third, twin, server):
        s.delete(key)


@pytest.mark.parametrize("value", ["a lot", "-1", "1.5", "\u0663", "99999999999", "9" * 5000])
@pytest.mark.parametrize("name", ["min_ram", "min_disk"])
def test_what_an_owner_wrote_about_a_volume_is_refused_in_words(s: Store, name: str, value: str) -> None:
    """Image metadata of a volume is text that its owner writes; here it should be a number."""
    key = s.volume(imageRef=s.image)
    s.until(key, "available")
    body = {"os-set_image_metadata": {"metadata": {name: value}}}
    s.alice.http.post(f"{V3}/volumes/{key}/action", json=body).raise_for_status()
    answer = s.backed(source_type="volume", uuid=key, destination_type="volume", boot_index=0)
    assert answer.status_code == 400
    assert message(answer) == (
        f"Invalid image metadata of the volume: {name} must be a whole number from 0 to 2147483647, not '{value[:64]}'."
    )
    s.alice.http.delete(f"{V3}/volumes/{key}").raise_for_status()


def test_an_image_of_a_server_whose_volume_says_nonsense(s: Store) -> None:
    device = {"source_type": "image", "uuid": s.image, "destination_type": "volume", "boot_index": 0, "volume_size": 1}
    server = s.backed(**device, delete_on_termination=True).json()["server"]["id"]
    s.wait(server)
    (one,) = s.show(server)["os-extended-volumes:volumes_attached"]
    body = {"os-set_image_metadata": {"metadata": {"min_ram": "plenty"}}}
    s.alice.http.post(f"{V3}/volumes/{one['id']}/action", json=body).raise_for_status()
    answer = s.act(server, createImage={"name": "never"})
    assert answer.status_code == 400 and "min_ram must be a whole number" in message(answer)
    s.delete(server)


def _wrong(name: str) -> Callable[[Store], tuple[dict[str, Any], str]]:
    """Name of a case -> (what the order says, the words of its refusal)."""
    bad = "Block Device Mapping is Invalid: "
    image = {"source_type": "image", "destination_type": "volume", "boot_index": 0, "volume_size": 1}
    blank = {"source_type": "blank", "destination_type": "volume", "volume_size": 1}
    sequence = "Boot sequence for the instance and image/block device mapping combination is not valid."
    local = {"source_type": "image", "destination_type": "local", "boot_index": 0}
    eph = {"source_type": "blank", "destination_type": "local", "volume_size": 9}
    cases: dict[str, Callable[[Store], tuple[list[dict[str, Any]], str]]] = {
        "no size": lambda s: ([image | {"uuid": s.image, "volume_size": None}], "Invalid input for field/attribute volume_size."),
        "size of an image": lambda s: ([{k: v for k, v in image.items() if k != "volume_size"} | {"uuid": s.image}],
            "Images with destination_type 'volume' need to have a non-zero size specified"),
        "size of nothing": lambda s: ([image | {"uuid": s.image}, {"source_type": "blank", "destination_type": "volume"}],
            "Blank volumes (source: 'blank', dest: 'volume') need to have non-zero size"),
        "no root": lambda s: ([image | {"uuid": s.image, "boot_index": None}], bad + sequence),
        "a gap": lambda s: ([image | {"uuid": s.image}, blank | {"boot_index": 2}], bad + sequence),
        "no id": lambda s: ([image], bad + "Missing device UUID."),
        "an id of nothing": lambda s: ([blank | {"uuid": NOBODY, "boot_index": 0}], bad + "Invalid device UUID."),
        "local": lambda s: ([local | {"uuid": s.image}], bad + "Mapping image to local is not supported."),
        "unknown image": lambda s: ([image | {"uuid": NOBODY}], f"{bad}failed to get image {NOBODY}."),
        "unknown volume": lambda s: ([{"source_type": "volume", "uuid": NOBODY, "boot_index": 0}],
            f"{bad}failed to get volume {NOBODY}."),
        "unknown further volume": lambda s: ([image | {"uuid": s.image}, {"source_type": "volume", "uuid": NOBODY}],
            f"Volume {NOBODY} could not be found."),
        "unknown snapshot": lambda s: ([image | {"uuid": s.image}, {"source_type": "snapshot", "uuid": NOBODY}],
            f"{bad}failed to get snapshot {NOBODY}."),
        "empty root": lambda s: ([{"source_type": "volume", "uuid": (key := s.volume()), "boot_index": 0}],
            f"Block Device {key} is not bootable."),
        "unknown type": lambda s: ([image | {"uuid": s.image, "volume_type": "none"}],
            "Volume type none could not be found."),
        "type of a volume": lambda s: ([{"source_type": "volume", "uuid": NOBODY, "boot_index": 0, "volume_type": "x"}],
            bad + "Specifying volume type to existing volume is not supported."),
        "type of a disk": lambda s: ([eph | {"volume_type": "x"}],
            bad + "Specifying a volume_type with destination_type=local is not supported."),
        "bus": lambda s: ([image | {"uuid": s.image, "disk_bus": "rope"}], "Block Device Mapping is Invalid."),
        "ephemeral": lambda s: ([image | {"uuid": s.image}, eph],
            "Ephemeral disks requested are larger than the instance type allows. If no size is given in one block device"
            " mapping, flavor ephemeral size will be used."),
        "swap": lambda s: ([image | {"uuid": s.image}, eph | {"guest_format": "swap"}],
            "Swap drive requested is larger than instance type allows."),
        "twice": lambda s: ([image | {"uuid": s.image}] + 2 * [{"source_type": "volume", "uuid": (key := s.volume())}],
            f"Invalid volume: volume {key} is already attached to instances: "),
    }  # fmt: skip

    def one(s: Store) -> tuple[dict[str, Any], str]:
        devices, words = cases[name](s)
        return {"imageRef": "", "block_device_mapping_v2": devices}, words

    one.names = list(cases)  # type: ignore[attr-defined]
    return one


@pytest.mark.parametrize("name", _wrong("").names)  # type: ignore[attr-defined]
def test_wrong_devices(s: Store, name: str) -> None:
    order, words = _wrong(name)(s)
    answer = s.order(**order)
    assert answer.status_code == 400, answer.text
    assert words in message(answer)


def test_wrong_orders(s: Store) -> None:
    root = {"source_type": "image", "destination_type": "volume", "boot_index": 0, "volume_size": 1, "uuid": s.image}
    older = {"device_name": "vda", "volume_id": NOBODY}
    for order, words in (
        ({"imageRef": ""}, "Missing imageRef attribute"),
        ({"block_device_mapping": [older], "block_device_mapping_v2": [root]},
         "Using different block_device_mapping syntaxes is not allowed in the same request."),
        ({"imageRef": "", "block_device_mapping": [{"device_name": "vda"}]},
         "Block Device Mapping is Invalid: Unrecognized legacy format."),
        ({"block_device_mapping_v2": [root | {"device_name": "vda"}]},
         "The volume cannot be assigned the same device name as the root device vda"),
        ({"imageRef": "", "max_count": 2, "block_device_mapping_v2": [
            {"source_type": "volume", "uuid": s.volume(imageRef=s.image), "boot_index": 0}]},
         "Cannot attach one or more volumes to multiple instances"),
        ({"imageRef": "", "block_device_mapping_v2": [root | {"uuid": upload(s.alice.http, min_disk=3)}]},
         f"Volume is smaller than the minimum size specified in image metadata. Volume size is {1 << 30} bytes, minimum"
         f" size is {3 << 30} bytes."),
    ):  # fmt: skip
        answer = s.order(**order)
        assert (answer.status_code, message(answer)) == (400, words)


def test_what_does_not_fit_leaves_nothing(s: Store) -> None:
    """A quota is told at once, and neither Server nor volumes are there afterwards; several Servers have their own."""
    root = {"source_type": "image", "destination_type": "volume", "boot_index": 0, "uuid": s.image,
            "delete_on_termination": True}  # fmt: skip
    before = s.alice.http.get(f"{V3}/volumes").json()["volumes"]
    answer = s.order(imageRef="", block_device_mapping_v2=[root | {"volume_size": 100_000}])
    assert answer.status_code == 403 and "gigabytes" in message(answer), answer.text
    assert s.alice.http.get(f"{V3}/volumes").json()["volumes"] == before
    answer = s.order(imageRef="", min_count=2, return_reservation_id=True,
                     block_device_mapping_v2=[root | {"volume_size": 1}])  # fmt: skip
    reservation = answer.json()["reservation_id"]
    path = f"/servers/detail?reservation_id={reservation}"
    servers = [one["id"] for one in s.call("GET", path).json()["servers"]]
    volumes = [s.wait(one)["os-extended-volumes:volumes_attached"][0]["id"] for one in servers]
    assert len(set(volumes)) == 2
    for one in servers:
        s.delete(one)
    for one in volumes:
        s.until(one, "gone")


def test_a_volume_that_comes_to_nothing(s: Store) -> None:
    """The Server says why, and what was made for it goes."""
    kind = {"volume_type": {"name": "nowhere", "extra_specs": {"color": "none has this"}}}
    s.admin.post(f"{V3}/types", json=kind).raise_for_status()
    server = s.backed(source_type="image", destination_type="volume", boot_index=0, uuid=s.image, volume_size=1,
                      volume_type="nowhere", delete_on_termination=True).json()["server"]["id"]  # fmt: skip
    shown = s.wait(server, "ERROR")
    assert shown["fault"]["message"].startswith(f"Build of instance {server} aborted: Volume ")
    assert "And its status is error. No place for this volume: no storage backend offers" in shown["fault"]["message"]
    s.delete(server)
    assert not [one for one in s.alice.http.get(f"{V3}/volumes/detail").json()["volumes"] if one["status"] == "error"]


def test_others_volumes_are_not_there(s: Store, server: str) -> None:
    foreign = s.admin.post(f"{V3}/volumes", json={"volume": {"size": 1}}).json()["volume"]["id"]
    answer = s.plug(server, foreign)
    assert (answer.status_code, message(answer)) == (404, f"Volume {foreign} could not be found.")
    answer = s.backed(source_type="volume", uuid=foreign, boot_index=0)
    assert (answer.status_code, message(answer)) == (
        400, f"Block Device Mapping is Invalid: failed to get volume {foreign}.")  # fmt: skip
    assert s.admin.get(f"{V21}{s.path(server)}").status_code == 200


def test_a_volume_that_grows_in_use_is_an_action_of_its_server(s: Store) -> None:
    mine = s.make()
    key = s.volume()
    s.plug(mine, key)
    s.until(key, "in-use")
    headers = {"OpenStack-API-Version": "volume 3.42"}
    grow = s.alice.http.post(f"{V3}/volumes/{key}/action", json={"os-extend": {"new_size": 2}}, headers=headers)
    assert grow.status_code == 202, grow.text
    s.cloud.settle()
    assert s.until(key, "in-use")["size"] == 2
    path = f"/servers/{mine}/os-instance-actions"
    last = s.call("GET", path).json()["instanceActions"][0]
    assert (last["action"], last["request_id"]) == ("extend_volume", grow.headers["x-openstack-request-id"])
    (event,) = s.call("GET", f"{path}/{last['request_id']}").json()["instanceAction"]["events"]
    assert (event["event"], event["result"]) == ("compute_extend_volume", "Success")
    assert event["finish_time"]
