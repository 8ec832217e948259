"""One tgtd: a target daemon for iSCSI at one portal, and its control socket (tgtadm.h of tgt 1.0).

    absent ──start──▶ answering ──end, or a kill──▶ absent        (it keeps nothing: export.py makes all anew)

The daemon lives in the portal's network namespace and outlives this process; it is found again by its pid file. What
is asked of it goes over its socket as tgtadm would send it, because tgtadm takes passwords as arguments, which
everybody on the machine can read.
"""

import asyncio
import contextlib
import os
import re
import select
import signal
import struct
import subprocess
import time
from dataclasses import dataclass
from enum import IntEnum
from itertools import zip_longest
from pathlib import Path

from hagane.drivers.volume.base import daemon_pid
from hagane.errors import DeviceFailed, Unavailable

PREFIX = "iqn.2026-01.org.hagane:"
START, ANSWER, STOP = 10.0, 15.0, 5.0  # seconds
_REQUEST = struct.Struct("<2I64sIiQQ6I")
_NOBODY = (1 << 64) - 1
_TARGET = re.compile(r"^Target (\d+): (\S+)", re.MULTILINE)
_SESSION = re.compile(r"^ {8}I_T nexus: (\d+)", re.MULTILINE)
_FILE = re.compile(r"Backing store path: (/\S+)")
_ACCOUNT = re.compile(r"Account information:\s*\n((?: {8}\S+.*\n?)*)")
NO_TARGET, TARGET_EXISTS, USER_EXISTS, NO_USER = 4, 9, 14, 15
_WORDS = {NO_TARGET: "there is no such target", TARGET_EXISTS: "the target is there already", 11: "the LUN is in use",
          USER_EXISTS: "the user is there already", NO_USER: "there is no such user", 17: "it cannot open the file",
          19: "the target is in use"}  # fmt: skip


class Mode(IntEnum):
    SYSTEM, TARGET, DEVICE, ACCOUNT = 0, 1, 2, 7


class Op(IntEnum):
    NEW, DELETE, SHOW, BIND, UNBIND = 0, 1, 2, 3, 4


@dataclass(frozen=True, slots=True, order=True)
class Portal:
    """Where a target daemon listens: a network namespace ("": this process's own) and an address in it."""

    netns: str
    address: str
    port: int = 3260

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.netns}@{self.address}@{self.port}"


@dataclass(frozen=True, slots=True)
class Target:
    """What a tgtd has of ours; `name` is its IQN without our prefix."""

    number: int
    name: str
    file: str
    sessions: tuple[int, ...]
    users: tuple[str, ...]


