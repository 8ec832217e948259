"""A simulated Host's memory across restarts: one file of JSON lines, each the new state of one machine.

Appending a line costs microseconds, however many machines there are. Reading plays the lines, skips one that a kill
cut short, and writes the file anew without what is outdated.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


class Journal(Generic[T]):
    """The last value of each key."""

    def __init__(self, path: Path, kind: type[T]) -> None:
        self._path = path
        line: Any = tuple[str, kind | None]  # type: ignore[valid-type]
        self._decode: Callable[[bytes], tuple[str, T | None]] = msgspec.json.Decoder(line).decode
        self._encode = msgspec.json.Encoder().encode

    def load(self) -> dict[str, T]:
        """Read everything, and open the file for `put`."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        values: dict[str, T] = {}
        lines = self._path.read_bytes().splitlines() if self._path.exists() else []
        for line in lines:
            try:
                key, value = self._decode(line)
            except msgspec.DecodeError:
                continue
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(b"".join(self._line(key, value) for key, value in values.items()))
        fresh.replace(self._path)
        self._file = self._path.open("ab", buffering=0)
        return values

    def put(self, key: str, value: T | None) -> None:
        """Remember, or with None forget."""
        self._file.write(self._line(key, value))

    def close(self) -> None:
        self._file.close()

    def _line(self, key: str, value: T | None) -> bytes:
        return self._encode((key, value)) + b"\n"
