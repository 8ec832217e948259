"""One open OVSDB connection: JSON-RPC both ways (RFC 7047 section 4), requests pipelined, echo kept alive.

Notifications are handed on synchronously, in the order of arrival; a reply wakes its caller one loop turn later. The
server sends the update of a transaction before its reply, so whoever awaited a transaction finds the replica updated.
"""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import msgspec

from hagane.errors import Unavailable
from hagane.ovn.framing import Framer
from hagane.ovn.pause import no_collections

_BIG_FRAME = 1 << 20

Notify = Callable[[str, list[Any]], None]


class RemoteError(Exception):
    """The server answered a request with an error: its name and its details, as the server put them."""

    def __init__(self, error: Any) -> None:
        fields = error if isinstance(error, dict) else {"error": str(error)}
        self.error: str = fields.get("error", "unknown error")
        self.details: str = fields.get("details", "")
        super().__init__(f"{self.error}: {self.details}" if self.details else self.error)


class _Message(msgspec.Struct):
    id: Any = None
    method: str | None = None
    params: list[Any] | None = None
    result: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Message).decode
_encode = msgspec.json.Encoder().encode


def _read(frame: bytes) -> _Message:
    if len(frame) < _BIG_FRAME:
        return _decode(frame)
    with no_collections:
        return _decode(frame)


class Peer(asyncio.Protocol):
    """The client's side of a connection. `lost` is done, with the reason in words, once the connection has ended."""

    def __init__(self, notify: Notify, *, probe: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._notify = notify
        self._probe = probe
        self._framer = Framer()
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._heard = self._loop.time()
        self._asked = 0.0  # when it was last asked for a sign of life
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._reason = ""
        self.lost: asyncio.Future[str] = self._loop.create_future()

    def call(self, method: str, params: Any) -> asyncio.Future[Any]:
        """Sends a request at once; the future has the result, RemoteError, or Unavailable if the connection is lost
        first (then nobody knows whether the server has done it)."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.lost.done() or self._transport is None or self._transport.is_closing():
            future.set_exception(Unavailable("The database connection is closed.", detail=self._reason))
            return future
        number = next(self._ids)
        self._waiting[number] = future
        self._transport.write(_encode({"method": method, "params": params, "id": number}))
        return future

    def close(self, reason: str) -> None:
        """Ends the connection without waiting for what is still under way."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # asyncio hands a Transport to every Protocol
        self._timer = self._loop.call_later(self._probe, self._check)

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        try:
            messages = [_read(frame) for frame in self._framer.feed(data)]
        except (ValueError, msgspec.MsgspecError) as error:
            self.close(f"it sent something that is no JSON-RPC: {error}")
            return
        for message in messages:
            self._receive(message)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        reason = self._reason or (str(exc) if exc is not None else "the server closed it")
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(Unavailable("The database connection was lost.", detail=reason))
        if not self.lost.done():
            self.lost.set_result(reason)

    def _receive(self, message: _Message) -> None:
        if message.method is None:
            self._reply(message)
        elif message.method == "echo":
            if self._transport is not None:
                self._transport.write(_encode({"id": message.id, "result": message.params, "error": None}))
        elif message.id is None:
            self._notify(message.method, message.params or [])

    def _reply(self, message: _Message) -> None:
        future = self._waiting.pop(message.id, None) if isinstance(message.id, int) else None
        if future is None or future.done():  # an echo's answer, or the caller was cancelled
            return
        if message.error is not None:
            future.set_exception(RemoteError(message.error))
        else:
            future.set_result(message.result)

    def _check(self) -> None:
        """Ask a silent server for a sign of life; give it up when it owes one. Silence alone proves nothing: on a busy
        machine this may come so late that nobody was asked yet."""
        now = self._loop.time()
        if self._asked > self._heard:
            if now - self._asked >= self._probe:
                self.close(f"no answer for {now - self._heard:.0f} s")
                return
        elif now - self._heard >= self._probe and self._transport is not None:
            self._transport.write(_encode({"method": "echo", "params": [], "id": "echo"}))
            self._asked = now
        self._timer = self._loop.call_later(self._probe, self._check)
