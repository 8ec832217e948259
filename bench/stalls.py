"""`python -m hagane` under a stopwatch: which callbacks, and which collections of garbage, held the event loop long.

`python bench/stalls.py REPORT up --sim ...` writes to REPORT when the process ends: when (monotonic), how long, what; a
line for each hold, most of them caused by one callback that did too much at a time. The time for which others had the
core does not count (schedstat's run delay, proc(5)). The stopwatch costs each callback a few microseconds.
"""

import asyncio.events
import atexit
import gc
import os
import sys
import time
from pathlib import Path
from typing import Any

LONG = 0.010  # seconds

_holds: list[tuple[float, float, str]] = []  # when it ended, seconds, what
_schedstat = os.open("/proc/thread-self/schedstat", os.O_RDONLY)


def _clock() -> float:
    """Seconds in which this thread ran, or waited for anything but a core."""
    delay = int(os.pread(_schedstat, 64, 0).split()[1]) / 1e9
    return time.monotonic() - delay


def _describe(handle: Any) -> str:
    if handle._callback is None:
        return ""
    owner = getattr(handle._callback, "__self__", None)
    coroutine = owner.get_coro() if isinstance(owner, asyncio.Task) else None
    if coroutine is None:
        return getattr(handle._callback, "__qualname__", repr(handle._callback))
    name: str = coroutine.__qualname__
    inner = getattr(coroutine, "cr_await", None)
    while inner is not None and hasattr(inner, "cr_code"):
        name, inner = f"{name} > {inner.__qualname__}", inner.cr_await
    return name


def _watch_callbacks() -> None:
    run = asyncio.events.Handle._run

    def timed(self: Any) -> None:
        before = _describe(self)
        began = _clock()
        run(self)
        seconds = _clock() - began
        if seconds > LONG:
            _holds.append((time.monotonic(), seconds, f"{before} | {_describe(self)}"))

    asyncio.events.Handle._run = timed  # type: ignore[method-assign]


def _watch_garbage() -> None:
    began = 0.0

    def told(phase: str, info: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = _clock()
        elif (seconds := _clock() - began) > LONG:
            _holds.append((time.monotonic(), seconds, f"garbage collection of generation {info['generation']}"))

    gc.callbacks.append(told)


def _report(path: Path) -> None:
    path.write_text("".join(f"{when:.3f} {seconds:.4f} {what}\n" for when, seconds, what in _holds))


if __name__ == "__main__":
    report = Path(sys.argv.pop(1))
    atexit.register(_report, report)
    _watch_callbacks()
    _watch_garbage()
    from hagane.__main__ import main

    main()
