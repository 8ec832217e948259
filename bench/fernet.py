"""Tokens and secrets: microseconds each way, beside the floor (one Fernet operation on as many bytes).

PYTHONPATH=src python bench/fernet.py
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from cryptography.fernet import Fernet

from hagane.identity.fernet import Token, TokenCodec
from hagane.state.secret import Secrets


def micros(call: Callable[[], object], times: int = 20_000) -> float:
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times * 1e6


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        codec, secrets = TokenCodec(Path(folder)), Secrets(Path(folder))
        token = Token(
            user_id=uuid4().hex, methods=("password",), issued_at=1.8e9, expires_at=1.8e9 + 86_400,
            audit_ids=("3T2dc1CGQxyJsHdDu1xkcw",), project_id=uuid4().hex,
        )  # fmt: skip
        text = codec.encode(token)
        fernet, data = Fernet(Fernet.generate_key()), bytes(90)
        sealed = fernet.encrypt(data)
        seal, open_ = micros(lambda: fernet.encrypt(data)), micros(lambda: fernet.decrypt(sealed))
        encode = micros(lambda: codec.encode(token))
        cached = micros(lambda: codec.decode(text))
        uncached = micros(lambda: codec._decode(text))
        codec.rotate()
        codec.rotate()
        oldest = micros(lambda: codec._decode(text))
        print(f"token: {len(text)} characters")
        print(f"encode            {encode:6.2f} µs   floor {seal:5.2f} µs  {encode / seal:.2f}x")
        print(f"decode, uncached  {uncached:6.2f} µs   floor {open_:5.2f} µs  {uncached / open_:.2f}x")
        print(f"decode, third key {oldest:6.2f} µs")
        print(f"decode, cached    {cached:6.2f} µs")
        hidden = secrets.encrypt("hunter2")
        print(f"secret: encrypt   {micros(lambda: secrets.encrypt('hunter2')):6.2f} µs")
        print(f"secret: decrypt   {micros(lambda: secrets.decrypt(hidden)):6.2f} µs")


if __name__ == "__main__":
    main()
