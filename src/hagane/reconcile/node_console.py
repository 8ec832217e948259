"""Serial consoles of Nodes, kept: one connection to the BMC each, what it prints remembered, viewers beside each other.

    wanted (enabled, a ramdisk that boots, a viewer) ─▶ connected ─prints─▶ the last 64 KiB, and every viewer
                          ▲────── the machine was off, the BMC ended it: again ─────┘

A BMC has one serial session for all: whoever keeps it is the only one, so viewers share it.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

from hagane.baremetal.node import NODE
from hagane.baremetal.node_console import has_console
from hagane.errors import HaganeError, NotFound, Unavailable
from hagane.reconcile.node_bmc import Bmcs
from hagane.state.database import Database, Row

KEPT = 64 << 10  # bytes
AGAIN, LATEST = 1.0, 30.0  # seconds between attempts
FIRST = 3.0  # how long somebody who asks waits for the connection
MOST = 64  # consoles that are kept only because a ramdisk boots
_CONTROL = re.compile("\x1b\\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(eq=False)
class _Line:
    """One Node's console."""

    instance: str | None = None  # whose machine it is: nobody reads or types at the next one's
    text: bytearray = field(default_factory=bytearray)
    viewers: set[asyncio.Queue[bytes]] = field(default_factory=set)
    why: str = "it is being connected"
    type_in: Callable[[bytes], Awaitable[None]] | None = None
    task: asyncio.Task[None] | None = None
    connected: asyncio.Event = field(default_factory=asyncio.Event)


class NodeConsoles:
    """Provided as baremetal.node_console.NodeConsole."""

    def __init__(self, db: Database, bmcs: Bmcs) -> None:
        self._db, self._bmcs = db, bmcs
        self._lines: dict[str, _Line] = {}

    # -- keeping -------------------------------------------------------------------------------------------------

    def keep(self, row: Row) -> None:
        """Listen from now on, if the Node has a console."""
        if has_console(row) and row["console_interface"] != "fake":
            self._line(row)

    def watch(self, row: Row) -> None:
        """The same for a ramdisk that boots, so that its last words are known; unless there are too many of them."""
        if len(self._lines) < MOST and (row["driver_info"] or {}).get("ipmi_address"):
            self.keep(row)

    def _line(self, row: Row) -> _Line:
        line = self._lines.get(row["id"])
        if line is None:
            line = self._lines[row["id"]] = _Line(row["instance_id"])
            line.task = asyncio.get_running_loop().create_task(self._listen(row, line), name=f"console-{row['id']}")
        return line

    async def drop(self, node_id: str) -> None:
        line = self._lines.pop(node_id, None)
        if line is not None and line.task is not None:
            line.task.cancel()
            await asyncio.gather(line.task, return_exceptions=True)
        for queue in line.viewers if line is not None else ():
            with contextlib.suppress(asyncio.QueueFull):
                queue.put_nowait(b"")
        if line is not None:
            line.type_in = None

    async def settle(self, row: Row) -> None:
        """Nothing is being done to the Node: its console is kept if an operator enabled it, or somebody looks. That of
        a tenant's machine is kept on while there are few: what it says when it starts can be read later."""
        line = self._lines.get(row["id"])
        if line is not None and line.instance is None:
            line.instance = row["instance_id"]
        if line is not None and line.instance != row["instance_id"]:
            await self.drop(row["id"])
        if row["console_enabled"]:
            self.keep(row)
        elif line is not None and not line.viewers and not (row["instance_id"] and len(self._lines) <= MOST):
            await self.drop(row["id"])

    async def _listen(self, row: Row, line: _Line) -> None:
        pause = AGAIN
        while True:
            try:
                output, line.type_in = await self._bmcs.of(row).console()
            except HaganeError as error:
                line.why = error.message
            else:
                pause = AGAIN
                line.connected.set()
                with contextlib.suppress(HaganeError):
                    await _hear(output, line)
                line.why, line.type_in = "the BMC ended it", None
                line.connected.clear()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LATEST)

    # -- looking -------------------------------------------------------------------------------------------------

    def last(self, node_id: str, lines: int = 5) -> str:
        """The last lines, in one; "" where nothing is known."""
        known = self._lines.get(node_id)
        text = _CONTROL.sub("", known.text.decode("utf-8", "replace")) if known else ""
        found = [line.strip() for line in text.splitlines() if line.strip()]
        return " | ".join(found[-lines:])

    async def log(self, node_id: str) -> bytes:
        """What the machine has printed since somebody listens. Raises NotFound, Unavailable."""
        return bytes((await self._wanted(node_id)).text)

    async def live(self, node_id: str) -> tuple[AsyncGenerator[bytes, None], Callable[[bytes], Awaitable[None]]]:
        """The port itself. Raises NotFound, Unavailable."""
        line = await self._wanted(node_id)
        queue: asyncio.Queue[bytes] = asyncio.Queue(1000)
        line.viewers.add(queue)

        async def output() -> AsyncGenerator[bytes, None]:
            try:
                while chunk := await queue.get():  # nothing: the Node is another's now
                    yield chunk
            finally:
                line.viewers.discard(queue)

        async def type_in(data: bytes) -> None:
            if line.type_in is not None:
                await line.type_in(data)

        return output(), type_in

    async def _wanted(self, node_id: str) -> _Line:
        row = await NODE.get(self._db, id=node_id)
        if row is None:
            raise NotFound(f"Node {node_id} could not be found.")
        if not has_console(row):
            raise Unavailable(f"Node {node_id} has no serial console.")
        line = self._lines.get(node_id)
        if line is not None and line.instance not in (None, row["instance_id"]):
            await self.drop(node_id)  # another process has given the machine to somebody else
        line = self._line(row)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST):
                await line.connected.wait()
        if not line.connected.is_set() and not line.text:
            raise Unavailable(f"The console of node {node_id} cannot be opened: {line.why}")
        return line

    async def close(self) -> None:
        for node_id in list(self._lines):
            await self.drop(node_id)


async def _hear(output: AsyncGenerator[bytes, None], line: _Line) -> None:
    try:
        async for chunk in output:
            line.text += chunk
            del line.text[:-KEPT]
            for queue in line.viewers:
                if not queue.full():  # who does not read misses something
                    queue.put_nowait(chunk)
    finally:
        await output.aclose()
