"""A QEMU daemon's monitor: one request after another over its socket. https://www.qemu.org/docs/master/interop/qmp-spec"""

import asyncio
import json
from pathlib import Path
from typing import Any

from hagane.errors import DeviceFailed, Unavailable

SECONDS = 15.0


class Monitor:
    """`async with Monitor(path) as monitor: await monitor.ask("query-block-exports")`. Raises Unavailable."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __aenter__(self) -> "Monitor":
        try:
            async with asyncio.timeout(SECONDS):
                self._reader, self._writer = await asyncio.open_unix_connection(self._path, limit=1 << 20)
                await self._reader.readline()
                await self.ask("qmp_capabilities")
        except (OSError, TimeoutError) as error:
            raise Unavailable("The raw view of the volume does not answer.", detail=str(error)) from error
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._writer.close()

    async def ask(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        """The answer; events in between are left aside. Raises Unavailable, DeviceFailed."""
        request = {"execute": command} | ({"arguments": arguments} if arguments else {})
        try:
            async with asyncio.timeout(SECONDS):
                self._writer.write(json.dumps(request).encode() + b"\n")
                while True:
                    answer = json.loads(await self._reader.readline())
                    if "return" in answer:
                        return answer["return"]
                    if "error" in answer:
                        raise DeviceFailed(f"The volume's daemon refused {command}: {answer['error']['desc']}")
        except (OSError, TimeoutError, ValueError) as error:
            raise Unavailable("The raw view of the volume does not answer.", detail=str(error)) from error
