"""SHA-512 crypt ("$6$..."), the form of passwords that /etc/shadow takes; Python's own module for it is on its way out.

https://www.akkadia.org/drepper/SHA-crypt.txt. Five thousand rounds, 5 ms.
"""

import hashlib
import secrets

ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ROUNDS = 5000
_ORDER = (
    (0, 21, 42), (22, 43, 1), (44, 2, 23), (3, 24, 45), (25, 46, 4), (47, 5, 26), (6, 27, 48), (28, 49, 7),
    (50, 8, 29), (9, 30, 51), (31, 52, 10), (53, 11, 32), (12, 33, 54), (34, 55, 13), (56, 14, 35), (15, 36, 57),
    (37, 58, 16), (59, 17, 38), (18, 39, 60), (40, 61, 19), (62, 20, 41),
)  # fmt: skip


def hashed(password: str, salt: str = "") -> str:
    salt = salt or "".join(secrets.choice(ALPHABET) for _ in range(16))
    key, salted = password.encode(), salt.encode()
    digest = _sha(_first(key, salted))
    by_key = _stretch(_sha(key * len(key)), len(key))
    by_salt = _stretch(_sha(salted * (16 + digest[0])), len(salted))
    for turn in range(ROUNDS):
        text = by_key if turn & 1 else digest
        text += by_salt if turn % 3 else b""
        text += by_key if turn % 7 else b""
        digest = _sha(text + (digest if turn & 1 else by_key))
    return f"$6${salt}${_encode(digest)}"


def _first(key: bytes, salt: bytes) -> bytes:
    other = _sha(key + salt + key)
    text = key + salt + _stretch(other, len(key))
    length = len(key)
    while length:
        text += other if length & 1 else key
        length >>= 1
    return text


def _sha(data: bytes) -> bytes:
    return hashlib.sha512(data).digest()


def _stretch(digest: bytes, length: int) -> bytes:
    return (digest * (length // len(digest) + 1))[:length]


def _encode(digest: bytes) -> str:
    found = "".join(_letters(digest[a] << 16 | digest[b] << 8 | digest[c], 4) for a, b, c in _ORDER)
    return found + _letters(digest[63], 2)


def _letters(number: int, count: int) -> str:
    return "".join(ALPHABET[number >> 6 * place & 63] for place in range(count))
