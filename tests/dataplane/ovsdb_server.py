"""Real ovsdb-servers for tests: files and sockets in a folder of the test's own, ended with the test."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

NB_SCHEMA = Path("/usr/share/ovn/ovn-nb.ovsschema")
SB_SCHEMA = Path("/usr/share/ovn/ovn-sb.ovsschema")


class OvsdbServer:
    """One server process on a unix socket. `kill` is SIGKILL; `start` brings it back on the same files."""

    def __init__(self, folder: Path, schema: Path | None = None, name: str = "db", *extra: str) -> None:
        self.db = folder / f"{name}.db"
        self.socket = folder / f"{name}.sock"
        self.ctl = folder / f"{name}.ctl"
        self.log = folder / f"{name}.log"
        self.extra = extra
        self.process: subprocess.Popen[bytes] | None = None
        if not self.db.exists():
            subprocess.run(["ovsdb-tool", "create", self.db, schema or NB_SCHEMA], check=True)

    @property
    def remote(self) -> str:
        return f"unix:{self.socket}"

    def start(self) -> "OvsdbServer":
        self.socket.unlink(missing_ok=True)
        command = ["ovsdb-server", "-vconsole:off", "-vsyslog:off", f"--log-file={self.log}", "--no-chdir"]
        command += [f"--unixctl={self.ctl}", f"--remote=punix:{self.socket}", *self.extra, str(self.db)]
        self.process = subprocess.Popen(
            command,
            cwd=self.db.parent,
            env={**os.environ, "OVS_RUNDIR": str(self.db.parent)},
            stderr=subprocess.DEVNULL,
        )
        for _ in range(500):  # ovn-nbctl does not try twice
            if self.socket.exists() and self._accepts():
                return self
            time.sleep(0.01)
        raise TimeoutError(self.log.read_text())

    def _accepts(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def transact_offline(self, *ops: dict[str, Any]) -> None:
        """Changes the files while no server runs."""
        words = ["ovsdb-tool", "transact", str(self.db), json.dumps(["OVN_Northbound", *ops])]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)

    def appctl(self, *words: str) -> str:
        done = subprocess.run(["ovs-appctl", "-t", self.ctl, *words], capture_output=True, text=True, check=True)
        return done.stdout

    def nbctl(self, *words: str) -> str:
        """Another client's change, by OVN's own tool."""
        command = ["ovn-nbctl", "--no-leader-only", f"--db={self.remote}", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class Cluster:
    """Three servers of one database, in RAFT, on unix sockets."""

    def __init__(self, folder: Path) -> None:
        raft = [f"unix:s{number}.raft" for number in (1, 2, 3)]
        create = ["ovsdb-tool", "create-cluster", "s1.db", str(NB_SCHEMA), raft[0]]
        subprocess.run(create, check=True, cwd=folder, stderr=subprocess.DEVNULL)
        for number in (2, 3):
            join = ["ovsdb-tool", "join-cluster", f"s{number}.db", "OVN_Northbound", raft[number - 1], raft[0]]
            subprocess.run(join, check=True, cwd=folder)
        self.servers = [OvsdbServer(folder, name=f"s{number}").start() for number in (1, 2, 3)]
        for server in self.servers:
            wait = ["ovsdb-client", "--timeout=20", "wait", server.remote, "OVN_Northbound", "connected"]
            subprocess.run(wait, check=True, stderr=subprocess.DEVNULL)

    @property
    def remotes(self) -> str:
        """The leader comes last, so that it has to be searched for."""
        return ",".join(server.remote for server in reversed(self.servers))

    def leader(self) -> OvsdbServer | None:
        for server in self.servers:
            if server.running and "Role: leader" in server.appctl("cluster/status", "OVN_Northbound"):
                return server
        return None

    def kill(self) -> None:
        for server in self.servers:
            server.kill()


async def eventually(look, timeout: float = 10.0):
    """Polls until `look()` is true, and returns what it gave."""
    async with asyncio.timeout(timeout):
        while not (found := look()):
            await asyncio.sleep(0.01)
        return found
