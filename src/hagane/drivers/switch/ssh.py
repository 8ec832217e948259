"""What all switches that are reached over SSH share: the connection, its host key, one turn at a time, and the order
of one `apply`.

    look ─▶ plan ─▶ render ─▶ commit ──refused ports──▶ commit without them
                      │                      │
                 nothing differs ─▶ save ◀── look again: is it so?

A family says how to look, to render, to commit and to save; nothing else.

Options (`SwitchAccess.options`), for all families:
  host_key        "SHA256:…", the fingerprint of the switch's host key; or "first": trust the key that the first
                  connection of this process meets, and no other afterwards. Without it no password is sent: the
                  switch is refused, and the error tells the fingerprint that it showed.
  save            "no": do not write the startup configuration; the switch then forgets our ports when it restarts.
  timeout         seconds that an exchange may take, instead of `SwitchAccess.timeout`.
  commit_timeout  seconds that a commit may take; each family has a default.
"""

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Generic, TypeVar

import asyncssh

from hagane.drivers.switch import plan as step
from hagane.drivers.switch.base import SwitchAccess, SwitchDesired, SwitchGroup, SwitchPort, SwitchSeen
from hagane.errors import DeviceFailed, HaganeError, Invalid, Unavailable

T = TypeVar("T")
LOST = (TimeoutError, OSError, EOFError, asyncssh.Error)
_LOCKED = re.compile(r"\block(?:ed)?\b|lock-denied|in progress by|another (?:user|session)", re.IGNORECASE)
_first_keys: dict[tuple[str, int], str] = {}  # address and port → the fingerprint met first in this process


class _HostKey(asyncssh.SSHClient):
    """Lets in the host that shows the right key. asyncssh asks it because no known hosts are given."""

    def __init__(self, access: SwitchAccess) -> None:
        self._access = access
        self.shown = ""

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.shown = key.get_fingerprint()
        wanted = self._access.options.get("host_key", "")
        if wanted == "first":
            wanted = _first_keys.setdefault((self._access.address, self._access.port), self.shown)
        return wanted == self.shown


def _seconds(access: SwitchAccess, option: str, default: float) -> float:
    text = access.options.get(option, "")
    if text and not re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", text):
        raise Invalid(f"The option {option} of switch {access.address} is {text!r}: a number of seconds is needed.")
    return float(text) if text else default


async def dial(access: SwitchAccess) -> asyncssh.SSHClientConnection:
    """An authenticated connection. Raises what asyncssh raises, but DeviceFailed for a key or password refused."""
    guard = _HostKey(access)
    try:
        return await asyncssh.connect(
            access.address,
            access.port,
            client_factory=lambda: guard,
            known_hosts=([], [], []),
            username=access.username,
            password=access.password,
            client_keys=None,
            agent_path=None,
            config=None,
            preferred_auth=("password", "keyboard-interactive"),
            encryption_algs="^aes128-gcm@openssh.com,aes256-gcm@openssh.com",  # far cheaper in Python than chacha20
            keepalive_interval=15,
        )
    except asyncssh.HostKeyNotVerifiable:
        known = "another key is expected" if access.options.get("host_key") else "no host_key option names it"
        raise DeviceFailed(f"{access.address}: the host key {guard.shown} is not trusted: {known}") from None
    except asyncssh.PermissionDenied:
        raise DeviceFailed(f"{access.address}: refuses the user {access.username!r} or the password") from None


