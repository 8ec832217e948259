"""Real ovsdb-servers for tests: files and sockets in a folder of the test's own, ended with the test."""

import asyncio
import os
import signal
import subprocess
from pathlib import Path

NB_SCHEMA = Path("/usr/share/ovn/ovn-nb.ovsschema")
SB_SCHEMA = Path("/usr/share/ovn/ovn-sb.ovsschema")


class OvsdbServer:
    """One server process on a unix socket. `kill` is SIGKILL; `start` brings it back on the same files."""

    def __init__(self, folder: Path, schema: Path = NB_SCHEMA, name: str = "db", *extra: str) -> None:
        self.db = folder / f"{name}.db"
        self.socket = folder / f"{name}.sock"
        self.ctl = folder / f"{name}.ctl"
        self.log = folder / f"{name}.log"
        self.extra = extra
        self.process: subprocess.Popen[bytes] | None = None
        if not self.db.exists():
            subprocess.run(["ovsdb-tool", "create", self.db, schema], check=True)

    @property
    def remote(self) -> str:
        return f"unix:{self.socket}"

    def start(self) -> "OvsdbServer":
        self.socket.unlink(missing_ok=True)
        command = ["ovsdb-server", "-vconsole:off", "-vsyslog:off", f"--log-file={self.log}", "--no-chdir"]
        command += [f"--unixctl={self.ctl}", f"--remote=punix:{self.socket}", *self.extra, str(self.db)]
        self.process = subprocess.Popen(
            command, env={**os.environ, "OVS_RUNDIR": str(self.db.parent)}, stderr=subprocess.DEVNULL
        )
        return self

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def appctl(self, *words: str) -> str:
        done = subprocess.run(["ovs-appctl", "-t", self.ctl, *words], capture_output=True, text=True, check=True)
        return done.stdout

    def nbctl(self, *words: str) -> str:
        """Another client's change, by OVN's own tool."""
        command = ["ovn-nbctl", "--no-leader-only", f"--db={self.remote}", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


async def eventually(look, timeout: float = 10.0):
    """Polls until `look()` is true, and returns what it gave."""
    async with asyncio.timeout(timeout):
        while not (found := look()):
            await asyncio.sleep(0.01)
        return found
