"""What holds the event loop: a cloud under a stopwatch (bench/stalls.py) takes ports, servers and lists."""

from cloud import Cloud
from report import Number

from measure.port import Ports
from measure.server import Servers


def stalls() -> list[Number]:
    """The longest hold after the start, and what it was."""
    cloud = Cloud(stalls=True)
    ready = cloud.started + cloud.ready_seconds
    try:
        Ports(cloud, None).round()
        servers = Servers(cloud)
        servers.round()
        servers.lists(1)
        cloud.end()
        lines = cloud.stalls.read_text().splitlines() if cloud.stalls else []
    finally:
        cloud.stop()
    holds = [line.split(" ", 2) for line in lines]
    late = sorted(((float(seconds), what) for when, seconds, what in holds if float(when) > ready), reverse=True)
    longest, what = late[0] if late else (0.0, "")
    note = f"{sum(seconds > 0.02 for seconds, _ in late)} above 20 ms; {what[-90:]}"
    return [Number("longest hold of the event loop", longest * 1000, "ms", 20, more=False, note=note)]
