"""NETCONF over SSH (RFC 6241, RFC 6242): hello, framing, one request after the other.

    hello ◀─▶ hello ─▶ rpc ─▶ rpc-reply ─▶ …        framing: `]]>]]>` until both said base:1.1, then chunks

A document type is refused before anything is parsed: NETCONF has none, and entities are how XML is made to explode.
"""

import re
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import asyncssh

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
BASE_11 = "urn:ietf:params:netconf:base:1.1"
CAPABILITY = "urn:ietf:params:netconf:capability:"
_END = b"]]>]]>"
_LARGEST = 1 << 26  # bytes of one message
_CHUNK = re.compile(rb"\n#(\d{1,10})\n")
_HELLO = (
    f'<?xml version="1.0" encoding="UTF-8"?><hello xmlns="{BASE}"><capabilities>'
    f"<capability>urn:ietf:params:netconf:base:1.0</capability><capability>{BASE_11}</capability>"
    "</capabilities></hello>"
)


@dataclass(frozen=True, slots=True)
class Complaint:
    """One <rpc-error>."""

    tag: str
    path: str
    message: str

    def __str__(self) -> str:
        return " ".join(part for part in (self.message, f"({self.tag})" if self.tag else "", self.path) if part)


class Refused(Exception):
    """The switch answered with errors."""

    def __init__(self, complaints: list[Complaint]) -> None:
        super().__init__("; ".join(map(str, complaints)))
        self.complaints = complaints


class Malformed(EOFError):
    """The other side does not speak NETCONF; the session is of no use any more."""


def document(data: bytes) -> Element:
    """The XML of a message. Raises Malformed."""
    text = data.decode("utf-8", errors="replace").strip()
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise Malformed("the switch sent a document type")
    # The text is decoded already; a declaration of another encoding means nothing any more.
    text = re.sub(r"\A<\?xml[^>]*\?>", "", text)
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise Malformed(f"the switch sent no XML: {error}") from None


def local(element: Element) -> str:
    """A tag without its namespace."""
    return element.tag.rpartition("}")[2]


def child(element: Element | None, *path: str) -> Element | None:
    """The first descendant along these names, whatever their namespaces: switches do not agree on those."""
    for name in path:
        element = next((e for e in element if local(e) == name), None) if element is not None else None
    return element


def text_of(element: Element | None, *path: str) -> str:
    found = child(element, *path)
    return (found.text or "").strip() if found is not None else ""


class Netconf:
    """One session. The caller sets the time that a call may take."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self._buffer = b""
        self._chunked = False
        self._number = 0
        self.capabilities: frozenset[str] = frozenset()

    @classmethod
    async def open(cls, connection: asyncssh.SSHClientConnection) -> "Netconf":
        session = cls(await connection.create_process(subsystem="netconf", encoding=None))
        session._send(_HELLO)
        hello = document(await session._receive())
        found = {(e.text or "").strip() for e in hello.iter() if local(e) == "capability"}
        session.capabilities = frozenset(c.partition("?")[0] for c in found)
        session._chunked = BASE_11 in session.capabilities
        return session

    def can(self, name: str) -> bool:
        """Whether the switch announced a capability such as "candidate", of any version."""
        return any(c.startswith(f"{CAPABILITY}{name}:") for c in self.capabilities)

    async def call(self, operation: str) -> Element:
        """The answer to one operation, given as XML. Raises Refused."""
        self._number += 1
        self._send(f'<rpc xmlns="{BASE}" message-id="{self._number}">{operation}</rpc>')
        reply = document(await self._receive())
        if local(reply) != "rpc-reply" or reply.get("message-id") != str(self._number):
            raise Malformed("the switch answered something else")
        errors = [e for e in reply.iter() if local(e) == "rpc-error" and text_of(e, "error-severity") != "warning"]
        if errors:
            names = ("error-tag", "error-path", "error-message")
            raise Refused([Complaint(*(text_of(error, name) for name in names)) for error in errors])
        return reply

    def _send(self, text: str) -> None:
        data = text.encode()
        self._process.stdin.write(b"\n#%d\n%s\n##\n" % (len(data), data) if self._chunked else data + _END)

    async def _receive(self) -> bytes:
        return await (self._receive_chunks() if self._chunked else self._receive_to_end())

    async def _receive_to_end(self) -> bytes:
        searched = 0
        while (end := self._buffer.find(_END, searched)) < 0:
            searched = max(0, len(self._buffer) - len(_END))
            await self._more()
        data, self._buffer = self._buffer[:end], self._buffer[end + len(_END) :]
        return data

    async def _receive_chunks(self) -> bytes:
        parts: list[bytes] = []
        while True:
            while len(self._buffer) < 4 or (self._buffer[:4] != b"\n##\n" and not _CHUNK.match(self._buffer)):
                if len(self._buffer) > 16:
                    raise Malformed("the switch sent no chunk")
                await self._more()
            header = _CHUNK.match(self._buffer)
            if header is None:
                self._buffer = self._buffer[4:]
                return b"".join(parts)
            size, start = int(header[1]), header.end()
            if size + sum(map(len, parts)) > _LARGEST:
                raise Malformed("the switch sent too much")
            while len(self._buffer) < start + size:
                await self._more()
            parts.append(self._buffer[start : start + size])
            self._buffer = self._buffer[start + size :]

    async def _more(self) -> None:
        data = await self._process.stdout.read(1 << 16)
        if not data:
            raise EOFError
        self._buffer += data
        if len(self._buffer) > _LARGEST:
            raise Malformed("the switch sent too much")
