"""Secrets at rest, and the key file under them."""

import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hagane.baremetal import node_secret
from hagane.errors import ConfigError
from hagane.state.keyring import KeyRing
from hagane.state.secret import Secrets


def test_a_secret_comes_back_and_is_not_to_be_seen(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path)
    encrypted = secrets.encrypt("pässword")
    assert secrets.decrypt(encrypted) == "pässword"
    assert "password" not in encrypted and encrypted.isascii()
    assert secrets.encrypt("pässword") != encrypted
    assert Secrets(tmp_path).decrypt(encrypted) == "pässword"


def test_the_key_file_is_its_owners_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        Secrets(tmp_path)
    finally:
        os.umask(old)
    file = tmp_path / "keys" / "secrets"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [path.name for path in file.parent.iterdir()] == ["secrets"]


def test_after_a_rotation_both_keys_read_and_the_new_one_writes(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path)
    before = secrets.encrypt("x")
    secrets.rotate()
    after = secrets.encrypt("y")
    assert (secrets.decrypt(before), secrets.decrypt(after)) == ("x", "y")
    renewed = secrets.renew(before)
    assert renewed != before and secrets.renew(after) == after
    secrets.retire()
    assert (secrets.decrypt(renewed), secrets.decrypt(after)) == ("x", "y")
    with pytest.raises(ConfigError, match="restore that file"):
        secrets.decrypt(before)
    assert stat.S_IMODE((tmp_path / "keys" / "secrets").stat().st_mode) == 0o600


def test_another_process_takes_up_a_rotation(tmp_path: Path) -> None:
    one, other = Secrets(tmp_path), Secrets(tmp_path)
    before = other.encrypt("x")
    one.rotate()
    assert other.decrypt(one.encrypt("y")) == "y"
    assert one.decrypt(before) == "x" and other.decrypt(before) == "x"


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    rings: list[KeyRing] = []
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        rings.append(KeyRing(tmp_path / "keys" / "k"))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    token = rings[0].encrypt(b"x")
    assert len(rings) == 8 and all(ring.decrypt(token) == b"x" for ring in rings)
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["k"]


@pytest.mark.parametrize("content", ["", "# no key\n", "short\n", "ä" * 44])
def test_a_damaged_key_file_is_said_and_left_alone(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys" / "secrets"
    file.parent.mkdir()
    file.touch(mode=0o600)
    file.write_text(content)
    with pytest.raises(ConfigError, match="key file"):
        Secrets(tmp_path)
    assert file.read_text() == content


def test_a_key_file_open_to_others_is_refused(tmp_path: Path) -> None:
    Secrets(tmp_path)
    (tmp_path / "keys" / "secrets").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        Secrets(tmp_path)


def test_a_lost_key_file_is_said(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path)
    (tmp_path / "keys" / "secrets").unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        secrets.rotate()


@given(st.text())
def test_what_is_no_secret_of_ours_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        _SECRETS.decrypt(text)


@pytest.fixture(scope="module", autouse=True)
def _secrets(tmp_path_factory: pytest.TempPathFactory) -> None:
    global _SECRETS
    _SECRETS = Secrets(tmp_path_factory.mktemp("state"))


_SECRETS: Secrets


def test_a_nodes_secrets_open_when_only_some_of_its_columns_were_read(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path)
    row = {"driver_info": {"ipmi_address": "10.0.0.1", "ipmi_password": "secret"}, "secrets": ""}
    stored = row | node_secret.sealed(secrets, row, {"driver_info": row["driver_info"]})
    assert "secret" not in str(stored["driver_info"])
    opened = node_secret.opened(secrets, stored)  # the watch over power reads no instance_info
    assert opened["driver_info"]["ipmi_password"] == "secret" and opened["instance_info"] == {}
