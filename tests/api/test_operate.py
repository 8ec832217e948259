"""The operator's own routes and commands: who may ask, and whose things are meant."""

from pathlib import Path

import pytest

from hagane.config import Config
from hagane.errors import ConfigError
from hagane.operate.down import down
from tests.api.people import person
from tests.support import Running


def test_an_owner_asks_about_own_things_only(cloud: Running) -> None:
    one, other = person(cloud), person(cloud)
    for who in (one, other, other):
        made = who.http.post("/network/v2.0/networks", json={"network": {"name": "common"}})
        assert made.status_code == 201
    mine = one.http.get("/network/v2.0/networks", params={"name": "common"}).json()["networks"][0]["id"]
    assert one.http.get("/hagane/v1/explain/network/common").json()["id"] == mine
    assert other.http.get(f"/hagane/v1/explain/network/{mine}").status_code == 404
    assert other.http.get("/hagane/v1/explain/network/common").status_code == 400  # two of them
    assert other.http.get("/hagane/v1/explain/host/sim1").status_code == 404
    for path in ("status", "findings"):
        assert other.http.get(f"/hagane/v1/{path}").status_code == 403
    assert other.http.post("/hagane/v1/backup").status_code == 403
    one.http.close()
    other.http.close()


def test_no_error_repeats_a_password(cloud: Running) -> None:
    user = {"name": "x", "password": "hush", "options": {"password": "hush"}}
    secrets = {"auth": {"identity": {"methods": "password", "password": {"user": user}}}}
    for body in (secrets, {"auth": {"identity": secrets}}, {"auth": [secrets]}, secrets["auth"]):
        with person(cloud).http as http:
            answer = http.post("/identity/v3/auth/tokens", json=body)
            assert answer.status_code in (400, 401) and "hush" not in answer.text, answer.text


def test_a_folder_of_others_is_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="no folder of a cloud"):
        list(down(Config(state=tmp_path, sim=True), delete=True))
    assert (tmp_path / "thesis.tex").exists()
    (tmp_path / "hagane.db").touch()
    list(down(Config(state=tmp_path, sim=True), delete=True))
    assert not tmp_path.exists()
