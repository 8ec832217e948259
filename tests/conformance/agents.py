"""A service for ramdisks under test: it answers lookup, heartbeat and inspection, and has images to download."""

import asyncio
import json
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from hagane.drivers.deploy.agent import AgentAddress, HttpAgent

NODE = "6b3f4a5e-3f0a-4c59-9a0c-0d6c1f3c2a10"


@dataclass
class Service:
    """`images` by path; what came in is in `beats`, `inspections` and `lookups`."""

    images: dict[str, bytes | Path] = field(default_factory=dict)
    node: dict[str, Any] = field(
        default_factory=lambda: {"uuid": NODE, "properties": {}, "instance_info": {}, "driver_internal_info": {}}
    )
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    config: dict[str, Any] = field(default_factory=dict)
    beats: list[dict[str, Any]] = field(default_factory=list)
    inspections: list[dict[str, Any]] = field(default_factory=list)
    lookups: list[str] = field(default_factory=list)
    port: int = 0
    cut: int = 0  # so many downloads end early
    delay: float = 0.0  # seconds before a download begins
    rate: int = 0  # bytes a second; 0: as fast as it goes

    async def beat(self, count: int = 1, *, seconds: float = 120) -> dict[str, Any]:
        """The count-th heartbeat."""
        async with asyncio.timeout(seconds):
            while len(self.beats) < count:
                await asyncio.sleep(0.05)
        return self.beats[count - 1]

    def agent(self, port: int, *, token: str = "", tls: str = "") -> HttpAgent:
        """A client whose connections all end at a port of this machine."""

        async def dial(host: str, _: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await asyncio.open_connection("127.0.0.1", port)

        scheme = "https" if tls else "http"
        return HttpAgent(AgentAddress(f"{scheme}://192.0.2.1:9999", token or self.token, tls), dial)


@contextmanager
def service(service: Service | None = None) -> Iterator[Service]:
    state = service or Service()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def _say(self, status: int, document: Any) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/baremetal/v1/lookup":
                state.lookups.append(self.path)
                config = {
                    "heartbeat_timeout": 300,
                    "agent_token": state.token,
                    "agent_token_required": True,
                    "agent_md5_checksum_enable": False,
                }
                self._say(200, {"node": state.node, "config": config | state.config})
            elif path in state.images:
                self._image(state.images[path])
            elif path.rstrip("/") == "/baremetal":
                self._say(200, {"default_version": {"version": "1.93"}})
            else:
                self._say(404, {})

        def _image(self, image: bytes | Path) -> None:
            data = image if isinstance(image, bytes) else image.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Connection", "close")
            self.end_headers()
            if state.cut:
                state.cut -= 1
                data = data[: len(data) // 2]
            time.sleep(state.delay)
            for at in range(0, len(data), 1 << 18):
                self.wfile.write(data[at : at + (1 << 18)])
                if state.rate:
                    time.sleep((1 << 18) / state.rate)
            self.close_connection = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"null")
            if "/heartbeat/" in self.path:
                state.beats.append(body | {"at": time.monotonic()})
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif "/continue_inspection" in self.path:
                state.inspections.append(body)
                self._say(202, {"uuid": NODE})
            else:
                self._say(404, {})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Machine:
    """A QEMU that runs a ramdisk, or what it wrote. `port` leads to the agent, `ssh` to port 22, `lldp` to the second NIC."""

    process: "subprocess.Popen[bytes]"
    log: Path
    port: int
    ssh: int
    lldp: int
    began: float = field(default_factory=time.monotonic)

    def console(self) -> str:
        return self.log.read_text(errors="replace")

    async def says(self, words: str, *, seconds: float = 120) -> str:
        """The console's line with the words."""
        async with asyncio.timeout(seconds):
            while words not in self.console():
                await asyncio.sleep(0.1)
        return [line for line in self.console().splitlines() if words in line][-1]

    async def ends(self, *, seconds: float = 60) -> None:
        async with asyncio.timeout(seconds):
            while self.process.poll() is None:
                await asyncio.sleep(0.1)


PARAMETERS = "console=ttyS0,115200 BOOTIF=01-52-54-00-12-34-56"


@asynccontextmanager
async def boot(
    folder: Path,
    disk: Path,
    *,
    linux: tuple[Path, Path, str] | None = None,
    firmware: Path | None = None,
    memory: int = 256,
    nic: str = "virtio-net-pci",
    drive: str = "virtio-blk-pci",
) -> AsyncIterator[Machine]:
    """A machine on QEMU's user network (this host is 10.0.2.2). `linux`: kernel, ramdisk and parameters; else the disk boots.

    `firmware`: the variables of a UEFI firmware, kept between starts; None: a BIOS."""
    port, ssh, lldp, mine = (
        _free(kind) for kind in (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_DGRAM)
    )
    log = folder / "console.log"
    log.write_text("")
    argv = ["qemu-system-x86_64", "-machine", "q35,graphics=off", "-accel", "tcg", "-cpu", "max", "-m", str(memory)]
    argv += ["-display", "none", "-nodefaults", "-serial", f"file:{log}", "-no-reboot"]
    argv += ["-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{port}-:9999,hostfwd=tcp:127.0.0.1:{ssh}-:22"]
    argv += ["-device", f"{nic},netdev=n0,romfile=,mac=52:54:00:12:34:56"]
    argv += ["-netdev", f"socket,id=n1,udp=127.0.0.1:{mine},localaddr=127.0.0.1:{lldp}"]
    argv += ["-device", f"{nic},netdev=n1,romfile=,mac=52:54:00:12:34:57"]
    argv += ["-drive", f"file={disk},if=none,id=d0,format=raw,cache=unsafe,discard=unmap"]
    argv += ["-device", f"{drive},drive=d0,serial=disk-0,bootindex=1"]
    if linux is not None:
        argv += ["-kernel", str(linux[0]), "-initrd", str(linux[1]), "-append", f"{PARAMETERS} {linux[2]}"]
    if firmware is not None:
        argv += ["-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"]
        argv += ["-drive", f"if=pflash,format=raw,file={firmware}"]
    process = await asyncio.to_thread(subprocess.Popen, argv, stdin=subprocess.DEVNULL)
    try:
        yield Machine(process, log, port, ssh, lldp)
    finally:
        process.kill()
        process.wait()


def _free(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def blank(path: Path, gigabytes: int = 5) -> Path:
    with path.open("wb") as file:
        file.truncate(gigabytes << 30)
    return path
