"""A bootable CD with a kernel, a ramdisk and its parameters, for BIOS (ISOLINUX) and UEFI (shim, GRUB) alike.

    /kernel, /ramdisk             once, for both
    /kernel alone                 a CD that starts an iPXE: its form for BIOS; that for UEFI is in place of shim
    /isolinux/*                   BIOS: El Torito, no emulation
    /esp.img                      UEFI: El Torito, a FAT image: EFI/BOOT/BOOTX64.EFI (shim) and grubx64.efi
    /boot/grub/grub.cfg           what GRUB looks for, on the medium that has /.disk/info

The same parts give the same file name, so nothing is built twice. All this blocks: call it in a thread.
"""

import hashlib
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hagane.drivers.boot import loader
from hagane.errors import DeviceFailed, Unavailable

_SYSLINUX = Path("/usr/lib/syslinux/modules/bios/ldlinux.c32")
_BLOCK = 2048


@dataclass(frozen=True, slots=True)
class IsoParts:
    """What a CD boots. Without a ramdisk `kernel` is a program that looks after itself, and `efi` the same for UEFI."""

    kernel: Path
    ramdisk: Path | None
    parameters: str
    efi: Path | None = None

    def name(self) -> str:
        """Of the file; other parts have another."""
        digest = hashlib.sha256(self.parameters.encode())
        loaders = map(loader.find, ("isolinux.bin", "shimx64.efi", "grubcd.efi"))
        for file in filter(None, (self.kernel, self.ramdisk, self.efi, *loaders)):
            known = file.stat()
            digest.update(f"\0{file}\0{known.st_size}\0{known.st_mtime_ns}".encode())
        return f"boot-{digest.hexdigest()[:16]}.iso"


def build(parts: IsoParts, folder: Path) -> Path:
    """The CD, from the folder if it is there already. Raises Unavailable (a package lacks) and DeviceFailed."""
    made = folder / parts.name()
    if not made.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".iso-") as name:
            work = Path(name)
            _write(parts, _esp(work, parts.efi), work / "iso")
            (work / "iso").replace(made)
    return made


def _write(parts: IsoParts, esp: Path, target: Path) -> None:
    import pycdlib  # here, because it takes 20 ms that a start without CDs need not spend

    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, rock_ridge="1.09", vol_ident="HAGANE")
    for folder, name in (("/ISOLINUX", "isolinux"), ("/BOOT", "boot"), ("/BOOT/GRUB", "grub"), ("/DISK", ".disk")):
        iso.add_directory(folder, rr_name=name)
    texts = {
        "/ISOLINUX/ISOLINUX.CFG;1": ("isolinux.cfg", _isolinux(parts)),
        "/BOOT/GRUB/GRUB.CFG;1": ("grub.cfg", _grub(parts.parameters)),
        "/DISK/INFO.;1": ("info", "Hagane\n"),
    }
    for path, (name, text) in texts.items():
        file = target.with_name(name)
        file.write_text(text)
        iso.add_file(str(file), path, rr_name=name)
    files = {
        "/KERNEL.;1": ("kernel", parts.kernel),
        **({"/RAMDISK.;1": ("ramdisk", parts.ramdisk)} if parts.ramdisk else {}),
        "/ESP.IMG;1": ("esp.img", esp),
        "/ISOLINUX/ISOLINUX.BIN;1": ("isolinux.bin", loader.find("isolinux.bin")),
        "/ISOLINUX/LDLINUX.C32;1": ("ldlinux.c32", loader.find("ldlinux.c32")),
    }
    for path, (name, file) in files.items():
        iso.add_file(str(file), path, rr_name=name)
    iso.add_eltorito("/ISOLINUX/ISOLINUX.BIN;1", bootcatfile="/BOOT.CAT;1", rr_bootcatname="boot.cat",
                     boot_load_size=4, boot_info_table=True)  # fmt: skip
    iso.add_eltorito("/ESP.IMG;1", efi=True, boot_load_size=-(-esp.stat().st_size // 512))
    iso.write(str(target))
    iso.close()


def _isolinux(parts: IsoParts) -> str:
    rest = f"  INITRD /ramdisk\n  APPEND {parts.parameters}\n" if parts.ramdisk else ""
    return f"""SERIAL 0 115200
DEFAULT ramdisk
PROMPT 0
TIMEOUT 0
LABEL ramdisk
  KERNEL /kernel
{rest}"""


def _grub(parameters: str) -> str:
    words = " ".join(f"'{word}'" for word in parameters.split())
    return f"set timeout=0\nlinux /kernel {words}\ninitrd /ramdisk\nboot\n"


def _esp(work: Path, alone: Path | None) -> Path:
    """A FAT file system just large enough for shim and GRUB, or for one program `alone`."""
    both = {"BOOTX64.EFI": loader.find("shimx64.efi"), "grubx64.efi": loader.find("grubcd.efi")}
    files = {"BOOTX64.EFI": alone} if alone else both
    size = sum(-(-file.stat().st_size // _BLOCK) * _BLOCK for file in files.values()) + (256 << 10)
    image = work / "esp.img"
    with image.open("wb") as file:
        file.truncate(-(-size // (64 << 10)) * (64 << 10))
    _run("mformat", "-i", str(image), "-v", "HAGANE", "-N", "48414741", "::")
    _run("mmd", "-i", str(image), "::/EFI", "::/EFI/BOOT")
    for name, source in files.items():
        _run("mcopy", "-i", str(image), str(source), f"::/EFI/BOOT/{name}")
    return image


def _run(*argv: str) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    except FileNotFoundError as error:
        raise Unavailable(f"The program {argv[0]} is missing: apt-get install mtools") from error
    if done.returncode:
        raise DeviceFailed(f"`{' '.join(argv)}` failed: {done.stderr.strip()}")
