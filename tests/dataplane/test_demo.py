"""`make demo` itself, from nothing to nothing: both acts with all their proofs, then `hagane down --delete`."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hagane.lab import netns
from tests.outside import free_port

pytestmark = [pytest.mark.real, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
PREFIX = "hgd"


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Path]:
    state = tmp_path / "state"
    file = tmp_path / "hagane.toml"
    file.write_text(
        f'[hagane]\nstate = "{state}"\nrun = "/run/{PREFIX}"\nprefix = "{PREFIX}"\nlisten = "127.0.0.1:{free_port()}"\n'
        'external_network = "198.18.11.0/24"\nexternal_network_v6 = "2001:db8:11::/64"\nbcrypt_cost = 4\n'
    )
    yield file
    _run("-m", "hagane", "down", "--delete", "--config", str(file))
    assert not netns.named(f"{PREFIX}-") and not state.exists() and not Path(f"/run/{PREFIX}").exists()


def _run(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.timeout(900)
def test_story_holds(settings: Path) -> None:
    told = _run("scripts/demo.py", "--config", str(settings))
    assert "✗" not in told and "\n14. How to go on" in told
    assert "\033[" not in told  # colours are for terminals
