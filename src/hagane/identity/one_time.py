"""One-time passwords by the clock (TOTP, RFC 6238): six digits, a new code every 30 seconds, HMAC-SHA-1.

The seed is a credential of type `totp`, whose blob is the secret in base 32 (credential.py). The code of the interval
before is taken too, as by the real service. Six digits are soon guessed: a code is a second factor, never the only one.
"""

import base64
import binascii
import hmac
import time
from hmac import compare_digest

PERIOD, DIGITS, EARLIER, SHORTEST = 30, 6, 1, 16  # seconds, digits, intervals, bytes of a secret


def codes(seed: str, now: float | None = None) -> list[str]:
    """The codes that are right at a moment; none where the seed is no secret."""
    try:
        key = base64.b32decode(seed + "=" * (-len(seed) % 8))
    except (binascii.Error, ValueError):
        return []
    if len(key) < SHORTEST:
        return []
    step = int((time.time() if now is None else now) // PERIOD)
    return [_code(key, step - back) for back in range(EARLIER + 1)]


def _code(key: bytes, step: int) -> str:
    digest = hmac.digest(key, step.to_bytes(8, "big"), "sha1")
    at = digest[-1] & 15
    number = int.from_bytes(digest[at : at + 4], "big") & 0x7FFFFFFF
    return str(number % 10**DIGITS).zfill(DIGITS)


def fits(seeds: list[str], code: str) -> bool:
    """Whether the code is right for one of the seeds."""
    given = code.encode("utf-8", "replace")
    right = [compare_digest(one.encode(), given) for seed in seeds for one in codes(seed)]
    return any(right)
