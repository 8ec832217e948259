"""UEFI HTTP boot of an ISO: the firmware itself fetches it into a RAM disk and starts what is on it."""

from hagane.drivers.bmc.base import BootDevice, BootMode
from hagane.drivers.boot.base import ISO, BootNode, BootPlan


class Http:
    name = "http"
    modes = frozenset({BootMode.UEFI})

    def plan(self, node: BootNode) -> BootPlan:
        return BootPlan(device=BootDevice.HTTP, http_uri=f"{node.base}/{ISO}")
