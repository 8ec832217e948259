"""A serial console over a WebSocket: bytes both ways between a browser and a machine's port.

The subprotocol is "binary" where the client offers it, as the real service's proxy does it. The console ends when
either side ends it, or when somebody else opens it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import Any

from hagane.api.http import Receive, Send
from hagane.errors import HaganeError

log = logging.getLogger(__name__)
REFUSED, ENDED, AWAY = 1008, 1000, 1011  # close codes, RFC 6455 7.4
Viewer = tuple[AsyncGenerator[bytes, None], Callable[[bytes], Awaitable[None]]]


async def serve(
    scope: MutableMapping[str, Any], receive: Receive, send: Send, opened: Callable[[], Awaitable[Viewer]]
) -> None:
    """Open a machine's port and relay until one side ends. What hinders is the reason of the close, which a client gets
    to see only of a connection that was accepted."""
    offered = scope.get("subprotocols") or []
    await send({"type": "websocket.accept", "subprotocol": "binary" if "binary" in offered else None})
    try:
        viewer = await opened()
    except HaganeError as error:
        log.info("a console cannot be opened: %s", error.message)
        reason = error.message.encode()[:120].decode("utf-8", "ignore")
        await send({"type": "websocket.close", "code": AWAY, "reason": reason})
        return
    await _relay(viewer, receive, send)


async def refuse(send: Send) -> None:
    await send({"type": "websocket.close", "code": REFUSED, "reason": "The token is unknown or has expired."})


async def _relay(viewer: Viewer, receive: Receive, send: Send) -> None:
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


async def _print(output: AsyncGenerator[bytes, None], send: Send) -> None:
    async for chunk in output:
        await send({"type": "websocket.send", "bytes": chunk})


async def _type(type_in: Callable[[bytes], Awaitable[None]], receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("bytes")
        await type_in(text if text is not None else message.get("text", "").encode())
