"""Boot loaders from Debian's packages, by the names under which the service gives them to firmware."""

from pathlib import Path

from hagane.drivers.bmc.base import BootMode
from hagane.errors import Unavailable

IPXE = {BootMode.BIOS: "undionly.kpxe", BootMode.UEFI: "snponly.efi"}
"""iPXE with the firmware's own network driver: whatever card could load it can go on."""

_SYSLINUX = Path("/usr/lib/syslinux/modules")
FILES: dict[str, tuple[Path, str]] = {
    "undionly.kpxe": (Path("/usr/lib/ipxe/undionly.kpxe"), "ipxe"),
    "snponly.efi": (Path("/usr/lib/ipxe/snponly.efi"), "ipxe"),
    "ipxe.efi": (Path("/usr/lib/ipxe/ipxe.efi"), "ipxe"),
    "ipxe.lkrn": (Path("/usr/lib/ipxe/ipxe.lkrn"), "ipxe"),
    "pxelinux.0": (Path("/usr/lib/PXELINUX/pxelinux.0"), "pxelinux"),
    "ldlinux.c32": (_SYSLINUX / "bios/ldlinux.c32", "syslinux-common"),
    "shimx64.efi": (Path("/usr/lib/shim/shimx64.efi.signed"), "shim-signed"),
    "grubx64.efi": (Path("/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed"), "grub-efi-amd64-signed"),
    "grubcd.efi": (Path("/usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed"), "grub-efi-amd64-signed"),
    "isolinux.bin": (Path("/usr/lib/ISOLINUX/isolinux.bin"), "isolinux"),
}


def find(name: str) -> Path:
    """The file of a loader. Raises KeyError (there is none of that name) and Unavailable (not installed)."""
    path, package = FILES[name]
    if not path.exists():
        raise Unavailable(f"The boot loader {name} is missing: apt-get install {package}")
    return path
