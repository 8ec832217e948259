"""Redfish virtual media: the BMC fetches an ISO over its own network and shows it to the machine as a CD."""

from hagane.drivers.bmc.base import BootDevice, BootMode, Slot
from hagane.drivers.boot.base import BootNode, BootPlan


class VirtualMedia:
    name = "redfish-virtual-media"
    modes = frozenset(BootMode)

    def plan(self, node: BootNode) -> BootPlan:
        return BootPlan(device=BootDevice.CDROM, media={Slot.CD: node.media})
