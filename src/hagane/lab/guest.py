"""Build the guest image: a whole disk of a few dozen megabytes that boots in seconds, made of Debian packages.

    python -m hagane.lab.guest OUT.qcow2 [--variant b] [--with tcpdump,python3-minimal]

Packages are downloaded (never installed) and unpacked; nothing is mounted and no root is needed. The disk has two
partitions: a FAT one with kernel and initial ramdisk, which SYSLINUX loads on a BIOS and systemd-boot on UEFI, and an
ext4 one with the root file system, whose own files are in the folder guestfs/. Images are kept in a cache under a key
made of everything that goes into them.
"""

import argparse
import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hagane.lab import debs, disk, guest_package, guest_san
from hagane.lab.guest_san import MULTIARCH
from hagane.lab.process import tool

CACHE = Path("/var/cache/hagane")
FILES = Path(__file__).with_name("guestfs")
PACKAGES = (
    "linux-image-cloud-amd64",
    "busybox-static",
    "dropbear-bin",
    "libc6",
    "libcrypt1",
    "libgmp10",
    "libtomcrypt1",
    "libtommath1",
    "zlib1g",
    "systemd-boot-efi",
    *guest_san.PACKAGES,
)
# In the ramdisk; their dependencies come along. The first three are what a libvirt machine's disk needs.
EARLY = (
    *("virtio_pci", "virtio_blk", "virtio_net", "virtio_scsi", "sd_mod", "ahci", "ata_piix", "nvme"),
    *("e1000", "e1000e", *guest_san.MODULES),
)
LATE = (
    *("sr_mod", "isofs", "vfat", "nls_ascii", "nls_cp437", "evdev", "button", "virtio_rng", "virtio_balloon"),
    *("virtio_console", "8021q", "pvpanic_pci", "ext2"),
)
LIBRARIES = ("ld-linux-x86-64", "libc", "libcrypt", "libgmp", "libtomcrypt", "libtommath", "libz")
CMDLINE = "console=ttyS0,115200 mitigations=off random.trust_cpu=on net.ifnames=0 no_timer_check edd=off"
TOOLS = ("blkid", "curl", "lsblk", "mkfs", "sudo")  # what tests ask guests for and busybox has not
BOOT_MB, ROOT_MB = 24, 48
UEFI_LOADER = "usr/lib/systemd/boot/efi/systemd-bootx64.efi"


@dataclass(frozen=True, slots=True)
class GuestImage:
    """A finished image: a qcow2 file, and the kernel inside it (for booting without a disk)."""

    path: Path
    kernel: Path
    variant: str


def build(*, variant: str = "a", cache: Path = CACHE, more: tuple[str, ...] = ()) -> GuestImage:
    """The image from the cache, built first if need be. `more`: Debian packages to have whole in it.

    Errors: Unavailable (no packages), DeviceFailed."""
    packages = debs.fetch(cache / "debs", PACKAGES)
    whole = guest_package.fetch(cache, more) if more else []
    key = _key([*packages, *whole], variant)
    image = GuestImage(cache / f"guest-{key}.qcow2", cache / f"vmlinuz-{key}", variant)
    if not (image.path.exists() and image.kernel.exists()):
        with tempfile.TemporaryDirectory(prefix="hagane-guest-") as name:
            _build(Path(name), packages, whole, image)
    return image


def _key(packages: list[Path], variant: str) -> str:
    digest = hashlib.sha256(repr((variant, [path.name for path in packages])).encode())
    own = (
        Path(module) for module in (__file__, debs.__file__, disk.__file__, guest_package.__file__, guest_san.__file__)
    )
    for path in (*sorted(FILES.iterdir()), *own):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _build(work: Path, packages: list[Path], whole: list[Path], image: GuestImage) -> None:
    parts, root = work / "parts", work / "root"
    debs.unpack(packages, parts)
    version = next((parts / "lib/modules").iterdir()).name
    tool("depmod", "-b", parts, version)
    _root(root, parts, version, image.variant)
    if whole:
        guest_package.install(root, whole, work / "whole")
    ramdisk = _ramdisk(work / "early", parts, version)
    kernel = parts / "boot" / f"vmlinuz-{version}"
    boot = {
        "vmlinuz": kernel.read_bytes(), "initrd": ramdisk, "syslinux.cfg": _SYSLINUX.encode(),
        "EFI/BOOT/BOOTX64.EFI": (parts / UEFI_LOADER).read_bytes(), "loader/entries/linux.conf": _LOADER.encode(),
    }  # fmt: skip
    room = ROOT_MB if not whole else 32 + sum(path.lstat().st_size for path in root.rglob("*")) * 5 // 4 // disk.MB
    raw = disk.assemble(work, boot, root, boot_mb=BOOT_MB, root_mb=room)
    tool("qemu-img", "convert", "-O", "qcow2", raw, work / "image.qcow2")
    shutil.copy(kernel, work / "vmlinuz")
    disk.publish(work / "vmlinuz", image.kernel)
    disk.publish(work / "image.qcow2", image.path)


