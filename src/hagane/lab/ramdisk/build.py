"""The ramdisk's contents, put together from Debian packages and the two folders beside this file."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hagane.errors import DeviceFailed
from hagane.lab import debs, disk
from hagane.lab.process import tool

CACHE = Path("/var/cache/hagane")
HERE = Path(__file__).parent
SYSTEM = (
    *("busybox-static", "dropbear-bin", "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib"),
    *("e2fsprogs", "libc6", "libcrypt1", "libgmp10", "libtomcrypt1", "libtommath1", "zlib1g", "libexpat1"),
    *("libext2fs2", "libcom-err2", "libblkid1", "libuuid1", "libssl3"),
)
KERNELS = {"virtual": "linux-image-cloud-amd64", "metal": "linux-image-amd64"}
# Nothing of a tenant runs beside the agent, so no speed is paid for keeping programs from each other.
PARAMETERS = {
    "virtual": "mitigations=off random.trust_cpu=on no_timer_check edd=off",
    "metal": "mitigations=off random.trust_cpu=on",
}
# OpenSSL hashes two to five times as fast as Python's own code, which is half of the time that writing a disk takes.
NATIVE = ("_json", "_hashlib")
COMMON = (
    *("virtio_pci", "virtio_blk", "virtio_net", "virtio_scsi", "virtio_rng", "sd_mod", "sr_mod", "ahci", "ata_piix"),
    *("nvme", "efivarfs", "vfat", "nls_ascii", "nls_cp437", "nls_iso8859-1", "isofs", "af_packet", "ena", "vmxnet3"),
    *("vmw_pvscsi", "hv_netvsc", "hv_storvsc", "mlx4_en", "mlx5_core", "ixgbevf"),
)
# What most servers of the last ten years have. Cards that need firmware files from outside Debian's main section
# (bnx2x, qed) are left out: they need the stock ramdisk.
METAL = (
    *("e1000", "e1000e", "igb", "igc", "ixgbe", "i40e", "ice", "tg3", "bnxt_en", "be2net", "r8169", "atlantic", "sfc"),
    *("megaraid_sas", "mpt3sas", "mpi3mr", "hpsa", "smartpqi", "aacraid", "mvsas", "isci", "xhci_pci", "ehci_pci"),
    *("uas", "usb_storage", "usbhid", "mmc_block", "sdhci_pci", "vmd", "bonding", "8021q"),
)
PROGRAMS = ("usr/sbin/dropbear", "usr/bin/dropbearkey", "usr/bin/python3.11", "sbin/mke2fs")
FOLDERS = "bin dev etc/dropbear etc/hagane lib/modules mnt proc root run sys tmp usr/bin usr/lib/hagane var/log"
# Needed by the program at some time, though not when it starts.
LATE_MODULES = ("tarfile", "gzip", "traceback", "encodings.latin_1", "encodings.utf_16", "encodings.utf_16_le", "stat")


@dataclass(frozen=True, slots=True)
class Ramdisk:
    """A finished ramdisk. `parameters`: what this kernel and ramdisk want on the kernel's command line."""

    kernel: Path
    ramdisk: Path
    parameters: str = ""


def build(*, variant: str = "virtual", cache: Path = CACHE) -> Ramdisk:
    """The ramdisk from the cache, built first if need be. Errors: Unavailable (no packages), DeviceFailed."""
    packages = debs.fetch(cache / "debs", (KERNELS[variant], *SYSTEM))
    key = _key(packages, variant)
    made = Ramdisk(cache / f"ramdisk-{key}.kernel", cache / f"ramdisk-{key}.gz", PARAMETERS[variant])
    if not (made.kernel.exists() and made.ramdisk.exists()):
        with tempfile.TemporaryDirectory(prefix="hagane-ramdisk-") as name:
            _build(Path(name), packages, variant, made)
    return made


