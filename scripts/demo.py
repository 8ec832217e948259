"""`make demo`: bring a cloud up on this machine and tell its story with the unmodified `openstack` client.

    hagane up ─▶ remove a former story's rest ─▶ look at this machine ─▶ the chapters ─▶ look again ─▶ times

The exit status is 0 if every proof held. After a failure everything is left as it is, to be looked at; the next run
removes it first.
"""

import argparse
import os
import shlex
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from hagane import process
from hagane.config import Config, load
from hagane.lab import guest
from hagane.operate.site import site
from story import (
    access,
    direct,
    end,
    life,
    machines,
    onward,
    order,
    packets,
    rack,
    stage,
    steel,
    steel_life,
    steel_packets,
    steel_volumes,
    sweep,
    volumes,
    world,
)
from story.client import Client
from story.guest import Guests
from story.screen import Screen, StoryEnded

CHAPTERS: tuple[tuple[str, Callable[[stage.Stage], None]], ...] = (
    ("A project, and a user with the member role", access.tell),
    ("Image, key, security group, networks, router, floating IP", order.tell),
    ("Machines on both networks", machines.tell),
    ("What packets say", packets.tell),
    ("Stop, start, reboot, rebuild, add and remove a NIC", life.tell),
    ("A rack of bare-metal servers: built, enrolled, inspected, cleaned", rack.tell),
    ("Bare metal on the tenant network, ordered like a VM", steel.tell),
    ("What packets say of bare metal", steel_packets.tell),
    ("Direct binding: switch port to switch port", direct.tell),
    ("Reboot, rebuild, rescue; the next tenant finds nothing", steel_life.tell),
    ("A server on a volume: it goes, its disk stays", volumes.tell),
    ("The same volume under bare metal, whose Node dies", steel_volumes.tell),
    ("Delete everything; nothing is left", end.tell),
    ("How to go on", onward.tell),
)
HOST_SECONDS = 30.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, help="settings of the cloud (TOML)")
    parser.add_argument("--keep", action="store_true", help="end before everything is deleted")
    given = parser.parse_args()
    if os.geteuid() != 0:
        print("The demo runs real machines on real networks and needs root. Without root: hagane up --sim")
        return 1
    screen = Screen()
    try:
        _play(screen, given.config, keep=given.keep)
    except StoryEnded as error:
        screen.ended(error)
    except Exception as error:  # an answer that the story did not foresee: told as what it is, a failure
        screen.ended(StoryEnded(f"{type(error).__name__}: {error}", traceback.format_exc()))
    except KeyboardInterrupt:
        print("\nInterrupted. The next run removes what is left of this one; `make down` removes everything.")
        return 130
    screen.summary()
    return 1 if screen.failed else 0


def _play(screen: Screen, file: Path | None, *, keep: bool) -> None:
    config = load(file)
    client = Client(screen, config.state / "clouds.yaml", Path.cwd())  # it gets ready beside the cloud
    try:
        with screen.chapter("A cloud on this machine"):
            told = _set(screen, client, config, () if file is None else ("--config", str(file)))
        for title, tell in CHAPTERS:
            if keep and tell is end.tell:
                screen.note(f"Left as it is. ssh -F {told.guests.config} web")
                continue
            with screen.chapter(title):
                tell(told)
    finally:
        client.close()


def _set(screen: Screen, client: Client, config: Config, words: tuple[str, ...]) -> stage.Stage:
    """Bring up the cloud, remove the rest of a former story, and look at this machine."""
    if not config.database_url.startswith("sqlite:"):
        raise StoryEnded("The demo reads the cloud's database file, to count what is left: it needs SQLite.")
    database = Path(config.database_url.removeprefix("sqlite:"))
    first, second = guest.build(), guest.build(variant="b")
    screen.note(f"guest image: {first.path}, {first.path.stat().st_size >> 20} MB, built of Debian packages")
    url = _up(screen, config, words)
    _hosts(client, config.hosts + len(config.libvirt))
    if rest := sweep.sweep(client):
        screen.note(f"removed what a former story left: {', '.join(rest)}")
    screen.note("Commands that do not depend on each other run at the same time; each shows the time it took itself.")
    place, folder = site(config), stage.fresh(config.state)
    return stage.Stage(
        screen=screen, client=client, guests=Guests(screen, folder), site=place, state=config.state, settings=words,
        url=url, image=first.path, image_b=second.path, before=world.look(place, database), database=database,
    )  # fmt: skip


def _up(screen: Screen, config: Config, words: tuple[str, ...]) -> str:
    """Start the cloud, or find it; returns its address."""
    screen.plain(f"   $ {shlex.join(('hagane', 'up', '--detach', *words))}")
    argv = [sys.executable, "-m", "hagane", "up", "--detach", *words]
    done = subprocess.run(argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    known = process.find(config)
    if done.returncode or known is None:
        raise StoryEnded("The cloud did not start", done.stdout)
    screen.note(f"ready at {known.url}")
    return known.url


def _hosts(client: Client, count: int) -> None:
    """Wait until the Hosts have answered, so that what they have to give is not taken for a trace of the story."""
    until = time.monotonic() + HOST_SECONDS
    while client.ask(stage.ADMIN, "hypervisor", "list", "-f", "value", "-c", "State").split().count("up") < count:
        if time.monotonic() > until:
            raise StoryEnded(f"Not all Hosts answer within {HOST_SECONDS:.0f} s", client.ask(
                stage.ADMIN, "hypervisor", "list"))  # fmt: skip
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
