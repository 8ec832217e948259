"""Tempest from the package index, in an environment of its own, and one run of it as a subprocess.

It has an environment of its own because its pins are none of ours, and because who does not run it shall not wait for
it: it is installed by the first run, from tests/interop/requirements.lock, and again when that file has changed.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "tests/interop/requirements.lock"
LIST = ROOT / "tests/interop/interop-compute.loadlist"
HOME = Path(sys.prefix) / "tempest"
RESULT = re.compile(
    r"^\{\d+\} (?P<name>\S+|setUpClass \(\S+\)) (\[[\d.]+s\] )?\.\.\. (?P<word>ok|FAILED|SKIPPED)(: (?P<why>.*))?"
)
REQUEST = re.compile(
    r"Request \((?P<test>[^)]*)\): (?P<status>\d+) (?P<method>[A-Z]+) (?P<url>\S+) (?P<seconds>[\d.]+)s"
)


@dataclass(frozen=True)
class Call:
    """One request of Tempest's, as it saw it."""

    seconds: float
    method: str
    path: str
    status: int
    test: str


@dataclass
class Outcome:
    """What one run of a list gave. A test that never ran, as its class could not be set up, has failed."""

    seconds: float = 0.0
    passed: set[str] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)  # name -> why
    failed: set[str] = field(default_factory=set)
    calls: list[Call] = field(default_factory=list)

    @property
    def counts(self) -> Counter[str]:
        return Counter(passed=len(self.passed), skipped=len(self.skipped), failed=len(self.failed))


def install() -> Path:
    """The `tempest` command."""
    stamp = HOME / "installed.lock"
    if not stamp.exists() or stamp.read_bytes() != LOCK.read_bytes():
        print("installing Tempest", flush=True)
        venv.create(HOME, clear=True, with_pip=True)
        pip = [HOME / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", LOCK], check=True)
        shutil.copyfile(LOCK, stamp)
    return HOME / "bin/tempest"


def run(folder: Path, names: list[str], *, concurrency: int, timeout: float) -> Outcome:
    """Run tests by their full names, tags included, in a folder that holds tempest.conf. Raises TimeoutExpired."""
    # Whether a test is tagged slow may depend on the settings: it is asked for by both names, and one is ignored.
    both = {name: None for full in names for name in (full, full.replace(",slow]", "]"))}
    (folder / "list").write_text("".join(f"{name}\n" for name in both))
    command = [install(), "run", "--config-file", "tempest.conf", "--load-list", "list"]
    log = folder / "tempest.log"
    log.unlink(missing_ok=True)
    began = time.monotonic()
    with (folder / "run.log").open("wb") as out:
        subprocess.run(
            [*command, "--concurrency", str(concurrency)], cwd=folder, stdout=out, stderr=subprocess.STDOUT,
            timeout=timeout, env=os.environ | {"PYTHONWARNINGS": "ignore"},
        )  # fmt: skip
    outcome = _outcome((folder / "run.log").read_text(errors="replace"), names)
    outcome.seconds = time.monotonic() - began
    outcome.calls = _calls(log.read_text(errors="replace")) if log.exists() else []
    return outcome


def names(file: Path = LIST) -> list[str]:
    """The tests of a list, tags included."""
    return file.read_text().split("\n")[:-1]


def matching(pattern: str) -> list[str]:
    """All tests of Tempest whose name matches."""
    command = [install(), "run", "--config-file", "tempest.conf", "--list-tests", "--regex", pattern]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tempest.conf").touch()
        subprocess.run([HOME / "bin/stestr", "init"], cwd=folder, check=True)  # it lists only where it has a repository
        shown = subprocess.run(command, cwd=folder, text=True, capture_output=True, check=True).stdout
    return [line for line in shown.splitlines() if line.startswith("tempest.")]


def _outcome(told: str, names: list[str]) -> Outcome:
    seen = {found["name"]: found for line in told.splitlines() if (found := RESULT.match(line))}
    outcome = Outcome()
    for name in (full.partition("[")[0] for full in names):
        found = seen.get(name) or seen.get(f"setUpClass ({name.rpartition('.')[0]})")
        if found is not None and found["word"] == "ok":
            outcome.passed.add(name)
        elif found is not None and found["word"] == "SKIPPED":
            outcome.skipped[name] = found["why"] or ""
        else:
            outcome.failed.add(name)
    return outcome


def _calls(log: str) -> list[Call]:
    return [
        Call(float(found["seconds"]), found["method"], _path(found["url"]), int(found["status"]), found["test"])
        for found in REQUEST.finditer(log)
    ]


def _path(url: str) -> str:
    return "/" + url.split("/", 3)[-1]
