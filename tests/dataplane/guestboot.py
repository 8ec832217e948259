"""The guest image under plain QEMU, on QEMU's own user network: no root, no OVS, and metadata from a folder.

As a script it is the metadata service: QEMU starts it for each connection to 169.254.169.254, with the folder's name,
and it answers one HTTP request on its standard streams.
"""

import asyncio
import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Booted:
    """A running guest: its console's log, its ssh port, and how long it took from QEMU's start to READY."""

    log: Path
    port: int
    monitor: Path
    process: "subprocess.Popen[bytes]"
    seconds: float = 0.0

    def console(self) -> str:
        return self.log.read_text(errors="replace")

    async def says(self, words: str, *, seconds: float = 40.0, times: int = 1) -> str:
        """Wait for the words on the console, and return the line that holds them (the last one)."""
        async with asyncio.timeout(seconds):
            while self.console().count(words) < times:
                await asyncio.sleep(0.05)
        return [line for line in self.console().splitlines() if words in line][-1]

    async def tell(self, command: str) -> None:
        """A command to QEMU's monitor."""
        _, writer = await asyncio.open_unix_connection(self.monitor)
        writer.write(command.encode() + b"\n")
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.close()

    async def ends(self, *, seconds: float = 10.0) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.process.poll() is None:
                    await asyncio.sleep(0.05)
                return True
        return False

    async def ssh(self, key: Path, command: str, *, user: str = "root") -> str:
        options = (
            "-oStrictHostKeyChecking=no",
            "-oUserKnownHostsFile=/dev/null",
            "-oLogLevel=ERROR",
            "-oBatchMode=yes",
        )
        argv = ("ssh", *options, "-i", str(key), "-p", str(self.port), f"{user}@127.0.0.1", command)
        done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr
        return done.stdout


@asynccontextmanager
async def boot(image: Path, folder: Path, *extra: str, disk: Path | None = None) -> AsyncIterator[Booted]:
    """Boot a fresh overlay of the image (or an old `disk`) with the metadata in `folder`; the guest ends with the block."""
    disk = disk or overlay(image, folder / "disk.qcow2")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    answer = f"{sys.executable} -I -S {__file__} {folder}"
    net = f"user,id=n0,net=169.254.169.0/24,host=169.254.169.2,guestfwd=tcp:169.254.169.254:80-cmd:{answer}"
    log, monitor = folder / "console.log", folder / "monitor"
    log.write_text("")
    argv = ["qemu-system-x86_64", "-machine", "pc,graphics=off", "-accel", "tcg", "-cpu", "max", "-m", "192"]
    argv += ["-display", "none", "-nodefaults", "-serial", f"file:{log}", "-drive", f"file={disk},if=virtio"]
    argv += ["-netdev", f"{net},hostfwd=tcp:127.0.0.1:{port}-:22", "-device", "virtio-net-pci,netdev=n0,romfile="]
    argv += ["-monitor", f"unix:{monitor},server=on,wait=off", *extra]
    began = time.monotonic()
    guest = Booted(log, port, monitor, await asyncio.to_thread(subprocess.Popen, argv, stdin=subprocess.DEVNULL))
    try:
        await guest.says("HAGANE-GUEST-READY")
        guest.seconds = time.monotonic() - began
        yield guest
    finally:
        guest.process.kill()
        guest.process.wait()


def overlay(image: Path, disk: Path) -> Path:
    subprocess.run(["qemu-img", "create", "-qf", "qcow2", "-F", "qcow2", "-b", image, disk, "1G"], check=True)
    return disk


def keypair(folder: Path) -> tuple[Path, str]:
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", key], check=True)
    return key, key.with_suffix(".pub").read_text()


def answer(folder: Path) -> None:
    """One HTTP request from stdin, one answer to stdout."""
    path = sys.stdin.buffer.readline().split()[1].decode()
    file = folder / path.lstrip("/")
    body = file.read_bytes() if file.is_file() else b""
    status = "200 OK" if file.is_file() else "404 Not Found"
    head = f"HTTP/1.0 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    sys.stdout.buffer.write(head.encode() + body)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    answer(Path(sys.argv[1]))
