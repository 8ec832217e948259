"""Backups of real files come back from their records, and only as what they are."""

import base64
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from hagane.drivers.volume import qemu
from tests.scenarios.test_volume_faults import World, world

__all__ = ["world"]
pytestmark = pytest.mark.parametrize("world", ["file"], indirect=True)


def saved(w: World, volume: str, **more: Any) -> tuple[str, dict[str, str], dict[str, Any]]:
    key = w.make("/backups", backup={"volume_id": volume} | more)
    record = w.http.get(f"/backups/{key}/export_record").json()["backup-record"]
    return key, record, json.loads(base64.b64decode(record["backup_url"]))


def take(w: World, record: dict[str, str], said: dict[str, Any], wanted: str) -> dict[str, Any]:
    """Import it, and wait until it is what it shall be."""
    url = base64.b64encode(json.dumps(said).encode()).decode()
    answer = w.http.post("/backups/import_record", json={"backup-record": record | {"backup_url": url}})
    assert answer.status_code == 201, answer.text
    path = f"/backups/{answer.json()['backup']['id']}"
    w.wait(path, wanted)
    found: dict[str, Any] = w.http.get(path).json()["backup"]
    return found


def end(w: World, *paths: str) -> None:
    for path in paths:
        assert w.http.delete(path).status_code == 202
        w.wait(path, "")


def test_a_chain_of_backups_comes_back_and_is_restored(world: World) -> None:
    volume = world.make("/volumes", volume={"size": 1, "imageRef": world.image})
    first, record, said = saved(world, volume)
    second, record_2, said_2 = saved(world, volume, incremental=True)
    db = world.cloud.hagane.cloud.db
    for lost in ("DELETE FROM volume_backup", "DELETE FROM volume_usage WHERE resource LIKE 'backup%'"):
        world.cloud.run(lambda sql=lost: db.write(lambda tx: tx.execute(sql, {})))  # type: ignore[misc]
    take(world, record, said, "available")
    assert take(world, record_2, said_2, "available")["is_incremental"]
    restored = world.http.post(f"/backups/{second}/restore", json={"restore": {}}).json()["restore"]["volume_id"]
    world.wait(f"/backups/{second}", "available")
    world.wait(f"/volumes/{restored}", "available")
    folder: Path = world.cloud.config.state / "volumes"
    out = folder.with_name("out")
    world.cloud.run(lambda: qemu.run("convert", "-O", "raw", folder / f"volume.{restored}", out))
    assert out.read_bytes()[:65536] == b"x" * 65536
    end(world, f"/backups/{second}", f"/backups/{first}", f"/volumes/{restored}", f"/volumes/{volume}")
    world.nothing_left()


def test_a_record_that_says_other_than_its_file_is_an_error_and_leaves_the_file(world: World) -> None:
    volume = world.make("/volumes", volume={"size": 2})
    first, record, said = saved(world, volume)
    second, _, said_2 = saved(world, volume, incremental=True)
    for wrong, why in (
        (said | {"size": 1}, "holds more than its record says"),
        (said | {"parent_id": second}, "builds on another one"),
        (said_2 | {"parent_id": None}, "builds on another one"),
    ):
        found = take(world, record, wrong | {"id": str(uuid4())}, "error")
        assert why in found["fail_reason"]
        end(world, f"/backups/{found['id']}")
    twin = take(world, record, said_2 | {"id": str(uuid4())}, "available")["id"]
    end(world, f"/backups/{second}", f"/backups/{twin}", f"/backups/{first}", f"/volumes/{volume}")
    world.nothing_left()
