"""The client of the benchmarks: keep-alive connections with one request at a time on each, in one thread over epoll.

Server and client share two cores, so the client must cost little: requests are bytes made beforehand, an answer is
searched for its length and status and no more. It says what it cost (`client_us`), to be read beside the results.
"""

import select
import socket
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

Keep = Callable[[bytes, float], None]
"""Called with each answer and the time (monotonic) it was there."""


@dataclass
class Result:
    """What one run measured. Latencies in seconds."""

    seconds: float = 0.0
    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    statuses: Counter[bytes] = field(default_factory=Counter)
    client_us: float = 0.0  # CPU of the client per request, microseconds

    @property
    def count(self) -> int:
        return len(self.latencies)

    @property
    def rate(self) -> float:
        return self.count / self.seconds if self.seconds else 0.0

    def quantile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0

    def expect(self, *statuses: int) -> "Result":
        """Raises RuntimeError when anything else was answered: a fast refusal is no result."""
        wanted = {str(status).encode() for status in statuses}
        if other := set(self.statuses) - wanted:
            raise RuntimeError(f"answers {sorted(other)} instead of {sorted(wanted)}")
        return self


def request(method: str, path: str, token: str = "", body: bytes = b"", **headers: str) -> bytes:
    """One request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "host: bench"]
    lines += [f"x-auth-token: {token}"] if token else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += ["content-type: application/json", f"content-length: {len(body)}"] if body else []
    return "\r\n".join([*lines, "", ""]).encode() + body


class _Connection:
    __slots__ = ("buffer", "sent", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.sent = 0.0

    def send(self, data: bytes) -> None:
        self.sent = time.monotonic()
        self.socket.sendall(data)

    def receive(self) -> bytes | None:
        """The whole answer, once all of it is there."""
        chunk = self.socket.recv(1 << 20)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        self.buffer = data = self.buffer + chunk if self.buffer else chunk
        head = data.find(b"\r\n\r\n")
        if head < 0:
            return None
        at = data.find(b"content-length: ", 0, head)
        length = int(data[at + 16 : data.index(b"\r", at)]) if at >= 0 else 0
        if len(data) < head + 4 + length:
            return None
        self.buffer = b""
        return data


def run(
    port: int, requests: Iterable[bytes], *, clients: int = 16, seconds: float = 1e9, keep: Keep | None = None
) -> Result:
    """Send requests until there are no more, or until the time is over; wait for the last answers."""
    source, result, poll = iter(requests), Result(), select.epoll()
    connections = {c.socket.fileno(): c for c in (_Connection(port) for _ in range(clients))}
    cpu, began = time.process_time(), time.monotonic()
    busy = 0
    for number, connection in connections.items():
        if (first := next(source, None)) is not None:
            poll.register(number, select.EPOLLIN)
            connection.send(first)
            busy += 1
    while busy:
        for number, _ in poll.poll(30):
            busy += _turn(connections[number], source, result, began + seconds, keep)
    result.seconds = time.monotonic() - began
    result.client_us = (time.process_time() - cpu) / max(1, result.count) * 1e6
    for connection in connections.values():
        connection.socket.close()
    poll.close()
    return result


def _turn(connection: _Connection, source: Iterator[bytes], result: Result, until: float, keep: Keep | None) -> int:
    """Take what has come and send the next request; -1 when this connection is done."""
    answer = connection.receive()
    if answer is None:
        return 0
    now = time.monotonic()
    result.latencies.append(now - connection.sent)
    result.statuses[answer[9:12]] += 1
    if keep is not None:
        keep(answer, now)
    following = next(source, None) if now < until else None
    if following is None:
        return -1
    connection.send(following)
    return 0


def body_of(answer: bytes) -> bytes:
    return answer[answer.index(b"\r\n\r\n") + 4 :]
