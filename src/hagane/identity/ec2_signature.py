"""Signatures of the EC2 kind, versions 0, 1, 2 and 4, over what a service says that it was sent.

Version 4 is described in Amazon's "Signature Version 4 signing process"; the older ones as the real service's own
client library computes them, which is what clients of these keys use.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

_V4 = "AWS4-HMAC-SHA256"


class BadSignature(Exception):
    """What was signed cannot be read as a signed request."""


def right(secret: str, given: Mapping[str, Any]) -> bool:
    """Whether the signature was made with the secret; some clients sign without the port. Raises BadSignature."""
    if not given["signature"]:
        raise BadSignature("there is no signature")
    hosts = [given["host"]]
    if ":" in given["host"]:
        try:
            hosts.append(urlsplit("//" + given["host"]).hostname or "")
        except ValueError as error:
            raise BadSignature("the host cannot be read") from error
    mine = (_sign(secret.encode("utf-8", "replace"), dict(given) | {"host": host}) for host in hosts)
    said = given["signature"].encode("utf-8", "replace")
    return any(hmac.compare_digest(one.encode(), said) for one in mine)


def _sign(secret: bytes, given: Mapping[str, Any]) -> str:
    params = given["params"]
    match params.get("SignatureVersion"):
        case "0":
            return _mac(secret, (params.get("Action", "") + params.get("Timestamp", "")).encode("utf-8", "replace"))
        case "1":
            parts = (key + params[key] for key in sorted(params, key=str.lower))
            return _mac(secret, "".join(parts).encode("utf-8", "replace"))
        case "2":
            query = _query(params | {"SignatureMethod": "HmacSHA256"})
            text = f"{given['verb']}\n{given['host']}\n{given['path']}\n{query}"
            return _mac(secret, text.encode("utf-8", "replace"), "sha256")
    authorization = given["headers"].get("Authorization", "")
    if authorization.startswith(_V4) or params.get("X-Amz-Algorithm") == _V4:
        return _version_4(secret, given)
    raise BadSignature("the version of the signature is unknown")


def _mac(key: bytes, data: bytes, digest: str = "sha1") -> str:
    return base64.b64encode(hmac.digest(key, data, digest)).decode()


def _query(params: Mapping[str, str]) -> str:
    pairs = (quote(key, safe="", errors="replace") + "=" + _quoted(params[key]) for key in sorted(params))
    return "&".join(pairs)


def _quoted(text: str) -> str:
    return quote(text, safe="-_~", errors="replace")


def _version_4(secret: bytes, given: Mapping[str, Any]) -> str:
    scope = _part(given, "Credential").split("/")
    date = given["headers"].get("X-Amz-Date") or given["params"].get("X-Amz-Date", "")
    if len(scope) < 4 or not date.startswith(scope[1]):
        raise BadSignature("the credential's scope does not fit the request")
    hashed = hashlib.sha256(_canonical(given).encode("utf-8", "replace")).hexdigest()
    text = "\n".join((_V4, date, "/".join(scope[1:]), hashed))
    key = b"AWS4" + secret
    for word in (*scope[1:4], "aws4_request", text):
        key = hmac.digest(key, word.encode("utf-8", "replace"), "sha256")
    return key.hex()


def _canonical(given: Mapping[str, Any]) -> str:
    """The request in the one form that is signed. The parameters of a POST are in its body, thus in its hash."""
    headers = {key.lower().strip(): value.strip() for key, value in given["headers"].items()}
    signed = _part(given, "SignedHeaders")
    lines = "".join(f"{name}:{headers[name]}\n" for name in signed.split(";") if name in headers) or "\n"
    query = "" if given["verb"].upper() == "POST" else _query(given["params"])
    return "\n".join((given["verb"].upper(), given["path"], query, lines, signed, given["body_hash"]))


def _part(given: Mapping[str, Any], name: str) -> str:
    """A part of the Authorization header, or of the query where the request is signed there."""
    authorization: str | None = given["headers"].get("Authorization")
    if authorization is None:
        return str(given["params"].get(f"X-Amz-{name}", ""))
    return authorization.partition(f"{name}=")[2].split(",")[0]
