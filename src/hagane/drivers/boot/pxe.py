"""Plain PXE: PXELINUX (BIOS) or shim and GRUB (UEFI) by TFTP; they fetch the kernel and the ramdisk by HTTP.

TFTP needs a round trip for every kilobyte or so: for a ramdisk of a hundred megabytes that is a minute, by HTTP it is
seconds. Both loaders are signed or as Debian builds them.
"""

from hagane.drivers.bmc.base import BootMode
from hagane.drivers.boot.base import KERNEL, RAMDISK, BootNode, BootPlan, dhcp

_FIRST = {BootMode.BIOS: "lpxelinux.0", BootMode.UEFI: "shimx64.efi"}


def pxelinux(node: BootNode) -> str:
    """PXELINUX adds BOOTIF by itself (IPAPPEND 2)."""
    return f"""SERIAL 0 115200
DEFAULT ramdisk
PROMPT 0
TIMEOUT 0
LABEL ramdisk
  KERNEL {node.base}/{KERNEL}
  INITRD {node.base}/{RAMDISK}
  APPEND {node.parameters}
  IPAPPEND 2
"""


def grub(node: BootNode) -> str:
    root = f"(http,{node.server})"
    words = " ".join(f"'{word}'" for word in node.parameters.split())
    return f"""set timeout=0
linux {root}/{KERNEL} {words} BOOTIF=$net_default_mac
initrd {root}/{RAMDISK}
boot
"""


class Pxe:
    name = "pxe"
    modes = frozenset(BootMode)

    def plan(self, node: BootNode) -> BootPlan:
        loader = _FIRST[node.mode]
        # An iPXE of the firmware's own takes the same loader: over a boot server's name it speaks TFTP as well.
        options = dhcp(node, loader=loader, ipxe=loader)
        files = {"pxelinux.cfg/": pxelinux(node)} if node.mode is BootMode.BIOS else {"grub.cfg": grub(node)}
        return BootPlan(dhcp=options, files=files)
