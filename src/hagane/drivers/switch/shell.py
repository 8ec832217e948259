"""A switch's command line over SSH: prompts, answers, refusals; and what the families with a configuration mode share.

Commands go in blocks (an interface and its lines) without waiting for each answer: 48 ports cost 48 round trips, not
300. A prompt is the host name that the first prompt showed, perhaps a mode in parentheses, and `>` or `#`, at the
beginning of a line; the last one must be the last thing that the switch sent.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import asyncssh

from hagane.drivers.switch.base import SwitchAccess, SwitchDesired, SwitchSeen
from hagane.drivers.switch.ssh import SshSwitch

_NOISE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\x07")
_HALF = re.compile(r"\x1b\[?[0-9;?]*\Z")
_ANY_PROMPT = re.compile(r"(?:\A|\n)([A-Za-z0-9][\w.\-]{0,63})(?:\([^()\n]*\))?[>#] ?\Z")
_REFUSED = re.compile(r"^\s*(?:%(?!\s*Warning)|ERROR\b|Error\b).*", re.MULTILINE)


class Shell:
    """One terminal. `run` waits for the prompt."""

    def __init__(self, process: "asyncssh.SSHClientProcess[str]") -> None:
        self._process = process
        self._buffer = self._half = ""
        self._prompt = _ANY_PROMPT
        self._last = _ANY_PROMPT

    @classmethod
    async def open(cls, connection: asyncssh.SSHClientConnection, access: SwitchAccess) -> "Shell":
        """A terminal that shows no pages, with the right to configure. The caller sets the time that it may take."""
        process: Any = await connection.create_process(
            term_type="vt100", term_size=(511, 1000), encoding="utf-8", errors="replace"
        )
        shell = cls(process)
        while not (found := _ANY_PROMPT.search(shell._buffer)):
            await shell._more()
        name = re.escape(found[1])
        # After a prompt too: an answer may be nothing at all, not even the end of the line that was typed.
        prompt = rf"(?:\A|(?<=\n)|(?<=[>#])|(?<=[>#] )){name}(?:\([^()\n]*\))?[>#] ?"
        shell._prompt, shell._last = re.compile(prompt), re.compile(rf"{prompt}\Z")
        if found[0].rstrip().endswith(">"):
            await shell._enable(access.password)
        for line in ("terminal length 0", "terminal width 511"):
            await shell.run(line)
        return shell

    async def run(self, line: str) -> str:
        return (await self.block([line]))[0]

    async def block(self, lines: Sequence[str]) -> list[str]:
        """What the switch says to each of these lines."""
        self._buffer = ""
        self._process.stdin.write("".join(f"{line.strip()}\n" for line in lines))
        while True:
            await self._more()
            if self._last.search(self._buffer[-600:]) is None:
                continue
            parts = self._prompt.split(self._buffer)
            if len(parts) > len(lines):
                return [_without_echo(line, part) for line, part in zip(lines, parts, strict=False)]

    async def _enable(self, password: str) -> None:
        self._process.stdin.write("enable\n")
        self._buffer = ""
        while not self._last.search(self._buffer):
            await self._more()
            if self._buffer.rstrip().endswith("assword:"):
                self._process.stdin.write(f"{password}\n")
                self._buffer = ""

    async def _more(self) -> None:
        chunk = await self._process.stdout.read(65536)
        if not chunk:
            raise EOFError
        text = self._half + chunk
        # An escape sequence that is cut waits for its rest; only what is new is looked through.
        found = _HALF.search(text, max(0, len(text) - 24))
        self._half = found[0] if found else ""
        self._buffer += _NOISE.sub("", text.removesuffix(self._half))


def _without_echo(line: str, text: str) -> str:
    """A terminal that echoes early has shown the line before; then the first line is a part of the answer."""
    first, _, rest = text.partition("\n")
    return rest if line.split() == first.split() else text


def blocks(lines: Iterable[str]) -> list[list[str]]:
    """Lines of a configuration, cut before each one that is not indented."""
    found: list[list[str]] = []
    for line in lines:
        if not line.startswith(" ") or not found:
            found.append([])
        found[-1].append(line)
    return found


def sections(text: str) -> dict[str, list[str]]:
    """A running configuration: each line that is not indented, in lower case, and the lines under it, both with single
    spaces. A header that comes twice has the lines of both."""
    found: dict[str, list[str]] = {}
    under: list[str] = []
    for line in text.splitlines():
        words = " ".join(line.split())
        if not words or words.startswith("!"):
            continue
        if line[0].isspace():
            under.append(words)
        else:
            under = found.setdefault(words.lower(), [])
    return found


class CliSwitch(SshSwitch[Shell]):
    """A switch with `show` commands and a configuration mode."""

    shows: tuple[str, ...]  # the first one shows the running configuration
    startup = "show startup-config"
    copy = "copy running-config startup-config"

    def render(self, desired: SwitchDesired, seen: SwitchSeen) -> list[str]:
        raise NotImplementedError

    def parse(self, answers: Mapping[str, str]) -> SwitchSeen:
        raise NotImplementedError

    async def configure(self, shell: Shell) -> None:
        raise NotImplementedError

    async def finish(self, shell: Shell) -> None:
        raise NotImplementedError

    async def abandon(self, shell: Shell) -> None:
        raise NotImplementedError

    async def open(self, connection: asyncssh.SSHClientConnection) -> Shell:
        return await Shell.open(connection, self.access)

    async def probe(self, session: Shell) -> None:
        await session.run("")

    async def look(self, session: Shell, *, startup: bool = False) -> SwitchSeen:
        answers = {}
        for show in self.shows:
            async with self.patience():
                answers[show] = await session.run(self.startup if startup and show == self.shows[0] else show)
            if said := _REFUSED.match(answers[show]):
                raise self.refusal(f"refuses {show!r}: {said[0]}")
        return self.parse(answers)

    async def commit(self, session: Shell, desired: SwitchDesired, seen: SwitchSeen) -> Mapping[str, str]:
        async with self.commit_patience():
            await self.configure(session)
        refused: dict[str, str] = {}
        general = ""
        for block in blocks(self.render(desired, seen)):
            async with self.commit_patience():
                answers = await session.block(block)
            for line, answer in zip(block, answers, strict=True):
                if said := _REFUSED.search(answer):
                    port = self._port_of(block[0])
                    general = general or ("" if port else f"refuses {line.strip()!r}: {said[0]}")
                    refused.setdefault(port, f"refuses {line.strip()!r}: {said[0]}")
        async with self.commit_patience():
            if not refused:
                await self.finish(session)
                return {}
            await self.abandon(session)
        if general:
            raise self.refusal(general)
        return refused

    async def confirm(self, session: Shell) -> None:
        return None

    async def save(self, session: Shell) -> None:
        await self.tell(session, self.copy)

    async def tell(self, shell: Shell, line: str) -> str:
        """Run a line that must not be refused."""
        answer = await shell.run(line)
        if said := _REFUSED.search(answer):
            raise self.refusal(f"refuses {line!r}: {said[0]}")
        return answer

    def _port_of(self, header: str) -> str:
        first, _, name = header.strip().partition(" ")
        return self.canonical(name) if first == "interface" else ""
