"""Interoperable import: staged bytes become an image on request, and a task tells how it went."""

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from hagane.image import store
from tests.api.people import Person, person
from tests.support import Running, running_cloud

IMAGES = "/image/v2/images"
OCTETS = {"Content-Type": "application/octet-stream"}
DIRECT = {"method": {"name": "glance-direct"}}


def make(http: httpx.Client, label: str | None = "raw", **body: Any) -> str:
    formats = {"disk_format": label, "container_format": "bare"} if label else {}
    answer = http.post(IMAGES, json=formats | body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["openstack-image-import-methods"] == "glance-direct"
    return str(answer.json()["id"])


def stage(http: httpx.Client, image_id: str, data: Any) -> httpx.Response:
    return http.put(f"{IMAGES}/{image_id}/stage", content=data, headers=OCTETS)


def start(http: httpx.Client, image_id: str, body: Any = DIRECT, **headers: str) -> httpx.Response:
    return http.post(f"{IMAGES}/{image_id}/import", json=body, headers=headers)


def show(http: httpx.Client, image_id: str) -> dict[str, Any]:
    return dict(http.get(f"{IMAGES}/{image_id}").json())


def message(answer: httpx.Response) -> str:
    return answer.text


def test_stage_and_import(victim: Person, http: httpx.Client) -> None:
    mine, data = victim.http, os.urandom(2_000_003)
    image_id = make(mine)
    assert stage(mine, image_id, data).status_code == 204
    staged = show(mine, image_id)
    assert (staged["status"], staged["size"], staged["checksum"]) == ("uploading", len(data), None)
    assert "stores" not in staged
    assert mine.get(f"{IMAGES}/{image_id}/file").status_code == 204
    assert start(mine, image_id).status_code == 202
    image = show(mine, image_id)
    assert (image["status"], image["size"], image["stores"]) == ("active", len(data), "file")
    assert image["os_hash_value"] == hashlib.sha512(data).hexdigest()
    assert mine.get(f"{IMAGES}/{image_id}/file").content == data
    task = mine.get(f"{IMAGES}/{image_id}/tasks").json()["tasks"][0]
    assert (task["status"], task["type"], task["message"]) == ("success", "api_image_import", "Copied 1 MiB")
    assert (task["image_id"], task["owner"], task["user_id"]) == (image_id, victim.project_id, victim.user_id)
    assert task["input"]["import_req"] == DIRECT
    assert task["result"] == {"image_id": image_id}
    assert http.get(f"/image/v2/tasks/{task['id']}").json()["input"] == task["input"]


def test_the_order_of_things(victim: Person) -> None:
    mine = victim.http
    image_id = make(mine)
    for step, status in ((start, 409), (lambda *a: stage(*a, b"x" * 512), 204), (lambda *a: stage(*a, b"y"), 409)):
        assert step(mine, image_id).status_code == status
    assert mine.put(f"{IMAGES}/{image_id}/file", content=b"z", headers=OCTETS).status_code == 409
    assert start(mine, image_id).status_code == 202
    again = start(mine, image_id)
    assert (again.status_code, "Image with status active cannot be target for import" in message(again)) == (409, True)
    assert stage(mine, image_id, b"x").status_code == 409
    assert stage(mine, make(mine, None), b"x").status_code == 400
    assert stage(mine, str(uuid4()), b"x").status_code == 404
    assert start(mine, str(uuid4())).status_code == 404


@pytest.mark.parametrize(("status", "body", "header"), [
    (400, {}, ""), (400, {"method": {}}, ""), (400, {"method": {"name": "web-download", "uri": "http://127.0.0.1"}}, ""),
    (400, {"method": {"name": "copy-image"}}, ""), (400, DIRECT | {"all_stores": "x"}, ""), (400, [], ""),
    (409, DIRECT | {"stores": ["other"]}, ""), (409, DIRECT, "other"), (400, DIRECT | {"stores": ["file"]}, "file"),
    (400, DIRECT | {"stores": ["file"], "all_stores": True}, ""), (202, DIRECT | {"stores": ["file"]}, ""),
    (202, DIRECT | {"all_stores": True, "all_stores_must_succeed": False}, ""), (202, DIRECT, "file"),
])  # fmt: skip
def test_bodies(victim: Person, status: int, body: Any, header: str) -> None:
    image_id = make(victim.http)
    stage(victim.http, image_id, b"x" * 512)
    answer = start(victim.http, image_id, body, **({"x-image-meta-store": header} if header else {}))
    assert answer.status_code == status, answer.text


def test_what_is_unsafe_is_not_imported(victim: Person, cloud: Running, tmp_path: Path) -> None:
    mine, disk = victim.http, tmp_path / "evil.qcow2"
    options = ["-b", "/etc/passwd", "-F", "raw", "-u"]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, disk, "4M"], check=True)
    image_id = make(mine, "qcow2")
    assert stage(mine, image_id, disk.read_bytes()).status_code == 204
    assert start(mine, image_id).status_code == 202
    image = show(mine, image_id)
    assert (image["status"], image["size"]) == ("queued", None)
    task = mine.get(f"{IMAGES}/{image_id}/tasks").json()["tasks"][0]
    assert task["status"] == "failure"
    assert "backing_file" in task["message"]
    assert not [file for file in (cloud.config.state / "images").iterdir() if file.name.startswith(image_id)]
    assert stage(mine, image_id, b"x" * 512).status_code == 204


