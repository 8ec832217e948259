"""QEMU's monitor protocol (QMP): one order to one machine, over its UNIX socket."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

from hagane.errors import DeviceFailed, Unavailable

SECONDS = 5.0


async def order(socket: Path, command: str, **arguments: object) -> Any:
    """Send one command and return its answer. Errors: Unavailable (no QEMU behind it), DeviceFailed (it refuses)."""
    try:
        async with asyncio.timeout(SECONDS):
            return await _order(socket, command, arguments)
    except (OSError, TimeoutError, EOFError) as error:
        raise Unavailable(f"QEMU does not answer at {socket.name}", detail=repr(error)) from error


async def _order(socket: Path, command: str, arguments: dict[str, object]) -> Any:
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        await reader.readuntil(b"\n")  # the greeting
        answer: dict[str, Any] = {}
        for words in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
            writer.write(json.dumps(words).encode() + b"\n")
            answer = await _answer(reader)
        if "error" in answer:
            raise DeviceFailed(f"QEMU refuses {command}: {answer['error']['desc']}")
        return answer["return"]
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _answer(reader: asyncio.StreamReader) -> dict[str, Any]:
    """The next answer; what QEMU tells by itself is passed over."""
    while True:
        said: dict[str, Any] = json.loads(await reader.readuntil(b"\n"))
        if "return" in said or "error" in said:
            return said
