"""The ramdisks that the agent suite runs against: the simulated one, ours as a plain process, and the original.

The original is used where a Python that has it installed is named: HAGANE_STOCK_AGENT=/venv/bin/python. Both processes
work in a scratch root whose "disk" is a file (the original: a loop device cannot be counted on, so it writes nothing).
"""

import asyncio
import os
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hagane.drivers.deploy.base import Agent
from hagane.drivers.deploy.sim import SimAgent, Wrong
from tests.conformance.agents import NODE, Service, service

MAC = "52:54:00:12:34:56"
MB = 1 << 20
STOCK = os.environ.get("HAGANE_STOCK_AGENT", "")


@dataclass
class Rig:
    """One ramdisk under test. `root`: the scratch root of one that really writes; None: it only says so."""

    name: str
    agent: Agent
    stranger: Agent | None
    service: Service
    root: Path | None = None

    @property
    def disk(self) -> Path:
        assert self.root is not None
        return self.root / "dev/sda"

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.service.port}{path}"


def scratch(root: Path, parameters: str, *, disk_mb: int) -> None:
    """A machine as the agent sees it: one NIC, one disk (a sparse file)."""
    files = {
        "proc/cmdline": parameters, "proc/meminfo": "MemTotal:  1000000 kB\n",
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: Test CPU\nflags\t\t: fpu sse\n", "etc/passwd": "root:x:0:0::/:/bin/sh\n",
        "sys/block/sda/size": str(disk_mb * 2048), "sys/block/sda/queue/rotational": "0",
        "sys/block/sda/device/model": "TESTDISK", "sys/block/sda/device/vendor": "ACME", "sys/block/sda/removable": "0",
        "sys/block/sda/device/wwid": "naa.5000c500a1b2c3d4", "sys/block/sr0/size": "2048",
        "sys/class/net/eth0/address": MAC, "sys/class/net/eth0/carrier": "1", "sys/class/net/eth0/device/vendor": "0x1af4",
        "sys/class/net/lo/address": "00:00:00:00:00:00", "sys/class/dmi/id/sys_vendor": "Hagane",
        "sys/class/dmi/id/product_serial": "S1", "run/.keep": "", "var/log/agent.log": "a log\n", "dev/.keep": "",
    }  # fmt: skip
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    with (root / "dev/sda").open("wb") as file:
        file.truncate(disk_mb * MB)


@asynccontextmanager
async def rig(kind: str, folder: Path, *, disk_mb: int = 256, **given: Any) -> AsyncIterator[Rig]:
    """A ramdisk that has called back. `given`: fields of the Service."""
    with service(Service(**given)) as state:
        if kind == "sim":
            yield Rig(kind, SimAgent(secrets.token_urlsafe(), wrong=Wrong()), None, state)
            return
        root = folder / "root"
        scratch(
            root,
            f"quiet ipa-api-url=http://127.0.0.1:{state.port}/baremetal BOOTIF=01-52-54-00-12-34-56",
            disk_mb=disk_mb,
        )
        argv = [sys.executable, "-m", "hagane.lab.ramdisk.agent", "--root", str(root), "--port", "0"]
        if kind == "stock":
            argv = [STOCK, str(Path(__file__).with_name("stock_agent.py")), str(state.port), state.token]
        log = (folder / "agent.out").open("wb")
        env = os.environ | {"PYTHONPATH": "src"}
        process = await asyncio.to_thread(subprocess.Popen, argv, stdout=log, stderr=log, env=env)
        try:
            beat = await state.beat(seconds=60)
            port = urlsplit(beat["callback_url"]).port or 0
            stranger = state.agent(port, token="x" * 43)
            yield Rig(kind, state.agent(port), stranger, state, root if kind == "ours" else None)
        finally:
            process.kill()
            process.wait()
            log.close()


def node(**properties: Any) -> dict[str, Any]:
    return {"uuid": NODE, "properties": properties, "instance_info": {}, "driver_internal_info": {}, "driver_info": {}}


async def until(condition: Any, *, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.05)
