"""Finds where one JSON-RPC message ends and the next begins: OVSDB puts nothing between them (RFC 7047 section 4).

The initial content of a large database is one message of tens of megabytes in thousands of pieces, so each byte is
looked at once, and never by Python code: everything but quotes and braces is deleted by `translate`, the braces that
are left outside of strings are counted.
"""

import re

_KEPT = b'"{}'
_DELETED = bytes(code for code in range(256) if code not in _KEPT)
_JOINT = re.compile(rb"\}\s*\{")  # valid JSON has this only between messages, or inside a string


class Framer:
    """Feed it what the socket gave; it returns the messages that are complete. Raises ValueError for what is no
    JSON."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._depth = 0
        self._quoted = False
        self._carry = b""

    def feed(self, data: bytes) -> list[bytes]:
        data = self._uncut(data)
        frames: list[bytes] = []
        start = 0
        for joint in _JOINT.finditer(data):
            cut = joint.start() + 1
            self._take(data[start:cut], frames)
            start = cut
        self._take(data[start:] if start else data, frames)
        return frames

    def _uncut(self, data: bytes) -> bytes:
        """Keeps a backslash at the end back until the character that it escapes is here."""
        if self._carry:
            data, self._carry = self._carry + data, b""
        if data.endswith(b"\\") and (len(data) - len(data.rstrip(b"\\"))) % 2:
            data, self._carry = data[:-1], b"\\"
        return data

    def _take(self, piece: bytes, frames: list[bytes]) -> None:
        if not self._pieces and not piece.strip():
            return
        self._pieces.append(piece)
        self._count(piece)
        if self._depth == 0 and not self._quoted:
            frames.append(self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces))
            self._pieces = []

    def _count(self, piece: bytes) -> None:
        if b"\\" in piece:
            piece = piece.replace(rb"\\", b"").replace(rb"\"", b"")
        marks = piece.translate(None, _DELETED)
        if self._quoted:
            marks = b'"' + marks
        marks = marks.replace(b'""', b"")  # keeps every brace's side of the quotes: it removes two at a time
        if b'"' in marks:
            parts = marks.split(b'"')
            self._quoted = len(parts) % 2 == 0
            marks = b"".join(parts[::2])
        else:
            self._quoted = False
        self._depth += marks.count(b"{") - marks.count(b"}")
        if self._depth < 0:
            raise ValueError("a message closes more braces than it opens")