def _root(root: Path, parts: Path, version: str, variant: str) -> None:
    """The root file system as a folder."""
    folders = "bin dev etc/dropbear etc/hagane etc/iscsi home/cirros lib/modules mnt proc root run sys tmp"
    for name in (*folders.split(), "var/lib/hagane", "var/lock", "var/log"):
        (root / name).mkdir(parents=True)
    for name in ("sbin", "usr/bin", "usr/sbin"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).symlink_to("/bin")
    (root / "lib64").symlink_to("lib")
    (root / "var/run").symlink_to("/run")
    _busybox(root, parts)
    for name in ("usr/sbin/dropbear", "usr/bin/dropbearkey"):
        shutil.copy(parts / name, root / "bin")
    for library in LIBRARIES:
        found = [file for folder in ("lib", "usr/lib") for file in (parts / folder / MULTIARCH).glob(f"{library}.so.*")]
        # The shortest name is the one that programs ask for; the others are what it points at.
        shutil.copy(min(found, key=lambda file: len(file.name)), root / "lib")
    guest_san.install(root, parts, guest_san.KEEP, guest_san.KEEP_LIBRARIES)
    debs.modules(root, parts, version, (*EARLY, *LATE))
    for file in FILES.iterdir():
        target = root / ("etc/inittab" if file.name == "inittab" else f"etc/hagane/{file.name}")
        shutil.copy(file, target)
        target.chmod(0o644 if file.suffix or file.name in ("inittab", "lib", "san") else 0o755)
    for name in TOOLS:
        (root / "bin" / name).symlink_to(f"/etc/hagane/{name}")
    for name, text in _ETC.items():
        (root / "etc" / name).write_text(text.format(variant=variant))
    (root / "etc/shadow").chmod(0o600)
    (root / "root").chmod(0o700)
    (root / "tmp").chmod(0o1777)


def _busybox(root: Path, parts: Path) -> None:
    binary = root / "bin" / "busybox"
    shutil.copy(parts / "bin" / "busybox", binary)
    # Set-user-id, as busybox expects: it drops the right at once in all but the few programs that need it (ping, su).
    binary.chmod(0o4755)
    for name in tool(binary, "--list").split():
        if name not in ("busybox", "dpkg", "dpkg-deb", "rpm", "rpm2cpio"):
            (root / "bin" / name).symlink_to("busybox")


def _ramdisk(root: Path, parts: Path, version: str) -> bytes:
    for name in ("bin", "dev", "etc/iscsi", "proc", "run", "sys", "root", "var/lock"):
        (root / name).mkdir(parents=True)
    shutil.copy(parts / "bin" / "busybox", root / "bin")
    shutil.copy(FILES / "init", root / "init")
    (root / "init").chmod(0o755)
    guest_san.install(root, parts, guest_san.LOGIN, guest_san.LOGIN_LIBRARIES)
    debs.modules(root, parts, version, EARLY)
    return disk.cpio(root)


_SYSLINUX = f"""\
SERIAL 0 115200
DEFAULT linux
PROMPT 0
TIMEOUT 0
LABEL linux
  KERNEL vmlinuz
  INITRD initrd
  APPEND {CMDLINE}
"""
_LOADER = f"""\
title linux
linux /vmlinuz
initrd /initrd
options {CMDLINE}
"""
"""systemd-boot's entry (Boot Loader Specification, type 1); without a loader.conf it does not wait."""
_ETC = {
    "filesystems": "ext4\next2\nvfat\niso9660\n",  # which mount tries; the kernel names only those that are loaded
    "fstab": "",
    "group": "root:x:0:\ntty:x:5:\ncirros:x:1000:\nnogroup:x:65534:\n",
    "hostname": "hagane-guest\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "issue": "Hagane guest ({variant})\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
    "os-release": (
        'NAME="Hagane guest"\nID=hagane-guest\nVERSION_ID=1\nVARIANT={variant}\nVARIANT_ID={variant}\n'
        'PRETTY_NAME="Hagane guest ({variant})"\n'
    ),
    "passwd": (
        "root:x:0:0:root:/root:/bin/sh\ncirros:x:1000:1000:cirros:/home/cirros:/bin/sh\n"
        "nobody:x:65534:65534:nobody:/:/bin/false\n"
    ),
    "profile": (
        'export PATH=/sbin:/usr/sbin:/bin:/usr/bin\n[ "$(id -u)" != 0 ] || export HOME=/root\n'
        "export PS1='\\u@\\h:\\w\\$ '\ncd\n"
    ),
    "shadow": "root:*:19700:0:99999:7:::\ncirros:*:19700:0:99999:7:::\nnobody:*:19700:0:99999:7:::\n",
    "shells": "/bin/sh\n",
}


def main() -> None:
    """Build, and copy the image to where the command line says."""
    parser = argparse.ArgumentParser(description="Build the guest image.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--variant", default="a")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--with", dest="more", default="", help="Debian packages to have whole in it, with commas")
    given = parser.parse_args()
    more = tuple(filter(None, given.more.split(",")))
    shutil.copy(build(variant=given.variant, cache=given.cache, more=more).path, given.out)


if __name__ == "__main__":
    main()
