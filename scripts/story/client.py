"""The unmodified `openstack` client as a person uses it: each command is printed as typed, with its result and time.

    client.run("demo", "network", "create", "front", "-f", "value", "-c", "id")     tell it and wait
    begun = client.start("demo", ...); ...; client.finish(begun)                    several at once

Who asks is an entry in clouds.yaml ($OS_CLOUD); every command logs in by itself. How this is fast: prefork.py.
"""

import json
import os
import pty
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from story.screen import MOST_LINES, Screen, StoryEnded

LONGEST = 120  # seconds that one command may take


@dataclass(slots=True)
class Running:
    """A command that was started."""

    who: str
    words: tuple[str, ...]
    began: float
    output: int
    result: int

    @property
    def line(self) -> str:
        return shlex.join(("openstack", *self.words))


class Client:
    """Runs commands of the client; one per story."""

    def __init__(self, screen: Screen, clouds: Path, folder: Path) -> None:
        self._screen, self._folder = screen, folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        self._env = kept | {"OS_CLIENT_CONFIG_FILE": str(clouds), "PYTHONWARNINGS": "ignore"}
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "story.prefork", str(theirs.fileno())], pass_fds=[theirs.fileno()],
            cwd=Path(__file__).parents[1], env=kept,
        )  # fmt: skip
        theirs.close()
        self._ready = False

    def close(self) -> None:
        self._link.close()
        self._process.wait()

    def start(self, who: str, *words: str, terminal: bool = False) -> Running:
        """Begin a command and come back at once. `terminal`: it is to believe that it writes to one."""
        if not self._ready:
            self._link.recv(16)
            self._ready = True
        output, theirs = pty.openpty() if terminal else os.pipe()
        given = theirs if terminal else os.open(os.devnull, os.O_RDONLY)
        result, told = os.pipe()
        request = {
            "argv": words, "env": self._env | {"OS_CLOUD": who}, "cwd": str(self._folder), "terminal": terminal,
            "seconds": LONGEST,
        }  # fmt: skip
        began = time.monotonic()
        socket.send_fds(self._link, [json.dumps(request).encode()], [given, theirs, told])
        for fd in {theirs, given, told}:
            os.close(fd)
        return Running(who, words, began, output, result)

    def run(self, who: str, *words: str, terminal: bool = False, hide: str = "") -> str:
        """Tell a command, wait for it, tell its result; what equals or is called `hide` is kept off the screen.

        Raises StoryEnded when the command fails.
        """
        running = self.start(who, *words, terminal=terminal)
        return self.finish(running, hide=hide)

    def finish(self, running: Running, *, hide: str = "", most: int = MOST_LINES) -> str:
        """Wait for a command that was started, and tell it with its result, of which `most` lines are shown."""
        self._screen.command(running.who, _hidden(running.line, hide))
        code, output, seconds = _wait(running)
        self._screen.result(_hidden(output, hide), seconds, most=most)
        if code:
            raise StoryEnded(f"{_hidden(running.line, hide)} ended with status {code}")
        return output

    def together(self, who: str, *commands: Sequence[str], hide: str = "") -> list[str]:
        """Commands that do not depend on each other, started at once and told one after the other."""
        begun = [self.start(who, *words) for words in commands]
        return [self.finish(running, hide=hide) for running in begun]

    def ask(self, who: str, *words: str) -> str:
        """The output of a command that is not told (the story waits for something with it)."""
        code, output, _ = _wait(self.start(who, *words))
        if code:
            raise StoryEnded(f"openstack {shlex.join(words)} ended with status {code}", output)
        return output

    def tried(self, who: str, *words: str) -> bool:
        """Run a command that may well fail, untold."""
        return _wait(self.start(who, *words))[0] == 0


def _hidden(text: str, secret: str) -> str:
    """The text without a secret: the word itself, or the value of a JSON member of that name."""
    if not secret:
        return text
    return re.sub(rf'("{secret}": )"[^"]*"', r'\1"..."', text).replace(f" {secret} ", " ... ")


def _wait(running: Running) -> tuple[int, str, float]:
    """Status, output and seconds of a command."""
    parts: list[bytes] = []
    while part := _read(running.output):
        parts.append(part)
    told = os.read(running.result, 64)
    os.close(running.output)
    os.close(running.result)
    code, ended = json.loads(told) if told else (70, time.monotonic())
    # A terminal shows of a line that was written over and over only its last form.
    lines = b"".join(parts).decode(errors="replace").replace("\r\n", "\n").split("\n")
    return code, "\n".join(line.rsplit("\r", 1)[-1] for line in lines), ended - running.began


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 16)
    except OSError:  # what a terminal says when its other side has gone
        return b""
