"""Runs of the same tests beside each other on one machine: each has a number, of which names and addresses are made."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def slot(kind: str, most: int) -> Iterator[int]:
    """A number below `most` that no other run of this kind has inside the block; a kill gives it back."""
    for number in range(most):
        lock = os.open(f"/run/lock/hagane-{kind}-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        try:
            yield number
        finally:
            os.close(lock)
        return
    raise AssertionError(f"{most} runs of these tests are under way")
