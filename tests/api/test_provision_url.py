"""Images that instance_info names by a URL: streamed through the provisioning service, from a server on loopback."""

import hashlib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from hagane.baremetal.provision import NodeImage
from hagane.drivers.metadata.base import Reply
from hagane.errors import HaganeError
from hagane.reconcile import provision_url
from hagane.reconcile.provision import ProvisionPart
from tests.api.people import Person, person
from tests.api.test_provision import Plugged, admin, network, provision, url
from tests.support import Running

__all__ = ["admin", "network"]
RAW = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(RAW).hexdigest()


class _Web(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: dict[str, bytes] = {}
    reports: dict[str, int] = {}

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        moved = {"/moved.raw": "/disk.raw", "/circle": "/circle", "/inward": "file:///etc/passwd",
                 "/elsewhere": "ftp://me:secret@127.0.0.1/disk.raw?sign=1"}.get(path)  # fmt: skip
        if moved:
            self._head(302, Location=moved, **{"Content-Length": "0"})
        elif path == "/endless.raw":
            self._head(200, Connection="close")
            self.wfile.write(RAW)
            self.close_connection = True
        elif path not in self.files:
            self._head(404, **{"Content-Length": "0"})
        else:
            self._head(200, **{"Content-Length": str(self.reports.get(path, len(self.files[path])))})
            self.wfile.write(self.files[path])
            self.close_connection = path in self.reports

    def _head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the output is the tests'."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: who has seen enough goes away."""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("web")
    raw, qcow2 = folder / "raw", folder / "qcow2"
    raw.write_bytes(RAW)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2], check=True)
    backed = folder / "backed"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", raw, backed], check=True)
    _Web.files = {"/disk.raw": RAW, "/short.raw": RAW[:70_000], "/disk.qcow2": qcow2.read_bytes(),
                  "/backed.qcow2": backed.read_bytes(), "/empty.raw": b"",
                  "/SHA256SUMS": f"{'0' * 64}  other.raw\n{SHA256} *disk.raw\n".encode()}  # fmt: skip
    _Web.reports = {"/short.raw": len(RAW)}
    server = _Server(("127.0.0.1", 0), _Web)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provision_url, "PAUSE", 0.01)


class Ordered:
    """A Node that shall get an image."""

    def __init__(self, cloud: Running, admin: Person, network: str, **info: Any) -> None:
        self.cloud, self.node = cloud, Plugged(cloud, admin, network, instance_info=info)
        self.base = url(cloud, network)

    def image(self) -> NodeImage:
        row = self.node.row()
        return self.cloud.run(lambda: provision(self.cloud).image(row, base_url=self.base))

    def fetch(self, made: NodeImage) -> Reply:
        return self.node.ask(made.url.removeprefix(self.base))


def read(reply: Reply) -> bytes:
    """What a machine would get, as the thread that sends it reads it."""
    assert reply.stream is not None and reply.ended is not None
    found = b""
    try:
        while block := reply.stream.source.read(50_000):
            found += block
            reply.stream.sent(len(block))
    finally:
        reply.stream.source.close()
        reply.ended(len(found) == reply.length)
    return found


@pytest.mark.parametrize("path", ["/disk.raw?signature=s3cret", "/moved.raw"])
def test_raw_bytes_are_streamed_once(cloud: Running, admin: Person, network: str, web: str, path: str) -> None:
    one = Ordered(cloud, admin, network, image_source=web + path, image_checksum=SHA256)
    made = one.image()
    assert (made.format, made.size, made.hash_algo, made.hash_value) == ("raw", len(RAW), "sha256", SHA256)
    assert "signature" not in made.id
    assert read(one.fetch(made)) == RAW
    progress = provision(cloud).progress(one.node.id)
    assert progress is not None and (progress.sent, progress.total, progress.problem) == (len(RAW), len(RAW), "")
    assert one.fetch(made).status == 404


def test_the_checksum_may_be_in_a_list(cloud: Running, admin: Person, network: str, web: str) -> None:
    one = Ordered(cloud, admin, network, image_source=f"{web}/disk.raw", image_checksum=f"{web}/SHA256SUMS")
    assert one.image().hash_value == SHA256


