"""`make interop`: the official interop list, run by Tempest, unmodified, against a cloud of its own.

    cloud up ─▶ hagane tempest-conf ─▶ look at the world ─▶ the list (again with --times) ─▶ look again ─▶ cloud down

The cloud has real networks and machines, into which Tempest logs in (root); with --sim it has simulated ones, and the
two tests skip that do nothing but log in. The exit status is 0 if every other test passed and nothing was left. What
Tempest said is in .cache/interop afterwards.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.outside import Process

from foreign import ansible, report, tempest
from hagane import process as process_file
from hagane.config import load
from story.rows import rows

TIMEOUT = 4 * 3600.0
HOSTS = 2
SETTLED = 30.0  # seconds until the last trace of a run must be gone
NO_ROOT = "The list needs real machines and networks, and so root. Without root: --sim"


@dataclass
class Stand:
    """A running cloud, and how to see what is left in it."""

    process: Process
    simulated: bool
    look: Callable[[], Any]
    since: Callable[[Any], dict[str, list[str]]]  # what came since a look

    @property
    def pid(self) -> int:
        known = process_file.find(load(self.process.config))
        assert known is not None
        return known.pid

    def left(self, before: Any) -> dict[str, list[str]]:
        """What does not go within a while."""
        until = time.monotonic() + SETTLED
        while (found := self.since(before)) and time.monotonic() < until:
            time.sleep(0.5)
        return found


def configure(process: Process, folder: Path) -> None:
    """`hagane tempest-conf`, and nothing besides. Raises RuntimeError."""
    done = process.command("tempest-conf", str(folder / "tempest.conf"))
    print(done.stderr, end="")
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    # A project gets its default security group when it is first asked for; the administrator's stays.
    list(process.connect().network.security_groups())


@contextmanager
def simulated(folder: Path) -> Iterator[Stand]:
    """Machines that boot at once: what is measured is Hagane, and Tempest's own second between two looks."""
    process = Process(folder / "state", simulation={"delays": False})
    database = folder / "state" / "hagane.db"

    def since(before: set[str]) -> dict[str, list[str]]:
        gone = sorted(rows(database) - before)
        return {"rows": gone} if gone else {}

    process.start(timeout=60)
    try:
        configure(process, folder)
        yield Stand(process, True, lambda: rows(database), since)
    finally:
        process.stop()


@contextmanager
def real(folder: Path) -> Iterator[Stand]:
    """Networks, Hosts and an outside of its own. QEMU runs as a user of its own, who must come to its state."""
    from tests.dataplane import cloud as real_cloud
    from tests.dataplane import leaks

    with tempfile.TemporaryDirectory(prefix="hagane-interop-", dir="/var/tmp") as name:
        place = Path(name) / "cloud" / "here"
        place.mkdir(parents=True)
        with real_cloud.running(place, hosts=HOSTS) as running:
            configure(running.process, folder)
            yield Stand(running.process, False, lambda: leaks.look(running), lambda before: _but_caches(
                leaks.left(running, before), before.found["rows"]))  # fmt: skip


def _but_caches(left: dict[str, list[str]], rows_before: frozenset[str]) -> dict[str, list[str]]:
    """Without the copies on Hosts of images that were there before and still are: they are kept on purpose."""
    images = [row.partition(" ")[2] for row in rows_before if row.startswith("image ")]
    files = [name for name in left.get("files", []) if not any(f"hagane-image.{image}." in name for image in images)]
    return {kind: files if kind == "files" else names for kind, names in left.items() if kind != "files" or files}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sim", action="store_true", help="simulated machines and networks; no root")
    parser.add_argument("--times", type=int, default=1, help="run it so often on one cloud (1)")
    parser.add_argument("--concurrency", type=int, default=2, help="how many tests at a time (2)")
    parser.add_argument("--list", type=Path, default=tempest.LIST, help="another list of tests")
    parser.add_argument("--regex", help="all of Tempest's tests that match, instead of the list")
    parser.add_argument("--folder", type=Path, default=tempest.ROOT / ".cache/interop", help="where logs go")
    parser.add_argument("--install", action="store_true", help="install Tempest and the Ansible modules, and no more")
    given = parser.parse_args()
    tempest.install()
    if given.install:
        ansible.install()
        return 0
    if not given.sim and os.geteuid() != 0:
        print(NO_ROOT)
        return 1
    names = tempest.matching(given.regex) if given.regex else tempest.names(given.list)
    return _play(given, names)


def _play(given: argparse.Namespace, names: list[str]) -> int:
    folder = given.folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began = time.monotonic()
    with (simulated if given.sim else real)(folder) as stand:
        _say(began, f"the cloud is ready at {stand.process.url}")
        good = [_once(stand, folder, names, given.concurrency, began) for _ in range(given.times)]
    _say(began, "the cloud is gone")
    return 0 if all(good) else 1


def _once(stand: Stand, folder: Path, names: list[str], concurrency: int, began: float) -> bool:
    """One run of the list; whether everything passed that can, and nothing is left."""
    pid, before, spent = stand.pid, stand.look(), report.cpu_seconds(stand.pid)
    outcome = tempest.run(folder, names, concurrency=concurrency, timeout=TIMEOUT)
    for line in report.lines(outcome, concurrency=concurrency, computed=report.cpu_seconds(pid) - spent):
        print(line)
    left = stand.left(before)
    print(f"left behind: {left or 'nothing'}")
    _say(began, "one run of the list is done")
    return not outcome.failed and not left and (stand.simulated or not outcome.skipped)


def _say(began: float, text: str) -> None:
    print(f"[{time.monotonic() - began:6.0f} s] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
