"""A shell in a guest: ssh through the floating IP, or the serial console where nothing else leads there.

    this shell ──ssh──▶ floating IP ─▶ web ──ssh──▶ db, app        config in the story's folder: ssh -F ssh_config db
    this shell ──WebSocket──▶ serial console of any guest          the URL comes from `openstack console url show`

One ssh connection per guest stays open and carries all commands: a key exchange costs an emulated CPU a second.
"""

import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from story.screen import Screen, StoryEnded

OPTIONS = (
    "User root",
    "BatchMode yes",
    "StrictHostKeyChecking no",  # every run makes new guests with new keys behind the same addresses
    "UserKnownHostsFile /dev/null",
    "LogLevel ERROR",
    "ConnectTimeout 10",
    "ControlMaster auto",
    "ControlPersist 120",
    "ServerAliveInterval 5",
    "ServerAliveCountMax 2",
)
PING = re.compile(r"(\d+) packets transmitted, (\d+) packets received")
AVERAGE = re.compile(r"min/avg/max = [\d.]+/([\d.]+)/")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command in a guest said."""

    code: int
    text: str
    seconds: float


class Guests:
    """All guests that ssh leads to."""

    def __init__(self, screen: Screen, folder: Path) -> None:
        self._screen, self._folder = screen, folder
        self._names: list[str] = []
        self._first = ""

    @property
    def config(self) -> Path:
        return self._folder / "ssh_config"

    def reach(self, key: Path, first: tuple[str, str], *others: tuple[str, str]) -> None:
        """Write ssh's configuration: `first` is reached by its address, the others through it."""
        lines = [f"Host {first[0]}", f"  HostName {first[1]}"]
        lines += ["Host *", f"  IdentityFile {key}", f"  ControlPath {self._folder}/ssh-%n"]
        self.config.write_text("\n".join([*lines, *(f"  {option}" for option in OPTIONS)]) + "\n")
        self._names, self._first = [first[0]], first[0]
        self.add(*others)

    def add(self, *others: tuple[str, str]) -> None:
        """Further guests that are reached through the first."""
        lines = [f"Host {name}\n  HostName {address}\n  ProxyJump {self._first}\n" for name, address in others]
        self.config.write_text("".join(lines) + self.config.read_text())
        self._names += [name for name, _ in others]

    def wait(self, name: str, seconds: float) -> float:
        """Wait until ssh lets us in; returns how long it took. Raises StoryEnded."""
        began = time.monotonic()
        while (answer := self.run(name, "true", seconds=20)).code:
            if time.monotonic() - began > seconds:
                raise StoryEnded(f"ssh does not get into {name} within {seconds:.0f} s", answer.text)
            time.sleep(0.3)
        return time.monotonic() - began

    def run(self, name: str, command: str, *, seconds: float = 30.0) -> Answer:
        """Run a command in a guest; status 255 or 124 when ssh did not get in, or not back in time."""
        began = time.monotonic()
        try:
            done = subprocess.run(
                self.argv(name, command), capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Answer(124, f"no answer within {seconds:.0f} s", time.monotonic() - began)
        return Answer(done.returncode, (done.stdout + done.stderr).strip(), time.monotonic() - began)

    def tell(self, name: str, command: str, *, seconds: float = 30.0) -> Answer:
        """Run a command in a guest and show it with its output."""
        self._screen.command("host", f"ssh {name} {shlex.quote(command)}")
        answer = self.run(name, command, seconds=seconds)
        self._screen.result(answer.text, answer.seconds, most=6)
        return answer

    def argv(self, name: str, command: str) -> list[str]:
        return ["ssh", "-F", str(self.config), name, command]

    def forget(self, name: str) -> None:
        """Close the standing connection: its guest is about to go away."""
        self._control(name, "exit")

    def close(self) -> None:
        for name in self._names:
            self.forget(name)

    def _control(self, name: str, what: str) -> None:
        if (self._folder / f"ssh-{name}").exists():
            subprocess.run(["ssh", "-F", str(self.config), "-O", what, name], capture_output=True, timeout=10)


def ping(address: str, *, source: str = "") -> str:
    """busybox's ping as the guests have it, for either IP version; `source`: the address or interface to send from."""
    program = "ping6" if ":" in address else "ping"
    return f"{program} -q -c 3 -i 0.2 -W 1{f' -I {source}' if source else ''} {address}"


@dataclass(frozen=True, slots=True)
class Pinged:
    """What a ping measured."""

    sent: int
    back: int
    milliseconds: float  # of an average round trip; 0 if nothing came back

    @property
    def well(self) -> bool:
        """All came back, but perhaps the first: a switch may drop it while it asks for the neighbour's address."""
        return self.back >= self.sent - 1 > 0

    @property
    def silent(self) -> bool:
        return self.back == 0 < self.sent

    def __str__(self) -> str:
        told = f"{self.back} of {self.sent} answered"
        return f"{told}, {self.milliseconds:.1f} ms" if self.back else told


def pinged(text: str) -> Pinged:
    """Read the last summary in a ping's output."""
    counts, averages = PING.findall(text), AVERAGE.findall(text)
    sent, back = map(int, counts[-1]) if counts else (0, 0)
    return Pinged(sent, back, float(averages[-1]) if back and averages else 0.0)


class Serial:
    """A shell on the guest's serial console, over the WebSocket that the API hands out."""

    def __init__(self, link: ClientConnection) -> None:
        self._link = link
        self._count = 0

    def run(self, command: str, *, seconds: float = 20.0) -> Answer:
        """Type a command and read until its end; status 124 when it does not end in time."""
        self._count += 1
        mark = f"end-{self._count}:"
        began = time.monotonic()
        # The quotes keep the echo of what is typed from looking like the end.
        self._link.send(f'{command}; echo "end-""{self._count}:$?:"\n'.encode())
        seen = ""
        while not (found := re.search(rf"{mark}(\d+):", seen)):
            left = began + seconds - time.monotonic()
            if left <= 0:
                return Answer(124, seen, seconds)
            seen += _decoded(self._link, left)
        lines = [line for line in seen[: found.start()].replace("\r", "").splitlines() if command not in line]
        return Answer(int(found[1]), "\n".join(lines).strip(), time.monotonic() - began)


def _decoded(link: ClientConnection, seconds: float) -> str:
    try:
        data = link.recv(timeout=seconds)
    except TimeoutError:
        return ""
    return data if isinstance(data, str) else data.decode(errors="replace")


@contextmanager
def serial(url: str) -> Iterator[Serial]:
    """Open the console that `openstack console url show --serial` named."""
    origin = Origin(re.sub(r"^ws(s?)://([^/]+).*$", r"http\1://\2", url))
    with connect(url, origin=origin, subprotocols=[Subprotocol("binary")]) as link:
        console = Serial(link)
        console.run("stty -echo", seconds=5)
        yield console
