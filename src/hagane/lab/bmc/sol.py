"""Serial over LAN (IPMI 2.0, chapter 15): a machine's serial port to one client, each packet acknowledged.

The session is the BMC's, not the machine's: it goes on while the machine is switched off and on again.
"""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from hagane.lab.bmc.rmcp import Session

TRIES, SECONDS = 8, 0.5
AGAIN = 0.1  # seconds between looks for the serial port of a machine that is off


class SerialOverLan:
    """One client's view of the serial port; it ends when the client ends it or falls silent."""

    CHUNK = 200

    def __init__(self, session: Session, serial: Path, send: Callable[[bytes], None]) -> None:
        self.session = session
        self._serial, self._send = serial, send
        self._sequence = self._heard = 0
        self._acknowledged = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def alive(self) -> bool:
        return self._task is not None and not self._task.done()

    async def open(self) -> None:
        """Connect to the serial port. QEMU takes one connection, so a second client waits for the first to end."""
        reader, self._writer = await asyncio.open_unix_connection(self._serial)
        self._task = asyncio.create_task(self._serve(reader, self._writer))

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def received(self, packet: bytes) -> None:
        """A packet from the client: an acknowledgement, bytes for the machine, or both."""
        if len(packet) < 4:
            return
        sequence, acknowledges, data = packet[0] & 0x0F, packet[1] & 0x0F, packet[4:]
        if acknowledges and acknowledges == self._sequence:
            self._acknowledged.set()
        if not sequence:
            return
        if sequence != self._heard and data and self._writer is not None:
            self._writer.write(data)
        self._heard = sequence
        self._send(bytes([0, sequence, len(data), 0]))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await self._pump(reader, writer):
            reader, writer = await self._again()
            self._writer = writer

    async def _again(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The serial port of the machine's next start."""
        while True:
            await asyncio.sleep(AGAIN)
            with contextlib.suppress(OSError):
                return await asyncio.open_unix_connection(self._serial)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Bring what the machine prints to the client; whether it was the machine that ended."""
        try:
            while data := await reader.read(self.CHUNK):
                if not await self._deliver(data):
                    return False
        except OSError:
            return True
        finally:
            self._writer = None
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return True

    async def _deliver(self, data: bytes) -> bool:
        """Send until the client says that it has it."""
        self._sequence = self._sequence % 15 + 1
        self._acknowledged.clear()
        for _ in range(TRIES):
            self._send(bytes([self._sequence, 0, 0, 0]) + data)
            try:
                async with asyncio.timeout(SECONDS):
                    await self._acknowledged.wait()
            except TimeoutError:
                continue
            return True
        return False
