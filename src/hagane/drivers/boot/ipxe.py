"""iPXE: the firmware's own, or one that it loads by TFTP, fetches a script, the kernel and the ramdisk by HTTP."""

from hagane.drivers.bmc.base import BootMode
from hagane.drivers.boot.base import KERNEL, LOADERS, RAMDISK, BootNode, BootPlan, dhcp
from hagane.drivers.boot.loader import IPXE

SCRIPT = "boot.ipxe"


def script(node: BootNode) -> str:
    """A start that fails is tried again from the first file on: the service may just be restarting. In the end the
    machine starts anew, so that nothing stands still on a prompt."""
    return f"""#!ipxe
set n:int32 0
:again
imgfree
kernel {node.base}/{KERNEL} {node.parameters} BOOTIF=${{mac}} initrd={RAMDISK} || goto failed
initrd {node.base}/{RAMDISK} || goto failed
boot || goto failed
:failed
inc n
iseq ${{n}} 20 && reboot ||
sleep 3
goto again
"""


class Ipxe:
    name = "ipxe"
    modes = frozenset(BootMode)

    def plan(self, node: BootNode) -> BootPlan:
        options = dhcp(node, loader=LOADERS + IPXE[node.mode], ipxe=f"{node.base}/{SCRIPT}")
        return BootPlan(dhcp=options, files={SCRIPT: script(node)})