class SshSwitch(ABC, Generic[T]):
    """One switch; `T` is the family's session upon the connection. `render` and `parse` of a family are pure."""

    default_port = 22
    commit_seconds = 30.0

    def __init__(self, access: SwitchAccess) -> None:
        """Raises Invalid for options that are none."""
        timeout = _seconds(access, "timeout", access.timeout)
        self.access = replace(access, port=access.port or self.default_port, timeout=timeout)
        self._commit_timeout = _seconds(access, "commit_timeout", max(self.commit_seconds, timeout))
        self._lock = asyncio.Lock()
        self._connection: asyncssh.SSHClientConnection | None = None
        self._session: T | None = None
        self._saved = False  # whether the startup configuration is known to hold what `apply` was told last

    @abstractmethod
    def canonical(self, name: str) -> str:
        """The switch's own full name of a port or group; "" for what cannot be the name of one."""

    @abstractmethod
    async def open(self, connection: asyncssh.SSHClientConnection) -> T:
        """A session, ready for the other calls."""

    @abstractmethod
    async def probe(self, session: T) -> None:
        """Ask for the least thing: a session that was kept may be dead."""

    @abstractmethod
    async def look(self, session: T, *, startup: bool = False) -> SwitchSeen:
        """The whole switch as it is; or as it will be after a restart."""

    @abstractmethod
    async def commit(self, session: T, desired: SwitchDesired, seen: SwitchSeen) -> Mapping[str, str]:
        """Bring about what lacks, at once. When the switch refuses ports: nothing of it, and these with its words."""

    @abstractmethod
    async def confirm(self, session: T) -> None:
        """The switch was seen to be reachable after the commit."""

    @abstractmethod
    async def save(self, session: T) -> None:
        """Write the startup configuration."""

    def cannot(self, port: SwitchPort, group: SwitchGroup | None) -> str:
        """Why the family cannot have this port so; "" when it can."""
        return ""

    def refusal(self, text: str) -> HaganeError:
        """What the switch refused, as the error that it is: a configuration that another holds will be free again."""
        said = f"{self.access.address}: {self.words(text)}"
        return Unavailable(said) if _LOCKED.search(text) else DeviceFailed(said)

    def lacks(self, desired: SwitchDesired, seen: SwitchSeen) -> bool:
        return bool(step.plan(desired, seen))

    async def read(self, ports: Collection[str] | None = None) -> SwitchSeen:
        async with self._turn() as session:
            seen = await self.look(session)
        if ports is None:
            return seen
        shown = {name: seen.ports[own] for name in ports if (own := self.canonical(name)) in seen.ports}
        return replace(seen, ports=shown)

    async def apply(self, desired: SwitchDesired) -> SwitchSeen:
        asked = desired
        async with self._turn() as session:
            seen = await self.look(session)
            desired, failed = self._known(desired, seen)
            commits = 0
            if self.lacks(desired, seen):
                self._saved = False
                # The second time without what was refused the first time; what is refused then stays undone.
                for _ in range(2):
                    refused = await self.commit(session, desired, seen) if self.lacks(desired, seen) else {}
                    failed |= refused
                    desired = step.without(desired, frozenset(refused))
                    if not refused:
                        break
                seen, commits = await self.look(session), 1
                await self.confirm(session)
                failed |= step.differences(desired, seen)
            await self._save(session, desired)
        if failed:
            raise self._failed(self._as_asked(asked, failed))
        named = {name: seen.ports[self.canonical(name)] for name in asked.ports}
        return replace(seen, ports={**seen.ports, **named}, commits=commits)

    def watch(self, changed: Callable[[], None]) -> bool:
        return False

    async def close(self) -> None:
        async with self._lock:
            self._drop()

    def words(self, text: str) -> str:
        """What the switch said, on one line, without the password should it have echoed it."""
        text = " ".join(text.split())[:300]
        return text.replace(self.access.password, "***") if self.access.password else text

    def patience(self) -> asyncio.Timeout:
        return asyncio.timeout(self.access.timeout)

    def commit_patience(self) -> asyncio.Timeout:
        return asyncio.timeout(self._commit_timeout)

    async def _save(self, session: T, desired: SwitchDesired) -> None:
        """Save unless that is known to be done. A process that died between commit and save left it undone."""
        if self._saved or self.access.options.get("save") == "no":
            return
        if self.lacks(desired, await self.look(session, startup=True)):
            async with self.commit_patience():
                await self.save(session)
        self._saved = True

    def _known(self, desired: SwitchDesired, seen: SwitchSeen) -> tuple[SwitchDesired, dict[str, str]]:
        """The same in the switch's own names, without what it cannot have; and that, with the reason."""
        failed: dict[str, str] = {}
        ports: dict[str, SwitchPort] = {}
        groups: dict[str, SwitchGroup] = {}
        for name, group in desired.groups.items():
            if own := self.canonical(name):
                groups[own] = group
            else:
                failed[name] = "cannot be the name of a group here"
        for name, port in desired.ports.items():
            own, member = self.canonical(name), self.canonical(port.group) if port.group else ""
            if own not in seen.ports:
                failed[name] = "the switch has no such port"
            elif port.group and member not in groups:
                failed[name] = f"its group {port.group!r} is not described"
            elif why := self.cannot(port, groups.get(member)):
                failed[name] = why
            else:
                ports[own] = replace(port, group=member)
        return SwitchDesired(ports, groups), failed

    def _as_asked(self, asked: SwitchDesired, failed: Mapping[str, str]) -> dict[str, str]:
        """By the names that the caller uses; a group that failed takes its members along."""
        found = dict(failed)
        for name in (*asked.ports, *asked.groups):
            if (own := self.canonical(name)) != name and own in found:
                found[name] = found.pop(own)
        for name, port in asked.ports.items():
            if port.group in found:
                found.setdefault(name, f"its group {port.group}: {found[port.group]}")
        return found

    def _failed(self, failed: Mapping[str, str]) -> DeviceFailed:
        said = {name: self.words(why) for name, why in sorted(failed.items())}
        text = "; ".join(f"{name}: {why}" for name, why in said.items())
        return DeviceFailed(f"{self.access.address}: {text}", ports=said)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[T]:
        """The session, for one caller. After any error it is dropped: nobody knows in what state it is left."""
        async with self._lock:
            ended = False
            try:
                yield await self._ready()
                ended = True
            except HaganeError:
                raise
            except TimeoutError:
                raise Unavailable(f"{self.access.address}: the switch did not answer in time") from None
            except LOST as error:
                raise Unavailable(f"{self.access.address}: {self.words(str(error)) or 'the switch hung up'}") from None
            finally:
                if not ended:
                    self._drop()

    async def _ready(self) -> T:
        if self._session is not None:
            try:
                async with self.patience():
                    await self.probe(self._session)
                return self._session
            except LOST:
                self._drop()
        async with self.patience():
            self._connection = await dial(self.access)
            self._session = await self.open(self._connection)
        return self._session

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.abort()
        self._connection = self._session = None
