"""Message boundaries are found however the bytes are cut, whatever stands in strings, and in linear time."""

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hagane.ovn.framing import Framer

NASTY = st.text(st.sampled_from('{}"\\[], aé\n'), max_size=12)
VALUES = st.recursive(
    NASTY | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NASTY, inner, max_size=4),
    max_leaves=12,
)
MESSAGES = st.lists(st.dictionaries(NASTY, VALUES, max_size=4), min_size=1, max_size=6)


def feed(data: bytes, cuts: list[int]) -> list[bytes]:
    framer = Framer()
    frames: list[bytes] = []
    start = 0
    for cut in sorted({min(cut, len(data)) for cut in cuts} | {len(data)}):
        frames += framer.feed(data[start:cut])
        start = cut
    return frames


@given(MESSAGES, st.sampled_from([b"", b"\n", b" \r\n\t"]), st.lists(st.integers(0, 400), max_size=30))
@example([{"a": "}{"}, {"b": "\\"}], b"", [])
@example([{"a": '\\"}{'}, {}], b"", list(range(40)))
def test_messages_come_out_as_they_went_in(messages: list[Any], between: bytes, cuts: list[int]) -> None:
    data = between.join(msgspec.json.encode(message) for message in messages)
    assert [msgspec.json.decode(frame) for frame in feed(data, cuts)] == messages


@given(MESSAGES)
def test_byte_by_byte(messages: list[Any]) -> None:
    data = b"".join(msgspec.json.encode(message) for message in messages)
    assert [msgspec.json.decode(frame) for frame in feed(data, list(range(len(data))))] == messages


def test_an_incomplete_message_waits() -> None:
    framer = Framer()
    assert framer.feed(b' {"a": {"b": "}') == []
    assert framer.feed(b'"}') == []
    assert framer.feed(b'} {"c"') == [b' {"a": {"b": "}"}}']
    assert framer.feed(b":1}\n") == [b' {"c":1}\n']
    assert framer.feed(b"\n \n") == []


def test_what_closes_too_much_is_refused() -> None:
    with pytest.raises(ValueError, match="braces"):
        Framer().feed(b'{"a": 1}}')


def test_a_huge_message_in_small_pieces() -> None:
    row = b'{"name":"port","match":"ip4.src == {10.0.0.1, 10.0.0.2}","options":["map",[["a","\\"b\\""]]]},'
    data = b'{"rows":[' + row * 40_000 + b"0]}"
    framer = Framer()
    assert [f for start in range(0, len(data), 4096) for f in framer.feed(data[start : start + 4096])] == [data]
