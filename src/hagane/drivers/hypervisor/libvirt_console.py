"""A machine's live serial console: a libvirt stream, its bytes brought into asyncio and back."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import libvirt

from hagane.drivers.hypervisor.libvirt_link import Link
from hagane.drivers.hypervisor.libvirt_xml import domain_uuid
from hagane.errors import Unavailable

CHUNK = 64 * 1024
HIGH_WATER = 1 << 20  # bytes that wait for a slow viewer; beyond, the machine's output waits too
_READ = libvirt.VIR_STREAM_EVENT_READABLE
_END = libvirt.VIR_STREAM_EVENT_ERROR | libvirt.VIR_STREAM_EVENT_HANGUP


class Console:
    """One open console. Reading ends when the machine stops or another viewer takes the console over."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._waiting = 0
        self._stream: Any = None

    async def open(self, machine_id: str, *, force: bool) -> None:
        self._stream = await self._link.run(self._open, machine_id, force)

    async def read(self) -> AsyncGenerator[bytes, None]:
        """The bytes; closing this closes the console."""
        try:
            while (data := await self._arrived.get()) is not None:
                self._waiting -= len(data)
                if self._waiting < HIGH_WATER:
                    with contextlib.suppress(libvirt.libvirtError):  # it just ended: the None is on its way
                        self._stream.eventUpdateCallback(_READ | _END)
                yield data
        finally:
            # Not through the link: the stream has to be let go of also where the connection is gone.
            await asyncio.to_thread(self._close)

    def end(self) -> None:
        """Another viewer takes over. libvirt itself would leave the old stream open and silent."""
        self._arrived.put_nowait(None)

    async def write(self, data: bytes) -> None:
        """Send bytes to the machine; waits while it takes none."""
        rest = memoryview(data)
        while rest:
            try:
                sent = self._stream.send(bytes(rest))
            except (libvirt.libvirtError, AttributeError) as error:
                raise Unavailable("the console is closed", detail=str(error)) from error
            rest = rest[max(0, sent) :]
            if rest:
                await asyncio.sleep(0.02)

    def _open(self, connection: Any, machine_id: str, force: bool) -> Any:
        domain = connection.lookupByUUIDString(domain_uuid(machine_id))
        stream = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
        domain.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE if force else 0)
        stream.eventAddCallback(_READ | _END, self._ready, None)
        return stream

    def _ready(self, stream: Any, events: int, _opaque: Any) -> None:
        """On libvirt's event thread."""
        ended = bool(events & _END)
        data: Any = b""
        with contextlib.suppress(libvirt.libvirtError):
            data = stream.recv(CHUNK)  # -2: nothing there yet; b"": the end
            ended = ended or data == b""
        if isinstance(data, bytes) and data:
            self._waiting += len(data)
        if ended or self._waiting >= HIGH_WATER:
            with contextlib.suppress(libvirt.libvirtError):
                stream.eventUpdateCallback(0 if ended else _END)
        with contextlib.suppress(RuntimeError):  # the loop is gone
            self._loop.call_soon_threadsafe(self._arrive, data if isinstance(data, bytes) else b"", ended)

    def _arrive(self, data: bytes, ended: bool) -> None:
        if data:
            self._arrived.put_nowait(data)
        if ended:
            self._arrived.put_nowait(None)

    def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        with contextlib.suppress(libvirt.libvirtError):
            stream.eventRemoveCallback()
        with contextlib.suppress(libvirt.libvirtError):
            stream.abort()
