"""A qcow2 file seen as a raw one, for whoever speaks no qcow2 (an iSCSI target): a small daemon per file, by FUSE.

    volume.<id> (qcow2) ──qemu-storage-daemon──▶ <folder>/<id> (raw, read and written through)

The daemon holds QEMU's lock on the file, so no machine of this Host opens it as well; it outlives this process, and is
found again by its pid file. `sync` ends with the daemon: what was flushed by the reader is in the file.
"""

import asyncio
import contextlib
import ctypes
import os
import secrets
import signal
import time
from pathlib import Path

from hagane.drivers.volume.base import daemon_pid
from hagane.drivers.volume.qmp import Monitor
from hagane.errors import DeviceFailed, Unavailable

START, STOP = 10.0, 10.0  # seconds


class RawViews:
    """All views of one folder."""

    def __init__(self, folder: Path, netns: str = "") -> None:
        """`netns`: a network namespace to live in, whose end is theirs as well."""
        self._folder, self._netns = folder, netns

    def path(self, key: str) -> Path:
        return self._folder / key

    async def show(self, key: str, file: Path) -> bool:
        """Make the view, if it is not there; says whether it was made now. Raises DeviceFailed, Unavailable."""
        if await asyncio.to_thread(self._alive, key):
            return False
        await asyncio.to_thread(self._prepare, key)
        words = ["nsenter", f"--net=/run/netns/{self._netns}"] if self._netns else []
        words += [
            "qemu-storage-daemon", "--daemonize", "--pidfile", str(self._pid_file(key)), "--blockdev",
            f"driver=qcow2,node-name=v,discard=unmap,file.driver=file,file.filename={_quoted(file)}", "--export",
            f"type=fuse,id=e,node-name=v,mountpoint={_quoted(self.path(key))},writable=on,growable=off,allow-other=off",
            "--chardev", f"socket,id=m,path={_quoted(self._socket(key))},server=on,wait=off", "--monitor", "chardev=m",
        ]  # fmt: skip
        try:
            child = await asyncio.create_subprocess_exec(*words, stdin=asyncio.subprocess.DEVNULL,
                                                         stdout=asyncio.subprocess.DEVNULL,
                                                         stderr=asyncio.subprocess.PIPE)  # fmt: skip
            async with asyncio.timeout(START):
                problem = (await child.communicate())[1].decode(errors="replace").strip()
        except OSError as error:
            raise Unavailable(f"qemu-storage-daemon cannot be started: {error.strerror}.") from error
        except TimeoutError:
            child.kill()
            await child.wait()
            raise Unavailable("The raw view of the volume does not come up.") from None
        if child.returncode:
            last = problem.splitlines()[-1] if problem else "no reason given"
            if "another process" in problem:
                raise Unavailable("The volume is open in a running machine.", detail=problem)
            raise DeviceFailed(f"The volume cannot be seen as a raw disk: {last}", detail=problem)
        return True

    async def hide(self, key: str) -> None:
        """End the view. Nothing happens the second time. Raises Unavailable."""
        if (pid := await asyncio.to_thread(self._pid, key)) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            until = time.monotonic() + STOP
            while await asyncio.to_thread(self._alive, key):  # it is no child of ours
                if time.monotonic() > until:
                    raise Unavailable("The raw view of the volume does not end.")
                await asyncio.sleep(0.02)
        await asyncio.to_thread(self._clear, key)

    async def read(self) -> frozenset[str]:
        """Keys of the views that work."""

        def look() -> frozenset[str]:
            names = [path.stem for path in self._folder.glob("*.pid")] if self._folder.is_dir() else []
            return frozenset(name for name in names if self._alive(name))

        return await asyncio.to_thread(look)

    async def new_layer(self, key: str, file: Path) -> None:
        """The view goes on in this file, laid over the one that it has. Raises Unavailable, DeviceFailed."""
        async with Monitor(self._socket(key)) as monitor:
            [export] = await monitor.ask("query-block-exports")
            node = f"v{secrets.token_hex(4)}"
            await monitor.ask("blockdev-add", {
                "driver": "qcow2", "node-name": node, "discard": "unmap", "backing": None,
                "file": {"driver": "file", "filename": str(file)},
            })  # fmt: skip
            await monitor.ask("blockdev-snapshot", {"node": export["node-name"], "overlay": node})

    def pids(self) -> set[int]:
        """Of the daemons. Blocks."""
        names = [path.stem for path in self._folder.glob("*.pid")] if self._folder.is_dir() else []
        return {pid for name in names if (pid := self._pid(name)) is not None}

    # -- mechanics, all blocking -----------------------------------------------------------------------------------

    def _pid_file(self, key: str) -> Path:
        return self._folder / f"{key}.pid"

    def _socket(self, key: str) -> Path:
        return self._folder / f"{key}.qmp"

    def _pid(self, key: str) -> int | None:
        """The daemon that serves this view."""
        return daemon_pid(self._pid_file(key))

    def _alive(self, key: str) -> bool:
        return self._pid(key) is not None

    def _prepare(self, key: str) -> None:
        self._clear(key)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path(key).touch(mode=0o600)

    def _clear(self, key: str) -> None:
        """A mount whose daemon was killed answers nothing any more: take it away first."""
        with contextlib.suppress(OSError):
            _unmount(self.path(key))
        self.path(key).unlink(missing_ok=True)
        self._pid_file(key).unlink(missing_ok=True)
        self._socket(key).unlink(missing_ok=True)


def _quoted(path: Path) -> str:
    """A path in an option of QEMU, where a comma ends the value unless doubled."""
    return str(path).replace(",", ",,")


def _unmount(path: Path) -> None:
    """umount2(path, MNT_DETACH). Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(path), 2):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
