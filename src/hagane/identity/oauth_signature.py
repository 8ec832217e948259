"""Requests that are signed by OAuth 1.0 (RFC 5849): what they say, and whether the signature is right.

    Authorization: OAuth oauth_consumer_key="...", oauth_token="...", oauth_nonce="...", oauth_signature="...", ...

oauthlib computes the signatures. Only HMAC is taken: PLAINTEXT would send the secrets themselves, and no consumer here
has an RSA key.
"""

import time
from dataclasses import dataclass
from typing import Any

from oauthlib import oauth1
from oauthlib.oauth1.rfc5849.signature import collect_parameters

from hagane.api.http import Request
from hagane.errors import Invalid, Unauthenticated
from hagane.identity.base import expected
from hagane.identity.oauth_store import DRIFT

FORM = "application/x-www-form-urlencoded"
METHODS = (oauth1.SIGNATURE_HMAC_SHA1, oauth1.SIGNATURE_HMAC_SHA256, oauth1.SIGNATURE_HMAC_SHA512)
LONGEST = 255  # characters of any part
_NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Signed:
    """The parts of an Authorization header; empty where it has none."""

    header: str
    consumer: str
    token: str
    verifier: str
    callback: str
    nonce: str
    timestamp: int


def signed(request: Request) -> Signed:
    """What the request says of itself; nothing of it is proved yet. Raises Invalid, Unauthenticated."""
    header = request.headers.get("authorization", "")
    if not header:
        raise expected("Authorization header", "request")
    try:
        given = dict(collect_parameters(headers={"Authorization": header}, exclude_oauth_signature=False))
    except ValueError as error:
        raise Invalid("Malformed authorization header") from error
    if not given:
        raise expected("OAuth parameters", "Authorization header")
    for name in ("oauth_consumer_key", "oauth_nonce", "oauth_timestamp", "oauth_signature_method", "oauth_signature"):
        if not given.get(name):
            raise expected(name, "request")
    if any(len(value) > LONGEST or not value.isprintable() for value in given.values()):
        raise Invalid("Malformed authorization header")
    token, verifier, callback = (given.get(f"oauth_{name}", "") for name in ("token", "verifier", "callback"))
    moment = _moment(given["oauth_timestamp"])
    return Signed(header, given["oauth_consumer_key"], token, verifier, callback, given["oauth_nonce"], moment)


def _moment(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise Invalid("Timestamp must be an integer.")
    if abs(time.time() - int(text)) > DRIFT:
        raise Unauthenticated(f"Timestamp given is invalid, differ from allowed by over {DRIFT} seconds.")
    return int(text)


def right(request: Request, given: Signed, consumer_secret: str, token_secret: str, *, query: bool = True) -> bool:
    """Whether these secrets signed the request. Its body is no part of that: it is JSON or none.

    The address that was signed is the one that the consumer used, which a proxy may have changed on the way: the
    public one is as good. `query`: whether the query was signed too.
    """
    scheme = request.base_url.partition("://")[0]
    bases = (request.base_url, f"{scheme}://{request.headers.get('host', 'localhost')}")
    text = request.scope["query_string"].decode("latin-1") if query else ""
    endpoint = oauth1.SignatureOnlyEndpoint(_Secrets(given, consumer_secret, token_secret))
    return any(_fits(endpoint, f"{base}{request.path}" + (f"?{text}" if text else ""), given) for base in set(bases))


def _fits(endpoint: Any, url: str, given: Signed) -> bool:
    try:
        return bool(endpoint.validate_request(url, http_method="POST", headers={"Authorization": given.header})[0])
    except ValueError:  # a query that cannot be read
        return False


class _Secrets:
    """What oauthlib asks for; formats have been checked, and nonces are kept in the store (oauth_store.py)."""

    enforce_ssl = False
    allowed_signature_methods = METHODS
    timestamp_lifetime = DRIFT
    dummy_client = _NOBODY

    def __init__(self, given: Signed, consumer_secret: str, token_secret: str) -> None:
        self._consumer, self._secret, self._token_secret = given.consumer, consumer_secret, token_secret

    def check_client_key(self, key: str) -> bool:
        return True

    def check_nonce(self, nonce: str) -> bool:
        return True

    def validate_timestamp_and_nonce(self, *about: Any, **more: Any) -> bool:
        return True

    def validate_client_key(self, key: str, request: Any) -> bool:
        return key == self._consumer and bool(self._secret)

    def get_client_secret(self, key: str, request: Any) -> str:
        return self._secret

    def get_access_token_secret(self, key: str, token: str, request: Any) -> str:
        return self._token_secret