class Tgtd:
    """The daemon of one portal; its files are in `folder`, whose name must be short (a socket is among them)."""

    def __init__(self, portal: Portal, folder: Path) -> None:
        self.portal, self._folder = portal, folder

    @property
    def pid_file(self) -> Path:
        return self._folder / f"{self.portal.name}.pid"

    def pid(self) -> int | None:
        """Of the daemon, if it runs in the namespace that the portal's name stands for now. Blocks."""
        found = daemon_pid(self.pid_file)
        return found if found is not None and self._at_home(found) else None

    async def start(self) -> None:
        """Make the daemon run and answer. Raises Unavailable, DeviceFailed."""
        if await asyncio.to_thread(self.pid) is not None:
            return
        await self.end()
        await asyncio.to_thread(self._launch)
        until = time.monotonic() + START
        while True:  # it goes to the background before its socket is there
            try:
                await self.targets()
                return
            except Unavailable:
                if time.monotonic() > until:
                    raise
            await asyncio.sleep(0.02)

    async def end(self) -> None:
        """End the daemon, whatever it has. Nothing happens the second time."""
        await asyncio.to_thread(self._kill)

    async def targets(self) -> list[Target]:
        """All targets that are ours. Raises Unavailable."""
        return [target for target in parse(await self.show()) if target.name]

    async def show(self) -> str:
        return (await self._call(Mode.TARGET, Op.SHOW))[1]

    async def ask(
        self, op: Op, mode: Mode, text: str = "", *, target: int = -1, lun: int = _NOBODY, force: bool = False,
        fine: tuple[int, ...] = (),
    ) -> None:  # fmt: skip
        """One change; `fine`: answers that are no error. Raises DeviceFailed, Unavailable."""
        code, _ = await self._call(mode, op, text, target, lun, force)
        if code and code not in fine:
            why = _WORDS.get(code, f"error {code}")
            raise DeviceFailed(f"The iSCSI target daemon refused to {op.name.lower()} the {mode.name.lower()}: {why}.")

    async def _call(
        self, mode: Mode, op: Op, text: str = "", target: int = -1, lun: int = _NOBODY, force: bool = False
    ) -> tuple[int, str]:
        body = text.encode() + b"\0" if text else b""
        size = _REQUEST.size + len(body)
        head = _REQUEST.pack(mode, op, b"iscsi", size, target, 0, lun, 0, 0, 0, 0, 0, int(force))
        try:
            async with asyncio.timeout(ANSWER):
                reader, writer = await asyncio.open_unix_connection(self._folder / f"{self.portal.name}.0")
                try:
                    writer.write(head + body)
                    answer = await reader.read()
                finally:
                    writer.close()
            return struct.unpack_from("<I", answer)[0], answer[8:].decode(errors="replace")
        except (OSError, TimeoutError, struct.error) as error:
            raise Unavailable(
                f"The iSCSI target daemon at {self.portal} does not answer.", detail=str(error)
            ) from error

    # -- mechanics, all blocking -----------------------------------------------------------------------------------

    def _launch(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        words = ["tgtd", "-C", "0", "--iscsi", f"portal={self.portal}", "-p", str(self.pid_file)]
        if self.portal.netns:
            # Only the network changes: what is mounted later (a view of a volume) must be seen in there, too.
            words = ["nsenter", f"--net=/run/netns/{self.portal.netns}", *words]
        environment = {**os.environ, "TGT_IPC_SOCKET": str(self._folder / self.portal.name)}
        null = subprocess.DEVNULL
        try:
            done = subprocess.run(
                words, stdin=null, stdout=null, stderr=subprocess.PIPE, env=environment, timeout=START, check=False
            )
        except FileNotFoundError as error:
            raise Unavailable("tgtd is not installed; `hagane doctor` names the package.") from error
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"The iSCSI target daemon at {self.portal} does not start.") from error
        if done.returncode:
            why = done.stderr.decode(errors="replace").strip() or "no reason given"
            raise Unavailable(f"The iSCSI target daemon cannot listen at {self.portal}: {why.splitlines()[-1]}")

    def _at_home(self, pid: int) -> bool:
        home = f"/run/netns/{self.portal.netns}" if self.portal.netns else "/proc/self/ns/net"
        try:
            return Path(home).stat().st_ino == Path(f"/proc/{pid}/ns/net").stat().st_ino
        except OSError:
            return False

    def _kill(self) -> None:
        """By force: asked to end, tgtd waits until nobody uses its targets."""
        pid = daemon_pid(self.pid_file)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                watched = os.pidfd_open(pid)
                try:
                    signal.pidfd_send_signal(watched, signal.SIGKILL)
                    _wait(watched)
                finally:
                    os.close(watched)
        for path in self._folder.glob(f"{self.portal.name}.*"):
            path.unlink(missing_ok=True)


def _wait(pidfd: int) -> None:
    select.select([pidfd], [], [], STOP)


def parse(text: str) -> list[Target]:
    """tgtd's list of targets; what is not ours has no name."""
    found = []
    starts = list(_TARGET.finditer(text))
    for match, following in zip_longest(starts, starts[1:]):
        part = text[match.start() : following.start() if following else len(text)]
        name, files, account = match[2], _FILE.findall(part), _ACCOUNT.search(part)
        found.append(
            Target(
                number=int(match[1]), name=name.removeprefix(PREFIX) if name.startswith(PREFIX) else "",
                file=files[-1] if files else "", sessions=tuple(int(n) for n in _SESSION.findall(part)),
                users=tuple(line.strip() for line in account[1].splitlines() if line.strip()) if account else (),
            )
        )  # fmt: skip
    return found


def portal_of(name: str) -> Portal | None:
    """The portal whose files have this name."""
    match = re.fullmatch(r"([^@]*)@([^@]+)@(\d+)", name)
    return Portal(match[1], match[2], int(match[3])) if match else None