def _key(packages: list[Path], variant: str) -> str:
    digest = hashlib.sha256(repr((variant, [path.name for path in packages])).encode())
    own = (Path(module) for module in (__file__, debs.__file__, disk.__file__))
    for path in (*sorted(HERE.glob("rootfs/*")), *sorted(HERE.glob("agent/*.py")), *own):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _build(work: Path, packages: list[Path], variant: str, made: Ramdisk) -> None:
    parts, root = work / "parts", work / "root"
    debs.unpack(packages, parts)
    version = next((parts / "lib/modules").iterdir()).name
    tool("depmod", "-b", parts, version)
    for name in FOLDERS.split():
        (root / name).mkdir(parents=True)
    _programs(root, parts)
    _python(root, parts)
    debs.modules(root, parts, version, (*COMMON, *METAL) if variant == "metal" else COMMON)
    for file in HERE.glob("rootfs/*"):
        folder = {"init": "", "hagane-do": "usr/bin"}.get(file.name, "etc/hagane")
        target = root / folder / file.name
        shutil.copy(file, target)
        target.chmod(0o755)
    for name, text in _ETC.items():
        (root / "etc" / name).write_text(text)
    (root / "root").chmod(0o700)
    archive = work / "ramdisk.gz"
    archive.write_bytes(disk.cpio(root))
    disk.publish(parts / "boot" / f"vmlinuz-{version}", made.kernel)
    disk.publish(archive, made.ramdisk)


def _programs(root: Path, parts: Path) -> None:
    shutil.copy(parts / "bin/busybox", root / "bin/busybox")
    for name in tool(root / "bin/busybox", "--list").split():
        if name not in ("busybox", "dpkg", "dpkg-deb", "rpm", "rpm2cpio", "mke2fs"):
            (root / "bin" / name).symlink_to("busybox")
    (root / "sbin").symlink_to("bin")
    (root / "usr/sbin").symlink_to("bin")
    (root / "lib64").symlink_to("lib")
    for name in PROGRAMS:
        shutil.copy(parts / name, root / "usr/bin")
        _libraries(root, parts, parts / name)
    (root / "usr/bin/python3").symlink_to("python3.11")


def _libraries(root: Path, parts: Path, program: Path) -> None:
    """Copy what a program is linked with, out of the packages (the build machine's own are only asked for names)."""
    for line in tool("ldd", program).splitlines():
        name = line.split()[0].rpartition("/")[2]
        found = [path for path in parts.rglob(name) if path.exists()]
        if found and not (root / "lib" / name).exists():
            shutil.copy(found[0], root / "lib" / name)


_LOADED = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    importlib.import_module(name)
print("\\n".join(str(getattr(module, "__file__", "")) for module in list(sys.modules.values())))
"""
_COMPILE = """
import py_compile, sys
for source, target in zip(sys.argv[1::2], sys.argv[2::2]):
    py_compile.compile(source, target, dfile=source.rpartition("/")[2], doraise=True, optimize=2)
"""


def _python(root: Path, parts: Path) -> None:
    """The modules that the agent loads, and only these, compiled: an emulated CPU takes long to do so."""
    library = parts / "usr/lib/python3.11"
    names = ["agent.agent", *LATE_MODULES]
    loaded = _run_python(parts, _LOADED, str(HERE), *names).split("\n")
    pairs: list[str] = []
    for file in (Path(name) for name in loaded if name.endswith(".py")):
        inside = file.is_relative_to(library)
        folder = root / "usr/lib/python3.11" if inside else root / "usr/lib/hagane"
        target = folder / file.relative_to(library if inside else HERE).with_suffix(".pyc")
        target.parent.mkdir(parents=True, exist_ok=True)
        pairs += [str(file), str(target)]
    for name in ("__main__", "do"):  # these run when they are imported, so they were not
        pairs += [str(HERE / f"agent/{name}.py"), str(root / f"usr/lib/hagane/agent/{name}.pyc")]
    _run_python(parts, _COMPILE, *pairs)
    (root / "usr/lib/python3.11/lib-dynload").mkdir(parents=True)
    for name in NATIVE:
        native = next((library / "lib-dynload").glob(f"{name}.*.so"))
        shutil.copy(native, root / "usr/lib/python3.11/lib-dynload")
        _libraries(root, parts, native)


def _run_python(parts: Path, program: str, *arguments: str) -> str:
    """Run the ramdisk's Python here, on its own library."""
    argv = [str(parts / "usr/bin/python3.11"), "-SB", "-c", program, *arguments]
    env = {"PYTHONHOME": str(parts / "usr"), "PATH": os.environ.get("PATH", "")}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise DeviceFailed(
            f"The ramdisk's Python does not run: {done.stderr.strip().splitlines()[-1]}", detail=done.stderr
        )
    return done.stdout


_ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "shadow": "root:*:19700:0:99999:7:::\n",
    "group": "root:x:0:\ntty:x:5:\n",
    "shells": "/bin/sh\n",
    "hosts": "127.0.0.1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
    "mke2fs.conf": "[defaults]\nbase_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr\n"
    "inode_size = 256\ninode_ratio = 16384\n[fs_types]\next3 = {\nfeatures = has_journal\n}\next4 = {\n"
    "features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize\n}\n",
}
