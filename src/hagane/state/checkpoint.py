"""Checkpoints of SQLite's write-ahead log, beside the writer instead of within its commits.

    the log has PAGES ─▶ copied in a thread of its own ─▶ the rest, right after the next commit ─▶ it starts anew

SQLite by itself copies the log into the database within the commit that made it long, and everybody waits for that one.
The copy beside the writer never catches up while others go on writing, hence the second, short step.
"""

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor

import apsw

PAGES = 4000  # of 4 KiB


class Checkpoints:
    """Of one writing connection. `copier` is another connection to the same file."""

    def __init__(self, writer: apsw.Connection, copier: apsw.Connection) -> None:
        self._writer, self._copier = writer, copier
        self._pages = 0
        self._copied = False
        self._thread = ThreadPoolExecutor(1, "sqlite-checkpoint")
        self._copying: asyncio.Future[None] | None = None
        writer.set_wal_hook(self._grew)

    def _grew(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK

    def committed(self) -> None:
        """Right after a commit, in its thread: copy what a finished copy left."""
        if self._copied:
            self._copied = False
            self._copy(self._writer)

    def start_if_due(self) -> None:
        """Begin to copy when the log is long."""
        if self._pages >= PAGES and not self._copied and (self._copying is None or self._copying.done()):
            self._copying = asyncio.get_running_loop().run_in_executor(self._thread, self._beside)

    def _beside(self) -> None:
        self._copy(self._copier)
        self._copied = True

    def _copy(self, connection: apsw.Connection) -> None:
        # A full disk is told by the commits; the log then grows until there is room.
        with contextlib.suppress(apsw.FullError, apsw.IOError, apsw.BusyError):
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    async def close(self) -> None:
        if self._copying is not None:
            await self._copying
        self._thread.shutdown()
        self._copier.close()
