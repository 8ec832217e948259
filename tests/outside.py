"""Hagane as a process of its own, as an operator runs it: started, killed, started again."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import httpx
import openstack
import yaml


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """`hagane up --sim` with its own state folder (or one that it shares with others)."""

    alive: ClassVar[list["Process"]] = []
    module = "hagane"  # that is run; a test may have one that does more

    def __init__(self, state: Path, **settings: Any) -> None:
        self.state = state
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = state.parent / f"{state.name}-{self.port}.toml"
        top = {"state": str(state), "listen": f"127.0.0.1:{self.port}", "sim": True, "bcrypt_cost": 4} | settings
        tables = {name: top.pop(name) for name in list(top) if isinstance(top[name], dict)}
        lines = ["[hagane]", *(f"{name} = {_toml(value)}" for name, value in top.items())]
        for table, values in tables.items():
            lines += [f"[{table}]", *(f"{name} = {_toml(value)}" for name, value in values.items())]
        state.parent.mkdir(parents=True, exist_ok=True)
        self.config.write_text("\n".join(lines) + "\n")
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, *, timeout: float = 30) -> float:
        """Start it and wait until it answers; returns the seconds that took."""
        began = time.monotonic()
        self.state.mkdir(exist_ok=True)
        log = (self.state / f"log-{self.port}").open("ab")
        command = [sys.executable, "-m", self.module, "up", "--config", str(self.config)]
        self._child = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        log.close()
        Process.alive.append(self)
        while time.monotonic() - began < timeout:
            if self._child.poll() is not None:
                raise AssertionError(f"it ended: {self.log()[-3000:]}")
            try:
                if httpx.get(f"{self.url}/healthz", timeout=1).status_code == 200 and self._ready():
                    return time.monotonic() - began
            except httpx.TransportError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"it is not ready after {timeout} s: {self.log()[-3000:]}")

    def _ready(self) -> bool:
        return (self.state / f"process-{self.port}.json").exists()

    def log(self) -> str:
        return (self.state / f"log-{self.port}").read_text(errors="replace")

    def kill(self) -> None:
        """`kill -9`."""
        assert self._child is not None
        self._child.kill()
        self._child.wait()
        self._ended()
        (self.state / f"process-{self.port}.json").unlink(missing_ok=True)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self._child is None or self._child.poll() is not None:
            return -1
        self._child.send_signal(signal.SIGTERM)
        code = self._child.wait(20)
        self._ended()
        return code

    def _ended(self) -> None:
        if self in Process.alive:
            Process.alive.remove(self)

    def connect(self, *, direct: bool = False) -> openstack.connection.Connection:
        """As the administrator. `direct`: to this very process, whatever the catalog says; several share one."""
        auth = yaml.safe_load((self.state / "clouds.yaml").read_text())["clouds"]["hagane"]["auth"]
        paths = {"compute": "compute/v2.1", "network": "network/v2.0", "image": "image", "identity": "identity/v3"}
        here = {f"{name}_endpoint_override": f"{self.url}/{path}" for name, path in paths.items()} if direct else {}
        return openstack.connect(auth=auth | {"auth_url": f"{self.url}/identity/v3"}, region_name="RegionOne",
                                 load_yaml_config=False, load_envvars=False, **here)  # fmt: skip

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A `hagane` command against this cloud."""
        argv = [sys.executable, "-m", "hagane", *words, "--config", str(self.config)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, env=os.environ)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(_toml(entry) for entry in value) + "]"
    return str(value) if isinstance(value, int | float) else f'"{value}"'
