"""The unmodified `openstack` command and openstacksdk, on what people use them for."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.api.volume.conftest import Volumes
from tests.support import Running

COMMAND = Path(sys.executable).parent / "openstack"


def run(cloud: Running, *words: str) -> Any:
    shown = words[:2] not in (("volume", "delete"), ("volume", "set")) and words[-1] != "quiet"
    words = words[:-1] if words[-1] == "quiet" else words
    command = [str(COMMAND), *words, *(["-f", "json"] if shown else [])]
    done = subprocess.run(command, env=cloud.environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if shown else None


@pytest.mark.slow
def test_the_command_lives_with_volumes(cloud: Running) -> None:
    made = run(cloud, "volume", "create", "--size", "1", "--property", "a=b", "disk")
    cloud.settle()
    shown = run(cloud, "volume", "show", "disk")
    assert (shown["status"], shown["properties"]) == ("available", {"a": "b"})
    assert [one["ID"] for one in run(cloud, "volume", "list")] == [made["id"]]
    run(cloud, "volume", "set", "--size", "2", "--bootable", "disk", "quiet")
    snapshot = run(cloud, "volume", "snapshot", "create", "--volume", "disk", "shot")
    cloud.settle()
    run(cloud, "volume", "create", "--snapshot", snapshot["id"], "copy")
    cloud.settle()
    assert {one["Name"]: one["Size"] for one in run(cloud, "volume", "list")} == {"disk": 2, "copy": 2}
    assert [one["Name"] for one in run(cloud, "volume", "type", "list")] == ["__DEFAULT__"]
    assert {one["State"] for one in run(cloud, "volume", "service", "list")} == {"up"}
    run(cloud, "volume", "snapshot", "delete", "shot", "quiet")
    cloud.settle()
    run(cloud, "volume", "delete", "disk", "copy", "quiet")
    cloud.settle()
    assert run(cloud, "volume", "list") == []


def test_the_sdk_lives_with_volumes(cloud: Running, volumes: Volumes) -> None:
    connection = cloud.connect()
    block = connection.block_storage
    made = block.create_volume(name="sdk", size=1)
    block.wait_for_status(made, "available", wait=30)
    shot = block.create_snapshot(volume_id=made.id, name="shot")
    block.wait_for_status(shot, "available", wait=30)
    copy = block.create_volume(name="copy", snapshot_id=shot.id)
    assert block.wait_for_status(copy, "available", wait=30).size == 1
    assert {one.name for one in block.volumes()} >= {"sdk", "copy"}
    assert block.get_limits().absolute.total_volumes_used >= 2
    assert [one.name for one in block.types()] == ["__DEFAULT__"]
    assert block.backend_pools().__next__().name == "hagane@sim#sim"
    block.extend_volume(copy, 2)
    assert block.wait_for_status(block.get_volume(copy), "available", wait=30).size == 2
    for thing in (shot, copy):
        (block.delete_snapshot if thing is shot else block.delete_volume)(thing)
    cloud.settle()
    block.delete_volume(made)
    cloud.settle()
    assert list(block.volumes()) == []
    connection.close()
