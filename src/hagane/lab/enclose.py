"""Run a program with folders of its own mounted over the system's, and a host name of its own.

    python -I enclose.py HOSTNAME [SOURCE TARGET]... -- PROGRAM [ARGUMENT]...

libvirtd has its folders compiled in. To run one per Host on one machine, each starts in a private mount namespace in
which /run/libvirt, /var/lib/libvirt and so on are folders of that Host. Nothing of this is seen from outside, and it
ends with the last process inside. This file is started as a script, imports next to nothing, and starts the program.

It leaves one process behind, which collects whatever dies inside. libvirt, having ended a QEMU, waits until the kernel
has forgotten it; that is the first process's duty, and in containers and small VMs that one may take many seconds.
"""

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUTS = 0x00020000, 0x04000000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")


def _mount(source: str, target: str, flags: int) -> None:
    result = _LIBC.mount(source.encode(), target.encode(), None, ctypes.c_ulong(flags), None)
    _check(result, f"mount {source} on {target}")


def main(arguments: list[str]) -> None:
    """Leave the shared namespaces, mount, rename the host, start the program; end with its status when it is ready."""
    cut = arguments.index("--")
    hostname, pairs, argv = arguments[0], arguments[1:cut], arguments[cut + 1 :]
    _check(_LIBC.unshare(CLONE_NEWNS | CLONE_NEWUTS), "unshare")
    _mount("none", "/", MS_REC | MS_PRIVATE)
    for source, target in zip(pairs[::2], pairs[1::2], strict=True):
        if Path(source).is_dir():
            Path(target).mkdir(parents=True, exist_ok=True)
        _mount(source, target, MS_BIND)
    _check(_LIBC.sethostname(hostname.encode(), len(hostname)), "sethostname")
    reading, writing = os.pipe()
    if os.fork() == 0:
        _collect(argv, writing)
    os.close(writing)
    answer = os.read(reading, 1)
    sys.exit(answer[0] if answer else 1)


def _collect(argv: list[str], writing: int) -> None:
    """Be the parent of the program and of all it leaves behind, until the last of them has ended."""
    _check(_LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")
    program = os.fork()
    if program == 0:
        os.close(writing)
        os.execvp(argv[0], argv)
    _, status = os.waitpid(program, 0)  # it has gone to the background, or failed to
    os.write(writing, bytes([min(255, abs(os.waitstatus_to_exitcode(status)))]))
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2, writing):
        os.dup2(null, descriptor)
    try:
        while True:
            os.wait()
    except ChildProcessError:
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
