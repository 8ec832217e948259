"""Pieces of a bootable disk, made without mounting anything: cpio archive, FAT boot partition, partition table."""

import gzip
import os
import shutil
import stat
import struct
from pathlib import Path

from hagane.errors import Unavailable
from hagane.lab.process import tool

MB = 1 << 20
SECTOR = 512
MBR_CODE = (Path("/usr/lib/SYSLINUX/mbr.bin"), Path("/usr/lib/syslinux/mbr/mbr.bin"))


def cpio(root: Path) -> bytes:
    """The folder as a gzipped initramfs ("newc" format), everything owned by root."""
    out = bytearray()
    for number, path in enumerate(sorted(root.rglob("*")), 1):
        status = path.lstat()
        if path.is_symlink():
            content = str(path.readlink()).encode()
        else:
            content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        _entry(out, str(path.relative_to(root)), status.st_mode, content, number)
    _entry(out, "TRAILER!!!", 0, b"", 0)
    return gzip.compress(bytes(out), compresslevel=6, mtime=0)


def _entry(out: bytearray, name: str, mode: int, content: bytes, inode: int) -> None:
    # Documentation/driver-api/early-userspace/buffer-format: magic and 13 numbers of eight hex digits.
    numbers = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    out += b"070701" + "".join(f"{number:08x}" for number in numbers).encode() + name.encode() + b"\0"
    out += bytes(-len(out) % 4)
    out += content
    out += bytes(-len(out) % 4)


def assemble(work: Path, boot: dict[str, bytes], root: Path, *, boot_mb: int, root_mb: int) -> Path:
    """A raw disk: the boot partition (FAT with SYSLINUX) from 1 MB on, then the root partition (ext4).

    `boot`: path in the boot partition -> content."""
    fat, ext4, raw = work / "fat.img", work / "ext4.img", work / "disk.img"
    _fat(fat, boot, boot_mb)
    _sized(ext4, root_mb)
    tool("mke2fs", "-q", "-t", "ext4", "-J", "size=4", "-O", "^resize_inode", "-L", "hagane-root", "-d", root, ext4)
    _sized(raw, 1 + boot_mb + root_mb)
    with raw.open("r+b") as file:
        file.write(_partition_table(boot_mb, root_mb))
    for part, start in ((fat, 1), (ext4, 1 + boot_mb)):
        tool("dd", f"if={part}", f"of={raw}", "bs=1M", f"seek={start}", "conv=notrunc,sparse", "status=none")
    return raw


def _fat(path: Path, files: dict[str, bytes], size_mb: int) -> None:
    _sized(path, size_mb)
    tool("mkfs.vfat", "-F", "16", "-n", "HAGANE-BOOT", "-h", 2048, path)
    for folder in sorted({str(parent) for name in files for parent in Path(name).parents} - {"."}):
        tool("mmd", "-i", path, f"::{folder}")
    for name, content in files.items():
        source = path.with_name(Path(name).name)
        source.write_bytes(content)
        tool("mcopy", "-i", path, source, f"::{name}")
    tool("syslinux", "--install", path)


def _partition_table(boot_mb: int, root_mb: int) -> bytes:
    """The first sector: boot code, and two entries (status, CHS unused, type, first sector, sectors).

    The FAT partition is active, for a BIOS, and of the type by which UEFI knows its system partition."""
    code = next((path for path in MBR_CODE if path.exists()), None)
    if code is None:
        raise Unavailable("SYSLINUX's boot code is missing: apt-get install syslinux-common")
    unused = b"\xfe\xff\xff"
    per_mb = MB // SECTOR
    entries = [(0x80, 0xEF, 1, boot_mb), (0x00, 0x83, 1 + boot_mb, root_mb)]
    table = b"".join(
        struct.pack("<B3sB3sII", status, unused, kind, unused, start * per_mb, size * per_mb)
        for status, kind, start, size in entries
    )
    return code.read_bytes()[:440].ljust(446, b"\0") + table.ljust(64, b"\0") + b"\x55\xaa"


def _sized(path: Path, size_mb: int) -> None:
    with path.open("wb") as file:
        file.truncate(size_mb * MB)


def publish(source: Path, target: Path) -> None:
    """Put a finished file in its place, all at once."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copy(source, temporary)
    temporary.replace(target)
