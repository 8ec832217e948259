"""A scratch OVN: Northbound and Southbound databases and northd in a folder of their own, and a watch on new ports."""

import os
import subprocess
import sys
import time
from pathlib import Path

SCHEMAS = Path("/usr/share/ovn")
WATCH = Path(__file__).parent / "seen.py"


def available() -> bool:
    return (SCHEMAS / "ovn-nb.ovsschema").exists()


class Central:
    """Real daemons, no chassis. northd is niced: on a cloud's own machines it would not sit on our two cores."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.nb, self.sb = self._server("nb"), self._server("sb")
        databases = [f"--ovnnb-db={self.nb}", f"--ovnsb-db={self.sb}", f"--unixctl={folder}/northd.ctl"]
        self._start("nice", "-n", "19", "ovn-northd", *databases)

    def _server(self, name: str) -> str:
        file, remote = self._folder / f"{name}.db", f"unix:{self._folder}/{name}.sock"
        subprocess.run(["ovsdb-tool", "create", file, SCHEMAS / f"ovn-{name}.ovsschema"], check=True)
        self._start(
            "ovsdb-server", "--no-chdir", f"--unixctl={self._folder}/{name}.ctl", f"--remote=p{remote}", str(file)
        )
        while not (self._folder / f"{name}.sock").exists():
            time.sleep(0.01)
        return remote

    def _start(self, *command: str) -> None:
        quiet = [*command, "-vconsole:off", "-vsyslog:off"]
        there = {**os.environ, "OVS_RUNDIR": str(self._folder), "OVN_RUNDIR": str(self._folder)}
        self._processes.append(subprocess.Popen(quiet, env=there, stderr=subprocess.DEVNULL))

    def cpu(self) -> list[float]:
        """Seconds of CPU of the Northbound server, the Southbound server, northd."""
        found = []
        for process in self._processes:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            found.append((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))
        return found

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()


class Watch:
    """Notes when each new port is seen in the Northbound database, by a monitor in a process of its own."""

    def __init__(self, remote: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(WATCH), remote.removeprefix("unix:")], stdout=subprocess.PIPE, stdin=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it has seen all that was there

    def stop(self) -> dict[str, float]:
        """Port id -> the time (monotonic) when it was seen."""
        output, _ = self._process.communicate(b"\n")
        lines = (line.split() for line in output.decode().splitlines())
        return {name: float(seen) for name, seen in lines}
