"""How a rack's trunk enters a Host or a rack gateway: one bridge, with the cable to the switch in it.

A Host's wiring is written by host.py, whole, at every repair; so it asks here whether a rack is up.
"""

from hagane.lab import rack_place
from hagane.lab.site import Site

LINK, BRIDGE = rack_place.TRUNK, rack_place.TRUNK_BRIDGE


def mappings(site: Site) -> dict[str, str]:
    """Physical network -> bridge, of the rack that is up, if any."""
    rack = rack_place.current(site)
    return {rack.described.physical_network: BRIDGE} if rack is not None else {}
