"""HTTP without a library: one request per connection. Python's own takes a second to load on an emulated CPU.

Requests go out as HTTP/1.0, so that no server answers in chunks.
"""

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

HEAD_LIMIT = 32 << 10
BODY_LIMIT = 96 << 20  # a config drive travels inside a command: 64 MB, in base64
TIMEOUT = 60.0


class WireError(Exception):
    """The other side cannot be reached, or does not speak HTTP."""


class Answer:
    """An answer whose body is still to be read."""

    def __init__(self, connection: socket.socket, host: str) -> None:
        self.connection, self.host = connection, host
        head, self.rest = _head(connection)
        lines = head.split("\r\n")
        words = lines[0].split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
            raise WireError(f"{host} does not answer in HTTP")
        self.status = int(words[1])
        self.headers = _headers(lines[1:])
        length = self.headers.get("content-length", "")
        self.length = int(length) if length.isdigit() else None
        self.left = self.length

    def read(self, size: int) -> bytes:
        """The next bytes; b"" at the end. Raises WireError if the body ends before its announced length."""
        if self.left == 0:
            return b""
        size = size if self.left is None else min(size, self.left)
        if self.rest:
            data, self.rest = self.rest[:size], self.rest[size:]
        else:
            data = self._receive(size)
        if self.left is not None:
            self.left -= len(data)
        return data

    def _receive(self, size: int) -> bytes:
        try:
            data = self.connection.recv(size, socket.MSG_WAITALL)
        except OSError as error:
            raise WireError(f"{self.host}: {error}") from error
        if not data and self.left:
            raise WireError(f"{self.host} closed the connection {self.left} bytes before the end")
        return data

    def all(self, limit: int = BODY_LIMIT) -> bytes:
        body = b""
        while data := self.read(1 << 16):
            body += data
            if len(body) > limit:
                raise WireError(f"{self.host} answers with more than {limit} bytes")
        return body


def ask(method: str, url: str, body: Any = None, *, headers: dict[str, str] | None = None) -> Answer:
    """Send one request. Errors: WireError."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise WireError(f"this ramdisk speaks plain http only, not {parts.scheme or 'nothing'}: use the stock ramdisk")
    host, port = parts.hostname, parts.port or 80
    data = b"" if body is None else json.dumps(body).encode()
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {path} HTTP/1.0", f"Host: {parts.netloc.rpartition('@')[2]}", "Accept: application/json"]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    try:
        connection = _connect(host, port)
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
    except OSError as error:
        raise WireError(f"{host}:{port}: {error}") from error
    return Answer(connection, f"{host}:{port}")


def _connect(host: str, port: int) -> socket.socket:
    # As bytes, because a text is put through a codec for international names, which this Python does not have.
    family, kind, _, _, address = socket.getaddrinfo(host.encode(), port, type=socket.SOCK_STREAM)[0]
    connection = socket.socket(family, kind)
    connection.settimeout(TIMEOUT)
    connection.connect(address)
    return connection


def call(method: str, url: str, body: Any = None, *, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """One exchange in JSON: status and document (None if there is none). Errors: WireError."""
    answer = ask(method, url, body, headers=headers)
    try:
        text = answer.all(16 << 20)
        return answer.status, json.loads(text) if text.strip() else None
    except ValueError:
        return answer.status, None
    finally:
        answer.connection.close()


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    body: Any


Handler = Callable[[Request], tuple[int, Any]]


class Server:
    """Answers requests, each in a thread of its own. `handler` returns status and document, and raises nothing."""

    def __init__(self, port: int, handler: Handler) -> None:
        self.handler = handler
        self.listener = socket.create_server(("", port), backlog=16)
        self.port: int = self.listener.getsockname()[1]

    def start(self) -> None:
        threading.Thread(target=self._serve, daemon=True).start()

    def stop(self) -> None:
        self.listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._exchange, args=(connection,), daemon=True).start()

    def _exchange(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(TIMEOUT)
            status, document = self._answer(connection)
            body = json.dumps(document).encode()
            head = f"HTTP/1.1 {status} {'OK' if status < 400 else 'Error'}\r\nContent-Type: application/json\r\n"
            head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode() + body)
        except (OSError, WireError) as error:
            print(f"agent: a caller was lost: {error}", flush=True)
        finally:
            connection.close()

    def _answer(self, connection: socket.socket) -> tuple[int, Any]:
        head, rest = _head(connection)
        lines = head.split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3:
            return 400, fault(400, "Bad request")
        headers = _headers(lines[1:])
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > BODY_LIMIT:
            return 413, fault(413, "The request is too large")
        if headers.get("expect", "").lower() == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = bytearray(rest)
        while len(body) < int(length):
            data = connection.recv(min(1 << 16, int(length) - len(body)))
            if not data:
                raise WireError("a request ended early")
            body += data
        parts = urlsplit(words[1])
        try:
            document = json.loads(body) if body else None
        except ValueError:
            return 400, fault(400, "The request is not JSON")
        return self.handler(Request(words[0], parts.path, dict(parse_qsl(parts.query)), document))


def fault(status: int, words: str) -> dict[str, str]:
    return {"faultcode": "Server" if status >= 500 else "Client", "faultstring": words}


def _head(connection: socket.socket) -> tuple[str, bytes]:
    """Everything up to the empty line, and what of the body came along."""
    data = b""
    while b"\r\n\r\n" not in data:
        try:
            more = connection.recv(1 << 14)
        except OSError as error:
            raise WireError(str(error)) from error
        if not more or len(data) > HEAD_LIMIT:
            raise WireError("no HTTP head came")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


def _headers(lines: list[str]) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
