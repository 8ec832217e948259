"""The process as operators know it: start, stop, kill, start again; TLS."""

import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openstack
import pytest

from tests.outside import Process

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """Whatever a failed test left running is killed."""
    yield
    for process in list(Process.alive):
        process.kill()
    Process.alive.clear()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def image(conn: openstack.connection.Connection) -> Any:
    found = conn.image.find_image("tiny")
    return found or conn.image.create_image(
        name="tiny", disk_format="raw", container_format="bare", data=b"\0" * 4096, validate_checksum=False
    )


def order(conn: openstack.connection.Connection, name: str, network: Any) -> Any:
    return conn.compute.create_server(
        name=name, image_id=image(conn).id, flavor_id=conn.compute.find_flavor("m1.nano").id,
        networks=[{"uuid": network.id}],
    )  # fmt: skip


def network(conn: openstack.connection.Connection) -> Any:
    made = conn.network.create_network(name="tenant")
    conn.network.create_subnet(network_id=made.id, ip_version=4, cidr="10.0.0.0/16")
    return made


def active(conn: openstack.connection.Connection, server_id: str) -> Any:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        server = conn.compute.get_server(server_id)
        assert server.status != "ERROR", server.fault
        if server.status == "ACTIVE" and not server.task_state:
            return server
        time.sleep(0.05)
    raise AssertionError(f"still {server.status}")


def gone(conn: openstack.connection.Connection, server_id: str) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if conn.compute.find_server(server_id) is None:
            return
        time.sleep(0.05)
    raise AssertionError("still there")


def nothing_left(process: Process, conn: openstack.connection.Connection) -> None:
    """No Server, no port of one, nothing that doctor would name."""
    assert not list(conn.compute.servers(all_projects=True))
    assert not [port for port in conn.network.ports() if port.device_owner.startswith("compute:")]
    for provider in conn.placement.resource_providers():
        answer = conn.placement.get(f"/resource_providers/{provider.id}/usages", microversion="1.9").json()
        assert not any(answer["usages"].values()), answer
    seen = process.command("doctor")
    assert seen.returncode == 0, seen.stdout


def test_killed_at_any_moment_of_creating_and_deleting(state: Path) -> None:
    """Kill -9 at moments spread over the whole of both; each ends well, and nothing is left."""
    process = Process(state)
    process.start()
    conn = process.connect()
    tenant = network(conn)
    image(conn)
    for moment in (0.0, 0.01, 0.05, 0.1, 0.3, 0.6, 0.9):
        server = order(conn, f"kill-at-{moment}", tenant)
        time.sleep(moment)
        process.kill()
        process.start()
        conn = process.connect()
        active(conn, server.id)
        conn.compute.delete_server(server.id)
        time.sleep(moment / 3)
        process.kill()
        process.start()
        conn = process.connect()
        gone(conn, server.id)
        nothing_left(process, conn)
    assert process.stop() == 0


def test_it_is_ready_quickly_and_ends_cleanly(state: Path) -> None:
    process = Process(state)
    process.start()
    server = order(process.connect(), "stays", network(process.connect()))
    active(process.connect(), server.id)
    assert process.stop() == 0
    process.start()
    assert active(process.connect(), server.id).name == "stays"
    assert process.stop() == 0
    assert "Traceback" not in process.log()


def test_the_operators_commands(state: Path) -> None:
    process = Process(state)
    process.start()
    conn = process.connect()
    server = order(conn, "web", network(conn))
    active(conn, server.id)
    said = process.command("explain", "server", "web")
    assert said.returncode == 0, said.stderr
    assert server.id in said.stdout
    assert "Nothing is pending" in said.stdout
    assert "start" in said.stdout
    status = process.command("status").stdout
    assert "server: 1" in status
    assert "sim1" in status
    assert process.command("explain", "server", "nobody").returncode == 1
    assert "no server 'nobody'" in process.command("explain", "server", "nobody").stderr
    copy = state.parent / "copy.db"
    assert process.command("backup", str(copy)).returncode == 0
    process.stop()
    for old in state.glob("hagane.db*"):
        old.unlink()
    shutil.copy(copy, state / "hagane.db")
    process.start()
    assert active(process.connect(), server.id).name == "web"
    process.stop()
    assert "No Hagane runs" in process.command("status").stdout


def test_tls_by_two_settings(state: Path) -> None:
    state.mkdir()
    key, certificate = state / "tls.key", state / "tls.crt"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)  # fmt: skip
    process = Process(state, tls_certificate=str(certificate), tls_key=str(key))
    context = ssl.create_default_context(cafile=str(certificate))
    with pytest.raises(AssertionError):  # it does not answer in clear text
        process.start(timeout=5)
    until = time.monotonic() + 60
    answer = None
    while answer is None:
        try:
            answer = httpx.get(f"https://127.0.0.1:{process.port}/identity/v3", verify=context)
        except httpx.ConnectError:
            assert time.monotonic() < until
            time.sleep(0.1)
    assert answer.json()["version"]["links"][0]["href"].startswith("https://")
    assert "https://" in process.command("status").stdout
    assert process.stop() == 0


def test_doctor_names_what_is_wrong(state: Path) -> None:
    process = Process(state)
    process.start()
    conn = process.connect()
    made = image(conn)
    assert "Rows and world agree" in process.command("doctor").stdout
    for file in (state / "images").iterdir():
        file.unlink()
    seen = process.command("doctor")
    assert seen.returncode == 1
    assert f"({made.id}) are gone from the state folder" in seen.stdout
    assert process.stop() == 0
