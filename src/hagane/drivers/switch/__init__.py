"""Physical switches: SwitchPorts and their VLANs. `make` finds a family's driver by the name in a rack's description.

A family is one file here with one class, which takes a `SwitchAccess`. It is loaded when a switch of it exists: a rack
of one family does not pay for the libraries of the others.
"""

from importlib import import_module

from hagane.drivers.switch.base import Switch, SwitchAccess
from hagane.errors import Invalid

# The name in a rack's description → the module here, and its class.
FAMILIES = {
    "eos": ("eos", "EosSwitch"),
    "netconf": ("netconf", "NetconfSwitch"),
    "nxos": ("nxos", "NxosSwitch"),
    "ovsdb": ("ovsdb", "OvsdbSwitch"),
    "sim": ("sim", "SimSwitch"),
    "sonic": ("sonic", "SonicSwitch"),
}


def make(driver: str, access: SwitchAccess) -> Switch:
    """The driver of one switch; it connects at its first call. Raises Invalid for a family that there is not."""
    if driver not in FAMILIES:
        raise Invalid(f"There is no switch driver {driver!r}; there are: {', '.join(sorted(FAMILIES))}.")
    module, name = FAMILIES[driver]
    built: Switch = getattr(import_module(f"{__name__}.{module}"), name)(access)
    return built
