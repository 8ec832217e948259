"""A switch's terminal: whatever pieces its output comes in, and whatever it is decorated with."""

import asyncio

import pytest

from hagane.drivers.switch.base import SwitchAccess
from hagane.drivers.switch.shell import Shell, blocks, sections


class Device:
    """A connection, its process and its two streams in one. `echo`: how the terminal shows what is typed."""

    def __init__(self, piece: int, *, name: str = "leaf-1.dc", banner: str = "", at_once: bool = False) -> None:
        self._piece, self._name, self._at_once = piece, name, at_once
        self._mode = ""
        self._out = f"{banner}\r\n{self._prompt()}"
        self.stdin = self.stdout = self

    def _prompt(self) -> str:
        return f"\x1b[1m{self._name}{self._mode}\x1b[0m# "

    async def create_process(self, **_options: object) -> "Device":
        return self

    def write(self, data: str) -> None:
        lines = data.splitlines()
        if self._at_once:  # a terminal that echoes all that it has got before the first answer
            self._out += "".join(f"{line}\r\n" for line in lines)
        for line in lines:
            self._mode = "(config-if)" if line.startswith("interface") else self._mode
            echo = "" if self._at_once else f"{line}\r\n"
            answer = f"one {line}\r\n\x1b[31mtwo#\x1b[0m\r\n" if line.startswith("show") else ""
            self._out += f"{echo}{answer}{self._prompt()}"

    async def read(self, _size: int) -> str:
        data, self._out = self._out[: self._piece], self._out[self._piece :]
        return data


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("piece", [1, 2, 5, 1000])
async def test_answers_come_in_any_pieces(piece: int, at_once: bool) -> None:
    banner = "\r\n######\r\n# No entry: spine9# is not this\r\n######\r\n"
    device = Device(piece, banner=banner, at_once=at_once)
    async with asyncio.timeout(10):
        shell = await Shell.open(device, SwitchAccess("192.0.2.1", 22))  # type: ignore[arg-type]
        first = await shell.run("show version")
        answers = await shell.block(["interface Ethernet1", "  show this", "  shutdown"])
    assert first.endswith("one show version\ntwo#\n")
    assert len(answers) == 3 and answers[1].endswith("one show this\ntwo#\n") and not answers[2].strip()


async def test_the_end_of_the_session_is_told() -> None:
    device = Device(1000)
    shell = await Shell.open(device, SwitchAccess("192.0.2.1", 22))  # type: ignore[arg-type]
    device.write = lambda data: None  # type: ignore[method-assign]
    with pytest.raises(EOFError):
        await shell.run("show version")


def test_blocks_begin_where_the_indent_ends() -> None:
    lines = ["vlan 1001", "   name a", "interface Ethernet1", "   shutdown", "no vlan 7"]
    assert blocks(lines) == [lines[:2], lines[2:4], lines[4:]]
    assert blocks([]) == []


def test_sections_join_what_comes_twice() -> None:
    text = "vlan 10\n!\nInterface  Ethernet1\n   switchport\n\n\n   mtu   9000\nvlan 10\n\tname a\n   \ninterface ethernet1\n shutdown\n"
    assert sections(text) == {"vlan 10": ["name a"], "interface ethernet1": ["switchport", "mtu 9000", "shutdown"]}
