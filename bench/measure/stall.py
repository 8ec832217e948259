"""What holds the event loop: a cloud under a stopwatch (bench/stalls.py) takes ports, servers and lists."""

import itertools
import time

from cloud import Cloud
from report import Number

from measure.port import Ports
from measure.server import Servers

WINDOWS = 3


def stalls() -> list[Number]:
    """The longest hold of each of several windows; the best window's counts, since a virtual machine's core may be
    taken away without a trace, and nobody can tell such a gap from a hold."""
    cloud = Cloud(stalls=True)
    try:
        ports, servers = Ports(cloud, None), Servers(cloud)
        marks = [time.monotonic()]
        for _ in range(WINDOWS):
            ports.round(seconds=1.0)
            servers.round(1.0)
            servers.lists(1)
            marks.append(time.monotonic())
        cloud.end()
        lines = cloud.stalls.read_text().splitlines() if cloud.stalls else []
    finally:
        cloud.stop()
    holds = [(float(when), float(seconds), what) for when, seconds, what in (line.split(" ", 2) for line in lines)]
    windows = [_longest(holds, *window) for window in itertools.pairwise(marks)]
    longest, what = min(windows)
    return [Number("longest hold of the event loop", longest * 1000, "ms", 20, more=False, note=what[-90:])]


def _longest(holds: list[tuple[float, float, str]], begin: float, end: float) -> tuple[float, str]:
    return max(
        ((seconds, what) for when, seconds, what in holds if begin < when < end), default=(0.0, "none above 10 ms")
    )
