"""What the story prints: chapters, commands as typed with their output and time, and proofs with what was measured.

1. A project and a user                                    <- chapter
   (demo)$ openstack network create front -f value -c id   <- command, as a person would type it
           3c1f0c60-5bd2-4b05-8e04-6a7a8e5b7a0f  0.31 s
   ✓ ping from web to db: 3 of 3, 0.9 ms                   <- proof; ✗ if the measurement says otherwise
"""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

BOLD, DIM, GREEN, RED, PLAIN = "\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m"
MOST_LINES = 14


class StoryEnded(Exception):
    """The story cannot go on. `evidence`: what helps to find out why, printed as it is."""

    def __init__(self, message: str, evidence: str = "") -> None:
        super().__init__(message)
        self.message, self.evidence = message, evidence


@dataclass(slots=True)
class Screen:
    """Prints, and remembers how long each chapter took and which proofs failed."""

    began: float = field(default_factory=time.monotonic)
    chapters: list[tuple[str, float]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    proofs: int = 0

    def _say(self, text: str, style: str = "", *, end: str = "\n") -> None:
        coloured = f"{style}{text}{PLAIN}" if style and sys.stdout.isatty() else text
        print(coloured, end=end, flush=True)

    @contextmanager
    def chapter(self, title: str) -> Iterator[None]:
        """A heading around what is told inside, and its time. The first, before the story, has the number 0."""
        began = time.monotonic()
        self._say(f"\n{len(self.chapters)}. {title}", BOLD)
        yield
        self.chapters.append((title, time.monotonic() - began))

    def note(self, text: str) -> None:
        """A sentence between commands."""
        self._say(f"   {text}", DIM)

    def plain(self, text: str) -> None:
        self._say(text)

    def command(self, who: str, line: str) -> None:
        """The command as typed; its result follows."""
        self._say(f"   ({who})$ ", DIM, end="")
        self._say(line)

    def result(self, output: str, seconds: float, *, most: int = MOST_LINES) -> None:
        """The command's output, cut to the screen, and its time."""
        lines = [line for line in output.splitlines() if line.strip()]
        if most == 0:
            lines = []
        elif len(lines) > most:
            lines = [*lines[: most - 1], f"... {len(lines) - most + 1} more lines"]
        width = max(60, shutil.get_terminal_size((120, 40)).columns - 12)
        for line in lines[:-1]:
            self._say(f"        {line[:width]}")
        self._say(f"        {lines[-1][:width]}  " if lines else "        ", end="")
        self._say(f"{seconds:.2f} s", DIM)

    def proof(self, text: str, *, holds: bool = True, evidence: str = "") -> None:
        """A measured fact. One that does not hold is told, remembered, and the story goes on."""
        self.proofs += 1
        if holds:
            self._say("   ✓ ", GREEN, end="")
            self._say(text)
            return
        self.failed.append(text)
        self._say("   ✗ ", RED, end="")
        self._say(text)
        for line in evidence.rstrip().splitlines()[-20:]:
            self._say(f"        {line}")

    def ended(self, error: StoryEnded) -> None:
        """Say why the story ended early."""
        self.proof(error.message, holds=False)
        for line in error.evidence.rstrip().splitlines():
            self._say(f"        {line}")

    def summary(self) -> None:
        """Times of the chapters, all proofs counted."""
        total = time.monotonic() - self.began
        self._say("\nTimes", BOLD)
        for title, seconds in self.chapters:
            self._say(f"   {seconds:6.1f} s  {title}")
        self._say(f"   {total:6.1f} s  in all")
        style = RED if self.failed else GREEN
        self._say(f"   {self.proofs - len(self.failed)} of {self.proofs} proofs hold.", style)
