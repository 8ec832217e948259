"""Settings: what is wrong with a file is said in one line, with the file and the setting, before anything starts."""

import socket
from pathlib import Path

import pytest

from hagane import serve
from hagane.config import Config, load
from hagane.errors import ConfigError, Invalid, Unavailable

BAD = {
    "\nlisten = x": "line 2",
    "hagane = 3": "must be a table",
    '[hagane]\nlisten = "here"': "listen",
    '[hagane]\nlisten = "127.0.0.1:99999"': "listen",
    '[hagane]\nlog_level = "loud"': "log_level",
    '[hagane]\nlog_format = "xml"': "log_format",
    "[hagane]\nbcrypt_cost = 50": "bcrypt_cost",
    "[hagane]\nhosts = 0": "hosts",
    '[hagane]\ndatabase = "mysql://x/y"': "postgresql://",
    '[hagane]\ntls_key = "/etc/key.pem"': "tls_certificate",
    '[hagane]\nexternal_network = "10.0.0"': "external_network",
    '[hagane]\nexternal_network = "10.0.0.0/30"': "16 addresses",
    '[hagane]\nexternal_network_v6 = "10.0.0.0/8"': "external_network_v6",
    "[hagane]\nunknown = 1": "unknown",
    '[hagane.volumes.Fast]\ndriver = "rbd"\npool = "p"': "backend's name",
    '[hagane.volumes.fast]\ndriver = "lvm"\npool = "p"': "volume group",
    '[hagane.volumes.c]\ndriver = "rbd"\npool = "p"\nmonitors = ["10.0.0.1"]': "ADDRESS:PORT",
}


@pytest.mark.parametrize("text", BAD)
def test_a_wrong_file_is_refused_with_its_name_and_the_reason(text: str, tmp_path: Path) -> None:
    file = tmp_path / "hagane.toml"
    file.write_text(text)
    with pytest.raises(Invalid) as refusal:
        load(file)
    assert str(file) in refusal.value.message and BAD[text] in refusal.value.message


def test_a_file_that_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b'[hagane]\nregion = "\xff"')
    for name in ("binary", "absent"):
        with pytest.raises(Invalid, match=name):
            load(tmp_path / name)


def test_the_command_line_is_laid_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "hagane.toml"
    file.write_text('[hagane]\nhosts = 2\nregion = "here"\n[simulation]\nhosts = 5')
    config = load(file, hosts=3, listen=None)
    assert (config.hosts, config.region, config.simulation.hosts) == (3, "here", 5)


async def test_what_would_fail_later_is_said_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, pytest.raises(Unavailable, match="Cannot listen"):
        taken = f"127.0.0.1:{first.getsockname()[1]}"
        await serve.run(Config(state=tmp_path, listen=taken, sim=True), print)
    wrong = Config(state=tmp_path, tls_certificate="/absent.crt", tls_key="/absent.key")
    with pytest.raises(ConfigError, match="absent"):
        await serve.run(wrong, print)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be made"):
        await serve.run(Config(state=tmp_path / "file" / "state"), print)
