"""CDs for virtual media: built once for the same parts, and served where BMCs reach this machine.

    node ──url()──▶ http://<our address toward its BMC>:8775/<node>/<network>/<role>/<proof>.iso
    BMC  ──GET────▶ the proof is right ─▶ the CD of that Node's row, made now if need be

A URL follows from the row, so a plan made twice names the same one, and a process that starts knows all of them. The
proof keeps others from reading what boots here; a CD holds no secret.
"""

import asyncio
import hmac
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from hagane.config import Config
from hagane.drivers.boot import iso
from hagane.drivers.boot.iso import IsoParts
from hagane.drivers.metadata.base import Question, Reply
from hagane.drivers.metadata.http import Listener
from hagane.errors import HaganeError, Invalid, NotFound
from hagane.reconcile.provision_answer import NOTHING, piece
from hagane.state.database import Row
from hagane.state.keyring import KeyRing

log = logging.getLogger(__name__)
PORT = 8775
_ANYWHERE = "192.0.2.1"  # RFC 5737: nobody's; the default route leads there
KEPT = 7 * 86400.0  # seconds after which a CD that nobody asked for goes

Find = Callable[[str, str, str], Awaitable[Path]]
"""The CD of a Node on a network in a role, by `build`. Raises NotFound."""


class Ended(Protocol):
    def __call__(self, node_id: str, *, whole: bool) -> None: ...


class Media:
    """All CDs of this process. `listens` False: URLs are made, and nobody answers there (a simulated cloud)."""

    def __init__(self, config: Config, find: Find, ended: Ended, *, listens: bool) -> None:
        self._listen, self._find, self._ended, self._listens = config.media_listen, find, ended, listens
        self._folder = config.state / "nodes" / "boot"
        self._key = KeyRing(config.state / "keys" / "virtual-media").path.read_bytes()
        self._open: dict[str, Listener] = {}
        self._opening: set[asyncio.Task[None]] = set()

    def url(self, node: Row, network_id: str, role: str) -> str:
        """Raises Invalid where our address toward the BMC is not known."""
        host, port = self._place(node)
        if self._listens and f"{host}:{port}" not in self._open:
            self._begin(host, port)
        parts = (str(node["id"]), network_id, role)
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{port}/{'/'.join(parts)}/{self._proof(parts)}.iso"

    def expect(self, nodes: Iterable[Row]) -> None:
        """Listen for the BMCs of these Nodes: one of them may be reading its CD while this process starts. What cannot
        be is said when such a Node boots: no row keeps the process from starting."""
        for node in nodes:
            try:
                host, port = self._place(node)
                if self._listens and f"{host}:{port}" not in self._open:
                    self._begin(host, port)
            except Invalid as error:
                log.warning("no virtual media for node %s: %s", node["id"], error.message)

    async def close(self) -> None:
        await asyncio.gather(*self._opening, return_exceptions=True)
        for listener in self._open.values():
            await listener.close()
        self._open = {}

    async def build(self, parts: IsoParts) -> Path:
        """The file of a CD."""
        made = await asyncio.to_thread(iso.build, parts, self._folder)
        await asyncio.to_thread(os.utime, made)
        return made

    async def sweep(self) -> None:
        """Remove CDs that nobody has asked for in a week."""
        await asyncio.to_thread(_remove_old, self._folder)

    # -- where -----------------------------------------------------------------------------------------------------

    def _place(self, node: Row) -> tuple[str, int]:
        if self._listen:
            host, _, port = self._listen.rpartition(":")
            return host.strip("[]"), int(port)
        info = node["driver_info"] or {}
        address = str(info.get("redfish_address") or "")
        try:
            host = urlsplit(address if "://" in address else f"https://{address}").hostname or ""
        except ValueError as error:
            raise Invalid(f"redfish_address {address!r} is no URL: {error}.") from None
        return _toward(host), PORT

    def _begin(self, host: str, port: int) -> None:
        """Listen at once: the kernel keeps connections until the event loop comes to it."""
        try:
            one = _listening(host, port)
        except OSError as error:
            why = f"Virtual media cannot be served at {host}:{port}: {error.strerror}. Set media_listen."
            raise Invalid(why) from error
        listener = self._open[f"{host}:{port}"] = Listener("media", self._answer)
        task = asyncio.get_running_loop().create_task(listener.open([one]))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    # -- what ------------------------------------------------------------------------------------------------------

    def _proof(self, parts: tuple[str, ...]) -> str:
        return hmac.new(self._key, "/".join(parts).encode(), "sha256").hexdigest()[:32]

    async def _answer(self, question: Question) -> Reply:
        words = question.target.partition("?")[0].strip("/").removesuffix(".iso").split("/")
        if question.method not in ("GET", "HEAD") or len(words) != 4:
            return NOTHING
        node_id, network_id, role, proof = words
        if not hmac.compare_digest(proof.encode(), self._proof((node_id, network_id, role)).encode()):
            return NOTHING
        try:
            made = await self._find(node_id, network_id, role)
            ranges = question.headers.get("range", "")
            return piece(made, ranges, lambda whole: self._ended(node_id, whole=whole))
        except NotFound:
            return NOTHING
        except HaganeError as error:
            log.warning("no CD for node %s: %s", node_id, error.message)
            return Reply(503, error.message.encode())


def _toward(host: str) -> str:
    """The address of ours that a BMC sees. No packet is sent; a name is not looked up, which would take its time here:
    what it stands for is taken to be behind the default route. Raises Invalid."""
    try:
        target = ip_address(host) if _is_address(host) else ip_address(_ANYWHERE)
        with socket.socket(socket.AF_INET6 if target.version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.connect((str(target), 9))
            return str(one.getsockname()[0])
    except (ValueError, OSError):
        raise Invalid(
            f"Our address toward the BMC at {host!r} is not known: set media_listen = ADDRESS:PORT to where "
            "BMCs reach this machine."
        ) from None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _listening(host: str, port: int) -> socket.socket:
    """Other processes of ours may hold it as well."""
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind((host, port))
        one.listen(128)
    except BaseException:
        one.close()
        raise
    return one


def _remove_old(folder: Path) -> None:
    for file in folder.glob("boot-*.iso"):
        if file.stat().st_mtime < time.time() - KEPT:
            file.unlink(missing_ok=True)
