"""Keeps one connection to a database open: the next remote when one fails, the RAFT leader where there is one.

              ┌────────────── back-off, next remote ◀──────────────┐
    stopped ─▶ connecting ─▶ choosing (is it the leader?) ─▶ setup ─▶ up ─▶ lost
                                                            (the caller's: schema, monitors)

A clustered server tells through its own `_Server` database whether it is the leader and still reaches the others; it is
watched for as long as the connection lasts, and left when that changes (ovsdb(7), "Clustered Database Service Model").
"""

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass
from typing import Any

from hagane.errors import HaganeError, Invalid, Unavailable
from hagane.ovn.peer import Notify, Peer, RemoteError

log = logging.getLogger(__name__)

_SERVER = "_Server"
_FIRST_DELAY, _LAST_DELAY = 0.1, 5.0  # seconds between two rounds through the remotes
_OPEN_TIMEOUT = 5.0  # seconds to connect, and to answer who is the leader


@dataclass(frozen=True, slots=True)
class Tls:
    """Files (PEM) for ssl: remotes. The server's certificate must come from `ca`; its name is not checked, as with all
    OVSDB programs: a fleet's own CA is the trust, addresses are no names."""

    key: str
    cert: str
    ca: str

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self.ca)
        context.load_cert_chain(self.cert, self.key)
        return context


@dataclass(frozen=True, slots=True)
class Remote:
    """unix:PATH, tcp:HOST:PORT or ssl:HOST:PORT (IPv6 addresses in brackets)."""

    kind: str
    host: str
    port: int = 0

    def __str__(self) -> str:
        return f"unix:{self.host}" if self.kind == "unix" else f"{self.kind}:{self.host}:{self.port}"


def parse_remotes(text: str) -> list[Remote]:
    """Several remotes are separated by commas. Raises Invalid."""
    remotes = [_parse_remote(part.strip()) for part in text.split(",") if part.strip()]
    if not remotes:
        raise Invalid("No OVSDB remote is named.")
    return remotes


def _parse_remote(text: str) -> Remote:
    kind, _, rest = text.partition(":")
    if kind == "unix" and rest:
        return Remote(kind, rest)
    host, _, port = rest.rpartition(":")
    if kind not in ("tcp", "ssl") or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise Invalid(f"{text!r} is no OVSDB remote: unix:PATH, tcp:HOST:PORT or ssl:HOST:PORT.")
    return Remote(kind, host.removeprefix("[").removesuffix("]"), int(port))


class Connection:
    """Runs until stopped. `setup(peer)` prepares each new connection; it is `up` from then until it is lost."""

    def __init__(
        self, remotes: str, database: str, *, tls: Tls | None = None, leader_only: bool = True, probe: float = 10.0
    ) -> None:
        self._remotes = parse_remotes(remotes)
        if tls is None and any(remote.kind == "ssl" for remote in self._remotes):
            raise Invalid("An ssl: remote needs a key, a certificate and a CA certificate.")
        self._database = database
        self._tls = tls
        self._leader_only = leader_only
        self._probe = probe
        self._task: asyncio.Task[None] | None = None
        self.peer: Peer | None = None
        self.remote: Remote | None = None
        self.reason = "not started"

    def start(self, setup: Callable[[Peer], Awaitable[None]], notify: Notify, lost: Callable[[], None]) -> None:
        self._task = self._task or asyncio.create_task(
            self._run(setup, notify, lost),
            name=f"ovsdb {self._database}",
            context=Context(),  # of no request
        )

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self, setup: Callable[[Peer], Awaitable[None]], notify: Notify, lost: Callable[[], None]) -> None:
        delay = _FIRST_DELAY
        while True:
            for remote in list(self._remotes):
                if await self._attend(remote, setup, notify, lost):
                    delay = _FIRST_DELAY
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(delay * 2, _LAST_DELAY)

    async def _attend(
        self, remote: Remote, setup: Callable[[Peer], Awaitable[None]], notify: Notify, lost: Callable[[], None]
    ) -> bool:
        """One connection from its beginning to its end; True if it came up."""
        came_up = False
        watch = _Leadership(self._database, notify)
        peer: Peer | None = None
        try:
            async with asyncio.timeout(_OPEN_TIMEOUT):
                peer = await self._open(remote, watch.notify)
                if self._leader_only:
                    await watch.begin(peer)
            await setup(peer)
            self.peer, self.remote, self.reason = peer, remote, ""
            came_up = True
            self.reason = await peer.lost
        except TimeoutError:
            self.reason = f"no answer within {_OPEN_TIMEOUT:.0f} s"
        except (OSError, HaganeError, RemoteError) as error:
            self.reason = getattr(error, "detail", "") or str(error)
        except Exception:
            log.exception("%s at %s: cannot be set up", self._database, remote)
            self.reason = "an unforeseen error, see the log"
        finally:
            self.peer = None
            if peer is not None:
                peer.close("it is no longer needed")
                lost()
        log.warning("%s at %s: %s", self._database, remote, self.reason)
        return came_up

    async def _open(self, remote: Remote, notify: Notify) -> Peer:
        loop = asyncio.get_running_loop()

        def factory() -> Peer:
            return Peer(notify, probe=self._probe)

        if remote.kind == "unix":
            return (await loop.create_unix_connection(factory, remote.host))[1]
        context = self._tls.context() if self._tls is not None and remote.kind == "ssl" else None
        name = remote.host if context is not None else None
        return (await loop.create_connection(factory, remote.host, remote.port, ssl=context, server_hostname=name))[1]


class _Leadership:
    """Watches the `_Server` database's row on one database, and leaves a clustered server that does not lead."""

    def __init__(self, database: str, notify: Notify) -> None:
        self._database = database
        self._pass_on = notify
        self._peer: Peer | None = None

    async def begin(self, peer: Peer) -> None:
        """Raises Unavailable if another server must be asked. A server without `_Server` (before OVS 2.9, and most
        switches) cannot be clustered."""
        columns = {"columns": ["name", "model", "connected", "leader"]}
        try:
            rows = await peer.call("monitor", [_SERVER, _SERVER, {"Database": columns}])
        except RemoteError:
            return
        self._peer = peer
        reason = self._reason_to_leave(rows)
        if reason:
            raise Unavailable("The database server does not lead its cluster.", detail=reason)

    def notify(self, method: str, params: list[Any]) -> None:
        if method != "update" or params[0] != _SERVER:
            self._pass_on(method, params)
            return
        reason = self._reason_to_leave(params[1])
        if reason and self._peer is not None:
            self._peer.close(reason)

    def _reason_to_leave(self, updates: dict[str, Any]) -> str:
        for change in updates.get("Database", {}).values():
            row = change.get("new", {})
            if row.get("name") != self._database or row.get("model") != "clustered":
                continue
            if not row["connected"]:
                return "the server has lost its cluster"
            if not row["leader"]:
                return "the server does not lead its cluster"
        return ""
