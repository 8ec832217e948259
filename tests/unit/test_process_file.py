"""The file by which other commands find the running process: a dead one is not taken for it."""

import os
import subprocess
import sys
import time
from pathlib import Path

from hagane import process
from hagane.config import Config

_SERVE = """
import sys, time
from pathlib import Path
from hagane import process
from hagane.config import Config
process.write(Config(state=Path(sys.argv[1])), "http://127.0.0.1:1")
print("ready", flush=True)
time.sleep(60)
"""


def test_a_killed_process_is_not_found_though_nobody_has_asked_after_it(tmp_path: Path) -> None:
    config = Config(state=tmp_path)
    with subprocess.Popen([sys.executable, "-c", _SERVE, str(tmp_path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        found = process.find(config)
        assert found is not None and found.pid == child.pid
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is dead, and stays in the process table
        assert Path(f"/proc/{child.pid}").exists()
        assert process.find(config) is None


def test_an_ended_process_is_waited_for(tmp_path: Path) -> None:
    config = Config(state=tmp_path)
    with subprocess.Popen([sys.executable, "-c", _SERVE, str(tmp_path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        began = time.monotonic()
        assert process.stop(config) == 1
        assert time.monotonic() - began < 15
        assert process.find(config) is None and not list(tmp_path.glob("process-*.json"))
