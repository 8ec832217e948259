"""Run the `openstack` command many times without paying for its imports each time.

    demo ──(argv, environment, file descriptors)──▶ this process, which has the client imported ──fork──▶ one command

A thousand modules take over a second to import, a command itself a fifth of that. So one process imports the client,
unmodified, and forks for each command: every command has a fresh process with its own arguments, environment, standard
streams and exit status, as if started from a shell.
"""

import array
import contextlib
import fcntl
import gc
import importlib
import io
import json
import os
import signal
import socket
import sys
import termios
import time
import traceback
from typing import Any

MODULES = (
    "openstackclient.shell",
    "openstack.config.loader",
    "openstack.connection",
    "keystoneauth1.identity.v3",
    "keystoneauth1.extras.kerberos",
    "osc_lib.command.timing",
    "cliff.formatters.table",
)
LARGEST = 1 << 16


def serve(link: socket.socket) -> None:
    """Fork for each request until the other side hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started us will hang up
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children: each tells its own result
    _load()
    link.send(b"ready")
    while True:
        message, fds, _, _ = socket.recv_fds(link, LARGEST, 3)
        if not message:
            return
        if os.fork() == 0:
            link.close()
            _child(json.loads(message), *fds)
        for fd in fds:
            os.close(fd)


def _load() -> None:
    """Import the client and whatever its commands will import."""
    sys.argv = ["openstack"]  # the client takes its name from here, at import
    for name in MODULES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    _rehearse()
    gc.collect()
    gc.freeze()  # so that the children's collector does not touch, and thereby copy, all those pages


def _rehearse() -> None:
    """Read every plugin's entry points once, by asking the client for its version and the help of some commands."""
    from openstackclient import shell

    for words in ("--version", "server create --help", "network create --help", "image create --help",
                  "project create --help", "security group rule create --help", "router create --help"):  # fmt: skip
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
            shell.main(words.split())


def _child(request: dict[str, Any], input_fd: int, output_fd: int, result_fd: int) -> None:
    """One command; never returns."""
    code = 70  # EX_SOFTWARE
    try:
        for number in (signal.SIGCHLD, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.alarm(request["seconds"])
        _wear(request, input_fd, output_fd)
        code = _run(request["argv"])
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os.write(result_fd, json.dumps([code, time.monotonic()]).encode())
        os._exit(code)


def _wear(request: dict[str, Any], input_fd: int, output_fd: int) -> None:
    """Take on the command's environment, folder and streams."""
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    os.dup2(input_fd, 0)
    os.dup2(output_fd, 1)
    os.dup2(output_fd, 2)
    if request["terminal"]:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        fcntl.ioctl(0, termios.TIOCSWINSZ, array.array("H", [40, 100, 0, 0]))
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False, encoding="utf-8", buffering=1)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, encoding="utf-8", buffering=1)  # noqa: SIM115


def _run(argv: list[str]) -> int:
    from openstackclient import shell

    sys.argv = ["openstack", *argv]
    try:
        return int(shell.main(argv) or 0)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1


if __name__ == "__main__":
    with contextlib.suppress(ConnectionError):
        serve(socket.socket(fileno=int(sys.argv[1])))
