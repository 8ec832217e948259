"""Programs: run one to its end, or keep one as a daemon that outlives Hagane.

A daemon is described by data (`Daemon`) and found by its pid file. A pid file may be stale (kill -9, reboot), and its
number may belong to a stranger by now, so a process counts as ours only if it is the same program *and* names our pid
file on its command line. Signals go through a pidfd that was opened before that check: a recycled pid is never hit.
All daemons used here go to the background by themselves, and only once they are ready, so `start` needs no polling.
Programs run by way of a thread: asyncio's own subprocesses may hang when they are cancelled while they start.

    absent ──start──▶ running ──stop (TERM, then KILL)──▶ absent
       ▲                 │
       └──── dies ◀──────┘        (supervise.py watches and starts again)
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from hagane.errors import DeviceFailed, Unavailable

TERM_SECONDS = 3.0
T = TypeVar("T")


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


async def run(*argv: str, stdin: str = "", timeout: float = 30.0) -> str:
    """Run a program and return its output. Errors: Unavailable (missing, or too slow), DeviceFailed (it says no)."""
    return await asyncio.to_thread(tool, *argv, stdin=stdin, timeout=timeout)


def tool(*words: object, stdin: str = "", timeout: float = 300.0, cwd: Path | None = None) -> str:
    """The same, blocking, for code that runs in a thread."""
    argv = [str(word) for word in words]
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=timeout, cwd=cwd)
    except FileNotFoundError as error:
        raise Unavailable(f"The program {argv[0]} is not installed; `hagane doctor` names the package.") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"`{' '.join(argv)}` did not end within {timeout:g} s.") from error
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}"
        raise DeviceFailed(f"`{' '.join(argv)}` failed: {said}", detail=stdin)
    return done.stdout


async def together(*work: Awaitable[T]) -> list[T]:
    """Do all of it at once, to the end even if some fails; then raise the first error."""
    results = await asyncio.gather(*work, return_exceptions=True)
    done: list[T] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        done.append(result)
    return done


def pid_of(daemon: Daemon) -> int | None:
    """The pid of the running daemon, or None."""
    return next(iter(_ours(daemon)), None)


async def start(daemon: Daemon, *, timeout: float = 20.0) -> int:
    """Start the daemon unless it runs; return its pid when it is ready. Errors: Unavailable, DeviceFailed."""
    running = pid_of(daemon)
    return running if running is not None else await asyncio.to_thread(_launch, daemon, timeout)


def _launch(daemon: Daemon, timeout: float) -> int:
    if shutil.which(daemon.program) is None and daemon.program != Path(sys.executable).name:
        raise Unavailable(f"The program {daemon.program} is not installed; `hagane doctor` names the package.")
    daemon.pid_file.parent.mkdir(parents=True, exist_ok=True)
    daemon.pid_file.unlink(missing_ok=True)
    daemon.log.parent.mkdir(parents=True, exist_ok=True)
    complaints = daemon.log.with_suffix(".err")
    null, env = subprocess.DEVNULL, {**os.environ, **dict(daemon.env)}
    with complaints.open("wb") as err:
        try:
            # The daemon keeps these descriptors: a file, not a pipe that would have to be read for ever.
            done = subprocess.run(
                daemon.argv, stdin=null, stdout=err, stderr=err, env=env, start_new_session=True, timeout=timeout
            )
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"{daemon.name} was not ready after {timeout:g} s; see {daemon.log}.") from error
    pid = None if done.returncode else pid_of(daemon)
    if pid is None:
        raise DeviceFailed(f"{daemon.name} does not start: {tail(complaints) or tail(daemon.log)}")
    return pid


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
        async with asyncio.timeout(timeout):
            await ended.wait()
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


def tail(path: Path, size: int = 600) -> str:
    """The end of a log, for error texts."""
    try:
        return path.read_bytes()[-size:].decode(errors="replace").strip()
    except OSError:
        return ""
