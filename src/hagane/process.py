"""The running process as other commands find it: a small file in the state folder, checked against the process table.

    hagane up ──writes──▶ process-<port>.json ──read by──▶ hagane down, status, explain, doctor

Several processes on PostgreSQL may share a state folder; each has its own port, and so its own file.
"""

import os
import signal
import time
from pathlib import Path

import msgspec

from hagane.config import Config


class ProcessFile(msgspec.Struct):
    """Who serves from this state folder. `ticks` is the process's start time: a recycled pid is not mistaken."""

    pid: int
    ticks: str
    url: str
    sim: bool
    started: float


def _ticks(pid: int) -> str:
    """Start time of a process in clock ticks (proc(5), fields 3 and 22), or "" when there is none. A killed one that
    its parent has not asked after yet serves nobody; in a container that parent may take its time."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    except (OSError, IndexError):
        return ""


def _path(config: Config) -> Path:
    return config.state / f"process-{config.listen.rpartition(':')[2]}.json"


def write(config: Config, url: str) -> None:
    mine = ProcessFile(os.getpid(), _ticks(os.getpid()), url, config.sim, time.time())
    temporary = _path(config).with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode(mine))
    temporary.rename(_path(config))


def find(config: Config) -> ProcessFile | None:
    """The process that serves from this folder, if one is alive: the one of this port, else any."""
    for path in (_path(config), *sorted(config.state.glob("process-*.json"))):
        known = _read(path)
        if known is not None and known.ticks and _ticks(known.pid) == known.ticks:
            return known
    return None


def _read(path: Path) -> ProcessFile | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=ProcessFile)
    except (OSError, msgspec.DecodeError):
        return None


def clear(config: Config) -> None:
    _path(config).unlink(missing_ok=True)


def stop(config: Config, *, timeout: float = 20.0) -> int:
    """End all processes of this folder with SIGTERM and wait; returns how many there were. Raises TimeoutError."""
    count = 0
    while (known := find(config)) is not None:
        os.kill(known.pid, signal.SIGTERM)
        until = time.monotonic() + timeout
        while _ticks(known.pid) == known.ticks:
            if time.monotonic() > until:
                raise TimeoutError(f"Process {known.pid} did not end within {timeout:.0f} s.")
            time.sleep(0.05)
        for path in config.state.glob("process-*.json"):
            if (other := _read(path)) is not None and other.pid == known.pid:
                path.unlink()
        count += 1
    return count
