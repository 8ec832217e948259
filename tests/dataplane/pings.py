"""A ping that goes on while something happens, and tells how long packets were missed."""

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from hagane.lab.netns import inside


class Pings:
    """A ping that goes on; `longest` is the longest time between two answers, known at the end."""

    def __init__(self, program: "subprocess.Popen[str]") -> None:
        self._program, self._times = program, list[float]()
        self.longest = 0.0

    def more(self, count: int) -> None:
        """Wait for so many more answers."""
        assert self._program.stdout is not None
        fresh = -1
        while fresh < count:
            line = self._program.stdout.readline()
            if found := re.match(r"\[([\d.]+)\] \d+ bytes", line):
                self._times.append(float(found[1]))
                fresh += time.time() - self._times[-1] < 0.5
        self.longest = max(b - a for a, b in zip(self._times, self._times[1:], strict=False))


@contextmanager
def pinging(space: str, address: str) -> Iterator[Pings]:
    """A ping every 0.1 s from a namespace ("": from this machine's own shell) for as long as the block lasts."""
    argv = inside(space, "ping", "-n", "-D", "-i", "0.1", address)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as program:
        try:
            pings = Pings(program)
            pings.more(2)
            yield pings
        finally:
            program.kill()
