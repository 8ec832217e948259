"""Build a ramdisk around the original ironic-python-agent: Debian packages and what PyPI has, unpacked, not installed.

    python -m hagane.lab.ramdisk OUT --stock

It proves that Hagane speaks the original's protocol, and serves machines that need more than our small ramdisk has:
boot loaders in partition images, qcow2, RAID. It is six times as large, and needs 2 GB of memory and more time.
No package's script is run, so nothing is mounted and no root is needed; what scripts would have made is made here.
"""

import hashlib
import shutil
import stat
import sys
import tempfile
from pathlib import Path

from hagane.lab import debs, disk
from hagane.lab.process import tool
from hagane.lab.ramdisk.build import CACHE, COMMON, HERE, KERNELS, METAL, Ramdisk

AGENT = "ironic-python-agent==13.0.0"
PACKAGES = (
    *("python3", "udev", "kmod", "iproute2", "util-linux", "bsdextrautils", "gdisk", "parted", "qemu-utils", "fdisk"),
    *("dosfstools", "e2fsprogs", "xfsprogs", "efibootmgr", "lshw", "hdparm", "dmidecode", "nvme-cli", "file", "mdadm"),
    *("busybox-static", "dash", "coreutils", "sed", "grep", "gawk", "procps", "ca-certificates"),
    *("smartmontools", "psmisc"),
    *("libc-bin", "mount", "findutils", "tar", "gzip"),  # which every Debian has, so nothing depends on them
)
# Their dependants do without them here: scripts in Perl, and the package manager itself.
UNUSED = (
    "perl",
    "libperl",
    "dpkg",
    "debconf",
    "openssl_",
    "initramfs-tools",
    "libicu",
    "tzdata",
    "ucf",
    "mime-support",
)
# For an emulated CPU: what the original would wait or ask for in vain.
CONFIG = """\
[DEFAULT]
debug = False
use_stderr = True
hardware_initialization_delay = 0
enable_auto_tls = {tls}
lookup_interval = 1
ip_lookup_sleep = 2
disk_wait_attempts = 5
disk_wait_delay = 1
"""
USELESS = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "usr/share/perl",
    "usr/share/lintian",
)


def build(*, variant: str = "virtual", tls: bool = True, cache: Path = CACHE) -> Ramdisk:
    """The ramdisk from the cache, built first if need be. Errors: Unavailable (no packages), DeviceFailed."""
    kernel = debs.fetch(cache / "debs", (KERNELS[variant],))[0]
    digest = hashlib.sha256(repr((kernel.name, AGENT, PACKAGES, variant, tls)).encode())
    for path in (
        Path(__file__),
        HERE / "build.py",
        *sorted(HERE.glob("rootfs*/*")),
        *map(Path, (debs.__file__, disk.__file__)),
    ):
        digest.update(path.read_bytes())
    key = digest.hexdigest()[:12]
    made = Ramdisk(cache / f"stock-{key}.kernel", cache / f"stock-{key}.gz")
    if not (made.kernel.exists() and made.ramdisk.exists()):
        with tempfile.TemporaryDirectory(prefix="hagane-stock-") as name:
            _build(Path(name), kernel, variant, made, tls=tls)
    return made


def _build(work: Path, kernel: Path, variant: str, made: Ramdisk, *, tls: bool) -> None:
    parts, root = work / "kernel", work / "root"
    debs.unpack([kernel], parts)
    version = next((parts / "lib/modules").iterdir()).name
    tool("depmod", "-b", parts, version)
    wanted = [path for path in debs.closure(work / "debs", PACKAGES) if not path.name.startswith(UNUSED)]
    debs.unpack(wanted, root)
    _agent(root)
    (root / "lib/modules").mkdir(parents=True, exist_ok=True)
    debs.modules(root, parts, version, (*COMMON, *METAL) if variant == "metal" else COMMON)
    _own(root, tls=tls)
    archive = work / "ramdisk.gz"
    archive.write_bytes(disk.cpio(root))
    disk.publish(parts / "boot" / f"vmlinuz-{version}", made.kernel)
    disk.publish(archive, made.ramdisk)


def _agent(root: Path) -> None:
    """The original and what it needs, for the ramdisk's Python and not for ours."""
    target = root / "usr/lib/python3/dist-packages"
    tool(
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile",
        "--target", target,
        "--python-version", "3.11", "--implementation", "cp", "--only-binary", ":all:",
        *(f"--platform=manylinux{glibc}_x86_64" for glibc in ("_2_34", "_2_28", "2014")), AGENT,
        timeout=600,
    )  # fmt: skip
    program = root / "usr/local/bin/ironic-python-agent"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text("#!/usr/bin/python3\nfrom ironic_python_agent.cmd.agent import run\n\nrun()\n")
    program.chmod(0o755)


def _own(root: Path, *, tls: bool) -> None:
    """What packages' scripts would have made, our init, and away with what nobody reads."""
    for name in USELESS:
        shutil.rmtree(root / name, ignore_errors=True)
    for folder in [path for path in (root / "usr/lib/python3/dist-packages").rglob("tests") if path.is_dir()]:
        shutil.rmtree(folder, ignore_errors=True)
    for name in ("dev", "proc", "sys", "run", "tmp", "root", "mnt", "etc/hagane", "etc/ipa-rescue-config", "var/lib"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, text in _ETC.items():
        (root / "etc" / name).write_text(text)
    (root / "etc/ironic-python-agent.conf").write_text(CONFIG.format(tls=tls))
    for source, target in (
        ("rootfs_stock/init", "init"),
        ("rootfs/network", "etc/hagane/network"),
        ("rootfs/lease", "etc/hagane/lease"),
    ):
        shutil.copy(HERE / source, root / target)
        (root / target).chmod(0o755)
    for name in ("poweroff", "reboot"):  # at once: our init is a script that nobody can tell to do so
        (root / "usr/local/bin" / name).write_text(f"#!/bin/sh\nsync\nexec /bin/busybox {name} -f\n")
        (root / "usr/local/bin" / name).chmod(0o755)
    for name in ("udhcpc", "usleep", "vi", "hostname", "awk"):
        link = root / "usr/local/bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to("/bin/busybox")
    if not (root / "bin/sh").exists():
        (root / "bin/sh").symlink_to("dash")
    for path in root.rglob("*"):
        if path.is_char_device() or stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    tool("ldconfig", "-r", root)


_ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "shadow": "root:*:19700:0:99999:7:::\n",
    "group": "root:x:0:\ntty:x:5:\ndisk:x:6:\nkmem:x:15:\ndialout:x:20:\ncdrom:x:24:\nvideo:x:44:\naudio:x:29:\n"
    "input:x:101:\nsgx:x:102:\nkvm:x:103:\nrender:x:104:\nlp:x:7:\ntape:x:26:\nfloppy:x:25:\n",
    "hosts": "127.0.0.1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
}
