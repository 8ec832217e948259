"""Suspends Python's search for cyclic garbage while the initial content of a database is read."""

import gc


class _NoCollections:
    """Hundreds of thousands of objects are about to be made that will stay: searching them for garbage again and again
    takes longer than making them. Several replicas may load at the same time."""

    def __init__(self) -> None:
        self._depth = 0
        self._was_enabled = False

    def __enter__(self) -> None:
        if self._depth == 0:
            self._was_enabled = gc.isenabled()
            gc.disable()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0 and self._was_enabled:
            gc.freeze()  # nor later: it is freed when the database says so, and never in a cycle
            gc.enable()


no_collections = _NoCollections()
