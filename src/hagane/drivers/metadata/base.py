"""What every metadata driver does: answer at 169.254.169.254 on every network that is wanted, and on no other.

A driver is told the whole list each time. It says what it could not do, per network, and is told again later; what is
there already is left alone, so telling it twice changes nothing.

    machine ──http://169.254.169.254──▶ the network's metadata Port ──▶ driver ──Question──▶ Answer ──Reply──▶ back
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

ADDRESS = "169.254.169.254"
ADDRESS_V6 = "fe80::a9fe:a9fe"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A network's metadata Port, as it has to be plugged. `addresses` carry their prefix length."""

    network_id: str
    port_id: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """One request of a machine. Network and client address are facts of the network, not claims of the client."""

    network_id: str
    client: str  # the sender's address, without a zone
    method: str
    target: str  # path and query, as sent
    headers: dict[str, str] = field(default_factory=dict)  # names in lower case
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a file that is sent instead of a body. `sent` hears from a thread how many bytes went out."""

    path: Path
    start: int
    length: int
    sent: Callable[[int], None] = lambda count: None


class Body(Protocol):
    """Bytes that come from elsewhere while they are sent on; read by a thread, and closed whatever the end is."""

    def read(self, count: int, /) -> bytes:
        """The next ones, b"" at the end. Raises OSError."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Stream:
    """What is sent instead of a body where it is no file."""

    source: Body
    length: int
    sent: Callable[[int], None] = lambda count: None


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent back; the length is added. `ended` hears whether all of it went out."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    piece: Piece | None = None
    ended: Callable[[bool], None] | None = None
    stream: Stream | None = None

    @property
    def length(self) -> int:
        sent = self.piece or self.stream
        return sent.length if sent is not None else len(self.body)


Answer = Callable[[Question], Awaitable[Reply]]


class MetadataDriver(Protocol):
    """One machine's end of all metadata Ports."""

    async def apply(self, endpoints: Sequence[Endpoint]) -> dict[str, str]:
        """Serve exactly these. Returns what failed: network id -> why, in words."""
        ...

    def ear(self, network_id: str) -> tuple[str, str] | None:
        """Namespace and interface where machines of a network are heard (see ear.py); None: they are simulated."""
        ...

    async def close(self) -> None:
        """Stop listening. What is plugged stays, for the next start."""
        ...
