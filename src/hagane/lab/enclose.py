"""Run a program with folders of its own mounted over the system's, and a host name of its own.

    python -I enclose.py HOSTNAME [SOURCE TARGET]... -- PROGRAM [ARGUMENT]...

libvirtd has its folders compiled in. To run one per Host on one machine, each starts in a private mount namespace in
which /run/libvirt, /var/lib/libvirt and so on are folders of that Host. Nothing of this is seen from outside, and it
ends with the last process inside. This file is started as a script, imports next to nothing, and becomes the program.
"""

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUTS = 0x00020000, 0x04000000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
_LIBC = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")


def _mount(source: str, target: str, flags: int) -> None:
    result = _LIBC.mount(source.encode(), target.encode(), None, ctypes.c_ulong(flags), None)
    _check(result, f"mount {source} on {target}")


def main(arguments: list[str]) -> None:
    """Leave the shared namespaces, mount, rename the host, become the program."""
    cut = arguments.index("--")
    hostname, pairs, argv = arguments[0], arguments[1:cut], arguments[cut + 1 :]
    _check(_LIBC.unshare(CLONE_NEWNS | CLONE_NEWUTS), "unshare")
    _mount("none", "/", MS_REC | MS_PRIVATE)
    for source, target in zip(pairs[::2], pairs[1::2], strict=True):
        if Path(source).is_dir():
            Path(target).mkdir(parents=True, exist_ok=True)
        _mount(source, target, MS_BIND)
    _check(_LIBC.sethostname(hostname.encode(), len(hostname)), "sethostname")
    os.execvp(argv[0], argv)


if __name__ == "__main__":
    main(sys.argv[1:])
