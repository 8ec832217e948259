"""Bytes of images over HTTP: upload, download, inspection, races, and what broken connections and dead processes leave."""

import asyncio
import hashlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from hagane.config import Config
from hagane.image import store
from hagane.image.image import Image
from tests.outside import Process
from tests.support import Running, running_cloud

IMAGES = "/image/v2/images"
OCTETS = {"Content-Type": "application/octet-stream"}


def client(cloud: Running) -> httpx.Client:
    headers = {"X-Auth-Token": cloud.token(), "Accept": "application/json"}
    return httpx.Client(base_url=cloud.url, headers=headers)


def make(http: httpx.Client, label: str = "raw", container: str = "bare", **body: Any) -> str:
    answer = http.post(IMAGES, json={"disk_format": label, "container_format": container} | body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def put(http: httpx.Client, image_id: str, data: Any, **headers: str) -> httpx.Response:
    return http.put(f"{IMAGES}/{image_id}/file", content=data, headers=OCTETS | headers)


def show(http: httpx.Client, image_id: str) -> dict[str, Any]:
    return dict(http.get(f"{IMAGES}/{image_id}").json())


def files(cloud: Running) -> list[str]:
    folder = cloud.config.state / "images"
    return sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []


def pieces(data: bytes, size: int = 1000) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def info(cloud: Running, image_id: str) -> store.ImageInfo:
    running = cloud.hagane.cloud
    return cloud.run(lambda: store.base_image(running.db, running, image_id))


def qcow2(path: Path, *options: str) -> bytes:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, path, "4M"], check=True)
    return path.read_bytes()


@pytest.mark.parametrize("chunked", [False, True])
def test_what_goes_in_comes_out(http: httpx.Client, chunked: bool) -> None:
    data = os.urandom(3_000_001)
    image_id = make(http)
    assert put(http, image_id, pieces(data) if chunked else data).status_code == 204
    image = show(http, image_id)
    assert (image["status"], image["size"], image["virtual_size"]) == ("active", len(data), len(data))
    assert image["checksum"] == hashlib.md5(data).hexdigest()
    assert (image["os_hash_algo"], image["os_hash_value"]) == ("sha512", hashlib.sha512(data).hexdigest())
    answer = http.get(f"{IMAGES}/{image_id}/file")
    assert answer.content == data
    assert answer.headers["content-md5"] == image["checksum"]
    assert answer.headers["content-type"] == "application/octet-stream"


def test_ranges(http: httpx.Client) -> None:
    data = os.urandom(2000)
    image_id = make(http)
    put(http, image_id, data)

    def part(text: str) -> httpx.Response:
        return http.get(f"{IMAGES}/{image_id}/file", headers={"Range": text})

    for text, start, end in (("bytes=0-9", 0, 10), ("bytes=1990-", 1990, 2000), ("bytes=-10", 1990, 2000),
                             ("bytes=5-99999", 5, 2000)):  # fmt: skip
        answer = part(text)
        assert (answer.status_code, answer.content) == (206, data[start:end])
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/2000"
    assert part("bytes=5000-").status_code == part("bytes=x").status_code == part("bytes=-").status_code == 416
    assert part("bytes=0-9,20-30").status_code == 400


def test_an_image_without_bytes_has_none(http: httpx.Client) -> None:
    answer = http.get(f"{IMAGES}/{make(http)}/file")
    assert (answer.status_code, answer.content) == (204, b"")


def test_an_empty_image(http: httpx.Client) -> None:
    image_id = make(http)
    assert put(http, image_id, b"").status_code == 204
    assert http.get(f"{IMAGES}/{image_id}/file").content == b""


@pytest.mark.parametrize(
    ("container", "label"),
    [("bare", "qcow2"), ("bare", "raw"), ("bare", "ami"), ("bare", "ari"), ("bare", "aki"), ("bare", "vhd"),
     ("bare", "vmdk"), ("bare", "vdi"), ("bare", "iso"), ("ami", "ami"), ("ovf", "raw")],
)  # fmt: skip
def test_random_bytes_of_any_label_are_taken(cloud: Running, http: httpx.Client, container: str, label: str) -> None:
    image_id = make(http, label, container)
    assert put(http, image_id, pieces(os.urandom(1024))).status_code == 204
    assert show(http, image_id)["status"] == "active"
    bootable = container == "bare" and label in ("raw", "ami", "ari", "aki")
    assert (info(cloud, image_id).problem is None) is bootable


