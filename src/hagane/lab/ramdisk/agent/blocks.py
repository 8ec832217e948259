"""What is asked of the kernel about block devices, and of programs about file systems."""

import contextlib
import fcntl
import os
import struct
import subprocess
import time
from typing import Any

from .errors import BlockDeviceEraseError, DeploymentError
from .place import Place
from .table import Partition

REREAD, DISCARD, ZERO = 0x125F, 0x1277, 0x127F  # BLKRRPART, BLKDISCARD, BLKZEROOUT (linux/fs.h)
CHUNK = 256 << 20
MKFS = {
    "vfat": ("mkdosfs", "-n"), "fat32": ("mkdosfs", "-n"), "ext2": ("mke2fs", "-q", "-F", "-t", "ext2", "-L"),
    "ext3": ("mke2fs", "-q", "-F", "-t", "ext3", "-L"), "ext4": ("mke2fs", "-q", "-F", "-t", "ext4", "-L"),
}  # fmt: skip


def reread(file: int, place: Place) -> None:
    """Have the kernel look at the partition table again."""
    if not place.real:
        return
    os.fsync(file)
    for _ in range(20):
        try:
            fcntl.ioctl(file, REREAD)
            return
        except OSError:  # something still looks at a partition
            time.sleep(0.1)
    raise DeploymentError("The kernel does not take the new partition table: something holds a partition of the disk.")


def format_as(place: Place, disk: str, part: Partition, kind: str, name: str) -> None:
    """Make a file system in a partition. Raises DeploymentError."""
    program = MKFS.get(kind)
    if program is None:
        raise DeploymentError(f"This ramdisk makes no {kind} file systems: use one of {', '.join(sorted(MKFS))}.")
    number = f"p{part.number}" if disk[-1].isdigit() else str(part.number)
    device = place.path(f"{disk}{number}")
    for _ in range(50):
        if device.exists():
            break
        time.sleep(0.1)
    done = subprocess.run([*program, name, str(device)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise DeploymentError(f"{program[0]} failed on {device}: {done.stderr.strip() or done.stdout.strip()}")


def wipe_metadata(place: Place, disk: dict[str, Any]) -> None:
    """Partition tables and what file systems and RAID sets know each other by: the first and last 4 MB of the disk and
    the first and last 128 KB of each partition."""
    file = os.open(place.path(disk["name"]), os.O_RDWR)
    try:
        size, edge, rim = int(disk["size"]), 4 << 20, 128 << 10
        for start, end in _extents(place, disk):
            _zero(file, start, min(rim, end - start))
            _zero(file, max(start, end - rim), min(rim, end - start))
        _zero(file, 0, min(edge, size))
        _zero(file, max(0, size - edge), min(edge, size))
        reread(file, place)
    except OSError as error:
        raise BlockDeviceEraseError(f"{disk['name']}: {error}") from error
    finally:
        os.fsync(file)
        os.close(file)


def _extents(place: Place, disk: dict[str, Any]) -> list[tuple[int, int]]:
    name = disk["name"].rpartition("/")[2]
    found = []
    for folder in place.path(f"sys/block/{name}").glob(f"{name}*"):
        start, size = (
            int(place.text(f"sys/block/{name}/{folder.name}/{file}") or 0) * 512 for file in ("start", "size")
        )
        found.append((start, start + size))
    return found


def _zero(file: int, start: int, length: int) -> None:
    block = bytes(min(length, 1 << 20))
    for at in range(start, start + length, 1 << 20):
        os.pwrite(file, block[: start + length - at], at)


def erase(place: Place, disk: dict[str, Any], progress: Any) -> str:
    """Make everything on the disk unreadable, and return how: the disk's own zeroing if it has one, else zeros.

    Discarding alone proves nothing: many disks go on giving the old content. So it comes after the zeros, for the sake
    of disks that are then faster, or take no space."""
    file = os.open(place.path(disk["name"]), os.O_RDWR)
    how = "zero" if place.real else "write"
    try:
        for at in range(0, disk["size"], CHUNK):
            length = min(CHUNK, disk["size"] - at)
            if how == "zero":
                try:
                    fcntl.ioctl(file, ZERO, struct.pack("QQ", at, length))
                except OSError:
                    how = "write"
            if how == "write":
                _zero(file, at, length)
                os.fdatasync(file)
            progress(at + length, disk["size"])
        os.fsync(file)
        if place.real:
            with contextlib.suppress(OSError):  # it has no such command
                fcntl.ioctl(file, DISCARD, struct.pack("QQ", 0, disk["size"]))
        reread(file, place)
    except OSError as error:
        raise BlockDeviceEraseError(f"{disk['name']}: {error}") from error
    finally:
        os.fsync(file)
        os.close(file)
    return how
