"""Types whose volumes shall be encrypted, which no backend here does; and volumes that no backend ever took."""

from typing import Any
from uuid import uuid4

from tests.api.volume.conftest import Volumes

LUKS = {"provider": "luks", "control_location": "front-end", "cipher": "aes-xts-plain64", "key_size": 256}


def make_type(root: Volumes, **specs: str) -> str:
    body = {"volume_type": {"name": uuid4().hex, "extra_specs": specs}}
    return str(root.ask("POST", "/types", body)["volume_type"]["id"])


def test_a_type_says_how_its_volumes_shall_be_encrypted(root: Volumes, volumes: Volumes) -> None:
    path = f"/types/{make_type(root)}/encryption"
    assert root.ask("GET", path) == {}
    made = root.ask("POST", path, {"encryption": LUKS})["encryption"]
    key = made.pop("encryption_id")
    assert made == LUKS | {"volume_type_id": path.split("/")[2]}
    root.ask("POST", path, {"encryption": LUKS}, status=400)
    assert root.ask("PUT", f"{path}/{key}", {"encryption": {"key_size": 128}})["encryption"] == {"key_size": 128}
    shown = root.ask("GET", path)
    assert shown.items() >= (LUKS | {"key_size": 128, "encryption_id": key, "deleted": False}).items()
    assert root.ask("GET", f"{path}/cipher") == {"cipher": LUKS["cipher"]}
    for method, at in (("POST", path), ("PUT", f"{path}/{key}"), ("DELETE", f"{path}/{key}"), ("GET", path)):
        volumes.ask(method, at, {"encryption": LUKS} if method != "DELETE" else None, status=403)
    root.ask("DELETE", f"{path}/provider", status=202)
    assert root.ask("GET", path) == {}
    root.ask("GET", f"{path}/cipher", status=404)
    root.ask("DELETE", f"{path}/provider", status=404)


def test_nobody_gets_a_plain_volume_who_asked_for_an_encrypted_one(root: Volumes, volumes: Volumes) -> None:
    kind = make_type(root)
    root.ask("POST", f"/types/{kind}/encryption", {"encryption": LUKS})
    refused: dict[str, Any] = volumes.ask("POST", "/volumes", {"volume": {"size": 1, "volume_type": kind}}, status=400)
    assert "No storage backend encrypts" in str(refused)
    plain = volumes.make()["id"]
    volumes.act(plain, "os-retype", {"new_type": kind}, status=400)
    used = volumes.show(volumes.make(volume_type=make_type(root))["id"])["volume_type"]
    kind = next(one["id"] for one in root.ask("GET", "/types")["volume_types"] if one["name"] == used)
    root.ask("POST", f"/types/{kind}/encryption", {"encryption": LUKS}, status=400)


def test_a_volume_that_no_backend_took_goes_at_once(root: Volumes) -> None:
    kind = make_type(root, vendor_name="nobody")
    made = root.make(volume_type=kind)
    assert made["status"] == "error"
    root.ask("DELETE", f"/volumes/{made['id']}", status=202)
    root.ask("DELETE", f"/types/{kind}", status=202)
    root.ask("GET", f"/volumes/{made['id']}", status=404)


def test_nothing_is_given_out_of_our_hands(root: Volumes, volumes: Volumes) -> None:
    key = volumes.make()["id"]
    shot = volumes.snapshot(key)["id"]
    for path in (f"/volumes/{key}/action", f"/snapshots/{shot}/action"):
        volumes.ask("POST", path, {"os-unmanage": None}, status=403)
        root.ask("POST", path, {"os-unmanage": None}, status=400)
