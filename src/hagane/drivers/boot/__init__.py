"""Boot drivers, by the names of the boot interfaces of the bare-metal API."""

from hagane.drivers.boot.base import BootDriver
from hagane.drivers.boot.http import Http
from hagane.drivers.boot.http_ipxe import HttpIpxe
from hagane.drivers.boot.ipxe import Ipxe
from hagane.drivers.boot.pxe import Pxe
from hagane.drivers.boot.virtual_media import VirtualMedia

DRIVERS: dict[str, BootDriver] = {one.name: one for one in (Ipxe(), Pxe(), HttpIpxe(), Http(), VirtualMedia())}
