"""What is left of a cloud's things when they are deleted: looked for from outside, in all the places where they were."""

import sqlite3
import sys
from pathlib import Path

from tests.dataplane.cloud import Cloud, until

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from story import world

SECONDS = 20.0  # until the last trace must be gone


def look(cloud: Cloud) -> world.World:
    """Everything there is once no work waits: what a row will still bring into the world is no leak later on."""
    until(lambda: not _work(cloud), SECONDS, "all work is done")
    return _now(cloud)


def _now(cloud: Cloud) -> world.World:
    """Namespaces, interfaces, switch ports, OVN rows, machines, files, rows."""
    return world.look(cloud.site, cloud.site.state / "hagane.db")


def none_left(cloud: Cloud, before: world.World, *, seconds: float = SECONDS, but: str = "") -> None:
    """The machine is as it was, no work is left, and `hagane doctor` finds rows and world in agreement. `but`: part of
    the names that do not count."""
    until(lambda: _none(cloud, before, but), seconds, "nothing is left")
    cloud.doctor()


def _none(cloud: Cloud, before: world.World, but: str) -> bool:
    found = left(cloud, before, but)
    assert not found, found
    return True


def left(cloud: Cloud, before: world.World, but: str = "") -> dict[str, list[str]]:
    """What came since, and work that waits."""
    found = {
        kind: [name for name in names if _counts(kind, name) and not (but and but in name)]
        for kind, names in (_now(cloud) - before).items()
    }
    return {kind: names for kind, names in found.items() if names} | _work(cloud)


def _counts(kind: str, name: str) -> bool:
    """A test may have killed daemons: those that came in their place are no leaks, nor what northd has made again."""
    if kind == "processes":
        return name.rpartition("/")[2].startswith("qemu-system")
    return not (kind == "OVN rows" and name.startswith("Address_Set"))


def _work(cloud: Cloud) -> dict[str, list[str]]:
    """Work that waits. Hosts, racks, the power of Nodes and the history are looked at again and again."""
    always = "('host', 'history', 'node_power', 'switch', 'rack_gateway')"
    with sqlite3.connect(f"file:{cloud.site.state}/hagane.db?mode=ro", uri=True) as store:
        rows = store.execute(f"SELECT kind, key, reason FROM work WHERE kind NOT IN {always}").fetchall()
    store.close()
    return {"work": [" ".join(map(str, row)) for row in rows]} if rows else {}
