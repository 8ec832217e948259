"""The ipmitool program: one command to one BMC, its errors in our words, and serial over LAN as a stream of bytes.

The password goes through the environment, never on the command line. Programs run in a small pool of threads, shared by
all BMCs: asyncio's own subprocesses may hang when they are cancelled while they start.
"""

import asyncio
import contextlib
import os
import pty
import subprocess
import time
import tty
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor

from hagane.drivers.bmc.base import BmcAccess, Console
from hagane.errors import DeviceFailed, HaganeError, Unavailable

THREADS = 16
_POOL = ThreadPoolExecutor(THREADS, thread_name_prefix="ipmitool")
_READY = b"[SOL Session operational."
_ESCAPE = "\x1d"
_PASSWORD_WORDS = ("HMAC is invalid", "unauthorized name", "Invalid integrity check value", "insufficient privilege")
_NO_SESSION = "Unable to establish"
_NOISE = ("Unable to Get Channel Cipher Suites", "Loading IANA PEN", "Get HPM.x Capabilities")


async def run(access: BmcAccess, *words: str) -> str:
    """The output of one command. Errors: Unavailable, DeviceFailed."""
    return await asyncio.get_running_loop().run_in_executor(_POOL, _run, access, words)


def _run(access: BmcAccess, words: tuple[str, ...]) -> str:
    began = time.monotonic()
    done = _ask(access, *words)
    if done.returncode == 0:
        return done.stdout
    if _NO_SESSION in done.stderr and time.monotonic() - began < access.timeout / 2:
        # Only in its verbose mode does it say whether the password was refused; who is silent refuses nothing.
        done = _ask(access, "-v", *words)
        if done.returncode == 0:
            return done.stdout
    raise _translate(access, done.stderr)


def _argv(access: BmcAccess) -> list[str]:
    return [
        *("ipmitool", "-I", "lanplus", "-H", access.address, "-p", str(access.port), "-U", access.username, "-E"),
        *("-N", str(max(1, int(access.timeout / 3))), "-R", "3"),
    ]


def _environment(access: BmcAccess) -> dict[str, str]:
    return {**os.environ, "IPMI_PASSWORD": access.password, "LC_ALL": "C"}


def _ask(access: BmcAccess, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [*_argv(access), *words]
    try:
        return subprocess.run(
            argv,
            env=_environment(access),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=access.timeout,
        )
    except FileNotFoundError as error:
        raise Unavailable("The program ipmitool is not installed; `hagane doctor` names the package.") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{access.address}: no answer from the BMC") from error


def _translate(access: BmcAccess, said: str) -> HaganeError:
    if any(words in said for words in _PASSWORD_WORDS):
        return DeviceFailed(f"{access.address}: the BMC refuses the user name or the password", detail=said)
    if _NO_SESSION in said or "timed out" in said or "Address lookup" in said:
        return Unavailable(f"{access.address}: no answer from the BMC", detail=said)
    if "Node busy" in said or "BMC initialization" in said:
        return Unavailable(f"{access.address}: the BMC is busy", detail=said)
    lines = [line for line in said.splitlines() if line and not line.startswith(_NOISE)]
    return DeviceFailed(f"{access.address}: the BMC refuses: {lines[-1] if lines else 'it says not why'}", detail=said)


async def console(access: BmcAccess) -> Console:
    """Serial over LAN. Whoever had it before loses it: a session that died unseen would lock it for ever."""
    with contextlib.suppress(DeviceFailed):
        await run(access, "sol", "deactivate")
    master, process = await asyncio.get_running_loop().run_in_executor(_POOL, _spawn, access)
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(master, "rb", buffering=0)
    )
    stream = _Stream(access, master, process, reader, transport)
    output = stream.output()
    await anext(output)  # a generator that has begun also ends properly
    return output, stream.send


def _spawn(access: BmcAccess) -> tuple[int, subprocess.Popen[bytes]]:
    """On a terminal of its own, which changes nothing of what passes: into a pipe it would hold its words back."""
    master, slave = pty.openpty()
    try:
        tty.setraw(slave)
        argv = [*_argv(access), "-e", _ESCAPE, "sol", "activate"]
        return master, subprocess.Popen(argv, env=_environment(access), stdin=slave, stdout=slave, stderr=slave)
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)


class _Stream:
    """One running `sol activate`."""

    def __init__(
        self,
        access: BmcAccess,
        master: int,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        transport: asyncio.ReadTransport,
    ) -> None:
        self._access, self._master, self._process = access, master, process
        self._reader, self._transport = reader, transport
        self._ended = False

    async def ready(self) -> None:
        """Wait for its greeting, which is not the machine's."""
        try:
            async with asyncio.timeout(self._access.timeout):
                while True:
                    line = await self._reader.readuntil(b"\n")
                    if line.startswith(_READY):
                        return
                    if b"Error" in line:
                        raise _translate(self._access, line.decode(errors="replace"))
        except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            raise Unavailable(f"{self._access.address}: the BMC opens no serial console") from error

    async def output(self) -> AsyncGenerator[bytes, None]:
        """First nothing, once it is ready; then what the machine says."""
        try:
            await self.ready()
            yield b""
            while data := await self._reader.read(4096):
                yield data
        except OSError:
            return  # so a terminal says that the other side is gone
        finally:
            await self.end()

    async def send(self, data: bytes) -> None:
        if self._ended:
            raise Unavailable(f"{self._access.address}: the serial console has ended")
        while data:
            try:
                data = data[os.write(self._master, data) :]
            except BlockingIOError:
                await asyncio.sleep(0.01)

    async def end(self) -> None:
        """Let go: say good-bye as its manual wants, and do not wait long for it."""
        if self._ended:
            return
        self._ended = True
        await asyncio.get_running_loop().run_in_executor(_POOL, self._end)
        self._transport.close()

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._master, f"\r{_ESCAPE}.".encode())
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