def test_others_neither_stage_nor_import(victim: Person, stranger: Person, http: httpx.Client) -> None:
    image_id = make(victim.http)
    assert stage(stranger.http, image_id, b"x").status_code == 404
    stage(victim.http, image_id, b"x" * 512)
    assert start(stranger.http, image_id).status_code == 404
    assert stranger.http.get(f"{IMAGES}/{image_id}/tasks").status_code == 404
    http.post(f"{IMAGES}/{image_id}/members", json={"member": stranger.project_id})
    assert start(stranger.http, image_id).status_code == 403
    assert victim.http.get("/image/v2/tasks").status_code == 403
    start(victim.http, image_id)
    task = http.get("/image/v2/tasks?limit=1").json()
    assert http.get(f"/image/v2/tasks/{task['tasks'][0]['id']}").json()["image_id"] == image_id
    assert "input" not in task["tasks"][0]
    assert task["next"].startswith("/v2/tasks?limit=1&marker=")
    assert victim.http.get(f"/image/v2/tasks/{task['tasks'][0]['id']}").status_code == 403
    for wrong in ("status=x", "sort_dir=x", "sort_key=x", "limit=x", "limit=-1", "marker=x", "type=x"):
        assert http.get(f"/image/v2/tasks?{wrong}").status_code == 400, wrong
    assert http.get("/image/v2/tasks?status=failure&sort_key=updated_at&sort_dir=asc").status_code == 200


def test_staged_bytes_outlive_the_process(tmp_path: Path) -> None:
    """The sweep at the start takes what broke off, and leaves what waits to be imported."""
    with (
        running_cloud(tmp_path) as cloud,
        httpx.Client(base_url=cloud.url, headers={"X-Auth-Token": cloud.token()}) as http,
    ):
        staged, broken = make(http), make(http)
        stage(http, staged, b"x" * 512)
        running = cloud.hagane.cloud

        async def claim() -> None:
            await store._claim(running, broken, "attempt", ("queued",), "uploading")

        cloud.run(claim)
        cloud.run(lambda: store.sweep(running))
        assert (show(http, staged)["status"], show(http, broken)["status"]) == ("uploading", "queued")
        assert start(http, staged).status_code == 202
        assert show(http, staged)["status"] == "active"
        assert http.delete(f"{IMAGES}/{staged}").status_code == 204
        stage(http, broken, b"y" * 512)
        assert http.delete(f"{IMAGES}/{broken}").status_code == 204
        assert list((cloud.config.state / "images").iterdir()) == []


def test_usage(cloud: Running) -> None:
    who = person(cloud)
    image_id = make(who.http)
    stage(who.http, image_id, b"x" * (3 << 20))

    def used() -> dict[str, int]:
        usage = who.http.get("/image/v2/info/usage").json()["usage"]
        assert {entry["limit"] for entry in usage.values()} == {-1}
        return {name: entry["usage"] for name, entry in usage.items()}

    assert used() == {"image_size_total": 3, "image_stage_total": 3, "image_count_total": 1, "image_count_uploading": 1}
    start(who.http, image_id)
    assert used() == {"image_size_total": 3, "image_stage_total": 0, "image_count_total": 1, "image_count_uploading": 0}
    who.http.close()


def test_openstacksdk(cloud: Running, victim: Person) -> None:
    with cloud.connect(**victim.auth) as connection:
        made = connection.create_image("imported", data=b"x" * 4096, use_import=True, wait=True, timeout=20,
                                       disk_format="raw", container_format="bare")  # fmt: skip
        assert connection.image.get_image(made.id).status == "active"
        assert [entry.id for entry in connection.image.stores()] == ["file"]
        assert connection.image.get_import_info().import_methods["value"] == ["glance-direct"]


@pytest.mark.parametrize(("body", "why"), [
    ({"type": "import"}, "Task 'input' is required"),
    ({"type": "export", "input": {}}, "Provided object does not match schema 'task'"),
    ({"type": "import", "input": {}}, "Invalid location: None"),
    ({"type": "import", "input": {"import_from": "file:///etc/passwd"}}, "File based imports are not allowed."),
    ({"type": "import", "input": {"import_from": "http://10.0.0.1/x"}}, "does not pass filtering: http://10.0.0.1/x"),
    ({"type": "import", "input": {"import_from": "ftp://x/y"}}, "The given uri is not valid."),
])  # fmt: skip
def test_no_address_is_asked_for_others(http: httpx.Client, victim: Person, body: dict[str, Any], why: str) -> None:
    before = http.get("/image/v2/tasks").json()
    answer = http.post("/image/v2/tasks", json=body)
    assert (answer.status_code, why in answer.text.replace("&#x27;", "'")) == (400, True), answer.text
    assert victim.http.post("/image/v2/tasks", json=body).status_code == 403
    assert http.get("/image/v2/tasks").json() == before
