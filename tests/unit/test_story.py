"""The demo's own tools: the client that forks, what is kept off the screen, what a ping says."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from story.client import Client, _hidden
from story.guest import ping, pinged
from story.screen import Screen, StoryEnded
from story.world import World

CLOUDS = "clouds:\n  demo:\n    auth_type: none\n    endpoint: http://127.0.0.1:9\n"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("story")
    (folder / "clouds.yaml").write_text(CLOUDS)
    made = Client(Screen(), folder / "clouds.yaml", folder)
    yield made
    made.close()


def test_command_is_the_real_client(client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    assert client.run("demo", "--version").startswith("openstack ")
    assert "(demo)$ openstack --version" in capfd.readouterr().out


def test_commands_run_at_the_same_time_and_apart(client: Client) -> None:
    begun = [client.start("demo", *words) for words in (("--version",), ("network", "create", "--help"))]
    version, text = (client.finish(running) for running in begun)
    assert version.startswith("openstack ") and "usage: openstack network create" in text


def test_failure_tells_the_command(client: Client) -> None:
    with pytest.raises(StoryEnded, match="openstack nonsense ended with status"):
        client.run("demo", "nonsense")
    assert not client.tried("demo", "nonsense")


def test_secrets_stay_off_the_screen() -> None:
    assert _hidden("user create --password s3cret x", "s3cret") == "user create --password ... x"
    assert _hidden('{"id": "1", "secret": "abc"}', "secret") == '{"id": "1", "secret": "..."}'


def test_ping_is_read() -> None:
    said = "3 packets transmitted, 2 packets received, 33% packet loss\nround-trip min/avg/max = 0.812/1.25/2.0 ms"
    found = pinged(said)
    assert str(found) == "2 of 3 answered, 1.2 ms" and found.well and not found.silent
    one = pinged(said.replace("2 packets received", "1 packets received"))
    assert not one.well and not one.silent
    assert pinged("3 packets transmitted, 0 packets received, 100% packet loss").silent
    assert ping("fd00::1").startswith("ping6 -q ")


def test_world_tells_what_came() -> None:
    before = World({"files": frozenset({"a"}), "machines": frozenset()})
    after = World({"files": frozenset({"a", "b"}), "machines": frozenset()})
    assert after - before == {"files": ["b"]} and not before - before
