"""What all chapters share: the screen, the client, the guests, this machine's lab, and what was learned on the way."""

import json
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

import yaml

from hagane.lab import rack_place
from hagane.lab.site import Site
from story.client import Client
from story.guest import Guests
from story.screen import Screen, StoryEnded
from story.world import World, look

T = TypeVar("T")
ADMIN, DEMO, OTHER = "hagane", "demo", "other"  # entries in clouds.yaml; the latter two also project and user
READY = re.compile(r"HAGANE-GUEST-READY uptime=(\S+) hostname=(\S+) metadata=(\S+) variant=(\S+)(.*)")


@dataclass(slots=True)
class Stage:
    """One telling of the story."""

    screen: Screen
    client: Client
    guests: Guests
    site: Site
    state: Path
    database: Path
    settings: tuple[str, ...]  # of the `hagane` command
    url: str
    image: Path
    image_b: Path
    before: World
    floating: str = ""  # address of web in the external network
    floating_steel: str = ""  # likewise of anvil
    fixed: dict[str, str] = field(default_factory=dict)  # Server -> IPv4 address
    six: dict[str, str] = field(default_factory=dict)  # Server -> IPv6 address
    ids: dict[str, str] = field(default_factory=dict)
    console: dict[str, str] = field(default_factory=dict)  # Server -> console log when it was ready

    @property
    def folder(self) -> Path:
        """Keys, user data, ssh's configuration: only as long as the story is told, and only for its reader."""
        return folder(self.state)

    @property
    def key(self) -> Path:
        return self.folder / "key"

    def look(self) -> World:
        """What exists on this machine now."""
        return look(self.site, self.database)

    def until(self, look: Callable[[], T | None], seconds: float, what: str, *, pause: float = 0.25) -> tuple[T, float]:
        """Look again and again; what was found, and after how long. Raises StoryEnded."""
        began = monotonic()
        while (found := look()) is None:
            if monotonic() - began > seconds:
                raise StoryEnded(f"Not within {seconds:.0f} s: {what}", self.explain(what))
            sleep(pause)
        return found, monotonic() - began

    def active(self, who: str, *names: str, seconds: float = 60.0) -> float:
        """Wait until Servers are ACTIVE; returns how long that took."""
        return self.until(lambda: self._all(who, names, "ACTIVE"), seconds, f"ACTIVE: {', '.join(names)}")[1]

    def status(self, who: str, name: str, wanted: str, seconds: float = 60.0) -> float:
        """Wait until a Server has a status."""
        return self.until(lambda: self._all(who, (name,), wanted), seconds, f"{wanted}: {name}")[1]

    def _all(self, who: str, names: tuple[str, ...], wanted: str) -> bool | None:
        seen = dict(line.split() for line in self.client.ask(
            who, "server", "list", "-f", "value", "-c", "Name", "-c", "Status").splitlines())  # fmt: skip
        if broken := [name for name in names if seen.get(name) == "ERROR"]:
            fault = self.client.ask(who, "server", "show", broken[0], "-f", "value", "-c", "fault")
            raise StoryEnded(f"Server {broken[0]} is in ERROR", f"{fault}\n{self.explain(broken[0])}")
        return True if all(seen.get(name) == wanted for name in names) else None

    def booted(self, who: str, name: str, *, after: int = 0, seconds: float = 90.0) -> re.Match[str]:
        """Wait for the line with which a guest ends its boot, the `after`-th being from earlier boots."""

        def look() -> re.Match[str] | None:
            log = self.client.ask(who, "console", "log", "show", name)
            self.console[name] = log
            found = list(READY.finditer(log))
            return found[after] if len(found) > after else None

        return self.until(look, seconds, f"{name} has booted", pause=0.5)[0]

    def explain(self, what: str) -> str:
        """What the cloud itself says of the Servers that a sentence names, and the end of their console logs."""
        told = []
        for name in ("web", "db", "app", "anvil", "hammer", "smith", "apprentice", "forge", "foundry"):
            if name in what:
                told += ["", f"$ hagane explain server {name}", *self.hagane("explain", "server", name)[1]]
                told += ["", f"$ openstack console log show --lines 15 {name}", *self._tail(name)]
        return "\n".join(told)

    def hagane(self, command: str, *words: str) -> tuple[int, list[str]]:
        """Status and output of a command of the cloud's own."""
        argv = (sys.executable, "-m", "hagane", command, *words, *self.settings)
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        return done.returncode, done.stdout.splitlines()

    def tor(self, *words: str) -> str:
        """Ask the rack's switch itself (ovs-vsctl)."""
        rack = self._rack()
        db = f"--db=tcp:{rack.address(rack.switch)}:{rack_place.OVSDB_PORT}"
        done = subprocess.run(["ovs-vsctl", db, "--timeout=10", *words], capture_output=True, text=True, timeout=20)
        return done.stdout

    def hidden(self) -> list[str]:
        """Addresses that no tenant may reach: BMCs, switch, gateway, provisioning service."""
        rack = self._rack()
        parts = [rack.switch, *rack.gateways, *(one.name for one in rack.machines)]
        service = self.client.ask(
            ADMIN, "port", "list", "--device-owner", "network:provisioning", "-f", "json", "-c", "Fixed IP Addresses"
        )
        fixed = [entry["ip_address"] for row in decoded(service) for entry in row["Fixed IP Addresses"]]
        return [*(str(rack.address(part)) for part in parts), *fixed]

    def _rack(self) -> rack_place.Rack:
        rack = rack_place.current(self.site)
        if rack is None:
            raise StoryEnded("There is no rack: `hagane lab up` builds one")
        return rack

    def _tail(self, name: str) -> list[str]:
        try:
            return self.client.ask(DEMO, "console", "log", "show", "--lines", "15", name).splitlines()
        except StoryEnded as error:
            return [error.message]


def folder(state: Path) -> Path:
    """The story's own folder in the cloud's state folder."""
    return state / "story"


def fresh(state: Path) -> Path:
    """The story's folder, empty, for its reader alone."""
    path = folder(state)
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    return path


def made_up() -> str:
    """A password. It does not begin with a hyphen, which the command line would take for an option."""
    return secrets.token_hex(15)


def entry(state: Path, name: str, cloud: dict[str, object] | None) -> None:
    """Write (or, with None, remove) one cloud of clouds.yaml; the file stays for its owner alone (mode 0600)."""
    path = state / "clouds.yaml"
    document = yaml.safe_load(path.read_text())
    document["clouds"].pop(name, None)
    if cloud is not None:
        document["clouds"][name] = cloud
    temporary = path.with_suffix(".story")
    temporary.touch(mode=0o600)
    temporary.write_text(yaml.safe_dump(document, sort_keys=False))
    temporary.rename(path)


def decoded(text: str) -> Any:
    """The JSON that a command printed with `-f json`."""
    return json.loads(text)
