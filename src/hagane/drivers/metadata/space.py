"""Inside other network namespaces without a process there: a thread goes in, does one thing, and ends.

setns(2) moves a thread, not a process, and a socket stays in the namespace where it was made. So a listening socket for
every network costs a file descriptor each, and one event loop serves them all.
"""

import ctypes
import os
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from hagane.errors import DeviceFailed

FOLDER = Path("/run/netns")
CLONE_NEWNET = 0x40000000
PORT = 80
T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)


def exists(name: str) -> bool:
    """Whether the name stands for a live namespace (a file left from before a reboot is none)."""
    try:
        return (FOLDER / name).stat().st_dev == Path("/proc/self/ns/net").stat().st_dev
    except OSError:
        return False


def identity(name: str) -> int:
    """Differs between a namespace and another one that got its name later; 0: there is none."""
    try:
        return (FOLDER / name).stat().st_ino
    except OSError:
        return 0


def named(prefix: str) -> list[str]:
    return sorted(entry.name for entry in FOLDER.glob(f"{prefix}*"))


def _enter(name: str) -> None:
    fd = os.open(FOLDER / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {name}")
    finally:
        os.close(fd)


def inside(name: str, call: Callable[[], T]) -> T:
    """Run `call` in the namespace, in a thread that ends with it. Blocks. Raises DeviceFailed."""
    return each([name], lambda _: call())[name]


def each(names: Iterable[str], call: Callable[[str], T]) -> dict[str, T]:
    """The same in several namespaces, one after the other; those that are gone are left out if there are several."""
    listed = list(names)
    results: dict[str, T] = {}
    errors: list[str] = []

    def run() -> None:
        for name in listed:
            try:
                _enter(name)
                results[name] = call(name)
            except OSError as error:
                errors.append(f"{name}: {error}")

    thread = threading.Thread(target=run, name="netns")  # never one of a pool: it does not come back out
    thread.start()
    thread.join()
    if errors and len(listed) == 1:
        raise DeviceFailed(errors[0])
    return results


def links(names: Iterable[str]) -> dict[str, frozenset[str]]:
    """The interfaces in each of the namespaces."""
    return each(names, lambda _: frozenset(name for _, name in socket.if_nameindex()))


def listen() -> list[socket.socket]:
    """Sockets that take what is sent to port 80 of any address here, over IPv4 and IPv6.

    Another process of ours may hold the same port: the kernel then shares out connections, and whoever dies drops out.
    """
    made = []
    for family, address in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):
        try:
            made.append(_listening(family, address))
        except OSError:
            if family == socket.AF_INET:
                raise  # a kernel may lack IPv6, never IPv4
    return made


def _listening(family: int, address: str) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        options = [(socket.SOL_SOCKET, socket.SO_REUSEADDR), (socket.SOL_SOCKET, socket.SO_REUSEPORT)]
        if family == socket.AF_INET6:
            options.append((socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
        for level, option in options:
            one.setsockopt(level, option, 1)
        one.bind((address, PORT))
        one.listen(128)
    except BaseException:
        one.close()
        raise
    return one


def quiet(interface: str) -> None:
    """Of an interface in the current namespace: take no address or route from what others say on the link."""
    for setting, value in (("accept_ra", "0"), ("autoconf", "0")):
        file = Path(f"/proc/sys/net/ipv6/conf/{interface}/{setting}")
        if file.exists():
            file.write_text(value)
