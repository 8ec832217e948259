"""A limit on the processor's time for what somebody else has written: regular expressions, rules.

A regular expression of six letters may take years, and it would take them in the event loop, where nobody else is
served meanwhile. Python looks for signals between its own steps and within a search, so a timer can end either.
Only the main thread hears signals, which is where the event loop runs; a cloud in another thread has no limit.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TooLong(Exception):
    """The time is up."""

    def __init__(self) -> None:
        super().__init__("it takes too long")


def _end(_number: int, _frame: FrameType | None) -> None:
    raise TooLong


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """What is done within may use so much of the process's time. Raises TooLong."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGVTALRM, _end)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
