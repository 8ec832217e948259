"""Programs: run one to its end, or keep one as a daemon that outlives Hagane.

A daemon is described by data (`Daemon`) and found by its pid file. A pid file may be stale (kill -9, reboot), and its
number may belong to a stranger by now, so a process counts as ours only if it is the same program *and* names our pid
file on its command line. Signals go through a pidfd that was opened before that check: a recycled pid is never hit.
All daemons used here go to the background by themselves, and only once they are ready, so `start` needs no polling.

    absent ──start──▶ running ──stop (TERM, then KILL)──▶ absent
       ▲                 │
       └──── dies ◀──────┘        (supervise.py watches and starts again)
"""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hagane.errors import DeviceFailed, Unavailable

TERM_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Daemon:
    """One daemon. `argv` must hold the pid file's path, and the program must detach by itself when it is ready."""

    name: str
    program: str
    argv: tuple[str, ...]
    pid_file: Path
    log: Path
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class DaemonSeen:
    """What `hagane status` says about one daemon. `since` is Unix time in seconds."""

    name: str
    running: bool
    pid: int | None
    since: float | None
    restarts: int
    log: Path


async def run(*argv: str, stdin: str = "", timeout: float = 30.0, env: dict[str, str] | None = None) -> str:
    """Run a program and return its output. Errors: Unavailable (missing, or too slow), DeviceFailed (it says no)."""
    pipe = asyncio.subprocess.PIPE
    full = {**os.environ, **env} if env else None
    try:
        process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, stderr=pipe, env=full)
    except FileNotFoundError as error:
        raise Unavailable(f"The program {argv[0]} is not installed; `hagane doctor` names the package.") from error
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), timeout)
    except (TimeoutError, asyncio.CancelledError) as error:
        process.kill()
        await process.wait()
        if isinstance(error, asyncio.CancelledError):
            raise
        raise Unavailable(f"`{' '.join(argv)}` did not end within {timeout:g} s.") from error
    if process.returncode:
        said = err.decode(errors="replace").strip() or out.decode(errors="replace").strip()
        said = said or f"exit status {process.returncode}"
        raise DeviceFailed(f"`{' '.join(argv)}` failed: {said}", detail=stdin)
    return out.decode(errors="replace")


def pid_of(daemon: Daemon) -> int | None:
    """The pid of the running daemon, or None."""
    return next(iter(_ours(daemon)), None)


async def start(daemon: Daemon, *, timeout: float = 20.0) -> int:
    """Start the daemon unless it runs; return its pid when it is ready. Errors: Unavailable, DeviceFailed."""
    running = pid_of(daemon)
    if running is not None:
        return running
    if shutil.which(daemon.program) is None:
        raise Unavailable(f"The program {daemon.program} is not installed; `hagane doctor` names the package.")
    daemon.pid_file.parent.mkdir(parents=True, exist_ok=True)
    daemon.pid_file.unlink(missing_ok=True)
    daemon.log.parent.mkdir(parents=True, exist_ok=True)
    complaints = daemon.log.with_suffix(".err")
    await _launch(daemon, complaints, timeout)
    pid = pid_of(daemon)
    if pid is None:
        raise DeviceFailed(f"{daemon.name} ended right after its start: {_tail(complaints) or _tail(daemon.log)}")
    return pid


async def _launch(daemon: Daemon, complaints: Path, timeout: float) -> None:
    null = asyncio.subprocess.DEVNULL
    with complaints.open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            *daemon.argv,
            stdin=null,
            stdout=err,
            stderr=err,
            env={**os.environ, **dict(daemon.env)},
            start_new_session=True,
        )
    try:
        status = await asyncio.wait_for(process.wait(), timeout)
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise Unavailable(f"{daemon.name} was not ready after {timeout:g} s; see {daemon.log}.") from error
    if status:
        raise DeviceFailed(f"{daemon.name} does not start: {_tail(complaints) or _tail(daemon.log)}")


async def stop(daemon: Daemon, *, grace: float = TERM_SECONDS) -> None:
    """End the daemon, gently first. Nothing happens if it does not run."""
    for pid in _ours(daemon):
        await end(pid, grace=grace, sure=partial(_is, daemon, pid))
    daemon.pid_file.unlink(missing_ok=True)
    restarts_file(daemon).unlink(missing_ok=True)


async def end(pid: int, *, grace: float = TERM_SECONDS, sure: Callable[[], bool] | None = None) -> None:
    """End one process: TERM, after `grace` seconds KILL. `sure()` is asked once the pid can no longer be recycled."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if sure is not None and not sure():
            return
        for signal_number in (signal.SIGTERM, signal.SIGKILL) if grace else (signal.SIGKILL,):
            signal.pidfd_send_signal(fd, signal_number)
            if await gone(fd, timeout=grace or 5.0):
                return
    except ProcessLookupError:
        return
    finally:
        os.close(fd)


async def gone(pidfd: int, *, timeout: float | None) -> bool:
    """Wait until the process behind a pidfd has ended; False when time is up first."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    try:
        await asyncio.wait_for(ended.wait(), timeout)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(pidfd)
    return True


def seen(daemon: Daemon) -> DaemonSeen:
    """The daemon as it is now."""
    pid = pid_of(daemon)
    since = started_at(pid) if pid is not None else None
    return DaemonSeen(daemon.name, pid is not None, pid, since, _restarts(daemon), daemon.log)


def started_at(pid: int) -> float | None:
    """Unix time at which a process started (proc(5): field 22 of stat, in clock ticks since boot)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    ticks = int(stat.rpartition(")")[2].split()[19])
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")


def restarts_file(daemon: Daemon) -> Path:
    return daemon.pid_file.with_suffix(".restarts")


def count_restart(daemon: Daemon) -> None:
    """Remember one more restart, for `status` in any process."""
    restarts_file(daemon).write_text(str(_restarts(daemon) + 1))


def _restarts(daemon: Daemon) -> int:
    try:
        return int(restarts_file(daemon).read_text())
    except (OSError, ValueError):
        return 0


def _ours(daemon: Daemon) -> Iterable[int]:
    """Pids of this daemon: from the pid file if it speaks the truth, else from a look at all processes."""
    try:
        pid = int(daemon.pid_file.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        pid = 0
    if pid and _is(daemon, pid):
        return [pid]
    return [
        int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _is(daemon, int(entry.name))
    ]


def _is(daemon: Daemon, pid: int) -> bool:
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    mine = str(daemon.pid_file).encode()
    return argv[0].rpartition(b"/")[2] == daemon.program.encode() and any(
        part == mine or part.endswith(b"=" + mine) for part in argv
    )


def _tail(path: Path, size: int = 600) -> str:
    try:
        return path.read_bytes()[-size:].decode(errors="replace").strip()
    except OSError:
        return ""
