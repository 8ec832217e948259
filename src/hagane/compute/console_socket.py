"""The WebSocket of a Server's serial console. The token of its path is all that a browser needs (console.py)."""

from collections.abc import MutableMapping
from typing import Any
from urllib.parse import parse_qs

from hagane.api import relay
from hagane.api.http import Receive, Send
from hagane.cloud import Cloud
from hagane.compute.console import live_of, server_of


class ConsoleSocket:
    """An ASGI handler for one path."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        server = await server_of(self._cloud, token)
        if server is None or not server["host"]:
            await relay.refuse(send)
            return
        await relay.serve(scope, receive, send, lambda: live_of(self._cloud, server))
