"""Boot entries of a UEFI machine, written as the firmware keeps them: variables in /sys/firmware/efi/efivars.

A written disk boots without an entry only where the firmware looks at \\EFI\\BOOT\\BOOTX64.EFI by itself; most do, some
do not, and some boot an older entry first. So the disk gets an entry of its own, and it comes first in the order.
"""

import fcntl
import os
import re
import struct
import subprocess
from pathlib import Path

from . import table
from .errors import DeploymentError
from .place import Place
from .table import Partition, uuid_bytes

GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
ATTRIBUTES = struct.pack("<I", 7)  # kept, and readable before and after the start
NAME = "Hagane"
LOADERS = ("EFI/BOOT/BOOTX64.CSV", "EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/BOOTAA64.EFI")
IMMUTABLE, GET_FLAGS, SET_FLAGS = 0x10, 0x80086601, 0x40086602


def add_entry(place: Place, disk: str, size: int, sector: int) -> str:
    """Make the disk's loader the first boot entry and return its path; "" if the disk has no loader."""
    file = os.open(place.path(disk), os.O_RDONLY)
    try:
        found = table.read(file, size, sector)
    finally:
        os.close(file)
    for part in found.partitions if found else ():
        if part.kind in (table.ESP, "0xef"):
            loader = _loader(place, disk, part)
            if loader and found is not None:
                _store(place, option(part, found.uuid, sector, loader, gpt=found.label == "gpt"))
                return loader
    return ""


def _loader(place: Place, disk: str, part: Partition) -> str:
    number = f"p{part.number}" if disk[-1].isdigit() else str(part.number)
    mount = place.path("run/esp")
    mount.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "vfat", "-o", "ro", f"{disk}{number}", str(mount)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DeploymentError(f"The EFI system partition of {disk} cannot be mounted: {done.stderr.strip()}")
    try:
        return find_loader(mount)
    finally:
        subprocess.run(["umount", str(mount)], check=False)


def find_loader(esp: Path) -> str:
    """The loader in an EFI system partition: the distribution's own if it names one, or else the usual path."""
    for listing in sorted(esp.glob("[Ee][Ff][Ii]/*/[Bb][Oo][Oo][Tt]*.[Cc][Ss][Vv]")):
        words = listing.read_bytes().decode("utf-16", "replace").split(",")
        if words[0] and (listing.parent / words[0].strip()).exists():
            return str((listing.parent / words[0].strip()).relative_to(esp))
    found = sorted(esp.glob("[Ee][Ff][Ii]/[Bb][Oo][Oo][Tt]/[Bb][Oo][Oo][Tt]*.[Ee][Ff][Ii]"))
    return str(found[0].relative_to(esp)) if found else ""


def option(part: Partition, disk_uuid: str, sector: int, loader: str, *, gpt: bool) -> bytes:
    """A load option (UEFI 3.1.3): name, then the way to the file: partition, path, end."""
    signature = uuid_bytes(part.uuid) if gpt else bytes.fromhex(disk_uuid)[::-1].ljust(16, b"\0")
    kind = (2, 2) if gpt else (1, 1)
    drive = struct.pack(
        "<BBHIQQ16sBB", 4, 1, 42, part.number, part.start // sector, part.size // sector, signature, *kind
    )
    path = ("\\" + loader.replace("/", "\\") + "\0").encode("utf-16-le")
    way = drive + struct.pack("<BBH", 4, 4, 4 + len(path)) + path + b"\x7f\xff\4\0"
    return struct.pack("<IH", 1, len(way)) + (NAME + "\0").encode("utf-16-le") + way


def _store(place: Place, entry: bytes) -> None:
    """Write the entry (over an older one of ours) and put it first."""
    folder = place.path("sys/firmware/efi/efivars")
    names = sorted(
        path.name[4:8] for path in folder.glob(f"Boot????-{GLOBAL}") if re.match(r"Boot[0-9A-F]{4}-", path.name)
    )
    mine = [name for name in names if (NAME + "\0").encode("utf-16-le") == _described(folder, name)]
    number = mine[0] if mine else next(f"{free:04X}" for free in range(0x10000) if f"{free:04X}" not in names)
    _write(folder / f"Boot{number}-{GLOBAL}", entry)
    order_file = folder / f"BootOrder-{GLOBAL}"
    order = order_file.read_bytes()[4:] if order_file.exists() else b""
    first = struct.pack("<H", int(number, 16))
    others = [order[at : at + 2] for at in range(0, len(order), 2) if order[at : at + 2] != first]
    _write(order_file, first + b"".join(others))


def _described(folder: Path, number: str) -> bytes:
    return (folder / f"Boot{number}-{GLOBAL}").read_bytes()[10 : 10 + 2 * len(NAME) + 2]


def _write(variable: Path, value: bytes) -> None:
    """Set a variable. The kernel protects most of them by a flag against `rm -rf /`."""
    if variable.exists():
        file = os.open(variable, os.O_RDONLY)
        flags = struct.unpack("l", fcntl.ioctl(file, GET_FLAGS, bytes(8)))[0]
        fcntl.ioctl(file, SET_FLAGS, struct.pack("l", flags & ~IMMUTABLE))
        os.close(file)
    file = os.open(variable, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.write(file, ATTRIBUTES + value)
    except OSError as error:
        raise DeploymentError(f"The firmware takes no boot entry: {error}") from error
    finally:
        os.close(file)
