"""What a switch of a rack shall be. Pure functions; drivers/switch/plan.py says in what it differs."""

from collections.abc import Mapping, Sequence

from hagane.baremetal.rack import DOWN, UP
from hagane.drivers.switch import group_name
from hagane.drivers.switch.base import SwitchDesired, SwitchGroup, SwitchPort
from hagane.state.database import Row


def trunks(switch: Row, gateways: Sequence[Row]) -> dict[str, bool]:
    """Port -> whether it is on, of those that lead to gateways and to other switches. `gateways`: all of the rack.

    The trunk of a gateway that is down is switched off while another is up: the switch forgets at once what it has
    learnt to be behind it, and one that only seems dead carries nothing any more. If none is up, it is rather we who
    cannot see them, and nothing is touched.
    """
    others = any(gateway["state"] == UP for gateway in gateways)
    found = {
        gateway["switch_port"]: not (gateway["state"] == DOWN and others)
        for gateway in gateways
        if gateway["switch"] == switch["name"] and gateway["switch_port"]
    }
    return found | dict.fromkeys(switch["uplinks"] or (), True)


def desired(switch: Row, ports: Sequence[Row], trunks: Mapping[str, bool], tags: frozenset[int]) -> SwitchDesired:
    """`ports`: rows of switch_port; `tags`: all our VLANs, which the trunks carry. A group has the number of its
    private VLAN, which is unique in the rack."""
    found: dict[str, SwitchPort] = {
        name: SwitchPort(enabled=enabled, native=None, tagged=tags) for name, enabled in trunks.items()
    }
    groups: dict[str, SwitchGroup] = {}
    for row in ports:
        group = group_name(switch["driver"], row["vlan"]) if row["lag"] and not row["gone"] else ""
        found[row["name"]] = SwitchPort(native=row["native"], group=group)
        if group:
            groups[group] = SwitchGroup(native=row["native"])
    return SwitchDesired(found, groups)