def test_a_problem_is_said_in_words(cloud: Running, http: httpx.Client, tmp_path: Path) -> None:
    image_id = make(http, "qcow2")
    put(http, image_id, os.urandom(2048))
    assert info(cloud, image_id).problem == "Its disk format is qcow2, but its content is no known disk format."
    image_id = make(http, "raw")
    put(http, image_id, qcow2(tmp_path / "x"))
    assert info(cloud, image_id).problem == "Its disk format is raw, but its content is qcow2."


def test_no_server_starts_from_a_problem(http: httpx.Client) -> None:
    flavor = {"flavor": {"name": f"f{time.time_ns()}", "ram": 64, "vcpus": 1, "disk": 1}}
    flavor_id = http.post("/compute/v2.1/flavors", json=flavor).json()["flavor"]["id"]
    image_id = make(http, "qcow2")
    put(http, image_id, os.urandom(2048))
    server = {"name": "x", "flavorRef": flavor_id, "imageRef": image_id, "networks": "none"}
    headers = {"OpenStack-API-Version": "compute latest"}
    answer = http.post("/compute/v2.1/servers", json={"server": server}, headers=headers)
    assert answer.status_code == 400
    assert "its content is no known disk format" in answer.json()["badRequest"]["message"]


def test_a_good_qcow2(cloud: Running, http: httpx.Client, tmp_path: Path) -> None:
    image_id = make(http, "qcow2")
    assert put(http, image_id, qcow2(tmp_path / "x")).status_code == 204
    assert show(http, image_id)["virtual_size"] == 4 << 20
    found = info(cloud, image_id)
    assert (found.format, found.problem, found.path.stat().st_size) == ("qcow2", None, found.size)


@pytest.mark.parametrize("label", ["qcow2", "raw"])
@pytest.mark.parametrize("trap", ["backing", "data"])
def test_traps_are_refused(cloud: Running, http: httpx.Client, tmp_path: Path, label: str, trap: str) -> None:
    options = ("-b", "/etc/passwd", "-F", "raw", "-u") if trap == "backing" else ("-o", f"data_file={tmp_path}/d")
    before = files(cloud)
    image_id = make(http, label)
    answer = put(http, image_id, qcow2(tmp_path / "x", *options), Accept="application/json")
    assert answer.status_code == 415
    assert "Image failed safety checks" in answer.json()["message"]
    assert f"{trap}_file" in answer.json()["message"]
    assert show(http, image_id)["status"] == "queued"
    assert files(cloud) == before
    assert put(http, image_id, b"better").status_code == 204


def test_uploads_that_cannot_be(http: httpx.Client) -> None:
    image_id = make(http)
    assert http.put(f"{IMAGES}/{image_id}/file", content=b"x", headers={"Content-Type": "a/b"}).status_code == 415
    assert put(http, image_id, b"12345", **{"x-openstack-image-size": "6"}).status_code == 400
    assert put(http, image_id, b"12345", **{"x-openstack-image-size": "x"}).status_code == 400
    assert show(http, image_id)["status"] == "queued"
    assert put(http, image_id, b"12345", **{"x-openstack-image-size": "5"}).status_code == 204
    again = put(http, image_id, b"x", Accept="application/json")
    assert again.status_code == 409
    assert again.json()["message"] == "Image status transition from active to saving is not allowed"
    assert http.get(f"{IMAGES}/{image_id}/file").content == b"12345"
    bare = http.post(IMAGES, json={"name": "no formats"}).json()["id"]
    answer = put(http, bare, b"x", Accept="application/json")
    assert (answer.status_code, answer.json()["message"]) == (
        400, "Properties disk_format, container_format must be set prior to saving data.",
    )  # fmt: skip


def test_formats_are_fixed_once_there_are_bytes(http: httpx.Client) -> None:
    image_id = make(http)
    put(http, image_id, b"x")
    patch = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
    text = '[{"op": "replace", "path": "/disk_format", "value": "qcow2"}]'
    assert http.patch(f"{IMAGES}/{image_id}", content=text, headers=patch).status_code == 403


