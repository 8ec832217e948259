"""A connection that stands for a while: lines go out many times a second, and the time of each echo is kept."""

import subprocess
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from story.screen import StoryEnded

BETWEEN = 0.05  # seconds between lines


class Stream:
    """Feeds the stdin of a command that ends in an echo server, and reads its stdout."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = argv
        self._echoes: list[float] = []
        self._over = threading.Event()
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._write, self._read)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join()

    def _write(self) -> None:
        count = 0
        while not self._over.is_set():
            try:
                assert self._process.stdin is not None
                self._process.stdin.write(f"{count}\n".encode())
            except OSError:
                return
            count += 1
            time.sleep(BETWEEN)

    def _read(self) -> None:
        assert self._process.stdout is not None
        while self._process.stdout.readline():
            self._echoes.append(time.monotonic())

    def flowing(self, seconds: float) -> float:
        """Wait for the first echoes; seconds since the beginning. Raises StoryEnded."""
        while len(self._echoes) < 10:
            if time.monotonic() - self._began > seconds:
                raise StoryEnded(f"No echo within {seconds:.0f} s although a rule allows it")
            time.sleep(BETWEEN)
        return self._echoes[0] - self._began

    def rate(self) -> int:
        """Echoes a second since the first."""
        return round(len(self._echoes) / max(0.1, time.monotonic() - self._echoes[0]))

    def silent(self, *, quiet: float, seconds: float) -> float:
        """Wait until no echo came for `quiet` seconds; the moment of the last one. Raises StoryEnded."""
        until = time.monotonic() + seconds
        while time.monotonic() - self._echoes[-1] < quiet:
            if time.monotonic() > until:
                raise StoryEnded(f"The connection still stands {seconds:.0f} s after the rule was deleted")
            time.sleep(BETWEEN)
        return self._echoes[-1]
