"""The WebSocket of a serial console: bytes both ways between a browser and a Server's port.

The subprotocol is "binary" where the client offers it, as the real service's proxy does it. The console ends when
either side ends it, or when somebody else opens it.
"""

import asyncio
import contextlib
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import parse_qs

from hagane.api.http import Receive, Send
from hagane.cloud import Cloud
from hagane.compute.console import Viewer, live_of, server_of
from hagane.errors import HaganeError

REFUSED, ENDED, AWAY = 1008, 1000, 1011  # close codes, RFC 6455 7.4


class ConsoleSocket:
    """An ASGI handler for one path."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        server = await server_of(self._cloud, token)
        if server is None or not server["host"]:
            await send({"type": "websocket.close", "code": REFUSED, "reason": "The token is unknown or has expired."})
            return
        try:
            viewer = await live_of(self._cloud, server)
        except HaganeError as error:
            reason = error.message.encode()[:120].decode("utf-8", "ignore")
            await send({"type": "websocket.close", "code": AWAY, "reason": reason})
            return
        offered = scope.get("subprotocols") or []
        await send({"type": "websocket.accept", "subprotocol": "binary" if "binary" in offered else None})
        await _relay(viewer, receive, send)


async def _relay(viewer: Viewer, receive: Receive, send: Send) -> None:
    """Until one side ends."""
    output, type_in = viewer
    reading = asyncio.create_task(_print(output, send))
    typing = asyncio.create_task(_type(type_in, receive))
    try:
        await asyncio.wait({reading, typing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (reading, typing):
            task.cancel()
        await asyncio.gather(reading, typing, return_exceptions=True)
        await output.aclose()
        with contextlib.suppress(Exception):  # the client may have closed it already
            await send({"type": "websocket.close", "code": ENDED})


async def _print(output: Any, send: Send) -> None:
    async for chunk in output:
        await send({"type": "websocket.send", "bytes": chunk})


async def _type(type_in: Any, receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("bytes")
        await type_in(text if text is not None else message.get("text", "").encode())
