"""RMCP+ for an emulated BMC: sessions and packets of IPMI 2.0 over UDP (specification v2.0 rev 1.1, chapter 13).

Cipher suites 3 (HMAC-SHA1) and 17 (HMAC-SHA256), both with AES-CBC-128: what ipmitool uses. Names are the standard's:
SIK is the session integrity key, K1 signs packets, K2 encrypts them. What a command means is ipmi.py's.

    open session ──▶ RAKP 1/2 (who) ──▶ RAKP 3/4 (proof of the password) ──▶ active ──close, or silence──▶ gone
"""

import hmac
import secrets
import time
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

HEADER = b"\x06\x00\xff\x07"
IPMI, SOL, OPEN, RAKP1, RAKP3 = 0x00, 0x01, 0x10, 0x12, 0x14
SUITES = bytes.fromhex("c003014181 c011034481")  # as Get Channel Cipher Suites tells them
_HASHES = {1: ("sha1", 1, 12), 3: ("sha256", 4, 16)}  # authentication: hash, integrity algorithm, bytes of a signature
_BAD_NAME, _BAD_PROOF, _NO_SUITE, _NO_SESSION = b"\x0d", b"\x0f", b"\x11", b"\x02"
SILENCE_SECONDS = 60.0


@dataclass(slots=True)
class Session:
    """One client, from its first word."""

    theirs: bytes  # the client's id of the session
    ours: bytes
    algorithm: int
    address: tuple[str, int]
    client_random: bytes = b""
    our_random: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    role_and_name: bytes = b""
    k1: bytes = field(default=b"", repr=False)
    k2: bytes = field(default=b"", repr=False)
    sequence: int = 0
    seen: float = field(default_factory=time.monotonic)

    @property
    def active(self) -> bool:
        return bool(self.k1)


class Sessions:
    """All sessions of one BMC."""

    def __init__(self, guid: bytes) -> None:
        self._guid = guid
        self._sessions: dict[bytes, Session] = {}

    def find(self, ours: bytes) -> Session | None:
        return self._sessions.get(ours)

    def close(self, session: Session) -> None:
        self._sessions.pop(session.ours, None)

    def greet(self, kind: int, body: bytes, address: tuple[str, int], username: str, password: str) -> bytes:
        """The answer to one packet of the handshake, or nothing."""
        try:
            if kind == OPEN:
                return outside(0x11, self._open(body, address))
            session = self._sessions.get(body[4:8])
            if session is None:
                return outside(kind + 1, body[:1] + _NO_SESSION + bytes(6))
            key = password.encode()
            answer = self._who(session, body, key, username) if kind == RAKP1 else self._proof(session, body, key)
        except IndexError:
            return b""
        return outside(kind + 1, body[:1] + answer)

    def _open(self, body: bytes, address: tuple[str, int]) -> bytes:
        theirs, algorithm = body[4:8], body[12]
        if algorithm not in _HASHES or body[20] != _HASHES[algorithm][1] or body[28] != 1:
            return body[:1] + _NO_SUITE + bytes(2) + theirs
        now = time.monotonic()
        self._sessions = {key: one for key, one in self._sessions.items() if now - one.seen < SILENCE_SECONDS}
        session = Session(theirs, secrets.token_bytes(4), algorithm, address)
        self._sessions[session.ours] = session
        return body[:1] + b"\x00\x04\x00" + theirs + session.ours + body[8:32]

    def _who(self, session: Session, body: bytes, key: bytes, username: str) -> bytes:
        session.client_random = body[8:24]
        session.role_and_name = body[24:25] + body[27 : 28 + body[27]]
        if body[28 : 28 + body[27]] != username.encode():
            return _BAD_NAME + bytes(2) + session.theirs
        told = session.our_random + self._guid
        proof = session.theirs + session.ours + session.client_random + told + session.role_and_name
        return b"\x00" + bytes(2) + session.theirs + told + _sign(session, key, proof)

    def _proof(self, session: Session, body: bytes, key: bytes) -> bytes:
        right = _sign(session, key, session.our_random + session.theirs + session.role_and_name)
        if not hmac.compare_digest(body[8:], right):
            self.close(session)
            return _BAD_PROOF + bytes(2) + session.theirs
        sik = _sign(session, key, session.client_random + session.our_random + session.role_and_name)
        session.k1, session.k2 = _sign(session, sik, b"\x01" * 20), _sign(session, sik, b"\x02" * 20)
        last = _sign(session, sik, session.client_random + session.ours + self._guid)
        return b"\x00" + bytes(2) + session.theirs + last[: _HASHES[session.algorithm][2]]


def outside(kind: int, body: bytes) -> bytes:
    """An RMCP+ packet that belongs to no session yet."""
    return HEADER + bytes([6, kind]) + bytes(8) + len(body).to_bytes(2, "little") + body


def seal(session: Session, kind: int, body: bytes) -> bytes:
    """A packet of a session: encrypted and signed."""
    session.sequence += 1
    pad = -(len(body) + 1) % 16
    plain, start = body + bytes(range(1, pad + 1)) + bytes([pad]), secrets.token_bytes(16)
    cipher = Cipher(algorithms.AES(session.k2[:16]), modes.CBC(start)).encryptor()
    content = start + cipher.update(plain) + cipher.finalize()
    packet = bytes([6, 0xC0 | kind]) + session.theirs + session.sequence.to_bytes(4, "little")
    packet += len(content).to_bytes(2, "little") + content
    fill = -(len(packet) + 2) % 4
    packet += b"\xff" * fill + bytes([fill, 7])
    return HEADER + packet + _sign(session, session.k1, packet)[: _HASHES[session.algorithm][2]]


def unseal(session: Session, packet: bytes) -> bytes | None:
    """What a packet of the session says (`packet` without the RMCP header); None if it is not the client's."""
    size = _HASHES[session.algorithm][2]
    signed, signature = packet[:-size], packet[-size:]
    if not session.active or not hmac.compare_digest(_sign(session, session.k1, signed)[:size], signature):
        return None
    session.seen = time.monotonic()
    content = packet[12 : 12 + int.from_bytes(packet[10:12], "little")]
    if len(content) < 32 or len(content) % 16:
        return None
    cipher = Cipher(algorithms.AES(session.k2[:16]), modes.CBC(content[:16])).decryptor()
    plain = cipher.update(content[16:]) + cipher.finalize()
    return plain[: -1 - plain[-1]]


def answer(request: bytes, body: bytes) -> bytes:
    """The IPMI message that answers `request`; `body` begins with the completion code."""
    function, lun = request[1] >> 2, request[4] & 3
    head = bytes([request[3], (function | 1) << 2 | lun])
    rest = bytes([request[0], request[4] & 0xFC | request[1] & 3, request[5]]) + body
    return head + _checksum(head) + rest + _checksum(rest)


def _checksum(content: bytes) -> bytes:
    return bytes([-sum(content) & 0xFF])


def _sign(session: Session, key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, content, _HASHES[session.algorithm][0])