def test_qcow2_is_fetched_verified_and_converted_once(
    cloud: Running, admin: Person, network: str, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = hashlib.sha512(_Web.files["/disk.qcow2"]).hexdigest()
    info = {"image_os_hash_algo": "sha512", "image_os_hash_value": value, "image_disk_format": "qcow2"}
    one = Ordered(cloud, admin, network, image_source=f"{web}/disk.qcow2", **info)
    made = one.image()
    assert (made.format, made.size, made.hash_value) == ("raw", len(RAW), hashlib.sha512(RAW).hexdigest())
    piece = one.fetch(made).piece
    assert piece is not None and piece.path.read_bytes() == RAW
    monkeypatch.setattr(provision_url, "download", lambda *_: pytest.fail("fetched twice"))
    assert one.image().size == len(RAW)
    folder = piece.path.parent
    assert not [file.name for file in folder.iterdir() if file.name.startswith(".")]


def test_a_restart_keeps_what_a_node_may_be_reading(cloud: Running, admin: Person, network: str, web: str) -> None:
    value = hashlib.sha256(_Web.files["/disk.qcow2"]).hexdigest()
    one = Ordered(cloud, admin, network, image_source=f"{web}/disk.qcow2", image_checksum=value)
    piece = one.fetch(one.image()).piece
    assert piece is not None
    images = cloud.hagane.cloud.use(ProvisionPart).images
    for asked_again in (True, False):
        os.utime(piece.path, (0, 0))
        if asked_again:
            one.image()
        cloud.run(images.sweep)
        assert piece.path.exists() is asked_again
    assert one.image().size == len(RAW)


WRONG: list[tuple[str, dict[str, str], str]] = [
    ("/disk.raw", {}, "must be provided in instance_info"),
    ("/disk.raw", {"image_os_hash_algo": "sha256"}, "must be provided in instance_info"),
    ("/disk.raw", {"image_checksum": "0" * 32}, "md5 is none of"),
    ("/gone.raw", {"image_checksum": SHA256}, "Got HTTP code 404 instead of 200"),
    ("/circle", {"image_checksum": SHA256}, "redirects more than 5 times"),
    ("/elsewhere", {"image_checksum": SHA256}, "redirects to ftp://127.0.0.1/disk.raw, which is not followed"),
    ("/inward", {"image_checksum": SHA256}, "redirects to what is neither http nor https"),
    ("/endless.raw", {"image_checksum": SHA256}, "does not say how long it is"),
    ("/empty.raw", {"image_checksum": SHA256}, "It is empty"),
    ("/disk.raw", {"image_checksum": SHA256, "image_disk_format": "qcow2"}, "its content is"),
    ("/disk.qcow2", {"image_checksum": SHA256, "image_disk_format": "raw"}, "its content is qcow2"),
    ("/disk.qcow2", {"image_checksum": SHA256}, "failed to verify against its sha256 checksum"),
    ("/backed.qcow2", {"image_checksum": SHA256}, "failed safety checks"),
]


@pytest.mark.parametrize(("path", "info", "words"), WRONG)
def test_what_cannot_be_used_is_refused_in_words(
    cloud: Running, admin: Person, network: str, web: str, path: str, info: dict[str, str], words: str
) -> None:
    one = Ordered(cloud, admin, network, image_source=web + path, **info)
    with pytest.raises(HaganeError, match=words):
        one.image()


def test_a_server_that_is_not_there(cloud: Running, admin: Person, network: str) -> None:
    with socket.socket() as probe:  # bound, and nobody listens
        probe.bind(("127.0.0.1", 0))
        source = f"http://127.0.0.1:{probe.getsockname()[1]}/disk.raw"
        one = Ordered(cloud, admin, network, image_source=source, image_checksum=SHA256)
        with pytest.raises(HaganeError, match=r"cannot be reached: .*refused"):
            one.image()


def test_a_server_that_ends_early_is_the_cause(cloud: Running, admin: Person, network: str, web: str) -> None:
    one = Ordered(cloud, admin, network, image_source=f"{web}/short.raw", image_checksum=SHA256)
    made = one.image()
    assert len(read(one.fetch(made))) == 70_000
    progress = provision(cloud).progress(one.node.id)
    assert progress is not None and "short.raw ended after 70000 of 1048576 bytes" in progress.problem
    assert one.fetch(made).status == 200  # it was not given whole, and may be asked for again


def test_only_administrators_name_urls(cloud: Running, admin: Person, network: str, web: str) -> None:
    who = person(cloud)
    node = Plugged(cloud, admin, network)
    node.change(owner=who.project_id)
    who.http.headers["X-OpenStack-Ironic-API-Version"] = "1.90"
    for name, value in (("image_source", f"{web}/disk.raw"), ("image_checksum", f"{web}/SHA256SUMS")):
        body = [{"op": "add", "path": f"/instance_info/{name}", "value": value}]
        answer = who.http.patch(f"/baremetal/v1/nodes/{node.id}", json=body)
        assert answer.status_code == 403 and "Only an administrator" in answer.text
    assert node.row()["instance_info"] == {}
    who.http.close()
