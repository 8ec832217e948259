"""The running process as other commands find it: a small file in the state folder, verified against the process table.

    hagane up ──writes──▶ process.json ──read by──▶ hagane down, status, explain, doctor
"""

import os
import signal
import time
from pathlib import Path

import msgspec


class ProcessFile(msgspec.Struct):
    """Who serves from this state folder. `ticks` is the process's start time, so that a recycled pid is not mistaken."""

    pid: int
    ticks: str
    url: str
    sim: bool
    started: float


def _ticks(pid: int) -> str:
    """Start time of a process in clock ticks (proc(5), field 22), or "" when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _path(state: Path) -> Path:
    return state / "process.json"


def write(state: Path, url: str, *, sim: bool) -> None:
    mine = ProcessFile(os.getpid(), _ticks(os.getpid()), url, sim, time.time())
    temporary = state / ".process.json"
    temporary.write_bytes(msgspec.json.encode(mine))
    temporary.rename(_path(state))


def find(state: Path) -> ProcessFile | None:
    """The process that serves from this folder, if it is alive."""
    try:
        known = msgspec.json.decode(_path(state).read_bytes(), type=ProcessFile)
    except (OSError, msgspec.DecodeError):
        return None
    return known if known.ticks and _ticks(known.pid) == known.ticks else None


def clear(state: Path) -> None:
    _path(state).unlink(missing_ok=True)


def stop(state: Path, *, timeout: float = 20.0) -> bool:
    """End the process with SIGTERM and wait; True when there was one. Raises TimeoutError."""
    known = find(state)
    if known is None:
        return False
    os.kill(known.pid, signal.SIGTERM)
    until = time.monotonic() + timeout
    while _ticks(known.pid) == known.ticks and not _zombie(known.pid):
        if time.monotonic() > until:
            raise TimeoutError(f"Process {known.pid} did not end within {timeout:.0f} s.")
        time.sleep(0.05)
    return True


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return True
