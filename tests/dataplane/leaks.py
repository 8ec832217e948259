"""What is left of a cloud's things when they are deleted: looked for from outside, in all the places where they were."""

import sqlite3
import sys
from pathlib import Path

from tests.dataplane.cloud import Cloud, processes, until

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from story import world

SECONDS = 20.0  # until the last trace must be gone


def look(cloud: Cloud) -> world.World:
    """Everything there is now: namespaces, interfaces, switch ports, OVN rows, machines, files, rows."""
    return world.look(cloud.site, cloud.site.state / "hagane.db")


def none_left(cloud: Cloud, before: world.World) -> None:
    """The machine is as it was, no work is left, and `hagane doctor` finds rows and world in agreement."""
    until(lambda: _none(cloud, before), SECONDS, "nothing is left")
    cloud.doctor()


def _none(cloud: Cloud, before: world.World) -> bool:
    left = {
        kind: [name for name in names if _ours(cloud, kind, name)] for kind, names in (look(cloud) - before).items()
    }
    left = {kind: names for kind, names in left.items() if names} | _work(cloud)
    assert not left, left
    return True


def _ours(cloud: Cloud, kind: str, name: str) -> bool:
    """Other clouds on this machine come and go meanwhile."""
    if kind == "namespaces":
        return name.startswith(f"{cloud.site.prefix}-")
    if kind == "interfaces" and name.startswith("root/"):
        return name.startswith(f"root/{cloud.site.prefix}")
    if kind == "machines" and name.startswith("process "):
        return int(name.split()[1]) in dict(processes(str(cloud.site.state)))
    return True


def _work(cloud: Cloud) -> dict[str, list[str]]:
    """Work that waits. Hosts and the history are looked at again and again."""
    with sqlite3.connect(f"file:{cloud.site.state}/hagane.db?mode=ro", uri=True) as store:
        rows = store.execute("SELECT kind, key, reason FROM work WHERE kind NOT IN ('host', 'history')").fetchall()
    store.close()
    return {"work": [" ".join(map(str, row)) for row in rows]} if rows else {}
