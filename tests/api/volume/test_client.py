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


def test_the_sdk_lives_with_groups(cloud: Running, volumes: Volumes) -> None:
    connection = cloud.connect()
    block = connection.block_storage
    block.default_microversion = "3.70"
    kind = block.create_group_type(name="sdk-groups")
    block.create_group_type_group_specs(kind, {"a": "b"})
    group = block.create_group(name="g", group_type=kind.id, volume_types=["__DEFAULT__"])
    disk = block.create_volume(name="sdk-disk", size=1, volume_type="__DEFAULT__")
    block.wait_for_status(disk, "available", wait=30)
    block.update_group(group, add_volumes=disk.id)
    shot = block.create_group_snapshot(group_id=group.id, name="s")
    cloud.settle()
    assert block.get_group_snapshot(shot.id).status == "available"
    copies = [block.create_group_from_source(group_snapshot_id=one, source_group_id=other, name="copy")
              for one, other in ((shot.id, None), (None, group.id))]  # fmt: skip
    cloud.settle()
    assert {one.status for one in block.groups()} == {"available"}
    block.delete_group_snapshot(shot)
    cloud.settle()
    for one in (group, *copies):
        block.delete_group(one, delete_volumes=True)
    cloud.settle()
    assert [*block.groups(), *block.volumes()] == []
    block.delete_group_type(kind)
    connection.close()
