"""A small HTTP/1.1 server for requests of machines: one event loop, any number of listening sockets.

Machines are strangers: heads, bodies, connections and their time are bounded, and what a header says about the sender
is not believed; only the socket is. A machine that floods its own metadata service hurts nobody else.

Pieces of files are sent by threads (sending.py), so that neither a slow disk nor a fast machine holds the event loop.
"""

import asyncio
import logging
import socket
from collections import Counter, deque
from http import HTTPStatus
from typing import cast

import httptools

from hagane.drivers.metadata import sending
from hagane.drivers.metadata.base import Answer, Question, Reply

log = logging.getLogger(__name__)

MOST_HEAD, MOST_BODY = 16 << 10, 64 << 10  # bytes of one request
MOST_OF_CLIENT, MOST_OF_NETWORK = 16, 256  # open connections
IDLE = 20.0  # seconds to send a request, and to stay without one


class Listener:
    """Serves one network. `open` takes listening sockets, wherever they were made."""

    def __init__(self, network_id: str, answer: Answer, *, most_body: int = MOST_BODY) -> None:
        self.network_id, self.answer, self.most_body = network_id, answer, most_body
        self.connections: set[Connection] = set()
        self.clients: Counter[str] = Counter()
        self._servers: list[asyncio.Server] = []

    async def open(self, sockets: list[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        for one in sockets:
            self._servers.append(await loop.create_server(lambda: Connection(self), sock=one, backlog=128))

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.abort()
        self._servers = []


class Connection(asyncio.Protocol):
    """One connection: requests are answered in their order, one at a time."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        self._client = ""
        self._target, self._body, self._head = b"", b"", 0
        self._headers: dict[str, str] = {}
        self._waiting: deque[tuple[Question, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def _clear(self) -> None:
        self._target, self._body, self._head = b"", b"", 0
        self._headers = {}

    # -- the transport calls -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        listener = self._listener
        address = str((transport.get_extra_info("peername") or ("",))[0])
        self._client = address.partition("%")[0].removeprefix("::ffff:")
        if len(listener.connections) >= MOST_OF_NETWORK or listener.clients[self._client] >= MOST_OF_CLIENT:
            self._client = ""
            self._transport.abort()
            return
        listener.connections.add(self)
        listener.clients[self._client] += 1
        self._rest()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        if self in self._listener.connections:
            self._listener.connections.discard(self)
            self._listener.clients[self._client] -= 1
            self._listener.clients += Counter()  # forgets those that have none left

    def data_received(self, data: bytes) -> None:
        self._head += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400)
        except httptools.HttpParserError as error:
            self._refuse(error.__context__.status if isinstance(error.__context__, _Refused) else 400)
        if self._head > MOST_HEAD + self._listener.most_body:
            self._refuse(431)

    def abort(self) -> None:
        self._transport.abort()

    # -- the parser calls ----------------------------------------------------------------------------------------

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > MOST_HEAD:
            raise _Refused(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self._headers) >= 100 or len(name) + len(value) > MOST_HEAD:
            raise _Refused(431)
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > self._listener.most_body:
            raise _Refused(413)

    def on_message_complete(self) -> None:
        method, target = self._parser.get_method().decode(), self._target.decode("latin-1")
        question = Question(self._listener.network_id, self._client, method, target, self._headers, self._body)
        self._waiting.append((question, self._parser.should_keep_alive()))
        self._clear()
        self._transport.pause_reading()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._serve())

    # -- answers -------------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        self._busy()
        while self._waiting:
            question, keep = self._waiting.popleft()
            reply = await self._reply(question)
            whole = await self._give(reply, head_only=question.method == "HEAD", keep=keep)
            if not whole:
                self._transport.abort()
                return
            if not keep:
                self._transport.close()
                return
        self._task = None
        if not self._transport.is_closing():
            self._transport.resume_reading()
            self._rest()

    async def _reply(self, question: Question) -> Reply:
        try:
            return await self._listener.answer(question)
        except Exception:
            log.exception("cannot answer %s %s of network %s", question.method, question.target, question.network_id)
            return Reply(500, b"An unknown error has occurred. Please try your request again.")

    async def _give(self, reply: Reply, *, head_only: bool, keep: bool) -> bool:
        """Send a reply; whether all of it went out."""
        whole = False
        try:
            self._send(reply, head_only=head_only, keep=keep)
            if (sent := reply.piece or reply.stream) is not None and not head_only:
                whole = await sending.send(self._transport, sent)
            else:
                whole = not self._transport.is_closing()
        finally:
            if reply.ended is not None and not head_only:
                reply.ended(whole)
        return whole

    def _send(self, reply: Reply, *, head_only: bool, keep: bool) -> None:
        reason = HTTPStatus(reply.status).phrase
        lines = [f"HTTP/1.1 {reply.status} {reason}", f"content-length: {reply.length}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        lines += [] if keep else ["connection: close"]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        self._transport.write(head if head_only else head + reply.body)

    def _refuse(self, status: int) -> None:
        if not self._transport.is_closing():
            self._send(Reply(status), head_only=False, keep=False)
            self._transport.close()

    def _rest(self) -> None:
        """Nothing to do: wait for a request, not for ever."""
        self._busy()
        self._timer = asyncio.get_running_loop().call_later(IDLE, self._transport.abort)

    def _busy(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Refused(Exception):
    """A bound was passed; the parser hands it on as the context of its own error."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status