def test_one_of_many_uploads_wins(cloud: Running, http: httpx.Client) -> None:
    before = len(files(cloud))
    image_id = make(http)
    contents = [bytes([number]) * 500_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda data: put(http, image_id, pieces(data, 50_000)).status_code, contents))
    assert sorted(statuses) == [204] + [409] * 7
    assert http.get(f"{IMAGES}/{image_id}/file").content == contents[statuses.index(204)]
    assert len(files(cloud)) == before + 1


def half_upload(cloud: Running, image_id: str) -> socket.socket:
    """A connection that has sent a part of an upload and waits."""
    host, _, port = cloud.url.removeprefix("http://").partition(":")
    peer = socket.create_connection((host, int(port)))
    head = f"PUT {IMAGES}/{image_id}/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {cloud.token()}\r\n"
    head += "Content-Type: application/octet-stream\r\nContent-Length: 5000000\r\n\r\n"
    peer.sendall(head.encode() + b"x" * 2_000_000)
    return peer


def until(look: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for it to be so."""
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end
        time.sleep(0.02)


def wait_for(http: httpx.Client, image_id: str, status: str) -> None:
    until(lambda: show(http, image_id)["status"] == status)


def test_a_broken_connection_leaves_a_queued_image(cloud: Running, http: httpx.Client) -> None:
    before = files(cloud)
    image_id = make(http)
    peer = half_upload(cloud, image_id)
    wait_for(http, image_id, "saving")
    assert put(http, image_id, b"me first").status_code == 409
    peer.close()
    wait_for(http, image_id, "queued")
    assert files(cloud) == before
    assert put(http, image_id, b"again").status_code == 204


def test_an_image_deleted_during_its_upload_is_gone(cloud: Running, http: httpx.Client) -> None:
    before = files(cloud)
    image_id = make(http)
    with half_upload(cloud, image_id) as peer:
        wait_for(http, image_id, "saving")
        assert http.delete(f"{IMAGES}/{image_id}").status_code == 204
        peer.sendall(b"x" * 3_000_000)
        assert b" 410 " in peer.recv(1000).split(b"\r\n")[0]
    assert files(cloud) == before


def test_deleting_removes_the_bytes_and_readers_read_on(cloud: Running, http: httpx.Client) -> None:
    data = os.urandom(8_000_000)
    image_id = make(http)
    put(http, image_id, data)
    before = files(cloud)
    with http.stream("GET", f"{IMAGES}/{image_id}/file") as answer:
        stream = answer.iter_bytes(100_000)
        got = next(stream)
        assert httpx.delete(f"{cloud.url}{IMAGES}/{image_id}", headers=dict(http.headers)).status_code == 204
        assert got + b"".join(stream) == data
    assert len(files(cloud)) == len(before) - 1


def test_deactivated_images_are_for_administrators(http: httpx.Client, cloud: Running) -> None:
    from tests.api.people import person

    who = person(cloud)
    image_id = make(who.http)
    put(who.http, image_id, b"data")
    assert who.http.post(f"{IMAGES}/{image_id}/actions/deactivate").status_code == 204
    assert who.http.get(f"{IMAGES}/{image_id}/file").status_code == 403
    assert http.get(f"{IMAGES}/{image_id}/file").content == b"data"
    assert who.http.post(f"{IMAGES}/{image_id}/actions/reactivate").status_code == 204
    assert who.http.get(f"{IMAGES}/{image_id}/file").content == b"data"
    who.http.close()


def test_sweep_finds_what_a_killed_process_left(cloud: Running, http: httpx.Client) -> None:
    image_id, living = make(http), make(http)
    folder = cloud.config.state / "images"
    running = cloud.hagane.cloud

    async def kill() -> None:
        """The rows and files of a process that died while it uploaded; locks die with their process."""

        async def work(tx: Any) -> None:
            await Image.table.update(tx, {"id": image_id}, {"status": "saving", "upload": "dead"})

        await running.db.write(work)
        (folder / f"{image_id}.dead").write_bytes(b"half")
        (folder / "nobodys.file").write_bytes(b"stray")

    peer = half_upload(cloud, living)
    wait_for(http, living, "saving")
    cloud.run(kill)
    done = cloud.run(lambda: store.sweep(running))
    assert len(done) == 3  # the image, its file, the stray file
    assert show(http, image_id)["status"] == "queued"
    assert show(http, living)["status"] == "saving"
    assert not (folder / f"{image_id}.dead").exists()
    peer.sendall(b"x" * 3_000_000)
    wait_for(http, living, "active")
    peer.close()
    assert cloud.run(lambda: store.sweep(running)) == []


def test_a_snapshot_is_filled_from_inside(cloud: Running, http: httpx.Client, tmp_path: Path) -> None:
    data = qcow2(tmp_path / "x")
    running = cloud.hagane.cloud

    async def blocks(content: bytes) -> Any:
        for block in pieces(content, 70_000):
            yield block

    async def snapshot() -> store.ImageInfo:
        async def work(tx: Any) -> str:
            return await store.new_image(tx, name="snap", owner="p", properties={"base": "x"}, min_disk=1)

        image_id = await running.db.write(work)
        found = await store.fill(running, image_id, blocks(data))
        assert await store.fill(running, image_id, blocks(b"too late")) == found
        return found

    found = cloud.run(snapshot)
    assert (found.status, found.format, found.problem) == ("active", "qcow2", None)
    assert (found.virtual_size, found.path.read_bytes()) == (4 << 20, data)
    assert found.properties == {"base": "x"}
    cloud.run(lambda: store.discard(running, found.id))
    assert not found.path.exists()
    assert http.get(f"{IMAGES}/{found.id}").status_code == 404


def test_a_later_attempt_takes_over(cloud: Running, http: httpx.Client) -> None:
    running = cloud.hagane.cloud

    async def race() -> tuple[str, list[Any]]:
        async def work(tx: Any) -> str:
            return await store.new_image(tx, name="s", owner="p", properties={}, disk_format="raw")

        image_id = await running.db.write(work)
        go_on = asyncio.Event()

        async def slow() -> Any:
            yield b"old"
            await go_on.wait()
            yield b"old"

        async def quick() -> Any:
            yield b"new"

        first = asyncio.ensure_future(store.fill(running, image_id, slow()))
        await asyncio.sleep(0.1)
        second = await store.fill(running, image_id, quick())
        go_on.set()
        return image_id, [second, *await asyncio.gather(first, return_exceptions=True)]

    image_id, (second, first) = cloud.run(race)
    assert second.status == "active"
    assert "not allowed" in str(first)
    assert second.path.read_bytes() == b"new"
    assert [name for name in files(cloud) if name.startswith(image_id)] == [second.path.name]


def test_quota_and_size(tmp_path: Path) -> None:
    with running_cloud(tmp_path, image_quota_gb=1) as cloud, client(cloud) as http:
        image_id = make(http)
        answer = put(http, image_id, b"x", **{"x-openstack-image-size": str(2 << 30)})
        assert answer.status_code == 413
        assert "Image exceeds the storage quota: 0 bytes of 1073741824 are in use." in answer.json()["message"]
        assert put(http, image_id, b"x" * 1000).status_code == 204
    assert Config(state=tmp_path).image_max_gb == 1024


@pytest.mark.real
def test_a_full_disk_is_said(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], check=True)
    try:
        (tmp_path / "images").mkdir()
        with running_cloud(tmp_path, database="sqlite::memory:") as cloud, client(cloud) as http:
            image_id = make(http)
            answer = put(http, image_id, os.urandom(3 << 20))
            assert answer.status_code == 413
            assert answer.json()["message"].startswith("Image storage media is full")
            assert show(http, image_id)["status"] == "queued"
            assert files(cloud) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_kill_9_in_an_upload_leaves_a_queued_image(tmp_path: Path) -> None:
    process = Process(tmp_path / "state")
    process.start()
    try:
        image = process.connect().image
        made = image.create_image(name="x", disk_format="raw", container_format="bare", allow_duplicates=True)
        host, _, port = process.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as peer:
            head = f"PUT {IMAGES}/{made.id}/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {image.get_token()}\r\n"
            head += "Content-Type: application/octet-stream\r\nContent-Length: 5000000\r\n\r\n"
            peer.sendall(head.encode() + b"x" * 2_000_000)
            until(lambda: image.get_image(made.id).status == "saving")
            process.kill()
        left = list((tmp_path / "state" / "images").iterdir())
        assert len(left) == 1
        process.start()
        until(lambda: not left[0].exists())
        assert process.connect().image.get_image(made.id).status == "queued"
    finally:
        process.stop()
