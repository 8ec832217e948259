"""Volumes to other machines by iSCSI: targets of a tgtd, each one volume, each with a CHAP user of its own.

    Export(volume, file, user, password, initiator) ──▶ iqn.2026-01.org.hagane:<volume>, LUN 1

What shall be is the whole list; tgtd is asked what it has, and only targets that bear our name are touched. A target
in use is not removed until its sessions have gone, or by force. tgtd keeps nothing: after its restart everything is
made anew. Passwords go to it by an argument list that other users of the machine can read for a moment, which is why
the daemon's machine is to have no other users; they are never logged here.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from hagane.errors import DeviceFailed, Unavailable

PREFIX = "iqn.2026-01.org.hagane:"
TIMEOUT = 15.0  # seconds for one command
_TARGET = re.compile(r"Target (\d+): (\S+)")
_SESSION = re.compile(r"^ {8}I_T nexus: (\d+)", re.MULTILINE)
_FILE = re.compile(r"Backing store path: (/\S+)")
_ACCOUNT = re.compile(r"Account information:\s*\n((?: {8}\S+.*\n?)*)")


@dataclass(frozen=True, slots=True)
class Export:
    """One volume for one initiator ("ALL": whoever knows the password)."""

    volume_id: str
    file: Path
    user: str
    password: str = field(repr=False)
    initiator: str = "ALL"


@dataclass(frozen=True, slots=True)
class Target:
    """What tgtd has of ours."""

    number: int
    volume_id: str
    file: str
    sessions: tuple[int, ...]
    users: tuple[str, ...]


def iqn(volume_id: str) -> str:
    return PREFIX + volume_id


def connection(export: Export, portal: str) -> dict[str, object]:
    """What an initiator needs to know, in the words of the block storage API."""
    return {
        "driver_volume_type": "iscsi",
        "data": {
            "target_discovered": False, "target_portal": portal, "target_iqn": iqn(export.volume_id), "target_lun": 1,
            "volume_id": export.volume_id, "auth_method": "CHAP", "auth_username": export.user,
            "auth_password": export.password,
        },
    }  # fmt: skip


class TgtExports:
    """One tgtd, told apart from others by its control port (`tgtd -C`)."""

    def __init__(self, control: int, *, program: Sequence[str] = ("tgtadm",)) -> None:
        self._control, self._program = control, tuple(program)
        self._turn = asyncio.Lock()  # numbers of targets are chosen here

    async def apply(self, exports: Sequence[Export], *, force: bool = False) -> list[str]:
        """Make the targets so; returns ids of volumes whose targets are still in use and therefore stay. `force` ends
        their sessions. Raises DeviceFailed, Unavailable."""
        wanted = {export.volume_id: export for export in exports}
        async with self._turn:
            there = {target.volume_id: target for target in await self.read()}
            busy = []
            for key, target in there.items():
                export = wanted.get(key)
                if export is None or target.file != str(export.file) or target.users != (export.user,):
                    if target.sessions and not force:
                        busy.append(key)
                        wanted.pop(key, None)
                    else:
                        await self._remove(target)
                else:
                    del wanted[key]
            taken = await self._numbers()
            for export in wanted.values():
                number = next(n for n in range(1, 1 << 16) if n not in taken)
                taken.add(number)
                await self._make(number, export)
            return busy

    async def read(self) -> list[Target]:
        """All targets that are ours."""
        return [target for target in parse(await self._run("show", "target")) if target.volume_id]

    async def _numbers(self) -> set[int]:
        return {int(number) for number, _ in _TARGET.findall(await self._run("show", "target"))}

    async def _make(self, number: int, export: Export) -> None:
        """The account is bound before the initiators are, so that nobody gets in without a password."""
        where = {"tid": str(number)}
        await self._run("new", "target", where | {"targetname": iqn(export.volume_id)})
        try:
            more = where | {"lun": "1", "backing-store": str(export.file), "bstype": "rdwr"}
            await self._run("new", "logicalunit", more)
            secret = {"user": export.user, "password": export.password}
            await self._run("delete", "account", {"user": export.user}, missing=True)
            await self._run("new", "account", secret)
            await self._run("bind", "account", where | {"user": export.user})
            word = "initiator-address" if export.initiator == "ALL" else "initiator-name"
            await self._run("bind", "target", where | {word: export.initiator})
        except BaseException:
            await asyncio.shield(self._run("delete", "target", where, missing=True, flags=("--force",)))
            raise

    async def _remove(self, target: Target) -> None:
        where = {"tid": str(target.number)}
        await self._run("unbind", "target", where | {"initiator-address": "ALL"}, missing=True)
        await self._run("delete", "target", where, flags=("--force",), missing=True)
        for user in target.users:
            await self._run("delete", "account", {"user": user}, missing=True)

    async def _run(
        self, op: str, mode: str, more: Mapping[str, str] | None = None, *, missing: bool = False,
        flags: Sequence[str] = (),
    ) -> str:  # fmt: skip
        """One command; `missing`: it is no error if the thing is not there."""
        options = [word for name, value in (more or {}).items() for word in (f"--{name}", value)]
        words = [*self._program, "-C", str(self._control), "--lld", "iscsi", "--op", op, *flags, "--mode", mode]
        try:
            child = await asyncio.create_subprocess_exec(
                *words, *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            async with asyncio.timeout(TIMEOUT):
                out, problem = await child.communicate()
        except OSError as error:
            raise Unavailable(f"tgtadm cannot be started: {error.strerror}.") from error
        except TimeoutError:
            child.kill()
            await child.wait()
            raise Unavailable("The iSCSI target daemon does not answer.") from None
        text = problem.decode(errors="replace").strip()
        if child.returncode and not (missing and "can't find" in text):
            if "connect" in text or child.returncode == 107:
                raise Unavailable("The iSCSI target daemon does not answer.", detail=text)
            raise DeviceFailed(f"The iSCSI target daemon refused to {op} the {mode}: {text.removeprefix('tgtadm: ')}")
        return out.decode(errors="replace")


def parse(text: str) -> list[Target]:
    """tgtadm's list of targets; what is not ours has no volume id."""
    found = []
    starts = list(_TARGET.finditer(text))
    for match, following in zip_longest(starts, starts[1:]):
        part = text[match.start() : following.start() if following else len(text)]
        name, files, account = match[2], _FILE.findall(part), _ACCOUNT.search(part)
        found.append(
            Target(
                number=int(match[1]), volume_id=name.removeprefix(PREFIX) if name.startswith(PREFIX) else "",
                file=files[-1] if files else "", sessions=tuple(int(n) for n in _SESSION.findall(part)),
                users=tuple(line.strip() for line in account[1].splitlines() if line.strip()) if account else (),
            )
        )  # fmt: skip
    return found
