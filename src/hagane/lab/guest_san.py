"""What lets the guest image have its root file system on an iSCSI volume (a Node that boots from SAN).

    firmware (iPXE) logs in, leaves a table (iBFT) ─▶ ramdisk: iscsistart logs in by it ─▶ guest: iscsid keeps it up

iscsistart ends after the login, and the kernel cannot log in again by itself: without iscsid a target that restarts
would be a disk that is gone. A machine with a disk of its own pays for it with three megabytes more in its ramdisk.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

PACKAGES = (
    *("open-iscsi", "libopeniscsiusr", "libssl3", "libkmod2", "liblzma5", "libzstd1", "libisns0", "libmount1"),
    *("libblkid1", "libselinux1", "libpcre2-8-0", "libsystemd0", "libcap2", "libgcrypt20", "libgpg-error0", "liblz4-1"),
)
MODULES = ("iscsi_ibft", "iscsi_tcp", "crc32c_generic")
LOGIN, KEEP = "sbin/iscsistart", "sbin/iscsid"
LOGIN_LIBRARIES = ("ld-linux-x86-64", "libc", "libcrypto", "libkmod", "liblzma", "libzstd", "libopeniscsiusr")
KEEP_LIBRARIES = (
    *LOGIN_LIBRARIES,
    *("libisns", "libmount", "libblkid", "libselinux", "libpcre2-8", "libsystemd", "libcap", "libgcrypt"),
    *("libgpg-error", "liblz4"),
)
MULTIARCH = "x86_64-linux-gnu"


def install(root: Path, parts: Path, program: str, libraries: Sequence[str]) -> None:
    """Copy a program into `bin` of a root file system, and its libraries into `lib`, under all of their names."""
    shutil.copy(parts / program, root / "bin")
    (root / "lib").mkdir(exist_ok=True)
    if not (root / "lib64").is_symlink():
        (root / "lib64").symlink_to("lib")
    folders = [parts / "lib" / MULTIARCH, parts / "usr/lib" / MULTIARCH]
    for file in [file for name in libraries for folder in folders for file in folder.glob(f"{name}.so.*")]:
        if not (root / "lib" / file.name).exists():
            shutil.copy(file, root / "lib", follow_symlinks=False)
