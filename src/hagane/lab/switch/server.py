"""SSH before an emulated switch: passwords, a terminal that echoes, single commands, subsystems."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import asyncssh

from hagane.lab.switch.box import Box, HangUp, Memory

Process = Any  # asyncssh.SSHServerProcess, of text or bytes
Sessions = dict[asyncssh.SSHServerConnection, set["asyncio.Task[None]"]]  # those of each connection


class Cli(Protocol):
    """One terminal's command line."""

    secret: bool  # the next line is a password: no echo

    def prompt(self) -> str: ...

    async def run(self, line: str) -> str:
        """What the switch answers to a line; every line of it ends."""
        ...


class _Guard(asyncssh.SSHServer):
    def __init__(self, box: Memory[Any], sessions: Sessions) -> None:
        self._box, self._sessions = box, sessions

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._sessions[conn] = set()
        self._connection = conn

    def connection_lost(self, exc: Exception | None) -> None:
        for task in self._sessions.pop(self._connection):
            task.cancel()

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return not self._box.faults.password and self._box.users.get(username) == password


async def terminal(process: Process, box: Box, cli: Cli) -> None:
    """Serve one terminal: echo what comes, answer each line, prompt."""
    process.stdout.write(f"\r\n{box.banner}Welcome to {box.name}.\r\n\r\n{cli.prompt()}")
    text = ""
    while chunk := await process.stdin.read(4096):
        text += chunk.replace("\r\n", "\n").replace("\r", "\n")
        while "\n" in text:
            line, _, text = text.partition("\n")
            echo = "\r\n" if cli.secret else f"{line}\r\n"
            await box.line()
            answer = await cli.run(line.strip())
            process.stdout.write(echo + answer.replace("\n", "\r\n") + cli.prompt())


class SwitchServer:
    """An emulated switch on a TCP port. `serve` handles one session, of text or of bytes; it may raise HangUp."""

    def __init__(
        self, box: Memory[Any], serve: Callable[[Process], Awaitable[None]], *, encoding: str | None = "utf-8"
    ) -> None:
        self.box, self._serve, self._encoding = box, serve, encoding
        self.port = 0
        self._key = asyncssh.generate_private_key("ssh-ed25519")
        self.fingerprint = self._key.get_fingerprint()
        self._listener: asyncssh.SSHAcceptor | None = None
        self._sessions: Sessions = {}

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._listener = await asyncssh.listen(
            host,
            port,
            server_factory=lambda: _Guard(self.box, self._sessions),
            server_host_keys=[self._key],
            process_factory=self._handle,
            line_editor=False,
            encoding=self._encoding,
            login_timeout=30,
        )
        self.port = self._listener.get_port()

    async def _handle(self, process: Process) -> None:
        task = asyncio.current_task()
        assert task is not None
        if (sessions := self._sessions.get(process.channel.get_connection())) is None:
            return
        sessions.add(task)
        with contextlib.suppress(asyncssh.Error, OSError):
            try:
                await self._serve(process)
            except HangUp:
                process.channel.get_connection().abort()
                return
            process.exit(0)

    async def stop(self) -> None:
        tasks = [task for sessions in self._sessions.values() for task in sessions]
        self.hang_up()
        if self._listener is not None:
            self._listener.close()
            await self._listener.wait_closed()
        await asyncio.gather(*tasks, return_exceptions=True)

    def hang_up(self) -> None:
        """End all connections."""
        for connection in list(self._sessions):
            connection.abort()

    def reboot(self) -> None:
        self.box.reboot()
        self.hang_up()
