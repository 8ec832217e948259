"""The serial console of a Node: where it is, who may open it, and its WebSocket.

    PUT states/console ─▶ kept (reconcile/node_console.py)     GET states/console ─▶ ws://…/baremetal/console/?token=…

The token alone opens the socket: it is what a browser has. It holds the Node and until when it is good, encrypted, so
nothing is stored of it.
"""

from collections.abc import MutableMapping
from typing import Any, Protocol
from urllib.parse import parse_qs

from hagane.api import relay
from hagane.api.http import Receive, Request, Send
from hagane.baremetal.base import ROOT
from hagane.baremetal.node import NODE
from hagane.cloud import Cloud
from hagane.errors import ConfigError
from hagane.state import clock
from hagane.state.database import Row
from hagane.state.secret import Secrets

SOCKET = ROOT + "/console/"
SECONDS = 600  # a token opens a console for so long


class NodeConsole(Protocol):
    """Whoever reaches the BMCs provides it."""

    async def log(self, node_id: str) -> bytes:
        """What the machine has printed of late. Raises Unavailable."""
        ...

    async def live(self, node_id: str) -> relay.Viewer:
        """The port itself. Raises Unavailable, DeviceFailed."""
        ...


def has_console(row: Row) -> bool:
    return not str(row["console_interface"] or "no-console").startswith("no-")


def info(request: Request, secrets: Secrets, row: Row) -> dict[str, str]:
    """`console_info`: where the console is, for ten minutes."""
    token = secrets.encrypt(f"console {row['id']} {clock.wall() + SECONDS}")
    base = request.base_url.replace("http", "ws", 1)
    return {"type": "websocket", "url": f"{base}{SOCKET}?token={token}"}


def _node(secrets: Secrets, token: str) -> str | None:
    """The Node that a token opens now."""
    try:
        what, node, until = secrets.decrypt(token).split()
    except (ConfigError, ValueError):
        return None
    return node if what == "console" and clock.wall() < float(until) else None


class NodeConsoleSocket:
    """An ASGI handler for one path."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        node = _node(self._cloud.use(Secrets), token)
        row = await NODE.get(self._cloud.db, id=node) if node else None
        if row is None or not row["console_enabled"]:
            await relay.refuse(send)
            return
        consoles = self._cloud.use(NodeConsole)  # type: ignore[type-abstract]
        await relay.serve(scope, receive, send, lambda: consoles.live(row["id"]))
