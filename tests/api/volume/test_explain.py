"""`hagane explain` of volumes and of what waits or failed around them: it is to name the cause and a way out."""

import time
from typing import Any

import httpx

from hagane.errors import NotFound, Unavailable
from hagane.operate.kinds import KINDS
from hagane.state import work
from tests.api.volume.conftest import Volumes
from tests.api.volume.test_copy import backend


def explained(who: Volumes, kind: str, name: str) -> dict[str, Any]:
    answer = httpx.get(f"{who.cloud.url}/hagane/v1/explain/{kind}/{name}", headers=dict(who.http.headers))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_volume_says_what_the_backup_of_it_waits_for(volumes: Volumes) -> None:
    key = volumes.make()["id"]

    def away(call: str) -> None:
        if call == "save":
            raise Unavailable("The storage backend does not answer.")

    backend(volumes.cloud).hook = away
    try:
        made = volumes.ask("POST", "/backups", {"backup": {"volume_id": key, "name": "daily"}}, status=202)["backup"]
        volumes.cloud.settle()
        assert volumes.show(key)["status"] == "backing-up"
        told = explained(volumes, "volume", key)
        assert "Its backup daily is creating." in told["facts"]
        assert [wait["reason"] for wait in told["waits"]] == ["The storage backend does not answer."]
        assert explained(volumes, "backup", "daily")["waits"][0]["key"] == made["id"]
    finally:
        backend(volumes.cloud).hook = lambda call: None
    db, end = volumes.cloud.hagane.cloud.db, time.monotonic() + 30
    volumes.cloud.run(lambda: db.write(lambda tx: work.wake(tx, "backup", made["id"])))
    while volumes.show(key)["status"] == "backing-up" and time.monotonic() < end:
        time.sleep(0.05)
    assert explained(volumes, "backup", "daily")["waits"] == []


def test_a_volume_names_the_snapshot_and_the_backup_that_failed(volumes: Volumes) -> None:
    key = volumes.make()["id"]

    def gone(call: str) -> None:
        if call in ("save", "Snapshot"):
            raise NotFound("The bytes are gone.")

    backend(volumes.cloud).hook = gone
    try:
        volumes.snapshot(key, name="before")
        volumes.ask("POST", "/backups", {"backup": {"volume_id": key, "name": "weekly"}}, status=202)
        volumes.cloud.settle()
    finally:
        backend(volumes.cloud).hook = lambda call: None
    facts = explained(volumes, "volume", key)["facts"]
    assert "Its snapshot before is in error: The bytes are gone." in facts
    assert "Its backup weekly is in error: The bytes are gone." in facts
    assert "Fault: The bytes are gone." in explained(volumes, "backup", "weekly")["facts"]


def test_a_group_is_explained_too(volumes: Volumes, root: Volumes) -> None:
    kind = root.ask("POST", "/group_types", {"group_type": {"name": "told"}}, status=202)["group_type"]["id"]
    types = ["00000000-0000-4000-8000-64656661756c"]
    group = {"group_type": kind, "volume_types": types, "name": "app"}
    volumes.ask("POST", "/groups", {"group": group}, status=202)
    told = explained(volumes, "volume_group", "app")
    assert (told["state"], told["waits"]) == ("available", [])
    assert {"backup", "volume_group", "volume_group_snapshot"} <= KINDS.keys()


def test_a_volume_without_a_place_is_not_to_be_made_available(volumes: Volumes, root: Volumes) -> None:
    specs = {"volume_backend_name": "nowhere"}
    lost = root.ask("POST", "/types", {"volume_type": {"name": "lost", "extra_specs": specs}})["volume_type"]["id"]
    key = volumes.make(volume_type=lost)["id"]
    assert explained(volumes, "volume", key)["advice"] == [
        "It has no bytes anywhere: mend the cause, delete it and order it again."
    ]
    root.act(key, "os-reset_status", {"status": "available"})  # somebody does it all the same
    volumes.act(key, "os-extend", {"new_size": 2})
    assert volumes.show(key)["status"] == "error_extending"
    volumes.ask("DELETE", f"/volumes/{key}", status=202)
    volumes.cloud.settle()
    root.ask("DELETE", f"/types/{lost}", status=202)


def test_a_volume_that_a_foreign_client_holds_says_how_to_give_it_up(volumes: Volumes) -> None:
    key = volumes.make()["id"]
    body = {"attachment": {"volume_uuid": key, "instance_uuid": "9f6a4a52-1d0e-4d0c-9a3b-0d6f6b3c1e33"}}
    made = volumes.ask("POST", "/attachments", body)["attachment"]["id"]
    assert f"volume attachment delete {made}" in explained(volumes, "volume", key)["advice"][0]
    volumes.ask("DELETE", f"/attachments/{made}")
    assert explained(volumes, "volume", key)["advice"] == []
