"""UEFI HTTP boot of iPXE: its address comes through the BMC, no TFTP is spoken; then all goes on as with iPXE."""

from hagane.drivers.bmc.base import BootDevice, BootMode
from hagane.drivers.boot.base import LOADERS, BootNode, BootPlan, dhcp
from hagane.drivers.boot.ipxe import SCRIPT, script
from hagane.drivers.boot.loader import IPXE


class HttpIpxe:
    name = "http-ipxe"
    modes = frozenset({BootMode.UEFI})

    def plan(self, node: BootNode) -> BootPlan:
        loader = LOADERS + IPXE[BootMode.UEFI]
        options = dhcp(node, loader=loader, ipxe=f"{node.base}/{SCRIPT}")
        uri = f"{node.base}/{loader}"
        return BootPlan(dhcp=options, files={SCRIPT: script(node)}, device=BootDevice.HTTP, http_uri=uri)
