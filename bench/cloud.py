"""A Hagane process of the benchmark's own: started, asked, measured and ended, with its folder."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BIG = {"hosts": 4, "vcpus": 20_000, "memory_mb": 20_000_000, "disk_gb": 1_000_000}
"""Simulated Hosts on which any number of servers fits."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment() -> dict[str, str]:
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


class Process:
    """A process that serves HTTP on a loopback port."""

    def start(self, command: list[str], port: int, log: Path, patience: float = 60.0) -> None:
        """Start it and wait until it answers. Raises RuntimeError with the end of its log."""
        self.port, self._log = port, log
        self.started = time.monotonic()
        with log.open("ab") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out, env=environment())
        self.ready_seconds = self._wait(patience)

    def _wait(self, patience: float) -> float:
        """Seconds until it answered."""
        while time.monotonic() - self.started < patience:
            if self._process.poll() is not None:
                break
            try:
                self.call("GET", "/healthz")
                return time.monotonic() - self.started
            except OSError:
                time.sleep(0.005)
        self.stop()
        raise RuntimeError(f"{self._process.args} did not start:\n{self._log.read_text()[-3000:]}")

    def call(self, method: str, path: str, body: Any = None, token: str = "", **headers: str) -> tuple[int, Any, dict]:
        """Status, decoded body, headers in lower case: for what is not measured."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {"X-Auth-Token": token} | headers if token else headers
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        connection.request(method, path, data, {"Content-Type": kind} | sent if data is not None else sent)
        answer = connection.getresponse()
        text, head = answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        connection.close()
        return answer.status, json.loads(text) if text and head["content-type"] == "application/json" else text, head

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu(self) -> float:
        """Seconds of CPU that it has used, its threads included."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss(self) -> float:
        """Resident memory, MB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class Cloud(Process):
    """`python -m hagane up --sim` in a folder of its own; `restart` keeps the folder."""

    def __init__(self, folder: Path | None = None, *, nb: str = "", sb: str = "", stalls: bool = False) -> None:
        self._own = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="hagane-bench-"))
        self.state = self.folder / "state"
        settings = [f'ovn_nb = "{nb}"', f'ovn_sb = "{sb}"', "[simulation]", "delays = false"]
        settings += [f"{name} = {value}" for name, value in BIG.items()]
        (self.folder / "hagane.toml").write_text("\n".join(settings) + "\n")
        self.stalls = self.folder / "stalls.txt" if stalls else None
        try:
            self._up()
        except BaseException:
            self.stop()
            raise

    def _up(self) -> None:
        port = free_port()
        start = [str(ROOT / "bench" / "stalls.py"), str(self.stalls)] if self.stalls else ["-m", "hagane"]
        command = [sys.executable, *start, "up", "--sim", "--config", str(self.folder / "hagane.toml"), "--state",
                   str(self.state), "--listen", f"127.0.0.1:{port}", "--log-level", "warning"]  # fmt: skip
        self.start(command, port, self.folder / "log")
        self.token, self.project = self.login()

    def restart(self) -> float:
        """Seconds until it answers again."""
        self.end()
        self._up()
        return self.ready_seconds

    @property
    def password(self) -> str:
        for line in (self.state / "clouds.yaml").read_text().splitlines():
            if line.strip().startswith("password:"):
                return line.split(":", 1)[1].strip()
        raise RuntimeError("clouds.yaml names no password")

    def auth(self, password: str | None = None) -> dict[str, Any]:
        user = {"name": "admin", "domain": {"id": "default"}, "password": password or self.password}
        scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
        return {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}

    def login(self) -> tuple[str, str]:
        """A token of the administrator, and the project."""
        status, body, headers = self.call("POST", "/identity/v3/auth/tokens", self.auth())
        if status != 201:
            raise RuntimeError(f"login: {status} {body}")
        return headers["x-subject-token"], body["token"]["project"]["id"]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """An administrator's call that must succeed; its decoded answer."""
        status, answer, _ = self.call(method, path, body, self.token)
        if status >= 400:
            raise RuntimeError(f"{method} {path}: {status} {answer}")
        return answer

    def end(self) -> None:
        """End the process and keep its folder."""
        super().stop()

    def stop(self) -> None:
        super().stop()
        if self._own:
            shutil.rmtree(self.folder, ignore_errors=True)
