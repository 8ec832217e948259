"""Records of backups: out, in again after the loss of a row, under another id; and what is no record."""

import base64
import json
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.api.volume.conftest import Volumes

IMPORT = "/backups/import_record"


def saved(who: Volumes, key: str, **more: Any) -> str:
    made = who.ask("POST", "/backups", {"backup": {"volume_id": key, "name": "n"} | more}, status=202)["backup"]
    who.cloud.settle()
    return str(made["id"])


def exported(who: Volumes, key: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The record as it is carried about, and what it says."""
    record = who.ask("GET", f"/backups/{key}/export_record")["backup-record"]
    return record, json.loads(base64.b64decode(record["backup_url"]))


def packed(record: dict[str, str], said: Any) -> dict[str, Any]:
    text = base64.urlsafe_b64encode(json.dumps(said).encode()).decode()
    return {"backup-record": record | {"backup_url": text}}


def files(who: Volumes) -> list[str]:
    folder: Path = who.cloud.config.state / "backups"
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def gone(who: Volumes, key: str) -> None:
    who.ask("DELETE", f"/backups/{key}", status=202)
    until = time.monotonic() + 20
    while who.http.get(f"/backups/{key}").status_code != 404:
        assert time.monotonic() < until
        who.cloud.settle()


def lose(who: Volumes, *keys: str) -> None:
    """The database forgets backups; the store does not."""
    db = who.cloud.hagane.cloud.db
    for key in keys:
        sql = "DELETE FROM volume_backup WHERE id = :id"
        who.cloud.run(lambda key=key, sql=sql: db.write(lambda tx: tx.execute(sql, {"id": key})))  # type: ignore[misc]


def test_a_backup_comes_back_from_its_record_and_is_restored(root: Volumes) -> None:
    key = root.make(size=2, metadata={"a": "b"})["id"]
    root.act(key, "os-set_bootable", {"bootable": True}, status=200)
    first = saved(root, key, metadata={"x": "y"})
    second = saved(root, key, incremental=True)
    (record, said), (record_2, said_2) = exported(root, first), exported(root, second)
    assert record["backup_service"].startswith("cinder.backup.drivers.")
    assert (said["id"], said["size"], said["display_name"], said["status"]) == (first, 2, "n", "available")
    lose(root, first, second)
    refused = root.ask("POST", IMPORT, packed(record_2, said_2), status=400)["badRequest"]["message"]
    assert refused == f"Invalid backup: The backup {first}, on which this one builds, must be imported first."
    assert root.ask("POST", IMPORT, packed(record, said), status=201)["backup"]["name"] == "n"
    root.ask("POST", IMPORT, {"backup-record": record_2}, status=201)
    root.cloud.settle()
    shown = root.ask("GET", f"/backups/{first}")["backup"]
    assert (shown["status"], shown["volume_id"], shown["metadata"]) == ("available", key, {"x": "y"})
    assert (shown["data_timestamp"], shown["has_dependent_backups"]) == (said["data_timestamp"], True)
    assert root.ask("GET", f"/backups/{second}")["backup"]["is_incremental"]
    restored = root.ask("POST", f"/backups/{second}/restore", {"restore": {}}, status=202)["restore"]["volume_id"]
    until = time.monotonic() + 20
    while root.ask("GET", f"/backups/{second}")["backup"]["status"] != "available":
        assert time.monotonic() < until
    volume = root.show(restored)
    assert (volume["status"], volume["metadata"], volume["bootable"]) == ("available", {"a": "b"}, "true")
    for one in (second, first):
        gone(root, one)
    assert files(root) == []


def test_a_file_goes_with_the_last_backup_that_has_it(root: Volumes) -> None:
    first, other = saved(root, root.make()["id"]), str(uuid4())
    record, said = exported(root, first)
    root.ask("POST", IMPORT, packed(record, said | {"id": other}), status=201)
    root.cloud.settle()
    assert root.ask("GET", f"/backups/{other}")["backup"]["status"] == "available"
    gone(root, first)
    assert files(root) == [first]
    assert root.ask("POST", f"/backups/{other}/restore", {"restore": {}}, status=202)
    until = time.monotonic() + 20
    while root.ask("GET", f"/backups/{other}")["backup"]["status"] != "available":
        assert time.monotonic() < until
    gone(root, other)
    assert files(root) == []


def test_a_record_of_a_file_that_is_not_there_is_an_error_that_ends_nobodys_bytes(root: Volumes) -> None:
    first, other = saved(root, root.make()["id"]), str(uuid4())
    record, said = exported(root, first)
    before = root.used()
    root.ask("POST", IMPORT, packed(record, said | {"id": other, "service_metadata": str(uuid4())}), status=201)
    root.cloud.settle()
    shown = root.ask("GET", f"/backups/{other}")["backup"]
    assert (shown["status"], shown["fail_reason"]) == ("error", "The store of backups has no such file.")
    gone(root, other)
    assert (files(root), root.used()) == ([first], before)
    gone(root, first)


def test_a_record_points_at_our_store_alone(root: Volumes) -> None:
    first = saved(root, root.make()["id"])
    record, said = exported(root, first)
    for name in ("../hagane.db", "/etc/passwd", "scratch", "", None, 7, ["x"], "A" * 300, first.upper()):
        body = packed(record, said | {"id": str(uuid4()), "service_metadata": name})
        told = root.ask("POST", IMPORT, body, status=400)["badRequest"]["message"]
        assert told == "Invalid backup: The record points outside of this service's store of backups."
    gone(root, first)


def test_what_is_no_record_is_refused(root: Volumes) -> None:
    first = saved(root, root.make()["id"])
    record, said = exported(root, first)
    fresh = said | {"id": str(uuid4())}

    def told(body: Any) -> str:
        return str(root.ask("POST", IMPORT, body, status=400)["badRequest"]["message"])

    def url(text: str) -> dict[str, Any]:
        return {"backup-record": record | {"backup_url": text}}

    assert told(packed(record, said)) == "Invalid backup: Backup already exists in database."
    assert told(url("%%%")).endswith("'%%%' is not a 'base64'")
    for text in ("", "e30", "\u00e9"):
        root.ask("POST", IMPORT, url(text), status=400)
    for plain in (b"\xff", b"{", b"[" * 100_000, b"[]", b"7"):
        assert told(url(base64.b64encode(plain).decode())) == "Invalid input received: Can't parse backup record."
    for name, words in (("id", "an id"), ("size", "size attribute")):
        without = {word: value for word, value in fresh.items() if word != name}
        assert told(packed(record, without)) == f"Invalid input received: Provided backup record is missing {words}"
    assert "missing fields (container)" in told(packed(record, {k: v for k, v in fresh.items() if k != "container"}))
    bad: list[dict[str, Any]] = [
        {"id": "x"}, {"id": None}, {"size": 0}, {"size": "1"}, {"size": 2**40}, {"size": True}, {"volume_id": "x"},
        {"parent_id": 7}, {"display_name": 7}, {"metadata": {"a": 1}}, {"driver_info": {"other": 1}},
        {"driver_info": {"metadata": "x"}}, {"created_at": "yesterday"}, {"data_timestamp": 7}, {"object_count": -1},
        {"display_name": "\u0000"},
    ]  # fmt: skip
    for wrong in bad:
        root.ask("POST", IMPORT, packed(record, fresh | wrong), status=400)
    told_service = told({"backup-record": packed(record, fresh)["backup-record"] | {"backup_service": "other"}})
    assert told_service.endswith("Request service other.")
    bodies: list[Any] = [{}, {"backup-record": {}}, {"backup-record": record | {"more": "1"}}, {"backup-record": 7}]
    for body in bodies:
        root.ask("POST", IMPORT, body, status=400)
    root.ask("GET", f"/backups/{uuid4()}/export_record", status=404)
    root.ask("POST", f"/backups/{first}/action", {"os-reset_status": {"status": "error"}}, status=202)
    assert root.ask("GET", f"/backups/{first}/export_record", status=400)["badRequest"]["message"] == (
        "Invalid backup: Backup status must be available and not error."
    )
    gone(root, first)


def test_records_are_the_administrators(root: Volumes, volumes: Volumes) -> None:
    mine = saved(volumes, volumes.make()["id"])
    volumes.ask("GET", f"/backups/{mine}/export_record", status=403)
    record, said = exported(root, mine)
    volumes.ask("POST", IMPORT, packed(record, said | {"id": str(uuid4())}), status=403)
    gone(volumes, mine)
