"""Plain PXE: PXELINUX (BIOS) or shim and GRUB (UEFI), and everything by TFTP.

TFTP needs a round trip for every kilobyte or so: a ramdisk of a hundred megabytes takes a minute. This is for firmware
that gets along with nothing else; iPXE is the way to boot. (PXELINUX's own HTTP hung in every second start.)
"""

from hagane.drivers.bmc.base import BootMode
from hagane.drivers.boot.base import KERNEL, RAMDISK, BootNode, BootPlan, dhcp

_FIRST = {BootMode.BIOS: "pxelinux.0", BootMode.UEFI: "shimx64.efi"}
_OF_IPXE = {BootMode.BIOS: "pxelinux.0", BootMode.UEFI: "grubx64.efi"}
"""An iPXE of the firmware's own tells a wrong length of what it loads for shim, which then refuses GRUB."""


def pxelinux(node: BootNode) -> str:
    """PXELINUX adds BOOTIF by itself (IPAPPEND 2)."""
    return f"""SERIAL 0 115200
DEFAULT ramdisk
PROMPT 0
TIMEOUT 0
LABEL ramdisk
  KERNEL {KERNEL}
  INITRD {RAMDISK}
  APPEND {node.parameters}
  IPAPPEND 2
"""


def grub(node: BootNode) -> str:
    words = " ".join(f"'{word}'" for word in node.parameters.split())
    return f"""set timeout=0
linux /{KERNEL} {words} BOOTIF=$net_default_mac
initrd /{RAMDISK}
boot
"""


class Pxe:
    name = "pxe"
    modes = frozenset(BootMode)

    def plan(self, node: BootNode) -> BootPlan:
        options = dhcp(node, loader=_FIRST[node.mode], ipxe=_OF_IPXE[node.mode])
        files = {"pxelinux.cfg/": pxelinux(node)} if node.mode is BootMode.BIOS else {"grub.cfg": grub(node)}
        return BootPlan(dhcp=options, files=files)
