"""What a switch says of itself and of its port, in LLDP frames that a ramdisk caught: raw TLVs, read into a Link."""

from collections.abc import Iterable
from typing import Any

CHASSIS, PORT, NAME = 1, 2, 5
_MAC = {CHASSIS: 4, PORT: 3}
"""TLV -> the subtype whose value is a MAC."""


def link_of(tlvs: Iterable[Iterable[Any]]) -> dict[str, str]:
    """`switch_id`, `port_id` and `switch_info`, as far as they were said. TLVs are pairs of type and hexadecimal
    text; what cannot be read is left out."""
    found: dict[str, str] = {}
    for pair in tlvs:
        kind, text = _pair(pair)
        if kind == CHASSIS and text:
            found["switch_id"] = _value(CHASSIS, text)
        elif kind == PORT and text:
            found["port_id"] = _value(PORT, text)
        elif kind == NAME and text:
            found["switch_info"] = text.decode("utf-8", "replace")
    return found if found.get("switch_id") and found.get("port_id") else {}


def _pair(pair: Iterable[Any]) -> tuple[int, bytes]:
    try:
        kind, text = pair
        return int(kind), bytes.fromhex(str(text))
    except (TypeError, ValueError):
        return 0, b""


def _value(kind: int, data: bytes) -> str:
    subtype, value = data[0], data[1:]
    if subtype == _MAC[kind] and len(value) == 6:
        return ":".join(f"{byte:02x}" for byte in value)
    return value.decode("utf-8", "replace").rstrip("\0")
