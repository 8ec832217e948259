"""Receipts: what a login has proved so far, for users whose rules ask for several methods at once.

    password ──401, with a receipt──▶ client asks for the code ── code + receipt ──▶ token

A receipt is signed and encrypted like a token, is worth nothing else, and expires after five minutes.
"""

import re
import time
from pathlib import Path
from typing import Any

import msgspec
from cryptography.fernet import InvalidToken

from hagane.api.http import Response, json_response
from hagane.identity.ticket import iso
from hagane.state.database import Row
from hagane.state.keyring import KeyRing

HEADER = "openstack-auth-receipt"
LIFE = 300  # seconds
_TEXT = re.compile(r"[A-Za-z0-9_-]{80,2000}\Z")


class Receipt(msgspec.Struct, frozen=True, array_like=True):
    user_id: str
    methods: tuple[str, ...]
    issued_at: float
    expires_at: float


class Insufficient(Exception):
    """The methods are right, but not enough. `rules` are those of the user, in methods that there are."""

    def __init__(self, user: Row, methods: tuple[str, ...], rules: list[set[str]]) -> None:
        super().__init__(f"{user['id']} has proved {', '.join(methods)} only")
        self.user, self.methods, self.rules = user, methods, rules


class Receipts:
    """Makes and reads receipts; the keys are in `<state>/keys/receipts`."""

    def __init__(self, state: Path) -> None:
        self._ring = KeyRing(state / "keys" / "receipts")
        self._pack = msgspec.msgpack.Encoder().encode
        self._unpack = msgspec.msgpack.Decoder(Receipt).decode

    def read(self, text: str) -> Receipt | None:
        """None for what is no receipt of ours, or has expired."""
        if not _TEXT.match(text):
            return None
        self._ring.refresh()
        try:
            found = self._unpack(self._ring.decrypt(text.encode() + b"=" * (-len(text) % 4)))
        except (InvalidToken, msgspec.MsgspecError, ValueError):
            return None
        return found if found.expires_at > time.time() else None

    def answer(self, error: Insufficient) -> Response:
        """401, with a receipt for what was proved and the rules that it is a part of."""
        now = time.time()
        receipt = Receipt(error.user["id"], error.methods, now, now + LIFE)
        user: dict[str, Any] = {"id": error.user["id"], "name": error.user["name"]}
        user["domain"] = {"id": error.user["domain_id"], "name": error.user["domain_name"]}
        times = {"expires_at": iso(int(receipt.expires_at)), "issued_at": iso(int(now))}
        wanted = [sorted(rule) for rule in error.rules if rule & set(error.methods)]
        body = {"receipt": {"methods": list(error.methods), "user": user} | times, "required_auth_methods": wanted}
        return json_response(401, body, {HEADER: self._ring.encrypt(self._pack(receipt)).rstrip(b"=").decode()})
