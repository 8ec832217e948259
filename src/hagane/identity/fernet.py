"""The text of a token: what it claims, packed, encrypted and signed; no row is stored for it.

    format byte + msgpack [user, methods, issued, expires, audit ids, scope, credential, trust, access] → Fernet → text

Ids that are UUIDs travel as 16 bytes and methods as one bit each, which keeps a project-scoped token at 204 characters
(the real service's have about as many; some clients keep tokens in columns of 255). The claim says who and until when;
whether user, project and roles still exist is asked of the database by token.py, on every validation.
"""

import base64
import re
from functools import lru_cache
from pathlib import Path
from uuid import UUID

import msgspec
from cryptography.fernet import InvalidToken

from hagane.state.keyring import KeyRing

EC2_METHOD = "ec2credential"
METHODS = (
    "password",
    "token",
    "application_credential",
    "external",
    "mapped",
    "totp",
    "oauth1",
    "trust",
    "ec2credential",
)
"""Names of authentication methods by their bit. Append only: tokens outlive an upgrade."""

CACHED = 8192  # decoded tokens kept, about 1 kB each
_FORMAT = b"\x01"
_TEXT = re.compile(r"[A-Za-z0-9_-]{80,2000}\Z")
_UUID = re.compile(r"[0-9a-f]{8}(-?)[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}\Z")
_AUDIT = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]\Z")


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What a token claims. At most one of project, domain and system is its scope; none: unscoped. Times in seconds."""

    user_id: str
    methods: tuple[str, ...]
    issued_at: float
    expires_at: float
    audit_ids: tuple[str, ...]
    project_id: str | None = None
    domain_id: str | None = None
    system: bool = False
    application_credential_id: str | None = None
    trust_id: str | None = None
    access_token_id: str | None = None

    def expired(self, now: float) -> bool:
        return now >= self.expires_at


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    """Fields in the order of the format; new ones go to the end, with a default."""

    user: bytes
    methods: int
    issued_at: float
    expires_at: float
    audit_ids: tuple[bytes, ...]
    scope: str = ""  # p, d, s: project, domain, system
    scope_id: bytes = b""
    application_credential: bytes | None = None
    trust: bytes | None = None
    access_token: bytes | None = None


class TokenCodec:
    """Token ↔ text, with the keys in `<state>/keys/tokens`. Several processes may share the file."""

    def __init__(self, state: Path) -> None:
        self._ring = KeyRing(state / "keys" / "tokens")
        self._pack = msgspec.msgpack.Encoder().encode
        self._unpack = msgspec.msgpack.Decoder(_Packed).decode
        self._cached = lru_cache(CACHED)(self._decode)

    def encode(self, token: Token) -> str:
        """Raises ValueError for a method that has no bit."""
        return self._ring.encrypt(_FORMAT + self._pack(_pack(token))).rstrip(b"=").decode()

    def decode(self, text: str) -> Token | None:
        """None for anything that is not a token of ours. The caller judges its expiry."""
        try:
            return self._cached(text)
        except InvalidToken:
            return None

    def rotate(self, *, keep: int = 2) -> None:
        """Sign with a new key; tokens of the last `keep` keys stay valid. keep=0 ends every token there is."""
        self._ring.rotate(keep=keep)
        self._cached.cache_clear()

    def refresh(self) -> None:
        """Take up another process's rotation, so that tokens of keys it dropped end here too. Cheap: one stat."""
        if self._ring.refresh():
            self._cached.cache_clear()

    def _decode(self, text: str) -> Token:
        # Failures are raised, not returned, since the cache keeps what is returned: rubbish must not push out tokens.
        if not _TEXT.match(text):
            raise InvalidToken
        data = self._ring.decrypt(text.encode() + b"=" * (-len(text) % 4))
        if data[:1] != _FORMAT:
            raise InvalidToken
        try:
            return _unpack(self._unpack(data[1:]))
        except (msgspec.MsgspecError, ValueError):
            raise InvalidToken from None


def _pack(token: Token) -> _Packed:
    scope, scope_id = "", b""
    if token.project_id is not None:
        scope, scope_id = "p", _pack_id(token.project_id)
    elif token.domain_id is not None:
        scope, scope_id = "d", _pack_id(token.domain_id)
    elif token.system:
        scope = "s"
    delegated = (token.application_credential_id, token.trust_id, token.access_token_id)
    application_credential, trust, access_token = (None if key is None else _pack_id(key) for key in delegated)
    return _Packed(
        user=_pack_id(token.user_id),
        methods=sum(1 << METHODS.index(method) for method in set(token.methods)),
        issued_at=token.issued_at,
        expires_at=token.expires_at,
        audit_ids=tuple(_pack_audit(audit) for audit in token.audit_ids),
        scope=scope,
        scope_id=scope_id,
        application_credential=application_credential,
        trust=trust,
        access_token=access_token,
    )


def _unpack(packed: _Packed) -> Token:
    scope_id = _unpack_id(packed.scope_id) if packed.scope_id else None
    delegated = (packed.application_credential, packed.trust, packed.access_token)
    application_credential, trust, access_token = (None if key is None else _unpack_id(key) for key in delegated)
    return Token(
        user_id=_unpack_id(packed.user),
        methods=tuple(method for bit, method in enumerate(METHODS) if packed.methods >> bit & 1),
        issued_at=packed.issued_at,
        expires_at=packed.expires_at,
        audit_ids=tuple(_unpack_audit(audit) for audit in packed.audit_ids),
        project_id=scope_id if packed.scope == "p" else None,
        domain_id=scope_id if packed.scope == "d" else None,
        system=packed.scope == "s",
        application_credential_id=application_credential,
        trust_id=trust,
        access_token_id=access_token,
    )


def _pack_id(value: str) -> bytes:
    """A first byte that tells the form, then a UUID as its 16 bytes or any other id as UTF-8."""
    found = _UUID.match(value)
    if not found:
        return b"t" + value.encode()
    return (b"d" if found[1] else b"h") + bytes.fromhex(value.replace("-", ""))


def _unpack_id(value: bytes) -> str:
    match value[:1]:
        case b"h":
            return value[1:].hex()
        case b"d":
            return str(UUID(bytes=value[1:]))
    return value[1:].decode()


def _pack_audit(value: str) -> bytes:
    return b"a" + base64.urlsafe_b64decode(value + "==") if _AUDIT.match(value) else b"t" + value.encode()


def _unpack_audit(value: bytes) -> str:
    if value[:1] == b"a":
        return base64.urlsafe_b64encode(value[1:]).rstrip(b"=").decode()
    return value[1:].decode()
